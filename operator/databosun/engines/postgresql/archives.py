"""Archives on their way into the sink: one artefact each, checked, and all compared with the manifest at the end."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from databosun.domain.errors import WorldFault
from databosun.engines.base import ArtefactWriter, Sink
from databosun.engines.postgresql.filemanifest import demand_covered, demand_whole
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.replication import Point
from databosun.engines.postgresql.tarcheck import TarCheck

MANIFEST = "backup_manifest"
STAGE = "base backup"
_PROGRESS_SECONDS = 1.0


class Archives:
    """Receives a base backup. Every artefact is named `<base | oid | pg_wal>.tar.zst`, whoever compresses it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._checks: dict[str, TarCheck] = {}
        self._writer: ArtefactWriter | None = None
        self._sent = 0
        self._total = 0
        self._next_progress = 0.0
        self.start: Point | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for check in self._checks.values():
            check.stop()

    @property
    def logical_bytes(self) -> int:
        """Uncompressed bytes of all archives."""
        return sum(check.logical_bytes for check in self._checks.values())

    def started(self, start: Point, total_bytes: int) -> None:
        """The server has begun; `total_bytes` is its estimate, uncompressed."""
        self.start = start
        self._total = total_bytes
        self._sink.progress(STAGE)

    def archive(self, name: str) -> None:
        """The next archive begins: `base.tar.zst` comes compressed, `base.tar` is compressed by the sink."""
        self._finish()
        stem, compressed = name.split(".", 1)[0], name.endswith(".zst")
        if stem in self._checks:
            raise WorldFault(Reason.PROTOCOL_ERROR, f"the server sent the archive {name} twice")

        def check() -> TarCheck:
            self._checks[stem] = TarCheck(name, compressed=compressed)
            return self._checks[stem]

        self._writer = self._sink.open(f"{stem}.tar.zst", compress=not compressed, check=check)

    def data(self, data: bytes) -> None:
        """Bytes of the current archive."""
        if self._writer is None:
            raise WorldFault(Reason.PROTOCOL_ERROR, "the server sent data before it named an archive")
        self._sent += len(data)
        self._writer.write(data)

    def done_so_far(self, count: int) -> None:
        """The server has read so many bytes; the sink counts what it is handed, so the total is scaled to that."""
        now = time.monotonic()
        if now >= self._next_progress and count > 0:
            self._next_progress = now + _PROGRESS_SECONDS
            total = max(self._total, count)
            self._sink.progress(STAGE, total_bytes=max(self._sent, self._sent * total // count))

    def archives_complete(self) -> None:
        """The last archive has ended."""
        self._finish()

    def seal(self, manifest: bytes, *, segment_bytes: int) -> int:
        """Compare everything with the manifest, then store it. Returns the number of files. FormatCheckFailed."""
        self._sink.progress("check")
        demand_whole(manifest)
        sizes = {stem: check.sizes for stem, check in self._checks.items()}
        if "base" not in sizes:
            raise WorldFault(Reason.FORMAT_CHECK_FAILED, "the base backup has no archive named base")
        count = demand_covered(manifest, sizes, segment_bytes=segment_bytes)
        self._sink.put_plain(MANIFEST, manifest)
        return count

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.finish()
            self._writer = None
