"""Database: where it is, how to log in, how much it matters; its status answers "could we recover now?"."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Duration, LocalRef, Model, Name, SecretKey, SecretKeyRef, Time, cel, rules
from databosun.api.v1alpha1.conditions import Condition


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

    name: Name
    username_key: SecretKey = "username"
    password_key: SecretKey = "password"


class TLS(Model):
    """Transport security of the connection."""

    model_config = rules(
        cel("!(self.mode in ['VerifyCA', 'VerifyFull']) || has(self.caSecretRef)", "caSecretRef is required by modes VerifyCA and VerifyFull")
    )
    mode: TLSMode = TLSMode.REQUIRE
    ca_secret_ref: SecretKeyRef | None = None
    client_cert_secret_ref: LocalRef | None = Field(default=None, description="A Secret of type kubernetes.io/tls (tls.crt, tls.key).")


Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_.:\-]+$")]


class Connection(Model):
    """Where the database answers and how to log in."""

    host: Host | None = Field(default=None, description="Host name or address. Exactly one of host and hosts.")
    hosts: Annotated[list[Host], Field(min_length=1, max_length=16)] | None = Field(
        default=None, description="All nodes of a replicated database; backups prefer a replica."
    )
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(default=None, description="Default: the engine's own port.")
    database: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="Only this database, and so logical backups only. Absent: the whole server."
    )
    credentials_secret_ref: CredentialsRef
    tls: TLS | None = None


class Objectives(Model):
    """Recovery objectives; each overrides the tier's."""

    rto: Duration | None = Field(default=None, description="Longest acceptable time to restore.")
    rpo: Duration | None = Field(default=None, description="Longest acceptable span of lost writes.")


class Heartbeat(Model):
    """A small write that lets the recovery point of an idle database move on."""

    interval: Duration = "60s"


class Runner(Model):
    """The image of this database's Jobs."""

    image: Annotated[str, Field(min_length=1, max_length=512)]


class Replication(Model):
    """How the database is replicated."""

    provider: Literal[
        "Patroni", "Sentinel", "RedisCluster", "ReplicaSet", "MariaDBReplication", "GroupReplication", "RDS", "CloudNativePG", "StatefulSet"
    ]
    endpoints: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=16)] | None = None
    master_name: Annotated[str, Field(max_length=128)] | None = None


class RDSInstance(Model):
    """An Amazon RDS instance or Aurora cluster."""

    instance: Annotated[str, Field(max_length=63)] | None = None
    cluster: Annotated[str, Field(max_length=63)] | None = None
    region: Annotated[str, Field(min_length=1, max_length=32)]
    engine: Literal["PostgreSQL", "MySQL", "MariaDB"]


class DataVolume(Model):
    """The claim that holds the data directory."""

    claim_name: Name


class DatabaseSpec(Model):
    """What a user says about a database."""

    engine: EngineName
    connection: Connection | None = None
    version: Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)*$")] | None = Field(
        default=None, description="Detected where absent. The runner image is chosen by engine and major version."
    )
    tier: Annotated[int, Field(ge=1, le=4)] = Field(default=3, description="1 critical, 2 important, 3 standard, 4 low.")
    objectives: Objectives | None = None
    environment: Literal["Production", "Staging", "Development"] = "Production"
    heartbeat: Heartbeat | None = None
    runner: Runner | None = None
    replication: Replication | None = None
    rds: RDSInstance | None = None
    data_volume: DataVolume | None = None


class Recovery(Model):
    """What could be restored now, from storage alone."""

    earliest: Time | None = None
    latest: Time | None = Field(default=None, description="The newest instant provably restorable.")
    continuous: bool = False
    backups: int = Field(default=0, description="Successful backups that stand behind this.")


class ScheduleCursor(Model):
    """How far one schedule of a policy has come for this database."""

    name: str
    slot: Time | None = Field(default=None, description="The newest slot that was answered, by a run or as missed.")
    missed: int = 0


class PolicyCursor(Model):
    """The state of one policy for this database."""

    name: str
    uid: str
    schedules: list[ScheduleCursor] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]})
    run_now_token: str | None = None
    last_run: str | None = None
    last_success: Time | None = None
    last_success_run: str | None = None
    consecutive_failures: int = 0
    missed_slots: int = 0
    next: Time | None = None


class EffectiveObjectives(Model):
    """The objectives in force."""

    tier: int
    rto: str
    rpo: str


class LastBackup(Model):
    """The newest successful backup."""

    name: str
    at: Time
    size_bytes: int


class DatabaseStatus(Model):
    """What is known about a database; written by the operator alone."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})
    engine_version: str | None = None
    system_identifier: str | None = None
    objectives: EffectiveObjectives | None = None
    recovery: Recovery | None = None
    policies: list[PolicyCursor] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]})
    last_backup: LastBackup | None = None
    probed_generation: int | None = None
    last_probe_time: Time | None = None
