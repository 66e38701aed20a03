"""From what the engine captured and the pipeline stored to a manifest, and from a manifest to a result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import PurePosixPath

from databosun.agent.context import Context
from databosun.agent.pipeline import Stored
from databosun.api.backuptasks import BackupTask
from databosun.api.result import BackupResult
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.base import Captured
from databosun.storage.layout import BackupFolder
from databosun.storage.manifest import Artefact, Encryption, Manifest, ManifestDatabase, StoredFile
from databosun.storage.verify import Written

SUSPICIOUS = 5  # a backup below a fifth of the previous one's size is worth a look
OBJECTS_IN_RESULT = 50
_COMPRESSION = {".zst": "zstd", ".gz": "gzip", ".lz4": "lz4"}


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup whose data is stored and whose manifest is not."""

    captured: Captured
    stored: tuple[Stored, ...]
    started_at: datetime
    completed_at: datetime
    parent_sha256: str | None
    notes: tuple[str, ...] = ()

    @property
    def logical_bytes(self) -> int:
        """Size of the data, from the engine where it says so."""
        if self.captured.logical_bytes is not None:
            return self.captured.logical_bytes
        return sum(one.bytes for one in self.stored if not one.plain)

    @property
    def stored_bytes(self) -> int:
        """Size in the store."""
        return sum(one.stored_bytes for one in self.stored)


def compose_manifest(ctx: Context, task: BackupTask, taken: Taken) -> Manifest:
    """The manifest of a backup, without files and signature."""
    captured, database = taken.captured, ctx.database
    return Manifest(
        id=task.id,
        attempt=ctx.request.attempt,
        cluster=ctx.storage.cluster_id,
        storage=ctx.storage.name,
        database=ManifestDatabase(
            namespace=database.namespace,
            name=database.name,
            uid=task.database_uid,
            engine=database.engine,
            engine_version=captured.engine_version,
            system_identifier=captured.system_identifier,
        ),
        environment=dict(captured.environment),
        type=captured.type,
        method=captured.method,
        parent=captured.parent,
        parent_manifest_sha256=taken.parent_sha256 if captured.parent else None,
        base=captured.base,
        chain_length=captured.chain_length,
        started_at=taken.started_at,
        snapshot_time=captured.snapshot_time,
        completed_at=taken.completed_at,
        scheduled_for=task.scheduled_for,
        position=captured.position,
        logical_bytes=taken.logical_bytes,
        stored_bytes=taken.stored_bytes,
        artefacts=[_artefact(one, ctx.storage.age_recipients) for one in taken.stored],
        objects=list(captured.objects),
        elsewhere=list(captured.elsewhere),
        schema_hash=captured.schema_hash,
        client_versions=dict(captured.client_versions),
        notes=[*captured.notes, *taken.notes],
        size_suspicious=size_suspicion(taken.logical_bytes, task.previous_bytes),
        image=ctx.request.image,
        policy=task.policy,
        policy_uid=task.policy_uid,
        databosun_version=version("databosun"),
    )


def size_suspicion(logical: int, previous: int | None) -> str | None:
    """A sentence where a backup is below a fifth of the previous one of its kind."""
    if not previous or logical * SUSPICIOUS >= previous:
        return None
    return (
        f"{logical} bytes of data, less than a fifth of the {previous} of the previous backup of this type and method"
    )


def result_of(manifest: Manifest, sha256: str, location: str) -> BackupResult:
    """What the operator is told of a backup, from its manifest alone."""
    return BackupResult(
        id=manifest.id,
        attempt=manifest.attempt,
        location=location,
        checksum=sha256,
        type=manifest.type,
        method=manifest.method,
        logical_bytes=manifest.logical_bytes,
        stored_bytes=manifest.stored_bytes,
        object_count=len(manifest.objects),
        objects=manifest.objects[:OBJECTS_IN_RESULT],
        position=manifest.position,
        started_at=manifest.started_at,
        snapshot_time=manifest.snapshot_time,
        completed_at=manifest.completed_at,
        engine=EngineName(manifest.database.engine),
        engine_version=manifest.database.engine_version,
        system_identifier=manifest.database.system_identifier,
        tool_versions=manifest.client_versions,
        parent=manifest.parent,
        base=manifest.base,
        chain_length=manifest.chain_length,
        notes=manifest.notes,
        size_suspicious=manifest.size_suspicious,
    )


def stored_file(folder: BackupFolder, written: Written) -> StoredFile:
    """An object as the manifest lists it, relative to a folder."""
    return StoredFile(name=written.key.removeprefix(f"{folder.root}/"), bytes=written.bytes, sha256=written.sha256)


def _artefact(stored: Stored, recipients: list[str]) -> Artefact:
    return Artefact(
        name=stored.name,
        role="EngineManifest" if stored.plain else "Data",
        bytes=stored.bytes,
        stored_bytes=stored.stored_bytes,
        sha256=stored.sha256,
        parts=[
            StoredFile(name=stored.part_name(written), bytes=written.bytes, sha256=written.sha256)
            for written in stored.parts
        ],
        compression=_COMPRESSION.get(PurePosixPath(stored.name).suffix),
        encryption=Encryption(recipients=recipients) if stored.encrypted else None,
    )
