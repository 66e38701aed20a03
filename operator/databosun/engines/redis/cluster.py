"""A Redis Cluster as one of its nodes sees it: who is there, who serves which slots, and which slot a key belongs to.

Source: the manual's cluster specification, and the answers of `CLUSTER NODES` of Redis 6.2 to 7.2 and Valkey 9.1.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SLOTS = 16384
_FAILING = frozenset({"fail", "fail?", "noaddr", "handshake"})
_NAMED = 8

Ranges = tuple[tuple[int, int], ...]


def key_slot(name: bytes) -> int:
    """The slot of a key: of what stands in its first pair of braces, where anything does."""
    begin = name.find(b"{")
    if begin >= 0 and (end := name.find(b"}", begin + 1)) > begin + 1:
        name = name[begin + 1 : end]
    return binascii.crc_hqx(name, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One line of the answer. `master`: the id of the one it follows. `host`: as announced; empty: it does not know.

    `moving`: of the node that was asked only: slots on their way to or from it.
    """

    id: str
    host: str
    port: int
    flags: frozenset[str]
    master: str | None
    epoch: int
    slots: Ranges
    moving: tuple[int, ...]

    @property
    def serves(self) -> bool:
        """A master with slots."""
        return "master" in self.flags and bool(self.slots)

    @property
    def failing(self) -> bool:
        """By the word of whoever was asked."""
        return bool(_FAILING & self.flags)


@dataclass(frozen=True, slots=True)
class Shard:
    """A master that serves slots, and who follows it."""

    master: ClusterNode
    replicas: tuple[ClusterNode, ...]

    @property
    def slots(self) -> str:
        """As people write them: `0-5460`; of many ranges the first few, with a digest of all."""
        ranges = self.master.slots
        if len(ranges) <= _NAMED:
            return range_text(ranges)
        digest = hashlib.sha256(range_text(ranges).encode()).hexdigest()[:8]
        return f"{range_text(ranges[:_NAMED])} and {len(ranges) - _NAMED} ranges more ({digest})"


@dataclass(frozen=True, slots=True)
class View:
    """All that one node knows."""

    nodes: tuple[ClusterNode, ...]

    @property
    def myself(self) -> ClusterNode | None:
        """Who was asked."""
        return next((one for one in self.nodes if "myself" in one.flags), None)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """By their lowest slots."""
        masters = sorted((one for one in self.nodes if one.serves), key=lambda one: one.slots[0])
        return tuple(Shard(master, tuple(one for one in self.nodes if one.master == master.id)) for master in masters)

    @property
    def owners(self) -> frozenset[tuple[str, Ranges]]:
        """Who serves what, to be held against what others say."""
        return frozenset((one.id, one.slots) for one in self.nodes if one.serves)

    def shard_of(self, slot: int) -> Shard | None:
        """The one that serves a slot."""
        return next((one for one in self.shards if any(a <= slot <= b for a, b in one.master.slots)), None)


def parse_view(text: bytes) -> View:
    """Understand the answer to `CLUSTER NODES`. ValueError for anything else."""
    return View(tuple(_parse_line(line.split()) for line in text.decode("utf-8", "replace").splitlines() if line))


def served_by(ranges: Ranges) -> bytearray:
    """A byte for each slot: 1 where it is one of these."""
    served = bytearray(SLOTS)
    for begin, end in ranges:
        served[begin : end + 1] = b"\x01" * (end + 1 - begin)
    return served


def parse_ranges(text: str) -> Ranges:
    """What `range_text` wrote. ValueError."""
    return tuple((int(a), int(b or a)) for a, _, b in (part.partition("-") for part in text.split(",")))


def range_text(ranges: Sequence[tuple[int, int]]) -> str:
    """`0-5460,10923`."""
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in ranges)


def miscounted(all_ranges: Iterable[Ranges]) -> str | None:
    """Which slots nobody serves, or more than one; None where each is served once."""
    served = [0] * SLOTS
    for ranges in all_ranges:
        for begin, end in ranges:
            for slot in range(begin, end + 1):
                served[slot] += 1
    told = [
        f"{what} {range_text(joined(slots))}"
        for what, slots in (
            ("nobody serves", [slot for slot, count in enumerate(served) if count == 0]),
            ("more than one serves", [slot for slot, count in enumerate(served) if count > 1]),
        )
        if slots
    ]
    return "; ".join(told) or None


def joined(slots: Sequence[int]) -> Ranges:
    """Slots in order, as ranges."""
    ranges: list[tuple[int, int]] = []
    for slot in slots:
        if ranges and ranges[-1][1] == slot - 1:
            ranges[-1] = (ranges[-1][0], slot)
        else:
            ranges.append((slot, slot))
    return tuple(ranges)


def _parse_line(words: Sequence[str]) -> ClusterNode:
    if len(words) < 8:
        msg = f"{' '.join(words)[:80]!r} is no line of CLUSTER NODES"
        raise ValueError(msg)
    host, _, port = words[1].partition(",")[0].partition("@")[0].rpartition(":")
    own = [word for word in words[8:] if not word.startswith("[")]
    moving = [word for word in words[8:] if word.startswith("[")]
    return ClusterNode(
        id=words[0],
        host=host,
        port=int(port),
        flags=frozenset(words[2].split(",")),
        master=None if words[3] == "-" else words[3],
        epoch=int(words[6]),
        slots=parse_ranges(",".join(own)) if own else (),
        moving=tuple(int(word[1:].partition("-")[0]) for word in moving),
    )
