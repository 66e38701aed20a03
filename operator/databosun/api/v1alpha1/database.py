"""Database: where it is, how to log in, how much it matters; its status answers "could we recover now?"."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import LocalRef, Model, SecretKeyRef
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.fields import Identifier, Message, Name, PositiveDuration, SecretKey, Time
from databosun.api.v1alpha1.recovery import Archiver, LogPreflight, ManagedRecovery, Recovery
from databosun.api.v1alpha1.schema import UNIQUE, cel, checks, found_instead, matches, one_each, rules


class EngineName(StrEnum):
    """Database engines."""

    POSTGRESQL = "PostgreSQL"
    MYSQL = "MySQL"
    MARIADB = "MariaDB"
    MONGODB = "MongoDB"
    REDIS = "Redis"
    RDS = "RDS"


class TLSMode(StrEnum):
    """How the connection is secured; the stronger modes also check who answers."""

    DISABLE = "Disable"
    REQUIRE = "Require"
    VERIFY_CA = "VerifyCA"
    VERIFY_FULL = "VerifyFull"


class CredentialsRef(Model):
    """A Secret with user name and password."""

    name: Name = Field(description="Name of the Secret, in the namespace of the Database.")
    username_key: SecretKey = Field(default="username", description="Key that holds the user name.")
    password_key: SecretKey = Field(default="password", description="Key that holds the password.")


class TLS(Model):
    """Transport security of the connection."""

    model_config = rules(
        cel(
            "!(self.mode in ['VerifyCA', 'VerifyFull']) || has(self.caSecretRef)",
            "caSecretRef is required by modes VerifyCA and VerifyFull",
        )
    )
    mode: TLSMode = Field(
        default=TLSMode.REQUIRE,
        description="Disable: plain text. Require: encrypted, whoever answers. VerifyCA: the server's certificate is"
        " signed by the authority in caSecretRef. VerifyFull: and is issued to the very host.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that the server's certificate is checked against.",
    )
    client_cert_secret_ref: LocalRef | None = Field(
        default=None, description="Client certificate: a Secret of type kubernetes.io/tls (keys tls.crt and tls.key)."
    )


_HOST = r"^[A-Za-z0-9_.:\-]+$"
Host = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=_HOST),
    matches(_HOST, "a host name or an address, without port or scheme"),
]


class Connection(Model):
    """Where the database answers and how to log in."""

    model_config = rules(cel("has(self.host) != has(self.hosts)", "exactly one of host and hosts is required"))
    host: Host | None = Field(
        default=None, description="Host name or address, such as orders-rw.shop.svc. Exactly one of host and hosts."
    )
    hosts: Annotated[list[Host], Field(min_length=1, max_length=16), UNIQUE] | None = Field(
        default=None,
        description="All nodes of a replicated database; backups are taken from a replica where one is fit.",
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description="TCP port. Absent: the engine's own (PostgreSQL: 5432, MariaDB: 3306, Redis: 6379).",
    )
    database: (
        Annotated[
            str,
            Field(min_length=1, max_length=63),
            checks(found_instead("!self.contains('=') && !self.contains('://')", "the plain name of a database")),
        ]
        | None
    ) = Field(
        default=None,
        description="Back up this database only, and so by logical backups only. Absent: the whole server. Redis: no"
        " limit; a backup holds all databases.",
    )
    credentials_secret_ref: CredentialsRef = Field(description="Secret with the user name and password to log in with.")
    tls: TLS | None = Field(default=None, description="Transport security. Absent: mode Require.")


class Objectives(Model):
    """Recovery objectives; each overrides the tier's."""

    rto: PositiveDuration | None = Field(
        default=None, description="Longest acceptable time to restore (recovery time objective), such as 15m."
    )
    rpo: PositiveDuration | None = Field(
        default=None, description="Longest acceptable span of lost writes (recovery point objective), such as 5m."
    )


class Heartbeat(Model):
    """A small write that lets the recovery point of an idle database move on."""

    interval: PositiveDuration = Field(default="60s", description="Time between two heartbeats.")


