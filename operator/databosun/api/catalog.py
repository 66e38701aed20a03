"""The manifest as the catalog task shows it: what a Backup object tells of a backup."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.fields import Instant, ShortName

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

RunName = Annotated[str, Field(min_length=1, max_length=57, pattern=_NAME)]
Count = Annotated[int, Field(ge=0)]


class FoundDatabase(Model):
    """The database that was backed up, as it was then."""

    namespace: str
    name: ShortName
    uid: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
    engine: EngineName | None = None
    engine_version: str
    system_identifier: str | None = None


class FoundBackup(Model):
    """One backup in the store. Bounds are those of the objects that are made of it: anybody may have written it."""

    id: RunName
    attempt: Annotated[int, Field(ge=1, le=99)]
    database: FoundDatabase
    type: BackupType
    method: Method
    parent: RunName | None = None
    base: RunName | None = None
    chain_length: Count = 0
    started_at: Instant
    snapshot_time: Instant | None = None
    completed_at: Instant
    scheduled_for: Instant | None = None
    position: Position
    logical_bytes: Count
    stored_bytes: Count
    objects: list[ObjectCount] = Field(default_factory=list)
    object_count: Count = 0
    client_versions: Annotated[dict[str, str], Field(max_length=32)] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    size_suspicious: str | None = None
    image: str | None = None
    policy: ShortName | None = None
    policy_uid: str | None = None
    location: str | None = None
