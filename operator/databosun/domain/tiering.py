"""Which backups go to another class of storage: whole chains, and only those that nothing will stand on any more.

A chain is a full backup and all that stands on it. It goes as one, once its newest member is old enough, so that no
backup is ever half in an archive; and never while it can still grow, or while somebody may need it at once: the newest
backup of each policy, what a legal hold lies on, and what the operator names (the newest proven backup, and the one
that the log begins with) stay where they are, with all that belongs to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.tiering import ARCHIVES, StorageClass, ThawSpeed, TransitionOrder

DEFAULT_TRANSITIONS = ((30, StorageClass.STANDARD_IA), (90, StorageClass.GLACIER), (365, StorageClass.DEEP_ARCHIVE))
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html: billed for at least so long.
BILLED_DAYS = {
    StorageClass.STANDARD_IA: 30,
    StorageClass.GLACIER_IR: 90,
    StorageClass.GLACIER: 90,
    StorageClass.DEEP_ARCHIVE: 180,
}
# .../restoring-objects-retrieval-options.html: a Standard retrieval ends within.
THAW = {StorageClass.GLACIER: timedelta(hours=5), StorageClass.DEEP_ARCHIVE: timedelta(hours=12)}
_THAW_BY_SPEED = {
    ThawSpeed.EXPEDITED: {StorageClass.GLACIER: timedelta(minutes=5)},
    ThawSpeed.STANDARD: THAW,
    ThawSpeed.BULK: {StorageClass.GLACIER: timedelta(hours=12), StorageClass.DEEP_ARCHIVE: timedelta(hours=48)},
}
_COLDNESS = {name: number for number, name in enumerate(StorageClass, start=1)}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object with a backup's data. `storage_class`: as the server lists it."""

    key: str
    bytes: int
    storage_class: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """One backup as its manifest tells. `line`: the next one of the same line may stand on it."""

    id: str
    at: datetime
    line: tuple[str, ...]
    stands_on: tuple[str, ...] = ()
    held: bool = False
    objects: tuple[StoredObject, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A chain that is due, every backup before those that it stands on: interrupted, it leaves a base that is whole."""

    backups: tuple[StoredBackup, ...]
    storage_class: StorageClass

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        """Those that are not as cold yet."""
        return tuple(one for backup in self.backups for one in colder(backup.objects, self.storage_class))


@dataclass(frozen=True, slots=True)
class Tiering:
    """What is due, oldest chain first, and which chains are old enough and stay all the same. `due`: with those that
    were tagged for it before."""

    moves: tuple[Move, ...]
    stays: tuple[str, ...]
    due: tuple[Move, ...] = ()


def coldness(storage_class: str) -> int:
    """0: any class that objects are not moved to by a rule of ours."""
    return next((level for name, level in _COLDNESS.items() if name == storage_class), 0)


def colder(objects: Iterable[StoredObject], wanted: StorageClass) -> tuple[StoredObject, ...]:
    """The objects that going there would make colder."""
    return tuple(one for one in objects if coldness(one.storage_class) < _COLDNESS[wanted])


def decide_tiering(
    transitions: Sequence[TransitionOrder], backups: Sequence[StoredBackup], keep: Collection[str], at: datetime
) -> Tiering:
    """Total and deterministic; the order of the backups plays no part."""
    known = {one.id: one for one in backups}
    newest = _newest(backups)
    moves, stays = [], []
    for chain in _chains(known):
        due = due_class(transitions, at - max(one.at for one in chain))
        if due is None:
            continue
        why = _why_not(chain, known, newest, keep)
        move = Move(_children_first(chain), due)
        if why is not None:
            stays.append(f"{' '.join(sorted(one.id for one in chain))[:200]}: {why}")
        elif move.objects:
            moves.append(move)
    return Tiering(tuple(moves), tuple(stays))


def due_class(transitions: Sequence[TransitionOrder], age: timedelta) -> StorageClass | None:
    """Where a chain belongs whose newest backup is so old."""
    due = [one for one in transitions if timedelta(days=one.days) <= age]
    return max(due, key=lambda one: one.days).storage_class if due else None


def archived_until(backups: Iterable[StoredBackup], due: Iterable[Move], left: Collection[Move]) -> datetime | None:
    """The newest backup that lies in an archive class, or is on its way there: due, and not `left` untagged."""
    going = [one for move in due if move.storage_class in ARCHIVES and move not in left for one in move.backups]
    lying = [one for one in backups if any(each.storage_class in ARCHIVES for each in one.objects)]
    return max((one.at for one in (*going, *lying)), default=None)


def thaw_time(classes: Iterable[str], speed: ThawSpeed) -> timedelta | None:
    """How long the slowest of these classes may take; None where one of them cannot be thawed at that speed."""
    known = _THAW_BY_SPEED[speed]
    wanted = {one for one in ARCHIVES if one in set(classes)}
    if not wanted <= set(known):
        return None
    return max((known[one] for one in wanted), default=timedelta(0))


def _newest(backups: Iterable[StoredBackup]) -> frozenset[str]:
    lines: dict[tuple[str, ...], StoredBackup] = {}
    for one in backups:
        known = lines.get(one.line)
        if known is None or (one.at, one.id) > (known.at, known.id):
            lines[one.line] = one
    return frozenset(one.id for one in lines.values())


def _why_not(
    chain: Sequence[StoredBackup], known: Mapping[str, StoredBackup], newest: frozenset[str], keep: Collection[str]
) -> str | None:
    for one in sorted(chain, key=lambda backup: backup.id):
        if (missing := next((other for other in one.stands_on if other not in known), None)) is not None:
            return f"{one.id} stands on {missing}, which is not in the store"
        if one.id in newest:
            return f"{one.id} is the newest of its policy, and the next one may stand on it"
        if one.id in keep:
            return f"{one.id} is the newest proven one, or the log begins with it"
        if one.held:
            return f"a legal hold lies on {one.id}"
    return None


def _chains(known: Mapping[str, StoredBackup]) -> list[tuple[StoredBackup, ...]]:
    """Backups that stand on each other, directly or not, oldest chain first; also through one that is gone."""
    root: dict[str, str] = {}

    def find(one: str) -> str:
        root.setdefault(one, one)
        while root[one] != one:
            one = root[one]
        return one

    for backup in known.values():
        find(backup.id)
        for other in backup.stands_on:
            first, second = sorted((find(backup.id), find(other)))
            root[second] = first
    members: defaultdict[str, list[StoredBackup]] = defaultdict(list)
    for one in sorted(known.values(), key=lambda backup: (backup.at, backup.id)):
        members[find(one.id)].append(one)
    return [tuple(chain) for chain in members.values()]


def _children_first(chain: Sequence[StoredBackup]) -> tuple[StoredBackup, ...]:
    """A backup is always taken after those that it stands on; where clocks said otherwise, by what stands on what."""
    by_id = {one.id: one for one in chain}

    def depth(backup: StoredBackup, seen: frozenset[str] = frozenset()) -> int:
        lower = [by_id[other] for other in backup.stands_on if other in by_id and other not in seen]
        return 1 + max((depth(one, seen | {backup.id}) for one in lower), default=0)

    return tuple(sorted(chain, key=lambda one: (-depth(one), one.at, one.id)))