_IMAGE = r"^[^\s]+$"


class Runner(Model):
    """The image of this database's Jobs."""

    image: Annotated[
        str, Field(min_length=1, max_length=512, pattern=_IMAGE), matches(_IMAGE, "an image reference")
    ] = Field(
        description="Image with the agent and the tools of the server's own major version; for extensions and"
        " libraries of your own."
    )


class Replication(Model):
    """How the database is replicated."""

    model_config = rules(
        cel("self.provider != 'Sentinel' || has(self.masterName)", "masterName is required by provider Sentinel")
    )
    provider: Literal[
        "Patroni",
        "Sentinel",
        "RedisCluster",
        "ReplicaSet",
        "MariaDBReplication",
        "GroupReplication",
        "RDS",
        "CloudNativePG",
        "StatefulSet",
    ] = Field(description="What decides which node is the primary.")
    endpoints: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=512)]], Field(max_length=16), UNIQUE] | None
    ) = Field(default=None, description="Where the provider answers, such as Patroni's REST API or the Sentinels.")
    master_name: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Name of the master set; with Sentinel."
    )


_RDS_NAME = r"^[a-zA-Z][a-zA-Z0-9\-]*$"
RDSName = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=_RDS_NAME),
    matches(_RDS_NAME, "an RDS identifier (a letter, then letters, digits and -)"),
]


Region = Annotated[str, Field(min_length=1, max_length=32)]
AwsName = Annotated[str, Field(min_length=1, max_length=255)]
_URL = r"^https?://[^\s]+$"


class CloudKeysRef(Model):
    """A Secret with an access key of AWS."""

    name: Name = Field(description="Name of the Secret, with the keys accessKeyId and secretAccessKey.")


class RDSCopy(Model):
    """A second copy of each snapshot, in another region."""

    region: Region = Field(description="AWS region that takes the copies.")
    kms_key_id: AwsName | None = Field(
        default=None, description="KMS key of that region, which an encrypted snapshot needs there."
    )


class RDSDrillPlace(Model):
    """Where a drill makes its temporary instance. Nothing of it is taken over from production by itself: a restored
    copy has production's data and passwords."""

    parameter_group: AwsName = Field(
        description="DB parameter group of drills: as production's, but with nothing that acts by itself (no pg_cron,"
        " max_logical_replication_workers 0; MySQL, MariaDB: event_scheduler OFF)."
    )
    cluster_parameter_group: AwsName | None = Field(
        default=None, description="DB cluster parameter group, as parameterGroup. Required with cluster."
    )
    subnet_group: AwsName = Field(description="DB subnet group.")
    security_group_ids: Annotated[list[AwsName], Field(min_length=1, max_length=5), UNIQUE] = Field(
        description="VPC security groups that let the drill's pod in and nothing out. None of production's: one that"
        " the instance itself has is refused."
    )
    instance_class: AwsName | None = Field(default=None, description="Instance class. Absent: production's own.")


class RDSInstance(Model):
    """An Amazon RDS instance or Aurora cluster."""

    model_config = rules(
        cel("has(self.instance) != has(self.cluster)", "exactly one of instance and cluster is required")
    )
    instance: RDSName | None = Field(
        default=None, description="Identifier of the instance. Exactly one of instance and cluster."
    )
    cluster: RDSName | None = Field(default=None, description="Identifier of the Aurora or Multi-AZ cluster.")
    region: Region = Field(description="AWS region, such as eu-central-1.")
    engine: Literal["PostgreSQL", "MySQL", "MariaDB"] = Field(description="What RDS runs.")
    endpoint: (
        Annotated[str, Field(max_length=512, pattern=_URL), matches(_URL, "an URL with http:// or https://")] | None
    ) = Field(
        default=None, description="URL of the RDS API, such as a VPC endpoint's. Absent: AWS's own of the region."
    )
    credentials_secret_ref: CloudKeysRef | None = Field(
        default=None,
        description="Secret with an access key of AWS. Absent: workload identity, by serviceAccountName of the"
        " podTemplate.",
    )
    copy_to: RDSCopy | None = Field(default=None, description="Copy each snapshot to another region too.")
    drill: RDSDrillPlace | None = Field(
        default=None, description="Where a drill makes its temporary instance. Absent: drills are refused."
    )


