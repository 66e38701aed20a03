"""The ledger of a failover test: which writes were sent, what became of each, and what was read back afterwards.

It is kept outside the database, since what it holds is compared with what the database holds. All instants are seconds
of one monotonic clock. A write is numbered by its client, from 0; a client has one on its way at a time, so what it saw
is an order and no guess. Columns instead of objects: a write takes 21 bytes, whatever the length of the test.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import isnan, nan
from typing import NamedTuple


class Fate(StrEnum):
    """What became of a write. Failed: the database said that it is not done. Unknown: it said neither, as when the
    connection was lost before the answer; it may be done. Sent: no answer yet, which at the end is Unknown, too."""

    SENT = "Sent"
    ACKNOWLEDGED = "Acknowledged"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


_FATES = tuple(Fate)
_NOBODY = 0


class Write(NamedTuple):
    """One write. `node`: who acknowledged or refused it, where that is known; `error`: its class."""

    client: str
    seq: int
    sent: float
    ended: float | None
    fate: Fate
    node: str | None
    error: str | None


class Names:
    """Numbers for the few names that stand in many writes."""

    def __init__(self) -> None:
        self._names: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: _NOBODY}

    def number(self, name: str | None) -> int:
        """The number of a name, a new one where it has none."""
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def name(self, number: int) -> str | None:
        """What a number stands for."""
        return self._names[number]


class ClientHistory:
    """What one client sent, and what it was told. ValueError where clock or order cannot be."""

    def __init__(self, name: str, names: Names) -> None:
        self.name = name
        self._names = names
        self._sent = array("d")
        self._ended = array("d")
        self._fates = bytearray()
        self._nodes = array("H")
        self._errors = array("H")

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, at: float) -> int:
        """A write leaves; its number."""
        if self._fates and self._fates[-1] == _FATES.index(Fate.SENT):
            msg = f"client {self.name} sends write {len(self)} while write {len(self) - 1} is on its way"
            raise ValueError(msg)
        self._demand_later(at, self._ended[-1] if self._ended else at)
        self._ended.append(nan)
        self._fates.append(_FATES.index(Fate.SENT))
        self._nodes.append(_NOBODY)
        self._errors.append(_NOBODY)
        self._sent.append(at)  # the last: whoever reads meanwhile counts these
        return len(self) - 1

    def end(self, at: float, fate: Fate, *, node: str | None = None, error: str | None = None) -> None:
        """The write on its way has come to an end."""
        if not self._fates or self._fates[-1] != _FATES.index(Fate.SENT) or fate is Fate.SENT:
            msg = f"client {self.name} has no write on its way that could be {fate}"
            raise ValueError(msg)
        self._demand_later(at, self._sent[-1])
        self._ended[-1] = at
        self._fates[-1] = _FATES.index(fate)
        self._nodes[-1] = self._names.number(node)
        self._errors[-1] = self._names.number(error)

    def last_acknowledged(self, since: float) -> Write | None:
        """The newest that was acknowledged after an instant."""
        acked = _FATES.index(Fate.ACKNOWLEDGED)
        for seq in range(len(self) - 1, -1, -1):
            if self._ended[seq] <= since:
                return None
            if self._fates[seq] == acked:
                return self.write(seq)
        return None

    def count_acknowledged(self, since: float) -> int:
        """How many were sent and acknowledged after an instant."""
        acked = _FATES.index(Fate.ACKNOWLEDGED)
        return sum(sent >= since and fate == acked for sent, fate in zip(self._sent, self._fates, strict=True))

    def write(self, seq: int) -> Write:
        """One write."""
        ended = self._ended[seq]
        return Write(
            self.name,
            seq,
            self._sent[seq],
            None if isnan(ended) else ended,
            _FATES[self._fates[seq]],
            self._names.name(self._nodes[seq]),
            self._names.name(self._errors[seq]),
        )

    def __iter__(self) -> Iterator[Write]:
        """In order; what is sent meanwhile is left out."""
        return (self.write(seq) for seq in range(len(self)))

    def _demand_later(self, at: float, than: float) -> None:
        if not at >= than:
            msg = f"the clock of client {self.name} went back from {than:.6f} to {at:.6f}"
            raise ValueError(msg)


class History:
    """All clients. Each may be written to from a thread of its own."""

    def __init__(self) -> None:
        self._names = Names()
        self._clients: dict[str, ClientHistory] = {}

    def client(self, name: str) -> ClientHistory:
        """The history of a client, begun where there is none."""
        if name not in self._clients:
            self._clients[name] = ClientHistory(name, self._names)
        return self._clients[name]

    @property
    def clients(self) -> Mapping[str, ClientHistory]:
        """By name."""
        return self._clients

    def only(self, names: Iterable[str]) -> History:
        """A view of some clients."""
        view = History()
        view._names, view._clients = self._names, {name: self._clients[name] for name in names}
        return view

    def __iter__(self) -> Iterator[Write]:
        """Every write, client by client, in the order of each."""
        return (write for client in self._clients.values() for write in client)

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))


class Bits(Collection[int]):
    """A set of small numbers, at a bit each."""

    def __init__(self, seqs: Iterable[int] = ()) -> None:
        self._bytes = bytearray()
        for seq in seqs:
            self.add(seq)

    @classmethod
    def of(cls, bitmap: bytes) -> Bits:
        """As Redis keeps them: number 0 is the highest bit of the first byte."""
        found = cls()
        found._bytes = bytearray(bitmap)
        return found

    def add(self, seq: int) -> None:
        """Put a number in. ValueError for a negative one."""
        if seq < 0:
            msg = f"{seq} is below 0"
            raise ValueError(msg)
        at, bit = divmod(seq, 8)
        if at >= len(self._bytes):
            self._bytes.extend(bytes(at + 1 - len(self._bytes)))
        self._bytes[at] |= 0x80 >> bit

    def __contains__(self, seq: object) -> bool:
        if not isinstance(seq, int) or not 0 <= seq < 8 * len(self._bytes):
            return False
        at, bit = divmod(seq, 8)
        return bool(self._bytes[at] & 0x80 >> bit)

    def __iter__(self) -> Iterator[int]:
        return (seq for seq in range(8 * len(self._bytes)) if seq in self)

    def __len__(self) -> int:
        return sum(byte.bit_count() for byte in self._bytes)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What the database held, by client. `began`: what was acknowledged before that must be there."""

    began: float
    present: Mapping[str, Collection[int]]

    def holds(self, write: Write) -> bool:
        """Whether a write is there."""
        return write.seq in self.present.get(write.client, ())


@dataclass(frozen=True, slots=True)
class Claim:
    """A proof that a node took writes at some instant from `began` to `ended`: it acknowledged one, or said so."""

    node: str
    began: float
    ended: float
