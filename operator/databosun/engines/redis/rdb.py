"""Reads an RDB stream to its end: is it whole, which keys does it hold? Bounded memory, pieces of any size.

Exact for the instant of the snapshot, since the server writes an RDB from a frozen copy of itself.
"""

from __future__ import annotations

import anycrc

from databosun.domain.errors import WorldFault
from databosun.engines.redis.cluster import Ranges
from databosun.engines.redis.rdbfacts import RdbFacts
from databosun.engines.redis.rdbformat import Damaged
from databosun.engines.redis.rdbparser import Parser
from databosun.engines.redis.reasons import Reason

_SUM_BYTES = 8


class RdbCheck:
    """`StreamCheck` of `engines/base.py`. WorldFault(FormatCheckFailed), UserFault(RdbVersionUnsupported, Modules…)."""

    def __init__(self, what: str, *, names: bool, slots: Ranges = ()) -> None:
        self._what = what
        self._parser = Parser(names=names, slots=slots)
        self._crc = anycrc.Model("CRC64-REDIS")
        self._sum = 0
        self._tail = b""

    @property
    def facts(self) -> RdbFacts:
        """What was seen; all of it once the check is closed."""
        return self._parser.facts

    def feed(self, data: memoryview) -> None:
        """Look at the next bytes."""
        self.facts.bytes += len(data)
        self._add_to_sum(data)
        try:
            self._parser.push(bytes(data))
        except Damaged as error:
            raise self._fault(error) from error

    def close(self) -> int:
        """Demand that the stream is whole, and its checksum right; returns its size."""
        try:
            self._parser.finish()
            if self._parser.place != self.facts.bytes:
                msg = f"it is cut after {self.facts.bytes} bytes"
                raise Damaged(msg)
            stored = int.from_bytes(self._tail, "little")
            self.facts.checksummed = stored != 0
            if stored not in (0, self._sum):
                msg = f"its checksum is {self._sum:016x}, and it says {stored:016x}"
                raise Damaged(msg)
        except Damaged as error:
            raise self._fault(error) from error
        return self.facts.bytes

    def _add_to_sum(self, data: memoryview) -> None:
        """All but the last eight bytes, which are the checksum itself."""
        if len(data) < _SUM_BYTES:
            data = memoryview(self._tail + bytes(data))
        elif self._tail:
            self._sum = self._crc.calc(self._tail, self._sum)
        if len(data) > _SUM_BYTES:
            self._sum = self._crc.calc(data[:-_SUM_BYTES], self._sum)
        self._tail = bytes(data[-_SUM_BYTES:])

    def _fault(self, error: Damaged) -> WorldFault:
        message = f"{self._what} is no whole RDB file (near byte {self._parser.place}): {error}"
        return WorldFault(Reason.FORMAT_CHECK_FAILED, message)
