"""What could be brought back of a database, from when, and what that would cost. Pure; reads nothing but records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from databosun.api.assessment import AssessedBackup, Assessment, Span, Window
from databosun.api.quantities import format_duration, humanize_bytes
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import API_VERSION
from databosun.api.v1alpha1.databasestatus import LastProven
from databosun.domain.recovery import LogReach, replayable
from databosun.domain.selection import Candidate, chain_of
from databosun.domain.tiering import THAW
from databosun.domain.tiers import Objectives

Until = Literal["Latest", "Time", "EndOfBackup"]
START_WITHIN = timedelta(hours=1)
# Times of recovery are whole seconds, and what was committed within the last one is replayed too.
JUST_BEFORE = timedelta(seconds=1)
LONGEST_THAW = max(THAW.values())


@dataclass(frozen=True, slots=True)
class AssessFacts:
    """A database, its good backups, and what is known of its log and of its drills. `proven`: levels, by backup.

    `archived_until`: of the backups up to then some may lie in an archive class; `thaw`: how long one takes at most.
    """

    namespace: str
    database: str
    objectives: Objectives
    log: LogReach | None
    candidates: Sequence[Candidate]
    proven: Mapping[str, str]
    last_proven: LastProven | None
    before: datetime | None = None
    archived_until: datetime | None = None
    thaw: timedelta = LONGEST_THAW


def assess(facts: AssessFacts, now: datetime) -> Assessment:
    """The newest point that can be had, and the backup that it begins with."""
    known = {one.name: one for one in facts.candidates}
    aim = (facts.before - JUST_BEFORE).replace(microsecond=0) if facts.before else now
    reach, passed_over = _furthest(facts, known, aim)
    common = {
        "namespace": facts.namespace,
        "database": facts.database,
        "assessed_at": now,
        "before": facts.before,
        "window": _window(facts, known),
        "passed_over": passed_over,
        "rpo_seconds": facts.objectives.rpo.total_seconds(),
        "rto_seconds": facts.objectives.rto.total_seconds(),
    }
    if reach is None:
        return Assessment(**common, restore_basis="there is nothing to restore", obstacle=_obstacle(facts))
    fit, point = reach.base, min(reach.until, aim)
    until = _until(facts, reach, point)
    loss = max(0.0, ((facts.before or now) - point).total_seconds())
    thaw = facts.thaw if facts.archived_until is not None and fit.at <= facts.archived_until else None
    seconds, basis = _estimate(facts, known, fit, until, thaw)
    return Assessment(
        **common,
        point=point,
        until=until,
        backup=_shown(facts, known, fit),
        loss_seconds=loss,
        rpo_met=loss <= facts.objectives.rpo.total_seconds(),
        restore_seconds=seconds,
        restore_basis=basis,
        rto_met=_met(facts.objectives.rto, seconds, thaw),
        thaw_seconds=thaw.total_seconds() if thaw is not None else None,
        command=_by_hand(fit) if _with_a_cloud(fit) else _command(facts, fit, until, point, thaws=thaw is not None),
        restore=None
        if _with_a_cloud(fit)
        else _manifest(facts, fit, until, point, now, **({"thaw": {}} if thaw is not None else {})),
    )


@dataclass(frozen=True, slots=True)
class _Reach:
    """What a backup can be brought forward to by the log; `until` is the backup's own instant where there is none."""

    base: Candidate
    until: datetime

    @property
    def by_log(self) -> bool:
        return self.until > self.base.at


def _reach(facts: AssessFacts, one: Candidate) -> _Reach:
    log = facts.log
    if log is None or one.start_lsn is None:
        return _Reach(one, one.at)
    if (one.system_identifier, one.storage) != (log.system_identifier, log.storage):
        return _Reach(one, one.at)
    until = replayable(one.start_lsn, log)
    return _Reach(one, max(one.at, until.replace(microsecond=0)) if until is not None else one.at)


def _furthest(facts: AssessFacts, known: Mapping[str, Candidate], aim: datetime) -> tuple[_Reach | None, list[str]]:
    """The backup that comes nearest to the point, the newest of those that come as near; and why newer ones do not."""
    fit = [_reach(facts, one) for one in facts.candidates if one.at <= aim and not _missing(one, known)]
    best = max(fit, key=lambda one: (min(one.until, aim), one.base.at, one.base.name), default=None)
    newer = [
        one
        for one in sorted(facts.candidates, key=lambda each: (each.at, each.name), reverse=True)
        if one.at <= aim and (best is None or (one.at, one.name) > (best.base.at, best.base.name))
    ]
    return best, [f"{one.name}: {_why_not(facts, known, one)}" for one in newer]


def _why_not(facts: AssessFacts, known: Mapping[str, Candidate], one: Candidate) -> str:
    if missing := _missing(one, known):
        return f"it stands on {missing}, which is not there"
    if not one.takes_log:
        return "no log can be replayed on it"
    reached = _reach(facts, one)
    if reached.by_log:
        return f"the log beyond {reached.until.isoformat()} is missing"
    return "the log does not reach it"


def _until(facts: AssessFacts, reach: _Reach, point: datetime) -> Until:
    if not reach.by_log or point <= reach.base.at:
        return "EndOfBackup"
    newest = facts.log.recoverable_at if facts.log is not None else None
    return "Latest" if newest is not None and point == newest.replace(microsecond=0) else "Time"


