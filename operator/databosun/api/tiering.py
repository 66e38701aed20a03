"""The words of object transitions: storage classes, what a rule orders, and what was found in the bucket."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant
from databosun.api.v1alpha1.reasons import Reason


class StorageClass(StrEnum):
    """Where objects go, warmest first. GLACIER and DEEP_ARCHIVE cannot be read before they are thawed."""

    STANDARD_IA = "STANDARD_IA"
    GLACIER_IR = "GLACIER_IR"
    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"


class ThawSpeed(StrEnum):
    """How fast, and how dear, archived objects become readable. Expedited is not to be had of DEEP_ARCHIVE."""

    EXPEDITED = "Expedited"
    STANDARD = "Standard"
    BULK = "Bulk"


class ThawOrder(Model):
    """Have archived objects made readable, and wait for them."""

    speed: ThawSpeed = ThawSpeed.STANDARD
    days: int = Field(default=3, description="How long the readable copy stays.")


ARCHIVES = frozenset({StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE})


class TransitionOrder(Model):
    """So many days after the newest backup of a chain, all of the chain goes there."""

    days: int
    storage_class: StorageClass


class Conflict(Model):
    """What stands against moving objects."""

    reason: Reason
    message: str


class Kept(Model):
    """How long a BackupPolicy may keep a backup in the storage."""

    policy: str
    days: int | None = Field(default=None, description="None: nobody can say, or for ever.")
    why: str = Field(description="The rule of its retention that keeps longest.")


class TieringScope(Model):
    """What the operator knows and the bucket does not say; guards only, never part of a plan's hash."""

    conflicts: list[Conflict] = Field(default_factory=list, max_length=16)
    kept: list[Kept] = Field(default_factory=list, max_length=16)
    keep: list[str] = Field(
        default_factory=list, max_length=16, description="Backups whose chains stay where they are."
    )


class BucketFacts(Model):
    """What a look at the bucket found. `moves` and `stays` are for people; what a run moves, it looks up again."""

    place: str = Field(description="Bucket and endpoint.")
    prefix: str = Field(description="The folder of the database's backups; no rule reaches beyond it.")
    foreign_rules: int = Field(default=0, description="Lifecycle rules of the bucket that are not this policy's.")
    conflicts: list[Conflict] = Field(default_factory=list, max_length=16, description="What the bucket's rules do.")
    archived_until: Instant | None = Field(
        default=None, description="The newest backup that lies in an archive class, or bears its tag."
    )
    moves: list[str] = Field(default_factory=list, max_length=32, description="Chains that are due; the first 32.")
    stays: list[str] = Field(
        default_factory=list, max_length=32, description="Chains that are old enough and stay, and why; the first 32."
    )
