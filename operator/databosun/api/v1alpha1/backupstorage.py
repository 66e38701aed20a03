"""BackupStorage: a bucket or volume, its encryption, signing and immutability."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import Duration, LocalRef, Model, Name, PodTemplate, SecretKeyRef, Time, cel, rules
from databosun.api.v1alpha1.conditions import Condition

Prefix = Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/\-]*$")]


class S3(Model):
    """An S3 bucket."""

    endpoint: Annotated[str, Field(max_length=512, pattern=r"^https?://[^/\s]+/?$")] | None = Field(
        default=None, description="Absent: Amazon's own."
    )
    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.\-]*[a-z0-9]$")]
    prefix: Prefix | None = None
    region: Annotated[str, Field(min_length=1, max_length=32)] = "us-east-1"
    force_path_style: bool = False
    credentials_secret_ref: LocalRef | None = Field(
        default=None, description="A Secret with accessKeyId and secretAccessKey. Absent: workload identity."
    )
    ca_secret_ref: SecretKeyRef | None = None


class Volume(Model):
    """A folder of a claim of the same namespace."""

    claim_name: Name
    path: Annotated[str, Field(max_length=256, pattern=r"^/[A-Za-z0-9._/\-]*$")] = "/"


class Age(Model):
    """Encryption with age (age-encryption.org)."""

    recipients: list[Annotated[str, Field(max_length=128, pattern=r"^age1[0-9a-z]+$")]] = Field(min_length=1, max_length=8)
    identity_secret_refs: list[SecretKeyRef] = Field(
        default_factory=list, max_length=8, description="Mounted only into restores and drills, never into backups."
    )


class Encryption(Model):
    """Client-side encryption."""

    age: Age


class Signing(Model):
    """Ed25519 signatures over manifests and evidence."""

    key_secret_ref: SecretKeyRef = Field(description="The private key, PEM.")
    public_key: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="The public key, PEM.")


class Immutability(Model):
    """Object lock on every backup's closure."""

    mode: Literal["Governance", "Compliance"] = "Compliance"
    retention: Duration


class BackupStorageSpec(Model):
    """Where backups are kept."""

    model_config = rules(cel("has(self.s3) != has(self.volume)", "exactly one of s3 and volume is required"))
    s3: S3 | None = None
    volume: Volume | None = None
    encryption: Encryption | None = None
    signing: Signing | None = None
    validation_interval: Duration = "1h"
    immutability: Immutability | None = None
    max_concurrent_runs: Annotated[int, Field(ge=1, le=1000)] = 4
    adopt_from: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Id of the cluster whose prefix is taken over, once."
    )
    pod_template: PodTemplate | None = None


class Owner(Model):
    """Who owns the prefix."""

    cluster_id: str


class Usage(Model):
    """What the storage held at the last validation."""

    objects: int
    bytes: int


class BackupStorageStatus(Model):
    """What is known about a storage; written by the operator alone."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})
    last_validated_time: Time | None = None
    validated_generation: int | None = None
    owner: Owner | None = None
    usage: Usage | None = None
    error: str | None = None
