"""Walks the structure of a zstd stream without decompressing it: is every frame whole, to its last block and checksum?

Format: RFC 8878, sections 3.1.1 (frames) and 3.1.2 (skippable frames).
"""

from __future__ import annotations

from enum import Enum, auto

from databosun.domain.errors import WorldFault
from databosun.engines.postgresql.reasons import Reason

_MAGIC = 0xFD2FB528
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_BLOCK_RLE, _BLOCK_RESERVED = 1, 3
_LONGEST_BLOCK = 128 * 1024
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)


class _At(Enum):
    FRAME = auto()
    DESCRIPTOR = auto()
    HEADER_REST = auto()
    BLOCK = auto()
    SKIPPABLE_SIZE = auto()


class FrameScan:
    """Fed in order with pieces of any size; constant memory, a few operations a block."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._at = _At.FRAME
        self._need = 4
        self._small = bytearray()
        self._skip = 0
        self._checksum = False
        self.frames = 0

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes. WorldFault(FormatCheckFailed) where they are no zstd."""
        offset, end = 0, len(data)
        while offset < end:
            if self._skip:
                step = min(self._skip, end - offset)
                self._skip -= step
                offset += step
                continue
            step = min(self._need - len(self._small), end - offset)
            self._small += data[offset : offset + step]
            offset += step
            if len(self._small) == self._need:
                value = int.from_bytes(self._small, "little")
                self._small.clear()
                self._advance(value)

    def close(self) -> None:
        """Say that the stream ended. WorldFault(FormatCheckFailed) where a frame is cut."""
        if self._at is not _At.FRAME or self._small or self._skip or not self.frames:
            said = f"the zstd stream is cut in its frame {self.frames + 1}"
            raise self._fault(said)

    def _advance(self, value: int) -> None:
        if self._at is _At.FRAME:
            self._begin_frame(value)
        elif self._at is _At.SKIPPABLE_SIZE:
            self._skip = value
            self._expect(_At.FRAME, 4)
        elif self._at is _At.DESCRIPTOR:
            self._read_descriptor(value)
        elif self._at is _At.HEADER_REST:
            self._expect(_At.BLOCK, 3)
        else:
            self._read_block(value)

    def _begin_frame(self, magic: int) -> None:
        if magic == _MAGIC:
            self._expect(_At.DESCRIPTOR, 1)
        elif magic in _SKIPPABLE:
            self._expect(_At.SKIPPABLE_SIZE, 4)
        else:
            said = f"frame {self.frames + 1} does not begin as zstd does (0x{magic:08x})"
            raise self._fault(said)

    def _read_descriptor(self, byte: int) -> None:
        single_segment = bool(byte & 0x20)
        self._checksum = bool(byte & 0x04)
        size = _CONTENT_SIZE_BYTES[byte >> 6] or (1 if single_segment else 0)
        rest = size + _DICTIONARY_BYTES[byte & 0x03] + (0 if single_segment else 1)
        self._expect(_At.HEADER_REST, rest)

    def _read_block(self, header: int) -> None:
        last, kind, size = header & 1, (header >> 1) & 3, header >> 3
        if kind == _BLOCK_RESERVED or size > _LONGEST_BLOCK:
            said = f"a block of frame {self.frames + 1} has an impossible header (0x{header:06x})"
            raise self._fault(said)
        self._skip = 1 if kind == _BLOCK_RLE else size
        if last:
            self._skip += 4 if self._checksum else 0
            self.frames += 1
            self._expect(_At.FRAME, 4)
        else:
            self._expect(_At.BLOCK, 3)

    def _expect(self, at: _At, need: int) -> None:
        self._at, self._need = at, need

    def _fault(self, said: str) -> WorldFault:
        return WorldFault(Reason.FORMAT_CHECK_FAILED, f"{self._what}: {said}")
