"""A client of the replication protocol's BASE_BACKUP, 15 and later: full or incremental, all tablespaces, the manifest.

Message format: PostgreSQL manual, "Streaming Replication Protocol", BASE_BACKUP.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Protocol

from psycopg import pq, sql

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.wire import ServerRefused, Wire, refused_fault, row

# Larger writes cost the sink fewer calls; the server sends about 32 KiB at a time.
_COALESCE = 1024 * 1024
_ARCHIVE = re.compile(r"(base|[0-9]+)\.tar(\.zst)?\Z")


class ZstdAbsent(Exception):
    """The server was built without zstd."""


class ChainBroken(Exception):
    """The server cannot take an incremental against that parent; `reason` and the server's words say why."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(said)
        self.reason = reason
        self.said = said


@dataclass(frozen=True, slots=True)
class Point:
    """A position in the log."""

    lsn: str
    timeline: int


@dataclass(frozen=True, slots=True)
class Options:
    """How a base backup is asked for."""

    label: str
    server_zstd: bool
    parent_manifest: bytes | None = None


class Receiver(Protocol):
    """What takes the stream apart into artefacts."""

    def started(self, start: Point, total_bytes: int) -> None:
        """The position of its start, and the server's estimate of the bytes to come."""
        ...

    def archive(self, name: str) -> None:
        """The next archive begins; `data` belongs to it from now on."""
        ...

    def data(self, data: bytes) -> None:
        """The next bytes."""
        ...

    def done_so_far(self, count: int) -> None:
        """So many bytes the server has sent, by its own count."""
        ...

    def archives_complete(self) -> None:
        """All archives have ended; what follows is the server's manifest."""
        ...


@dataclass(frozen=True, slots=True)
class BaseBackup:
    """What came besides the archives."""

    start: Point
    end: Point
    manifest: bytes


def hold_wal(wire: Wire, name: str) -> str | None:
    """Reserve WAL with a slot that dies with the connection. Returns the server's objection, if any."""
    command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL RESERVE_WAL").format(sql.Identifier(name))
    try:
        wire.run(command.as_string())
    except ServerRefused as refusal:
        return refusal.said
    return None


def identify_system(wire: Wire) -> tuple[str, Point]:
    """The system identifier and where the server stands."""
    try:
        values = row(wire.run("IDENTIFY_SYSTEM"))
    except ServerRefused as refusal:
        raise refused_fault(refusal, "asking the server to identify itself") from refusal
    return str(values[0]), Point(str(values[2]), int(values[1] or 0))


def base_backup(wire: Wire, options: Options, receiver: Receiver) -> BaseBackup:
    """Take one base backup. Raises ZstdAbsent or ChainBroken before the first archive, else the project's errors."""
    try:
        if options.parent_manifest is not None:
            _upload_manifest(wire, options.parent_manifest)
        wire.send(_command(options))
        start, total = _head(wire)
    except ServerRefused as refusal:
        wire.drain()
        raise _before_data(refusal, options) from refusal
    receiver.started(start, total)
    try:
        router = _archives(wire, receiver)
        # An error in the middle ends the copy too; only the result behind it tells which of the two it was.
        end = _tail(wire)
    except ServerRefused as refusal:
        raise refused_fault(refusal, "taking the base backup") from refusal
    return BaseBackup(start=start, end=end, manifest=router.manifest())


def _command(options: Options) -> str:
    compression = "COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=1', " if options.server_zstd else ""
    incremental = "INCREMENTAL, " if options.parent_manifest is not None else ""
    text = (
        "BASE_BACKUP (LABEL {label}, PROGRESS, CHECKPOINT 'fast', WAL, WAIT 0, "
        + compression
        + incremental
        + "TABLESPACE_MAP, MANIFEST 'yes')"
    )
    # The replication grammar knows no E'' strings, and labels are ours: no backslash can be in one.
    return sql.SQL(text).format(label=sql.Literal(options.label.replace("\\", "/"))).as_string()


def _upload_manifest(wire: Wire, manifest: bytes) -> None:
    wire.send("UPLOAD_MANIFEST")
    first = wire.result()
    if first is None or first.status != pq.ExecStatus.COPY_IN:
        raise WorldFault(Reason.PROTOCOL_ERROR, "the server did not take the parent's manifest")
    wire.copy_in(manifest)
    while wire.result() is not None:
        pass


