"""What Jobs work on: databases and storages as an agent sees them, and the Secrets that are mounted for it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import EngineName, TLSMode

EVIDENCE = "evidence-"
"""What the uses of Secrets begin with that are of the storage of evidence, where that is another."""
ERASURE = "erasure"
"""The use of the Secret that subjects of erasures are hashed with; known by a storage, and asked for where needed."""
SUBJECT = "subject"
"""The use of the Secret with the key of the one subject that is to be erased."""


class SecretUse(Model):
    """A Secret mounted under `/run/databosun/secrets/<use>/`; named so that the agent can say which one is missing."""

    use: str = Field(
        description="database, database-ca, database-client, failover, cloud, storage, storage-ca, signing, age-0 …,"
        " notify, hash, subject, erasure"
    )
    secret: str
    keys: dict[str, str] = Field(description="File name in the folder -> key in the Secret.")


class CopyTarget(Model):
    """A region that takes second copies of snapshots."""

    region: str
    kms_key_id: str | None = None


class DrillPlace(Model):
    """Where a drill makes its temporary instance."""

    parameter_group: str
    cluster_parameter_group: str | None = None
    subnet_group: str
    security_group_ids: list[str]
    instance_class: str | None = None


class RDSTarget(Model):
    """An instance or cluster of Amazon RDS as the agent sees it."""

    instance: str | None = None
    cluster: str | None = None
    region: str
    engine: Literal["PostgreSQL", "MySQL", "MariaDB"]
    endpoint: str | None = None
    has_credentials: bool = Field(description="False: workload identity.")
    secret: str | None = Field(default=None, description="Name of the Secret with the keys, for messages.")
    copy_to: CopyTarget | None = None
    drill: DrillPlace | None = None


class Problem(Model):
    """What stands in the way of a Job, where another way may do."""

    reason: str
    message: str


class DatabaseTarget(Model):
    """A database as the agent sees it."""

    namespace: str
    name: str
    uid: str
    engine: EngineName
    hosts: list[str]
    port: int
    database: str | None = None
    tls: TLSMode = TLSMode.REQUIRE
    version: str | None = None
    environment: str = "Production"
    rds: RDSTarget | None = None
    data_mount: str | None = Field(
        default=None, description="Where the claim of its data directory is mounted, read-only. None: nowhere."
    )
    data_problem: Problem | None = Field(default=None, description="Why it is not, though the Database names it.")


class S3Target(Model):
    """A bucket as the agent sees it."""

    endpoint: str | None = None
    bucket: str
    region: str
    force_path_style: bool = False
    has_credentials: bool = Field(description="False: workload identity.")


class Immutable(Model):
    """Object lock asked for."""

    mode: Literal["Governance", "Compliance"]
    seconds: int


class StorageTarget(Model):
    """A store as the agent sees it; keys start with `<prefix>/<namespace>/`."""

    namespace: str
    name: str
    cluster_id: str
    prefix: str = ""
    s3: S3Target | None = None
    volume_path: str | None = Field(default=None, description="Folder below the mounted claim; None for buckets.")
    age_recipients: list[str] = Field(default_factory=list)
    signed: bool = False
    public_key: str | None = None
    immutable: Immutable | None = None
    adopt_from: str | None = None