class DataVolume(Model):
    """The claim that holds the data directory."""

    claim_name: Name = Field(description="Name of the PersistentVolumeClaim.")


_VERSION = r"^[0-9]+(\.[0-9]+)*$"


class DatabaseSpec(Model):
    """What a user says about a database."""

    model_config = rules(
        cel("self.engine == 'RDS' || has(self.connection)", "connection is required unless engine is RDS"),
        cel("(self.engine == 'RDS') == has(self.rds)", "rds is required by engine RDS, and for that engine only"),
    )
    engine: EngineName = Field(
        description="What the database is. This release backs up PostgreSQL (14 to 18), MariaDB (10.6 and later), and"
        " Redis (6.0 to 7.2) with Valkey (7.2 to 9.1) as engine Redis, and Amazon RDS by its snapshots; the others are"
        " refused by its status."
    )
    connection: Connection | None = Field(
        default=None,
        description="Where the database answers and how to log in. With RDS only the login and tls count: a drill logs"
        " in to its temporary instance with them.",
    )
    version: (
        Annotated[str, Field(max_length=32, pattern=_VERSION), matches(_VERSION, 'a version such as "15" or "15.4"')]
        | None
    ) = Field(
        default=None,
        description="Version of the server; detected where absent. The runner image is chosen by engine and major"
        " version.",
    )
    tier: Annotated[int, Field(ge=1, le=4)] = Field(
        default=3,
        description="How much the database matters, and so its objectives: 1 critical (RTO 15m, RPO 5m), 2 important"
        " (1h, 1h), 3 standard (4h, 24h), 4 low (24h, 7d).",
    )
    objectives: Objectives | None = Field(default=None, description="Objectives that differ from the tier's.")
    environment: Literal["Production", "Staging", "Development"] = Field(
        default="Production", description="Where it is used; Production asks for more consent before anything risky."
    )
    heartbeat: Heartbeat | None = Field(
        default=None,
        description="Opt in to a small regular write, so that the recovery point moves on while the database is idle."
        " PostgreSQL: a logical message in the WAL, no table and no grant needed.",
    )
    runner: Runner | None = Field(default=None, description="Own image for this database's Jobs.")
    replication: Replication | None = Field(default=None, description="How the database is replicated.")
    rds: RDSInstance | None = Field(default=None, description="The RDS instance or cluster; engine RDS only.")
    data_volume: DataVolume | None = Field(
        default=None, description="Claim with the data directory, for physical backups that need to read it (MariaDB)."
    )


class ScheduleCursor(Model):
    """How far one schedule of a policy has come for this database."""

    name: Identifier = Field(description="Name of the schedule.")
    slot: Time | None = Field(default=None, description="The newest slot that was answered, by a run or as missed.")
    missed: int = Field(default=0, description="Slots of this schedule that no run answered.")


class PolicyCursor(Model):
    """The state of one policy for this database."""

    name: Identifier = Field(description="Name of the BackupPolicy.")
    uid: Identifier = Field(description="Its uid: a policy that is created anew under the same name starts anew.")
    schedules: Annotated[list[ScheduleCursor], Field(max_length=64), one_each("name")] = Field(
        default_factory=list, description="How far each schedule has come."
    )
    run_now_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/run-now that was seen."
    )
    suspended: bool = Field(default=False, description="Whether the policy was suspended at the last look.")
    last_run: Identifier | None = Field(default=None, description="Name of the newest Backup.")
    last_success: Time | None = Field(default=None, description="When the newest successful Backup was complete.")
    last_success_run: Identifier | None = Field(default=None, description="Name of that Backup.")
    consecutive_failures: int = Field(default=0, description="Runs that failed since the newest success.")
    missed_slots: int = Field(default=0, description="Slots of all schedules that no run answered.")
    next: Time | None = Field(default=None, description="The next slot.")


