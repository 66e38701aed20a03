"""Which backup a drill or a restore reads, out of those that are fit to be read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.restoredrill import SelectFrom
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.gtid import holds
from databosun.domain.wal import parse_lsn

MAX_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """A good backup: Succeeded, its manifest's digest known, not on its way out. `at`: the instant that it shows.

    `unverified`: the digest was read from the store itself. `policy_uid` is empty where no policy is known.
    `start_lsn`: where replay onto it begins; None where no log can be replayed onto it. `gtid`: the newest
    transactions in it, of engines that number them.
    """

    name: str
    database: str
    at: datetime
    completed: datetime
    checksum: str
    attempt: int = 1
    type: BackupType = BackupType.FULL
    method: Method = Method.PHYSICAL
    stored_bytes: int = 0
    logical_bytes: int = 0
    parent: str | None = None
    engine: EngineName | None = None
    engine_version: str | None = None
    system_identifier: str | None = None
    policy_uid: str = ""
    storage: str | None = None
    storage_uid: str = ""
    unverified: bool = False
    end_lsn: str | None = None
    start_lsn: str | None = None
    gtid: str | None = None

    @property
    def takes_log(self) -> bool:
        """Whether a log can be replayed onto it: a dump says where that would begin, or none can."""
        return self.method is not Method.LOGICAL or self.start_lsn is not None

    def behind(self, point: TargetPoint) -> bool:
        """Whether it holds more than a position or a transaction of the log, as far as both can be read: then it cannot
        be restored to that."""
        if point.kind is PointKind.GTID and point.name is not None and self.gtid is not None:
            return holds(self.gtid, point.name)
        end, wanted = _position(self.end_lsn), _position(point.lsn)
        return end is not None and wanted is not None and end > wanted


def _position(lsn: str | None) -> int | None:
    try:
        return parse_lsn(lsn) if lsn else None
    except ValueError:
        return None


def choose(candidates: Sequence[Candidate], how: SelectFrom, seed: str) -> Candidate | None:
    """The backup to drill; None where there is none. The same candidates and seed always give the same one."""
    ordered = sorted(candidates, key=lambda one: (one.at, one.name))
    if not ordered:
        return None
    match how:
        case SelectFrom.LATEST:
            return ordered[-1]
        case SelectFrom.OLDEST:
            return ordered[0]
        case SelectFrom.RANDOM:
            return ordered[_draw(seed, len(ordered))]


def before(candidates: Sequence[Candidate], until: datetime | None) -> tuple[Candidate, ...]:
    """The backups to try for a restore, newest first: all, or those that do not lie behind `until`."""
    fit = [one for one in candidates if until is None or one.at <= until]
    return tuple(sorted(fit, key=lambda one: (one.at, one.name), reverse=True)[:MAX_CANDIDATES])


def within(candidates: Mapping[str, Candidate], at: datetime) -> tuple[Candidate, ...]:
    """The backups whose chain holds the log from before `at` to behind it, the one with the least to replay first."""
    fit = []
    for one in candidates.values():
        capabilities = CAPABILITIES.get(one.engine or "")
        base = chain_of(one.name, candidates)[-1]
        if capabilities and capabilities.log_in_chain and base.type is BackupType.FULL and base.at <= at <= one.at:
            fit.append(one)
    return tuple(sorted(fit, key=lambda one: (one.at, one.name))[:MAX_CANDIDATES])


def instant_between(seed: str, earliest: datetime, latest: datetime) -> datetime:
    """An instant from `earliest` to `latest`, to the second; always the same for one seed."""
    seconds = max(0, int((latest - earliest).total_seconds()))
    return earliest.replace(microsecond=0) + timedelta(seconds=_draw(seed, seconds + 1))


def chain_of(name: str, known: Mapping[str, Candidate]) -> tuple[Candidate, ...]:
    """A backup and what it stands on, as far as that is known, itself first."""
    found: list[Candidate] = []
    at: str | None = name
    while at is not None and (one := known.get(at)) is not None and one not in found:
        found.append(one)
        at = one.parent
    return tuple(found)


def chain_bytes(name: str, sizes: Mapping[str, tuple[str | None, int]]) -> int:
    """Stored bytes of a backup and all that it stands on; `sizes` has parent and bytes by name."""
    total, at, passed = 0, name, set()
    while at in sizes and at not in passed:
        passed.add(at)
        parent, size = sizes[at]
        total += size
        at = parent or ""
    return total


def chosen(one: Candidate, known: Mapping[str, Candidate], now: datetime) -> ChosenBackup:
    """The choice as it is written down."""
    return ChosenBackup(
        name=one.name,
        database=one.database,
        completed_at=one.completed,
        resolved_at=now,
        checksum=one.checksum,
        attempt=one.attempt,
        type=one.type,
        method=one.method,
        restore_bytes=sum(member.stored_bytes for member in chain_of(one.name, known)),
        engine_version=one.engine_version,
        storage=one.storage,
        system_identifier=one.system_identifier,
        unverified=one.unverified,
    )


def _draw(seed: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % number
