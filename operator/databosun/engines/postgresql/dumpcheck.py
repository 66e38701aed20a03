"""The format check of a logical artefact: the tar is whole, and so is each compressed member, without decompressing."""

from __future__ import annotations

from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.tarstream import TarWalk
from databosun.engines.postgresql.zstdframes import FrameScan

_GZIP = b"\x1f\x8b"
_TOC = b"PGDMP"
_GLOBALS_END = b"PostgreSQL database cluster dump complete"


class DumpCheck:
    """A StreamCheck for the tar of a directory-format dump. Its logical size is that of the tar."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._walk = TarWalk(name, self._content)
        self._member = ""
        self._frames: FrameScan | None = None

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        self._walk.write(data)

    def close(self) -> int:
        """Demand a whole archive with a table of contents."""
        self._end_member()
        self._walk.close()
        if not any(name.endswith("/toc.dat") for name in self._walk.sizes):
            raise WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._name}: the dump has no toc.dat")
        return self._walk.bytes

    def _content(self, member: str, data: memoryview) -> None:
        if member != self._member:
            self._end_member()
            self._member = member
            self._frames = FrameScan(f"{self._name}: {member}") if member.endswith(".zst") else None
            self._demand_magic(member, bytes(data[:5]))
        if self._frames:
            self._frames.feed(data)

    def _demand_magic(self, member: str, head: bytes) -> None:
        # A member's first piece may be shorter than its magic; then as much is compared as is there.
        wanted = _TOC if member.endswith("/toc.dat") else _GZIP if member.endswith(".gz") else b""
        size = min(len(head), len(wanted))
        if head[:size] != wanted[:size]:
            raise WorldFault(
                Reason.FORMAT_CHECK_FAILED, f"{self._name}: {member} begins with {head!r}; expected {wanted!r}"
            )

    def _end_member(self) -> None:
        if self._frames:
            self._frames.close()
            self._frames = None


class GlobalsCheck:
    """A StreamCheck for `pg_dumpall --globals-only`: it ends with the words that the program writes last."""

    def __init__(self) -> None:
        self._tail = b""
        self._bytes = 0

    def feed(self, data: memoryview) -> None:
        """Remember the end."""
        self._bytes += len(data)
        self._tail = (self._tail + bytes(data[-4096:]))[-4096:]

    def close(self) -> int:
        """Demand the closing words."""
        if _GLOBALS_END not in self._tail:
            raise WorldFault(
                Reason.FORMAT_CHECK_FAILED, "the dump of roles and tablespaces is cut: its closing line is missing"
            )
        return self._bytes
