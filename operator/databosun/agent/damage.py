"""The negative control: damages what a drill reads, never what is stored. A drill that does not notice is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from databosun.agent.chain import Member
from databosun.storage.port import Buffer, ObjectStore


@dataclass(frozen=True)
class DamagingStore:
    """A store whose one object reads back with one bit flipped. Only what reading artefacts needs is passed on."""

    store: ObjectStore
    key: str
    at: int

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> Iterator[Buffer]:
        """The bytes, one of them wrong."""
        position = start
        for piece in self.store.stream(key, start=start, end=end):
            offset = self.at - position
            position += len(piece)
            if key == self.key and 0 <= offset < len(piece):
                changed = bytearray(piece)
                changed[offset] ^= 0x10
                yield changed
            else:
                yield piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def damaged(store: ObjectStore, members: Sequence[Member]) -> ObjectStore:
    """The same store, with a bit flipped in the middle of the smallest artefact of data: the control costs little."""
    last = members[-1]
    data = [artefact for artefact in last.manifest.artefacts if artefact.role == "Data" and artefact.stored_bytes]
    part = min(data, key=lambda artefact: artefact.stored_bytes).parts[0]
    found: Any = DamagingStore(store, last.folder.stored(last.manifest.attempt, part.name), part.bytes // 2)
    return found  # type: ignore[no-any-return]
