"""BackupStorage: a bucket or volume, its encryption, signing and immutability."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate, SecretKeyRef, Sized
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.fields import Identifier, Message, Name, PositiveDuration, Time
from databosun.api.v1alpha1.schema import UNIQUE, cel, checks, found_instead, matches, one_each, rules

_PREFIX = r"^[A-Za-z0-9][A-Za-z0-9._/\-]*$"
_PATH = r"^/[A-Za-z0-9._/\-]*$"
_ENDPOINT = r"^https?://[^/\s]+/?$"
_BUCKET = r"^[a-z0-9][a-z0-9.\-]*[a-z0-9]$"
_REGION = r"^[A-Za-z0-9\-]+$"
_RECIPIENT = r"^age1[0-9a-z]+$"
_CLUSTER_ID = r"^[A-Za-z0-9][A-Za-z0-9._\-]*$"
_PLAIN = checks(found_instead("!self.contains('..') && !self.contains('//')", "a path without .. and //"))

Prefix = Annotated[
    str,
    Field(min_length=1, max_length=256, pattern=_PREFIX),
    matches(_PREFIX, "a path such as prod/eu, without a slash in front"),
    _PLAIN,
]


class S3(Model):
    """An S3 bucket."""

    endpoint: (
        Annotated[
            str,
            Field(max_length=512, pattern=_ENDPOINT),
            matches(_ENDPOINT, "an address such as https://objects.example.com:8333, without a path"),
        ]
        | None
    ) = Field(default=None, description="Address of the S3 service. Absent: Amazon's own.")
    bucket: Annotated[
        str,
        Field(min_length=3, max_length=63, pattern=_BUCKET),
        matches(_BUCKET, "the name of a bucket (lower case letters, digits, - and .)"),
    ] = Field(description="Name of the bucket; it has to exist.")
    prefix: Prefix | None = Field(
        default=None, description="Folder inside the bucket; below it, each namespace has its own."
    )
    region: Annotated[
        str, Field(min_length=1, max_length=32, pattern=_REGION), matches(_REGION, "a region such as eu-central-1")
    ] = Field(default="us-east-1", description="Region of the bucket; most other S3 servers take any.")
    force_path_style: bool = Field(
        default=False,
        description="Address the bucket as endpoint/bucket instead of bucket.endpoint, as most other S3 servers need.",
    )
    credentials_secret_ref: LocalRef | None = Field(
        default=None,
        description="Secret with the keys accessKeyId and secretAccessKey. Absent: workload identity of"
        " podTemplate.serviceAccountName.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that the endpoint's certificate is checked against.",
    )


class Volume(Model):
    """A folder of a claim of the same namespace."""

    claim_name: Name = Field(
        description="Name of the PersistentVolumeClaim; shared (ReadWriteMany) where runs overlap."
    )
    path: Annotated[
        str, Field(max_length=256, pattern=_PATH), matches(_PATH, "an absolute path such as /backups"), _PLAIN
    ] = Field(default="/", description="Folder inside the volume.")


class Age(Model):
    """Encryption with age (age-encryption.org)."""

    recipients: Annotated[
        list[
            Annotated[
                str,
                Field(max_length=128, pattern=_RECIPIENT),
                matches(_RECIPIENT, "a public key of age, which starts with age1 (age-keygen prints it)"),
            ]
        ],
        Field(min_length=1, max_length=8),
        UNIQUE,
    ] = Field(description="Public keys; whoever holds the identity of any of them can read the backups.")
    identity_secret_refs: Annotated[list[SecretKeyRef], Field(max_length=8), one_each("name", "key")] = Field(
        default_factory=list,
        description="Secrets with the private keys, old ones included. Mounted only into restores and drills, never"
        " into backups.",
    )


class Encryption(Model):
    """Client-side encryption: the store never sees plain data."""

    age: Age = Field(description="Encryption with age (age-encryption.org).")


class Signing(Model):
    """Ed25519 signatures over manifests and evidence."""

    key_secret_ref: SecretKeyRef = Field(description="The private key, PEM (openssl genpkey -algorithm ed25519).")
    public_key: Annotated[
        str,
        Field(min_length=1, max_length=512),
        checks(
            cel(
                "self.contains('-----BEGIN PUBLIC KEY-----') && self.contains('-----END PUBLIC KEY-----')",
                "expected a public key in PEM form, which starts with -----BEGIN PUBLIC KEY-----",
            )
        ),
    ] = Field(description="The public key, PEM (openssl pkey -pubout); signatures are checked against it.")


class Immutability(Model):
    """Object lock on every backup and all that it needs."""

    mode: Literal["Governance", "Compliance"] = Field(
        default="Compliance",
        description="Compliance: nobody can delete early. Governance: those with a special permission can.",
    )
    retention: PositiveDuration = Field(description="How long each backup is locked from when it is complete.")


class Erasure(Model):
    """What people who were erased are found by in what is restored."""

    key_secret_ref: SecretKeyRef = Field(
        description="Secret key with at least 32 random bytes, such as of openssl rand -hex 32, that the keys of erased"
        " people are hashed with. Keep it as long as any backup, and never change it: without it, a restore of a"
        " backup that is older than an erasure is refused."
    )


class BackupStorageSpec(Model):
    """Where backups are kept."""

    model_config = rules(
        cel("has(self.s3) != has(self.volume)", "exactly one of s3 and volume is required"),
        cel("!has(self.immutability) || has(self.s3)", "immutability needs s3: a volume has no object lock"),
    )
    s3: S3 | None = Field(default=None, description="An S3 bucket. Exactly one of s3 and volume.")
    volume: Volume | None = Field(default=None, description="A folder of a claim.")
    encryption: Encryption | None = Field(
        default=None, description="Encrypt before upload. Absent: the backups are stored as readable as the store is."
    )
    signing: Signing | None = Field(
        default=None, description="Sign each manifest, so that a forged backup is told apart even in a rebuilt cluster."
    )
    erasure: Erasure | None = Field(
        default=None, description="Needed by ErasureRequests, and by every restore and drill after one."
    )
    validation_interval: PositiveDuration = Field(
        default="1h", description="How often the store is tried: write, conditional write, read, list, delete, lock."
    )
    immutability: Immutability | None = Field(
        default=None,
        description="Object lock; the bucket has to be made with it. A locked backup outlives its retention.",
    )
    max_concurrent_runs: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=4, description="Runs that may write to or read from this storage at a time; the others wait."
    )
    adopt_from: (
        Annotated[
            str, Field(min_length=1, max_length=64, pattern=_CLUSTER_ID), matches(_CLUSTER_ID, "the id of a cluster")
        ]
        | None
    ) = Field(
        default=None,
        description="Take over what another cluster wrote to this place, once: the id of that cluster, as the refusal"
        " names it.",
    )
    pod_template: PodTemplate | None = Field(
        default=None, description="Pods of the Jobs that serve this storage: validation, deletion, catalog."
    )

    @property
    def claim(self) -> str | None:
        """The claim that holds it; None for a bucket."""
        return self.volume.claim_name if self.volume else None


class Owner(Model):
    """Who owns the prefix."""

    cluster_id: Identifier = Field(description="Id of the cluster that writes here.")


class Usage(Sized):
    """What the storage held at the last validation."""

    objects: int = Field(description="Objects below this namespace's folder.")


class CatalogRebuild(Model):
    """The last time that Backup objects were made from what the store holds."""

    token: Identifier = Field(description="The value of databosun.io/rebuild-catalog that asked for it.")
    found: int = Field(default=0, description="Backups found in the store.")
    created: int = Field(default=0, description="Those that had no object and were given one.")
    skipped: int = Field(default=0, description="Those whose manifest does not fit the place where it lies.")
    next: Identifier | None = Field(
        default=None, description="While under way: the backup that the last page ended with."
    )
    tries: int = Field(default=0, description="While under way: failed tries at the page that comes next.")
    at: Time | None = Field(default=None, description="When it came to its end. Absent while it is under way.")
    error: Message | None = Field(
        default=None, description="Why it failed; while under way, what it waits for or why the last try failed."
    )


class BackupStorageStatus(Model):
    """What is known about a storage; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(default_factory=list, description="Ready, Reconciling, Stalled, Reachable.")
    last_validated_time: Time | None = Field(default=None, description="When the store was last tried with success.")
    last_attempt_time: Time | None = Field(
        default=None, description="When the store was last tried, whatever came of it."
    )
    last_sweep_time: Time | None = Field(default=None, description="When what failed runs left was last removed.")
    validated_generation: int | None = Field(default=None, description="Generation of the spec that was tried then.")
    owner: Owner | None = Field(default=None, description="Who owns the folder, as its marker says.")
    usage: Usage | None = Field(default=None, description="What the storage held then.")
    error: Message | None = Field(default=None, description="What went wrong at the last try.")
    catalog_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/rebuild-catalog that was carried out."
    )
    catalog: CatalogRebuild | None = Field(
        default=None, description="The last rebuild of Backup objects from the store (kubectl bosun catalog rebuild)."
    )
