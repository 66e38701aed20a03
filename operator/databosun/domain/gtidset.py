"""Sets of MySQL's global transaction ids: `server:1-5:9`, with a tag `server:1-5:tag:1-2`.

https://dev.mysql.com/doc/refman/9.7/en/replication-gtids-concepts.html
"""

from __future__ import annotations

import re
import uuid
from bisect import bisect_right
from collections.abc import Iterable

_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_STRETCH = re.compile(r"([1-9][0-9]{0,18})(?:-([1-9][0-9]{0,18}))?")
_Writer = tuple[str, str]  # a server, and a tag, which may be empty


class GtidSet:
    """Stretches of numbers by server and tag, in order and never touching: a long log takes little room."""

    def __init__(self, stretches: Iterable[tuple[str, str, int, int]] = ()) -> None:
        self._stretches: dict[_Writer, list[tuple[int, int]]] = {}
        for server, tag, first, last in stretches:
            self.add(server, tag, first, last)

    def add(self, server: str, tag: str, first: int, last: int | None = None) -> None:
        """Transactions of one server, from `first` to `last`; one where that is None."""
        last = first if last is None else last
        found = self._stretches.setdefault((server, tag), [])
        begin = end = bisect_right(found, (first, first))
        while begin and found[begin - 1][1] >= first - 1:
            begin -= 1
        while end < len(found) and found[end][0] <= last + 1:
            end += 1
        if begin < end:
            first, last = min(first, found[begin][0]), max(last, *(one[1] for one in found[begin:end]))
        found[begin:end] = [(first, last)]

    def __bool__(self) -> bool:
        return bool(self._stretches)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and self._stretches == other._stretches

    def __le__(self, other: GtidSet) -> bool:
        """Whether another one holds all of this."""
        return all(
            any(low <= first and last <= high for low, high in other._stretches.get(writer, ()))
            for writer, found in self._stretches.items()
            for first, last in found
        )

    def __sub__(self, other: GtidSet) -> GtidSet:
        """What another one lacks of this."""
        left = GtidSet()
        for (server, tag), found in self._stretches.items():
            for begin, last in found:
                first = begin
                for low, high in other._stretches.get((server, tag), ()):
                    if first < low <= last:
                        left.add(server, tag, first, low - 1)
                    first = max(first, high + 1) if low <= last else first
                if first <= last:
                    left.add(server, tag, first, last)
        return left

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """As the server writes it, but for its line breaks."""
        parts: dict[str, list[str]] = {}
        for (server, tag), found in sorted(self._stretches.items()):
            parts.setdefault(server, []).extend([tag] if tag else [])
            parts[server] += [f"{first}-{last}" if first < last else f"{first}" for first, last in found]
        return ",".join(":".join([server, *its]) for server, its in parts.items())


def parse_gtid_set(text: str) -> GtidSet:
    """Understand what a server or a person wrote; nothing: no transaction. ValueError where it is none."""
    found = GtidSet()
    for part in filter(None, "".join(text.split()).split(",")):
        said, *its = part.split(":")
        server, tag = str(uuid.UUID(said)), ""
        for one in its:
            if stretch := _STRETCH.fullmatch(one):
                found.add(server, tag, int(stretch[1]), int(stretch[2] or stretch[1]))
            elif _TAG.fullmatch(one.lower()):
                tag = one.lower()
            else:
                msg = f"{one!r} is neither a number, nor a stretch of numbers, nor a tag"
                raise ValueError(msg)
    return found
