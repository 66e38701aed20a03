"""The format that mariadb-backup streams: files in numbered pieces, each with its checksum (mbstream).

A piece: `XBSTCK01`, flags, kind, length of the path, the path; of kind P then length, offset, CRC-32 and the bytes, of
kind E (the file is whole) nothing more. Pieces of several files take turns. Where a table that follows no transactions
was renamed or dropped after it was copied, R and D say so of its files, and a flag that a file is written anew.
`mbstream` ends with 0 over what it cannot apply, so that is found here.
Source: extra/mariabackup/xbstream.h and xbstream_read.cc of MariaDB; R, D and the flag as 10.11.19 uses them.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NoReturn

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault

_MAGIC = b"XBSTCK01"
_HEAD = struct.Struct("<8sBBI")
_PIECE = struct.Struct("<QQI")
_KINDS = b"PERD"
_ANEW = 0x02
_DEFINITION = ".frm"
_LONGEST_PATH = 512
# What the program says of the backup, written last; MariaDB 11.1 has another prefix.
_TOLD = re.compile(r"(?:xtrabackup|mariadb_backup)_(binlog_info|checkpoints|info)|backup-my\.cnf")
_LONGEST_TOLD = 64 * 1024
# Without these no server starts from it.
_NEEDED = ("checkpoints", "info", "backup-my.cnf")
_REDO_LOG = "ib_logfile0"


class CopyCheck:
    """A StreamCheck. `told`: what the program wrote of the backup, by `binlog_info`, `checkpoints`, `info` and
    `backup-my.cnf`, complete once it is closed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bytes = 0
        self._buffer = bytearray()
        self._path: str | None = None
        self._ends_file = False
        self._left = self._checksum = self._expected = 0
        self._in_piece = False
        self._sizes: dict[str, int] = {}
        self._whole: set[str] = set()
        self._lost: dict[str, PurePosixPath] = {}
        self._kept: dict[str, bytearray] = {}

    @property
    def told(self) -> Mapping[str, str]:
        """What the program wrote of the backup."""
        return {name: data.decode("utf-8", "replace") for name, data in self._kept.items()}

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes. WorldFault(FormatCheckFailed)."""
        self._bytes += len(data)
        at = 0
        while at < len(data):
            at += self._payload(data[at:]) if self._in_piece else self._head(data[at:])

    def close(self) -> int:
        """Demand that every file of it is whole, and that those are there without which no server starts."""
        if self._in_piece or self._buffer:
            self._fail("is cut in the middle of a piece")
        if self._sizes:
            self._fail(f"is cut: {', '.join(sorted(self._sizes)[:3])} has no end")
        for path in self._lost.values():
            self._refuse(path, "was dropped and made anew")
        missing = [name for name in _NEEDED if name not in self._kept]
        missing += [] if _REDO_LOG in self._whole else [_REDO_LOG]
        if missing:
            self._fail(f"lacks {', '.join(missing)}")
        return self._bytes

    def _payload(self, data: memoryview) -> int:
        taken = data[: self._left]
        self._checksum = zlib.crc32(taken, self._checksum)
        if self._path is not None and (told := _TOLD.fullmatch(self._path)):
            kept = self._kept.setdefault(told[1] or told[0], bytearray())
            if len(kept) + len(taken) > _LONGEST_TOLD:
                self._fail(f"has a {self._path} of more than {_LONGEST_TOLD} bytes")
            kept += taken
        self._left -= len(taken)
        if not self._left:
            self._end_piece()
        return len(taken)

    def _end_piece(self) -> None:
        if self._checksum != self._expected:
            self._fail(f"is damaged: a piece of {self._path} has another checksum than it says")
        self._in_piece = False

    def _head(self, data: memoryview) -> int:
        """What stands before a piece's bytes, however it is cut."""
        need = self._needed() - len(self._buffer)
        self._buffer += data[:need]
        if len(data) >= need and self._needed() == len(self._buffer):
            self._begin()
        return min(need, len(data))

    def _needed(self) -> int:
        if len(self._buffer) < _HEAD.size:
            return _HEAD.size
        _, kind, length = self._read_head()
        return _HEAD.size + length + (_PIECE.size if kind == b"P" else 0)

    def _read_head(self) -> tuple[int, bytes, int]:
        magic, flags, kind, length = _HEAD.unpack_from(self._buffer)
        if magic != _MAGIC:
            self._fail(f"has {magic!r} where a piece should begin")
        if kind not in _KINDS or not 0 < length < _LONGEST_PATH:
            self._fail(f"has a piece of kind {kind} with a path of {length} bytes")
        return flags, bytes([kind]), length

    def _begin(self) -> None:
        flags, kind, length = self._read_head()
        end = _HEAD.size + length
        path = bytes(self._buffer[_HEAD.size : end]).decode("utf-8", "surrogateescape")
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            self._fail(f"would write {path}, outside of the data directory")
        self._path = path
        if kind == b"P":
            self._begin_bytes(path, *_PIECE.unpack_from(self._buffer, end), anew=bool(flags & _ANEW))
        elif kind == b"E":
            self._sizes.pop(path, None)
            self._whole.add(path)
            self._lost.pop(path, None)
        elif kind == b"R":
            self._refuse(pure, "was renamed")
        else:
            self._remove(pure)
        self._buffer.clear()

    def _begin_bytes(self, path: str, size: int, offset: int, expected: int, *, anew: bool) -> None:
        if offset != self._sizes.get(path, 0):
            self._fail(f"has a hole: {path} goes on at {offset}, after {self._sizes.get(path, 0)} bytes")
        if path in self._whole:
            if not anew:
                self._fail(f"has {path} twice")
            self._whole.discard(path)
        self._sizes[path] = offset + size
        self._left, self._checksum, self._expected, self._in_piece = size, 0, expected, True
        if not size:
            self._end_piece()

    def _remove(self, path: PurePosixPath) -> None:
        """Definitions are copied once no DDL is possible: of one that is here, the table was there at the instant; it
        must come again."""
        if str(path) in self._sizes:
            self._fail(f"removes {path} before its end")
        if path.suffix == _DEFINITION and str(path) in self._whole:
            self._lost[str(path)] = path
        self._whole.discard(str(path))

    def _refuse(self, path: PurePosixPath, what: str) -> NoReturn:
        message = (
            f"while {path.parent}/{path.stem} was copied, which follows no transactions (MyISAM, Aria), it {what}: "
            "mariadb-backup leaves such a table marked as crashed, or leaves it out; the next attempt starts anew; "
            "where this goes on, make it an InnoDB table, or set `method: Logical`"
        )
        raise WorldFault(Reason.SCHEMA_CHANGED, message)

    def _fail(self, what: str) -> NoReturn:
        raise WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._name} {what} ({self._bytes} bytes)")