class DrillCursor(PolicyCursor):
    """The state of one RestoreDrill for this database."""

    engine_version: Identifier | None = Field(
        default=None, description="Version of the server that was drilled last; another major version asks for a drill."
    )
    runs: int = Field(default=0, description="Runs that were started for this database.")


class Estimate(Model):
    """How long a restore right now would take."""

    restore_now_seconds: int = Field(description="In seconds.")
    restore_now: Identifier = Field(description="The same for people, such as 9m12s.")
    basis: Message = Field(description="What it is reckoned from.")


class EffectiveObjectives(Model):
    """The objectives in force."""

    tier: int = Field(description="The tier they come from.")
    rto: Identifier = Field(description="Recovery time objective in force.")
    rpo: Identifier = Field(description="Recovery point objective in force.")


class LastBackup(Model):
    """The newest successful backup."""

    name: Identifier = Field(description="Name of the Backup.")
    at: Time = Field(description="When it was complete.")
    size_bytes: int = Field(description="Stored size in bytes.")
    restore_bytes: int | None = Field(
        default=None, description="Stored bytes that restoring it reads: its own, and those of what it stands on."
    )
    engine_version: Identifier | None = Field(default=None, description="Version of the server that it is of.")


class LastProven(Model):
    """The newest drill that proved a backup of this database."""

    run: Identifier = Field(description="Name of the drill run.")
    at: Time = Field(description="When it ended.")
    level: Identifier = Field(description="How deep it looked: Artifact, Restore, Deep or Application.")
    rto_seconds: int | None = Field(default=None, description="Measured time to restore, in seconds.")
    rto: Identifier | None = Field(default=None, description="The same for people, such as 9m12s.")
    rpo_seconds: int | None = Field(default=None, description="Measured span of lost writes, in seconds.")
    backup: Identifier | None = Field(default=None, description="The Backup that it proved.")
    restore_bytes: int | None = Field(default=None, description="Stored bytes that it read.")
    replayed: bool = Field(default=False, description="Whether it went on to a point of the shipped log.")
    passed: bool = Field(description="Whether all critical checks passed.")


class DatabaseStatus(Model):
    """What is known about a database; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Ready, Reconciling, Stalled, Reachable, Protected, RPOMet, ContinuousHealthy, RTOMet, Proven.",
    )
    engine_version: Identifier | None = Field(default=None, description="Version that the server reports.")
    system_identifier: Identifier | None = Field(
        default=None, description="The server's own identity; a recreated database has another."
    )
    objectives: EffectiveObjectives | None = Field(default=None, description="The objectives in force.")
    recovery: Recovery | None = Field(default=None, description="What could be restored now, from storage alone.")
    managed: ManagedRecovery | None = Field(
        default=None, description="What the cloud says that it can restore by itself; RDS only."
    )
    archiver: Archiver | None = Field(default=None, description="The archiver that ships this server's log.")
    log_preflight: LogPreflight | None = Field(
        default=None, description="What archiving needs of the server; absent while no policy asks for it."
    )
    policies: Annotated[list[PolicyCursor], Field(max_length=256), one_each("uid")] = Field(
        default_factory=list, description="What each policy has done for this database, and what comes next."
    )
    drills: Annotated[list[DrillCursor], Field(max_length=64), one_each("uid")] = Field(
        default_factory=list, description="What each RestoreDrill has done for this database, and what comes next."
    )
    last_backup: LastBackup | None = Field(default=None, description="The newest successful backup.")
    last_proven: LastProven | None = Field(default=None, description="The newest drill that proved a backup.")
    estimate: Estimate | None = Field(
        default=None, description="How long a restore right now would take, as the last drill measured it."
    )
    probed_generation: int | None = Field(
        default=None, description="Generation of the spec with which the server was looked at last."
    )
    last_probe_time: Time | None = Field(default=None, description="When the server was looked at last.")
