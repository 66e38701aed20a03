"""A recovered copy, in which people are erased again: found by the key that stands in the names of theirs.

One pass over the names of a database finds everybody; the deletions go into the copy's files as a replayed log does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from databosun.api.erasure import ErasureEntry
from databosun.api.lifecycle import ActionType
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import hasher
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.keypatterns import PatternFault
from databosun.domain.subjectpatterns import SubjectPattern, read_subject_pattern
from databosun.engines.erasing import Repeated
from databosun.engines.recovery import Copy
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.recovery.copy import RunningCopy
from databosun.engines.redis.resp import ReplyError, Wire, encode

_AT_ONCE = 1000


@dataclass
class _Person:
    """One erasure in the copy. `names`: of the keys that are theirs, by pattern."""

    entry: ErasureEntry
    patterns: Sequence[SubjectPattern]
    names: dict[str, set[bytes]] = field(default_factory=dict, repr=False)
    missing: tuple[str, ...] = ()

    def told(self) -> Repeated:
        """As the seam has it; named as at the source."""
        rows = {f"db{self.entry.dbname} {pattern}": len(names) for pattern, names in self.names.items()}
        return Repeated(self.entry.id, bool(self.names), rows, self.missing)


class RedisErasing:
    """`Erasing` of `engines/erasing.py`."""

    def repeat(
        self, copy: Copy, entries: Sequence[ErasureEntry], key: bytes, pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        """Database by database."""
        people = [_Person(entry, _patterns(entry)) for entry in sorted(entries, key=lambda one: one.dbname)]
        if not isinstance(copy, RunningCopy):
            message = (
                f"{len(people)} people were erased since, and this release erases nobody in the shards of a Cluster;"
                " leave erasures out (spec.erasures: Skip) and erase by hand"
            )
            raise UserFault(Reason.ERASURE_NOT_REPEATABLE, message)
        commands = bytearray()
        with guarded("erasing again"), copy.server.connect(pulse) as wire:
            for dbname, group in groupby(people, key=lambda one: one.entry.dbname):
                commands += _in_database(wire, dbname, list(group), key, pulse)
        if commands:
            copy.rewrite(bytes(commands))
        return tuple(one.told() for one in people)


ERASING = RedisErasing()


def _patterns(entry: ErasureEntry) -> list[SubjectPattern]:
    try:
        if any(rule.action is not ActionType.DELETE for rule in entry.order.rules):
            raise PatternFault("a rule is no deletion")  # noqa: EM101 - one word for what does not fit
        return [read_subject_pattern(rule.keys or "") for rule in entry.order.rules]
    except PatternFault as fault:
        message = f"erasure {entry.id} cannot be repeated on keys: {fault}"
        raise UserFault(Reason.ERASURE_NOT_REPEATABLE, message) from fault


def _in_database(wire: Wire, dbname: str, people: Sequence[_Person], key: bytes, pulse: Callable[[], None]) -> bytes:
    """Erase there, and count that nothing is left. The commands that did it."""
    try:
        wire.call("SELECT", dbname)
    except ReplyError:
        for one in people:
            one.missing = (f"database {dbname}",)
        return b""
    for person, pattern, name in _found(wire, people, key, pulse):
        person.names.setdefault(pattern, set()).add(name)
    names = {name for one in people for theirs in one.names.values() for name in theirs}
    if not names:
        return b""
    ordered = sorted(names)
    commands = [encode("DEL", *ordered[at : at + _AT_ONCE]) for at in range(0, len(ordered), _AT_ONCE)]
    for command in commands:
        pulse()
        wire.send(command)
        wire.answer()
    if left := {person.entry.id for person, _, _ in _found(wire, people, key, pulse)}:
        message = f"erasures {', '.join(sorted(left))} were repeated, and keys of the person are still in the copy"
        raise SafetyStop(Reason.SUBJECT_LEFT, message)
    return encode("SELECT", dbname) + b"".join(commands)


def _found(
    wire: Wire, people: Sequence[_Person], key: bytes, pulse: Callable[[], None]
) -> Iterator[tuple[_Person, str, bytes]]:
    """Each key of each of them, and by which pattern."""
    hashed = hasher(key)
    wanted: dict[str, tuple[SubjectPattern, dict[str, list[_Person]]]] = {}
    for one in people:
        for pattern in one.patterns:
            wanted.setdefault(pattern.text, (pattern, {}))[1].setdefault(one.entry.subject, []).append(one)
    for name in _names(wire, pulse):
        for text, (pattern, sought) in wanted.items():
            if (found := pattern.subject_in(name)) is not None and (subject := _text(found)) is not None:
                for one in sought.get(hashed(subject), ()):
                    yield one, text, name


def _names(wire: Wire, pulse: Callable[[], None]) -> Iterator[bytes]:
    cursor: bytes | None = None
    while cursor != b"0":
        pulse()
        said = wire.call("SCAN", cursor or b"0", "COUNT", _AT_ONCE)
        if not isinstance(said, list) or len(said) != 2 or not isinstance(said[0], bytes):
            msg = f"SCAN gave {type(said).__name__}"
            raise TypeError(msg)
        cursor, listed = said[0], said[1]
        yield from (one for one in listed if isinstance(one, bytes)) if isinstance(listed, list) else ()


def _text(found: bytes) -> str | None:
    try:
        return found.decode()
    except UnicodeDecodeError:
        return None
