"""Backups as chains: what stands on what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy


@dataclass(frozen=True, slots=True)
class BackupFact:
    """What retention needs to know of one Backup object.

    `at` is the instant whose data it holds (snapshot time, else completion; of one without data the time it was meant
    for). `succeeded` means that it has a verdict and data; one that neither succeeded nor is in flight has failed.
    `in_flight` is also true while something reads it (a restore). `deleting` is true from the first mark of its removal
    (phase Deleting or a deletionTimestamp), whoever asked. `governed` is false for backups that the rules do not apply
    to (another policy's, an orphan's): they are never let go, but what they stand on is kept for them.
    """

    id: str
    database_uid: str
    system_identifier: str | None
    type: BackupType
    at: datetime
    succeeded: bool
    proven: bool
    held: bool
    locked_until: datetime | None
    parent: str | None
    base: str | None
    deletion_policy: DeletionPolicy
    finished_at: datetime | None
    in_flight: bool
    proven_at: datetime | None = None
    deleting: bool = False
    governed: bool = True

    @property
    def group(self) -> tuple[str, str | None]:
        """What it is compared with: one incarnation of one database, so a recreated one never expires the old one's."""
        return self.database_uid, self.system_identifier

    @property
    def arrived(self) -> datetime:
        """When it became known as a success."""
        return self.finished_at or self.at

    @property
    def stands_on(self) -> tuple[str, ...]:
        """The backups without which it cannot be restored, as far as it names them itself."""
        return tuple(dict.fromkeys(other for other in (self.parent, self.base) if other and other != self.id))


@dataclass(frozen=True, slots=True)
class Chain:
    """A full backup and all that stands on it. `base` is missing among `members` where its object is gone."""

    group: tuple[str, str | None]
    base: str
    members: tuple[str, ...]


def by_age(fact: BackupFact) -> tuple[datetime, str]:
    """Sort key: oldest first, and the same order whatever order they came in."""
    return fact.at, fact.id


def dependants(facts: Iterable[BackupFact]) -> Mapping[str, tuple[BackupFact, ...]]:
    """For each id, the backups that stand on it directly."""
    found: defaultdict[str, list[BackupFact]] = defaultdict(list)
    for fact in facts:
        for other in fact.stands_on:
            found[other].append(fact)
    return {id: tuple(sorted(children, key=by_age)) for id, children in found.items()}


def stood_on(facts: Iterable[BackupFact], names: Collection[str]) -> set[str]:
    """All known backups that those of these names stand on, however far below."""
    known = {fact.id: fact for fact in facts}
    found: set[str] = set()
    looking = [name for name in names if name in known]
    while looking:
        lower = [other for other in known[looking.pop()].stands_on if other in known and other not in found]
        found.update(lower)
        looking += lower
    return found


def children_first(facts: Sequence[BackupFact]) -> tuple[BackupFact, ...]:
    """The same backups, oldest chain first, and in each every backup before those that it stands on."""
    known = {fact.id: fact for fact in facts}
    roots = {fact.id: _root(fact, known) for fact in facts}
    depth = _depths(known)
    return tuple(sorted(facts, key=lambda fact: (*by_age(known[roots[fact.id]]), -depth[fact.id], *by_age(fact))))


def chains(facts: Iterable[BackupFact]) -> tuple[Chain, ...]:
    """The chains that these backups form, oldest first."""
    known = {fact.id: fact for fact in sorted(facts, key=by_age)}
    members: defaultdict[tuple[tuple[str, str | None], str], list[str]] = defaultdict(list)
    for fact in known.values():
        top = known[_root(fact, known)]
        members[fact.group, top.base or top.parent or top.id].append(fact.id)
    return tuple(Chain(group, base, tuple(ids)) for (group, base), ids in members.items())


def _root(fact: BackupFact, known: Mapping[str, BackupFact]) -> str:
    """The lowest known backup under this one. Ends also where records name each other in a circle."""
    seen = {fact.id}
    while lower := next((other for other in reversed(fact.stands_on) if other in known and other not in seen), None):
        seen.add(lower)
        fact = known[lower]
    return fact.id


def _depths(known: Mapping[str, BackupFact]) -> Mapping[str, int]:
    """How many known backups lie under each; a circle is cut where it was entered."""
    depth: dict[str, int] = {}
    for start in known:
        path = [start]
        while path:
            fact = known[path[-1]]
            open_below = [
                other for other in fact.stands_on if other in known and other not in depth and other not in path
            ]
            if open_below:
                path.append(open_below[0])
            else:
                depth[fact.id] = 1 + max((depth[other] for other in fact.stands_on if other in depth), default=-1)
                path.pop()
    return depth
