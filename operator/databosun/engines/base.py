"""The seam between the agent and a database engine. An engine says how, never when, and knows no Kubernetes.

What both say to each other on the way back is in `recovery.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from databosun.api.result import ProbeResult
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backup import HeldPart, ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.engines.recovery import Copy, RecoveryPlan, Source


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in. `ca`, `cert` and `key` are files; `cloud` is an access key, its id first; never printed."""

    username: str
    password: str = field(repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    cloud: tuple[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """A database and how to log in to it."""

    database: DatabaseTarget
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Parent:
    """The backup below an incremental: its id and the engine's own file manifest, its digest verified."""

    id: str
    base: str
    chain_length: int
    engine_manifest: bytes
    position: Position
    system_identifier: str | None
    engine_version: str


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A file of a shipped log in the store, from position to position, and what the archiver marked it with."""

    begin: int
    end: int
    mark: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of one backup. `log_begin`: onto a physical one that starts before, the log cannot be replayed.

    `log`: the newest files of a server's log that the store has, the newest first, for an engine whose servers do not
    know where that stands.
    """

    type: BackupType
    method: Method
    consistency: str
    parent: Parent | None
    scratch: Path
    scratch_bytes: int | None
    deadline: datetime
    label: str
    fingerprints: bool = True
    log_begin: str | None = None
    log: Callable[[str], Iterable[LogPiece]] = lambda _: ()


class ArtefactWriter(Protocol):
    """One artefact on its way to storage. `write` takes the plaintext in order and blocks while storage is slower.

    A buffer given to `write` may be overwritten afterwards. What either method raises is passed on, never swallowed:
    the artefact is given up by then, and so is the backup.
    """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Errors: WorldFault (storage), UserFault."""
        ...

    def finish(self, *, logical_bytes: int | None = None) -> None:
        """Flush, run the format check, upload the rest, read back. Errors: WorldFault (storage), UserFault."""
        ...


class Sink(Protocol):
    """Where artefacts go; compression, encryption, hashing, upload and read-back are none of the engine's business."""

    def open(self, name: str, *, compress: bool, check: Callable[[], StreamCheck] | None = None) -> ArtefactWriter:
        """Start an artefact such as `base.tar.zst`, or `dump/3456.dat.zst`: names of `[A-Za-z0-9._-]` with `/` between.

        `compress`: the sink adds zstd (and no suffix: the name says it already). A thread finishes one artefact
        before it opens the next; several threads may each have one, and wait their turn where memory would not do.
        """
        ...

    def put_plain(self, name: str, data: bytes) -> None:
        """Store a small file unencrypted (the engine's own file manifest)."""
        ...

    def progress(self, stage: str, *, total_bytes: int | None = None) -> None:
        """Say what is being done; bytes are counted by the sink."""
        ...


class StreamCheck(Protocol):
    """A format check on the plaintext stream, fed in order (before compression by the sink, before encryption)."""

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes. Raises DatabosunError where they cannot be right."""
        ...

    def close(self) -> int | None:
        """Say that the stream ended; raises where it is not whole. Returns the uncompressed size where known."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """What a backup holds, in the engine's own terms; goes into manifest.json."""

    type: BackupType
    method: Method
    engine_version: str
    system_identifier: str | None
    position: Position
    snapshot_time: datetime
    parent: str | None
    base: str | None
    chain_length: int
    environment: Mapping[str, Any]
    objects: tuple[ObjectCount, ...] = ()
    elsewhere: tuple[HeldPart, ...] = ()
    schema_hash: str | None = None
    client_versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    logical_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RestoreDoc:
    """What RESTORE.md must know: the manifest of this backup, and those of its chain (base first, this one last).

    The agent's own part of RESTORE.md comes before the engine's and leaves each artefact whole, checked and decrypted,
    but as compressed as its name says, at `<backup id>/<artefact name>` in the working folder, such as
    `orders-2603010300-a1b2c/base.tar.zst`.
    """

    manifest: Mapping[str, Any]
    chain: tuple[Mapping[str, Any], ...]


class Engine(Protocol):
    """What the agent can do with one kind of database. Methods raise UserFault, WorldFault or SafetyStop only."""

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the server; findings name the missing grant or setting and the statement that mends it."""
        ...

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Take one backup into `sink`. Bounded memory; ends all that it started, also when interrupted."""
        ...

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Run one `sql` hook within its timeout."""
        ...

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """The engine's part of RESTORE.md (Markdown): commands from fetched artefacts to a checked database."""
        ...

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Bytes that a restore of this chain needs at its place, at most."""
        ...

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """Read every artefact to its end and demand that its format is right; nothing is written. What was read."""
        ...

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """What to do with a restored volume whose data directory is `data`: sentences, in order."""
        ...

    def recover(self, plan: RecoveryPlan, source: Source) -> AbstractContextManager[Copy]:
        """Restore and recover; the copy runs while the block does, and nothing of it runs after."""
        ...
