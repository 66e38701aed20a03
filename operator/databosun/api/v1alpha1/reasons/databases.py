"""Reasons of connections to databases, and of every engine but PostgreSQL."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class DatabaseReasons:
    """Reasons of connections to databases, and of every engine but PostgreSQL."""

    # Connections to databases.
    UNSUPPORTED_ENGINE = Entry("UnsupportedEngine", "Use an engine that this release serves; the message lists them.")
    UNSUPPORTED_VERSION = Entry(
        "UnsupportedVersion", "Use a server version that this release serves; the message lists them."
    )
    UNSUPPORTED_METHOD = Entry("UnsupportedMethod", "Set spec.method to one that the engine has.")
    UNKNOWN_HOST = Entry("UnknownHost", "Correct spec.connection.host: the name does not resolve.")
    DATABASE_UNREACHABLE = Entry("DatabaseUnreachable", "See the message: no host of spec.connection answers.")
    NO_DATABASE = Entry("NoDatabase", "Give the backup's role CONNECT on at least one database.")
    HOST_UNREACHABLE = Entry("HostUnreachable", "Check the network and spec.connection.host.")
    CONNECT_FAILED = Entry("ConnectFailed", "See the message for the driver's own words.")
    CONNECT_TIMEOUT = Entry("ConnectTimeout", "Check network policies and firewalls between the Jobs and the database.")
    CONNECTION_REFUSED = Entry(
        "ConnectionRefused", "Check that the server is up and listens, and spec.connection.port."
    )
    CONNECTION_LOST = Entry(
        "ConnectionLost", "Nothing: the run is tried again; look at the server's log if it goes on."
    )
    SERVER_NOT_READY = Entry("ServerNotReady", "Wait for the server; it starts, stops or recovers.")
    TOO_MANY_CONNECTIONS = Entry("TooManyConnections", "Raise max_connections or the role's limit.")
    WRONG_PASSWORD = Entry("WrongPassword", "Correct user name or password in the Secret of credentialsSecretRef.")
    NO_SUCH_ROLE = Entry("NoSuchRole", "Create the role, or correct the user name in the Secret.")
    NO_SUCH_DATABASE = Entry("NoSuchDatabase", "Correct spec.connection.database.")
    NO_CONNECT_PRIVILEGE = Entry("NoConnectPrivilege", "Grant CONNECT on the database to the backup's role.")
    TLS_NOT_OFFERED = Entry(
        "TLSNotOffered", "Turn on TLS in the server, or set tls.mode to Disable on a network you trust."
    )
    TLS_FAILURE = Entry(
        "TLSFailure", "Check spec.connection.tls: authority, host name in the certificate, client certificate."
    )

    # Redis and Valkey.
    BACKLOG_OVERRUN = Entry(
        "BacklogOverrun",
        "Raise repl-backlog-size: the server let go of commands that were not archived; a full backup is taken.",
    )
    BACKLOG_SMALL = Entry(
        "BacklogSmall", "Raise repl-backlog-size as the message says, or an outage soon leaves a gap."
    )
    HISTORY_CHANGED = Entry(
        "HistoryChanged",
        "Nothing: the server began a history of its own (no data at its start, or writes lost at a failover); a full"
        " backup is taken.",
    )
    CLUSTER_CHANGED = Entry(
        "ClusterChanged",
        "Nothing: the shards of a Redis Cluster changed while they were copied; the run is tried again.",
    )
    CLUSTER_UNSUPPORTED = Entry(
        "ClusterUnsupported",
        "Turn continuous off and take full backups often: this release archives no commands of a Redis Cluster, and has"
        " no rules for its keys.",
    )
    COUNTED_AS_REPLICA = Entry(
        "CountedAsReplica",
        "List the replicas in spec.connection.hosts: of a watched master, a backup would count as one of them.",
    )
    FROM_MASTER = Entry(
        "FromMaster", "Nothing, or list a replica: the backup was taken from the master, which forks for it."
    )
    KEYS_ASTRAY = Entry(
        "KeysAstray",
        "Look at the cluster: keys lie at a shard that does not serve their slots, so that nobody can read them.",
    )
    MEMORY_TOO_SMALL = Entry(
        "MemoryTooSmall", "Raise podTemplate.resources.limits.memory: the copy is loaded into memory."
    )
    MODULES_UNSUPPORTED = Entry("ModulesUnsupported", "Nothing: this release backs up no data of modules.")
    NO_CHECKSUM = Entry("NoChecksum", "Set rdbchecksum yes: the server's stream carries no checksum of its own.")
    RDB_VERSION_UNSUPPORTED = Entry(
        "RdbVersionUnsupported", "Use a server version that this release serves; the message lists them."
    )
    REPLICA_STALE = Entry("ReplicaStale", "Look at the replica's link to its master; the run is tried again.")
    SHARDS_APART = Entry(
        "ShardsApart",
        "Nothing: the shards of a Redis Cluster have no common point in time; the message says how far theirs are"
        " apart.",
    )
    SEVERAL_MASTERS = Entry(
        "SeveralMasters", "List the nodes of one database only: several masters answer, or are watched."
    )

    # Amazon RDS.
    BACKUP_RETENTION_OFF = Entry(
        "BackupRetentionOff",
        "Set the backup retention period of the instance: between two snapshots nothing can be restored.",
    )
    CLOUD_CREDENTIALS_INVALID = Entry(
        "CloudCredentialsInvalid",
        "Correct the Secret of spec.rds.credentialsSecretRef, or the IAM role of podTemplate.serviceAccountName.",
    )
    CLOUD_FAILED = Entry("CloudFailed", "See the message for the words of AWS; the run is tried again.")
    CLOUD_PERMISSION_DENIED = Entry(
        "CloudPermissionDenied", "Grant the IAM action that the message names to whom it names."
    )
    CLOUD_QUOTA = Entry(
        "CloudQuota", "Keep fewer snapshots, or have the account's quota raised; the message says which."
    )
    CLOUD_THROTTLED = Entry("CloudThrottled", "Nothing: AWS asks the account for patience; the run is tried again.")
    CLOUD_UNREACHABLE = Entry("CloudUnreachable", "Check DNS and network policies between the Jobs and the API of AWS.")
    DRILL_PLACE_MISSING = Entry(
        "DrillPlaceMissing", "Name what a drill's instance needs: spec.rds.drill, and the login in spec.connection."
    )
    DRILL_PLACE_UNSAFE = Entry(
        "DrillPlaceUnsafe",
        "Correct what the message names in spec.rds.drill: a copy must not act, nor reach what production reaches.",
    )
    ENGINE_DIFFERS = Entry("EngineDiffers", "Correct spec.rds: the instance is of another kind than it says.")
    FOREIGN_SNAPSHOT = Entry(
        "ForeignSnapshot", "Find out who made or retagged the snapshot; Databosun does not touch it."
    )
    INSTANCE_FAILED = Entry("InstanceFailed", "See the message for the state that AWS calls the temporary instance's.")
    INSTANCE_LEFT = Entry(
        "InstanceLeft", "Nothing: the next Job removes the temporary instance; look whether it is gone."
    )
    INSTANCE_MISSING = Entry(
        "InstanceMissing",
        "Correct spec.rds, or restore what was deleted: AWS knows nothing of that name in that region.",
    )
    INSTANCE_NOT_AVAILABLE = Entry(
        "InstanceNotAvailable", "Wait, or start the instance: AWS takes no snapshot of it now."
    )
    INSTANCE_REMOVED = Entry("InstanceRemoved", "Nothing: a temporary instance whose drill is over was removed.")
    MANAGED_BY_CLOUD = Entry(
        "ManagedByCloud", "Nothing: AWS does this part by itself; status.managed says how far it reaches."
    )
    NOT_ENCRYPTED = Entry(
        "NotEncrypted", "Restore an encrypted copy of the instance and move to it, or accept that it is not."
    )
    SNAPSHOT_FAILED = Entry(
        "SnapshotFailed", "Nothing: the next attempt takes another snapshot; see the message if it goes on."
    )
    SNAPSHOT_MISSING = Entry(
        "SnapshotMissing",
        "Act now: find out who deletes snapshots in the account; take a backup, delete the Backups that are named.",
    )
    SNAPSHOT_UNCLAIMED = Entry(
        "SnapshotUnclaimed", "Delete the snapshots that are named, or rebuild the catalog: no Backup here is of them."
    )
    VOLUME_UNSUPPORTED = Entry(
        "VolumeUnsupported", "Follow RESTORE.md: AWS restores its snapshots into instances alone."
    )

    # MongoDB.
    NO_OPLOG = Entry(
        "NoOplog", "Start the server as a replica set (of one member is enough), or set consistency: Partial."
    )
    NOT_COUNTED = Entry(
        "NotCounted", "Nothing: collections that are written to while they are read have no count to compare."
    )
    OPLOG_OVERRUN = Entry(
        "OplogOverrun",
        "Make the oplog larger, or back up more often: what follows on the last backup is gone; a Full is taken.",
    )
    OPLOG_DIVERGED = Entry(
        "OplogDiverged", "Nothing: what the last backup ended with was rolled back; a Full is taken."
    )
    SHARDED_UNSUPPORTED = Entry("ShardedUnsupported", "Nothing: this release serves no sharded cluster of MongoDB.")
