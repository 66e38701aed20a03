"""Database: where it is, how to log in, how much it matters; its status answers "could we recover now?"."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import LocalRef, Model, SecretKeyRef
from databosun.api.v1alpha1.fields import Name, PositiveDuration, SecretKey
from databosun.api.v1alpha1.rdsinstance import RDSInstance
from databosun.api.v1alpha1.schema import UNIQUE, cel, checks, found_instead, matches, rules


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
        "MySQLReplication",
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
    cluster_name: Name | None = Field(
        default=None, description="Name of the Cluster object in the Database's namespace; with CloudNativePG."
    )


class DataVolume(Model):
    """The claim that holds the data directory. Jobs mount it read-only, where the server's own pod mounts it."""

    claim_name: Name = Field(
        description="Name of the PersistentVolumeClaim. A running pod must use it: Jobs go to the node of that pod."
        " ReadWriteOncePod is refused, since it lets no second pod read it."
    )
    run_as_user: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None,
        description="User (uid) that the server's files belong to, and that Jobs run as where they read them. Absent:"
        " the one that the server's pod runs as (securityContext.runAsUser). The image mariadb says none: it is 999.",
    )


_VERSION = r"^[0-9]+(\.[0-9]+)*$"


class DatabaseSpec(Model):
    """What a user says about a database."""

    model_config = rules(
        cel("self.engine == 'RDS' || has(self.connection)", "connection is required unless engine is RDS"),
        cel("(self.engine == 'RDS') == has(self.rds)", "rds is required by engine RDS, and for that engine only"),
        cel(
            "!has(self.dataVolume) || self.engine == 'MariaDB'",
            "dataVolume is for engine MariaDB only: physical backups of the others do not read files",
        ),
        cel(
            "!has(self.dataVolume) || !has(self.connection) || has(self.connection.host)",
            "dataVolume is the claim of one server: name that one in connection.host, not several in connection.hosts",
        ),
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
        default=None,
        description="MariaDB: claim with the data directory of connection.host, which physical backups read. Absent:"
        " backups are logical.",
    )