def _head(wire: Wire) -> tuple[Point, int]:
    """Start position, and the estimated total of bytes over all tablespaces."""
    position, tablespaces = wire.result(), wire.result()
    if position is None or tablespaces is None or position.ntuples != 1:
        raise WorldFault(
            Reason.PROTOCOL_ERROR, "the server did not answer BASE_BACKUP with a position and a list of tablespaces"
        )
    kilobytes = sum(int(row(tablespaces, index)[2] or 0) for index in range(tablespaces.ntuples))
    return _point(position), kilobytes * 1024


def _tail(wire: Wire) -> Point:
    position = wire.result()
    if position is None or position.ntuples != 1:
        raise WorldFault(Reason.PROTOCOL_ERROR, "the server ended BASE_BACKUP without an end position")
    while wire.result() is not None:
        pass
    return _point(position)


def _point(result: pq.abc.PGresult) -> Point:
    values = row(result)
    return Point(str(values[0]), int(values[1] or 0))


def _archives(wire: Wire, receiver: Receiver) -> _Router:
    copy = wire.result()
    if copy is None or copy.status != pq.ExecStatus.COPY_OUT:
        raise WorldFault(Reason.PROTOCOL_ERROR, "the server did not start to send archives")
    router = _Router(receiver)
    for message in wire.copy_out():
        router.take(message)
    return router


class _Router:
    """Sorts the messages of the stream: archives to the receiver, the manifest into memory (about 150 bytes a file)."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._pending: list[memoryview] = []
        self._size = 0
        self._manifest: list[memoryview] | None = None

    def take(self, message: memoryview) -> None:
        kind = message[0]
        if kind == _DATA:
            if self._manifest is not None:
                self._manifest.append(message[1:])
            else:
                self._append(message[1:])
        elif kind == _PROGRESS:
            self._receiver.done_so_far(struct.unpack("!q", message[1:9])[0])
        elif kind == _NEW_ARCHIVE:
            self._flush()
            self._receiver.archive(_archive_name(message))
        elif kind == _MANIFEST:
            self._flush()
            self._receiver.archives_complete()
            self._manifest = []
        else:
            raise WorldFault(
                Reason.PROTOCOL_ERROR, f"the server sent a message of unknown kind {kind!r} in a base backup"
            )

    def manifest(self) -> bytes:
        if self._manifest is None:
            raise WorldFault(Reason.PROTOCOL_ERROR, "the base backup ended without a manifest")
        return b"".join(self._manifest)

    def _append(self, data: memoryview) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _COALESCE:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            self._size = 0
            self._receiver.data(data)


_DATA, _PROGRESS, _NEW_ARCHIVE, _MANIFEST = b"dpnm"


def _archive_name(message: memoryview) -> str:
    name = bytes(message[1:]).split(b"\0", 1)[0].decode("utf-8", "replace")
    if not _ARCHIVE.match(name):
        raise WorldFault(
            Reason.PROTOCOL_ERROR,
            f"the server named an archive {name!r}; expected base.tar or <oid>.tar, perhaps with .zst",
        )
    return name


_NO_ZSTD = re.compile("not support.*zstd|zstd.*not support", re.IGNORECASE)
_SUMMARIES = re.compile("summar", re.IGNORECASE)
_CHAIN = re.compile("manifest|timeline|incremental", re.IGNORECASE)


def _before_data(refusal: ServerRefused, options: Options) -> DatabosunError | ZstdAbsent | ChainBroken:
    """What a refusal before the first archive means: another way to ask, or the end."""
    if options.server_zstd and _NO_ZSTD.search(refusal.said):
        return ZstdAbsent()
    if options.parent_manifest is not None and not (refusal.sqlstate or "").startswith(
        ("42501", "53", "57", "58", "XX001", "XX002")
    ):
        if _SUMMARIES.search(refusal.said):
            return ChainBroken(Reason.SUMMARIES_MISSING, refusal.said)
        if _CHAIN.search(refusal.said):
            return ChainBroken(Reason.INCREMENTAL_UNSUPPORTED, refusal.said)
    return refused_fault(refusal, "starting the base backup")
