"""Reads the structure of a tar stream as it passes: names, sizes, the end-of-archive. Writes the simple kind.

Format: POSIX.1-2008 `pax`, section ustar, and GNU's base-256 sizes; the server's archives and ours use nothing else.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable

from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.reasons import Reason

BLOCK = 512
_EMPTY = bytes(BLOCK)


def _ignore(_name: str, _data: memoryview) -> None:
    return


def _ignore_member(_member: tarfile.TarInfo) -> None:
    return


class TarWalk:
    """Fed in order with pieces of any size; keeps one name and size a member.

    `begin` sees each member's header, `content` the members' bytes.
    """

    def __init__(
        self,
        what: str,
        content: Callable[[str, memoryview], None] = _ignore,
        begin: Callable[[tarfile.TarInfo], None] = _ignore_member,
    ) -> None:
        self._what = what
        self._content = content
        self._begin = begin
        self._header = bytearray()
        self._name = ""
        self._left = 0
        self._padding = 0
        self._ends = 0
        self.bytes = 0
        self.sizes: dict[str, int] = {}

    def write(self, data: memoryview | bytes) -> int:
        """Look at the next bytes; a decompressor writes here. WorldFault(FormatCheckFailed) where they are no tar."""
        view = memoryview(data)
        offset, end = 0, len(view)
        self.bytes += end
        while offset < end:
            if self._left:
                step = min(self._left, end - offset)
                self._content(self._name, view[offset : offset + step])
                self._left -= step
            elif self._padding:
                step = min(self._padding, end - offset)
                self._padding -= step
            else:
                step = min(BLOCK - len(self._header), end - offset)
                self._header += view[offset : offset + step]
                if len(self._header) == BLOCK:
                    self._read_header(bytes(self._header))
                    self._header.clear()
            offset += step
        return end

    def close(self) -> None:
        """Say that the stream ended. WorldFault(FormatCheckFailed) where the archive is cut."""
        if self._left or self._padding:
            said = f"the archive ends {self._left + self._padding} bytes before the end of member {self._name}"
            raise self._fault(said)
        if self._header or self._ends < 2:
            said = f"the archive has no end-of-archive mark after its {len(self.sizes)} members"
            raise self._fault(said)

    def _read_header(self, block: bytes) -> None:
        if block == _EMPTY:
            self._ends += 1
            return
        if self._ends:
            said = "the archive goes on behind its end-of-archive mark"
            raise self._fault(said)
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            said = f"behind {len(self.sizes)} members comes no tar header ({error})"
            raise self._fault(said) from error
        self._begin(member)
        self._name = member.name
        self._left = member.size if member.isreg() else 0
        self._padding = -self._left % BLOCK
        if member.isreg():
            if member.name in self.sizes:
                said = f"member {member.name} is there twice"
                raise self._fault(said)
            self.sizes[member.name] = member.size

    def _fault(self, said: str) -> WorldFault:
        return WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._what}: {said}")


def member_header(name: str, size: int, modified: int) -> bytes:
    """The header of a regular file, mode 0600, owned by nobody in particular."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, modified, 0o600
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def member_padding(size: int) -> bytes:
    """What fills the last block of a member."""
    return bytes(-size % BLOCK)


END_OF_ARCHIVE = bytes(2 * BLOCK)
