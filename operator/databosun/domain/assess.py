"""What could be brought back of a database, from when, and what that would cost. Pure; reads nothing but records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from databosun.api.assessment import AssessedBackup, Assessment, Window
from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.common import API_VERSION
from databosun.api.v1alpha1.database import LastProven
from databosun.api.v1alpha1.recovery import Recovery
from databosun.domain.selection import Candidate, chain_of
from databosun.domain.tiers import Objectives

Until = Literal["Latest", "Time", "EndOfBackup"]
START_WITHIN = timedelta(hours=1)
# Times of recovery are whole seconds, and what was committed within the last one is replayed too.
JUST_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class AssessFacts:
    """A database, its good backups, and what is known of its log and of its drills. `proven`: levels, by backup."""

    namespace: str
    database: str
    objectives: Objectives
    recovery: Recovery | None
    candidates: Sequence[Candidate]
    proven: Mapping[str, str]
    last_proven: LastProven | None
    before: datetime | None = None


def assess(facts: AssessFacts, now: datetime) -> Assessment:
    """The newest point that can be had, and the backup that it begins with."""
    known = {one.name: one for one in facts.candidates}
    point, until = _aim(facts, now)
    fit, passed_over = _fit(facts, known, point, until)
    if fit is None and until != "EndOfBackup":
        # No backup that a log can be replayed on: what a backup holds by itself is better than nothing.
        until = "EndOfBackup"
        fit, more = _fit(facts, known, facts.before and facts.before - JUST_BEFORE, until)
        passed_over += more
    common = {
        "namespace": facts.namespace,
        "database": facts.database,
        "assessed_at": now,
        "before": facts.before,
        "window": _window(facts),
        "passed_over": passed_over,
        "rpo_seconds": facts.objectives.rpo.total_seconds(),
        "rto_seconds": facts.objectives.rto.total_seconds(),
    }
    if fit is None:
        return Assessment(**common, restore_basis="there is nothing to restore", obstacle=_obstacle(facts))
    reached = fit.at if until == "EndOfBackup" or point is None else point
    loss = max(0.0, ((facts.before or now) - reached).total_seconds())
    seconds, basis = _estimate(facts, known, fit, until)
    return Assessment(
        **common,
        point=reached,
        until=until,
        backup=_shown(facts, known, fit),
        loss_seconds=loss,
        rpo_met=loss <= facts.objectives.rpo.total_seconds(),
        restore_seconds=seconds,
        restore_basis=basis,
        rto_met=None if seconds is None else seconds <= facts.objectives.rto.total_seconds(),
        command=_command(facts, fit, until, reached),
        restore=_manifest(facts, fit, until, reached, now),
    )


def _aim(facts: AssessFacts, now: datetime) -> tuple[datetime | None, Until]:
    """The point to ask for: by the log as far as it is shipped, else the end of a backup."""
    recovery = facts.recovery
    latest = recovery.latest if recovery is not None and recovery.continuous else None
    if latest is None:
        return (facts.before - JUST_BEFORE if facts.before else None), "EndOfBackup"
    if facts.before is None or facts.before > latest + JUST_BEFORE:
        return latest, "Latest"
    return (facts.before - JUST_BEFORE).replace(microsecond=0), "Time"


def _fit(
    facts: AssessFacts, known: Mapping[str, Candidate], point: datetime | None, until: Until
) -> tuple[Candidate | None, list[str]]:
    """The newest backup that does not lie behind the point and whose chain is there; and why newer ones do not do."""
    passed_over: list[str] = []
    for one in sorted(facts.candidates, key=lambda each: (each.at, each.name), reverse=True):
        if point is not None and one.at > point:
            continue
        if until != "EndOfBackup" and one.method is Method.LOGICAL:
            passed_over.append(f"{one.name}: no log can be replayed on a logical backup")
            continue
        if missing := _missing(one, known):
            passed_over.append(f"{one.name}: it stands on {missing}, which is not there")
            continue
        return one, passed_over
    return None, passed_over


def _missing(one: Candidate, known: Mapping[str, Candidate]) -> str | None:
    last = chain_of(one.name, known)[-1]
    return last.parent if last.parent is not None and last.type is not BackupType.FULL else None


def _window(facts: AssessFacts) -> Window | None:
    recovery = facts.recovery
    if recovery is not None and recovery.earliest is not None and recovery.latest is not None:
        return Window(earliest=recovery.earliest, latest=recovery.latest, continuous=recovery.continuous)
    if not facts.candidates:
        return None
    instants = [one.at for one in facts.candidates]
    return Window(earliest=min(instants), latest=max(instants), continuous=False)


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
    facts: AssessFacts, known: Mapping[str, Candidate], one: Candidate, until: Until
) -> tuple[float | None, str]:
    last = facts.last_proven
    if last is None or last.rto_seconds is None or not last.restore_bytes:
        return None, "no drill has measured a restore of this database yet"
    size = sum(member.stored_bytes for member in chain_of(one.name, known))
    seconds = math.ceil(last.rto_seconds * max(1.0, size / last.restore_bytes))
    basis = (
        f"drill {last.run} took {last.rto_seconds}s for {humanize_bytes(last.restore_bytes)} stored; {one.name} has"
        f" {humanize_bytes(size)}"
    )
    if until != "EndOfBackup":
        basis += "; replaying the log since that backup comes on top"
    return seconds, basis


def _claim(facts: AssessFacts) -> str:
    return f"{facts.database}-restored"


def _command(facts: AssessFacts, one: Candidate, until: Until, point: datetime) -> str:
    words = ["kubectl bosun restore", facts.database, "-n", facts.namespace, "--to-volume", _claim(facts)]
    if until == "Time":
        words += ["--time", f"{point:%Y-%m-%dT%H:%M:%SZ}"]
    if until == "EndOfBackup":
        words += ["--backup", one.name]
    return " ".join([*words, "--wait"])


def _manifest(facts: AssessFacts, one: Candidate, until: Until, point: datetime, now: datetime) -> dict[str, Any]:
    source = {"backupRef": {"name": one.name}} if until == "EndOfBackup" else {"databaseRef": {"name": facts.database}}
    spec: dict[str, Any] = {
        "from": source,
        "target": {"volume": {"claimName": _claim(facts)}},
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