def _missing(one: Candidate, known: Mapping[str, Candidate]) -> str | None:
    last = chain_of(one.name, known)[-1]
    return last.parent if last.parent is not None and last.type is not BackupType.FULL else None


def _window(facts: AssessFacts, known: Mapping[str, Candidate]) -> Window | None:
    if not facts.candidates:
        return None
    spans: dict[datetime, Span] = {}
    for reach in (_reach(facts, one) for one in sorted(facts.candidates, key=lambda each: (each.at, each.name))):
        if reach.by_log and reach.until not in spans and not _missing(reach.base, known):
            spans[reach.until] = Span.model_validate(
                {"from": reach.base.at, "to": reach.until, "backup": reach.base.name}
            )
    instants = [*(one.at for one in facts.candidates), *spans]
    newest = facts.log.recoverable_at if facts.log is not None else None
    return Window(
        earliest=min(instants),
        latest=max(instants),
        continuous=newest is not None and newest.replace(microsecond=0) in spans,
        spans=[spans[end] for end in sorted(spans)],
        gaps=list(facts.log.gaps) if facts.log is not None else [],
    )


def _obstacle(facts: AssessFacts) -> str:
    if not facts.candidates:
        return (
            f"Database {facts.namespace}/{facts.database} has no successful backup here; a store may hold some that the"
            " cluster has forgotten: kubectl bosun catalog rebuild --storage NAME"
        )
    oldest = min(one.at for one in facts.candidates)
    return f"no backup from before that time is there; the oldest one shows {oldest.isoformat()}"


def _shown(facts: AssessFacts, known: Mapping[str, Candidate], one: Candidate) -> AssessedBackup:
    chain = chain_of(one.name, known)
    return AssessedBackup(
        name=one.name,
        at=one.at,
        type=str(one.type),
        method=str(one.method),
        storage=one.storage,
        chain=[member.name for member in chain],
        proven=facts.proven.get(one.name),
        vouched=not one.unverified,
        restore_bytes=sum(member.stored_bytes for member in chain),
    )


def _estimate(
    facts: AssessFacts, known: Mapping[str, Candidate], one: Candidate, until: Until, thaw: timedelta | None
) -> tuple[float | None, str]:
    last = facts.last_proven
    told = f"; before that, a thaw may take up to {format_duration(thaw)}" if thaw is not None else ""
    if last is None or last.rto_seconds is None or not last.restore_bytes:
        return None, f"no drill has measured a restore of this database yet{told}"
    size = sum(member.stored_bytes for member in chain_of(one.name, known))
    seconds = math.ceil(last.rto_seconds * max(1.0, size / last.restore_bytes))
    basis = (
        f"drill {last.run} took {last.rto_seconds}s for {humanize_bytes(last.restore_bytes)} stored; {one.name} has"
        f" {humanize_bytes(size)}"
    )
    if until != "EndOfBackup":
        basis += "; replaying the log since that backup comes on top"
    return seconds + (thaw.total_seconds() if thaw is not None else 0.0), f"{basis}{told}"


def _met(objective: timedelta, seconds: float | None, thaw: timedelta | None) -> bool | None:
    """None: nobody knows. A thaw alone may be too long."""
    if seconds is None:
        return False if thaw is not None and thaw > objective else None
    return seconds <= objective.total_seconds()


def _with_a_cloud(one: Candidate) -> bool:
    return one.method is Method.SNAPSHOT


def _by_hand(one: Candidate) -> str:
    return (
        f"{one.name} is a snapshot that a cloud keeps: RESTORE.md beside its manifest in BackupStorage {one.storage} "
        "has the cloud's own commands for it"
    )


def _claim(facts: AssessFacts) -> str:
    return f"{facts.database}-restored"


def _command(facts: AssessFacts, one: Candidate, until: Until, point: datetime, *, thaws: bool) -> str:
    words = ["kubectl bosun restore", facts.database, "-n", facts.namespace, "--to-volume", _claim(facts)]
    if until == "Time":
        words += ["--time", f"{point:%Y-%m-%dT%H:%M:%SZ}"]
    if until == "EndOfBackup":
        words += ["--backup", one.name]
    if thaws:
        words += ["--thaw", "Standard"]
    return " ".join([*words, "--wait"])


def _manifest(
    facts: AssessFacts, one: Candidate, until: Until, point: datetime, now: datetime, **more: Any
) -> dict[str, Any]:
    source = {"backupRef": {"name": one.name}} if until == "EndOfBackup" else {"databaseRef": {"name": facts.database}}
    spec: dict[str, Any] = {
        "from": source,
        "target": {"volume": {"claimName": _claim(facts)}},
        **more,
        "notAfter": f"{now + START_WITHIN:%Y-%m-%dT%H:%M:%SZ}",
    }
    if until == "Time":
        spec["pointInTime"] = f"{point:%Y-%m-%dT%H:%M:%SZ}"
    else:
        spec["until"] = until
    return {
        "apiVersion": API_VERSION,
        "kind": "Restore",
        "metadata": {"name": f"{facts.database}-{now:%y%m%d-%H%M}", "namespace": facts.namespace},
        "spec": spec,
    }
