"""`databosun drill`: prove a backup by hand, and follow the drill to its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.drill import CheckOutcome
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrillrun import DrillPhase
from databosun.cli.following import Run, tell_failure
from databosun.cli.handmade import by_hand
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenDrillRun
from databosun.domain.errors import UserFault
from databosun.kube.resources import BACKUPS, DATABASES, RESTORE_DRILL_RUNS, RESTORE_DRILLS, Object


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for."""

    database: str | None
    drill: str | None
    backup: str | None
    level: str | None
    start_within: timedelta


async def start(session: Session, wish: Wish) -> SeenDrillRun:
    """Create the drill's run. UserFault where what it names is not there."""
    if wish.database is None and (wish.drill is None or wish.backup is not None):
        message = "name a Database, or with --drill alone a RestoreDrill whose databases are all to be drilled"
        raise UserFault(Reason.INVALID_SPEC, message)
    if wish.database is not None:
        await session.find(DATABASES, wish.database)
    if wish.drill is not None:
        await session.find(RESTORE_DRILLS, wish.drill)
    if wish.backup is not None:
        await session.find(BACKUPS, wish.backup)
    return await RUN.create(session, lambda now: manifest(session.namespace, wish, now))


def manifest(namespace: str, wish: Wish, now: datetime) -> Object:
    """The run to create."""
    spec: dict[str, Any] = {
        **({"databaseRef": {"name": wish.database}} if wish.database else {}),
        **({"drillRef": {"name": wish.drill}} if wish.drill else {}),
        **({"backupRef": {"name": wish.backup}} if wish.backup else {}),
        **({"level": wish.level} if wish.level else {}),
    }
    of = wish.database or wish.drill or ""
    return by_hand(RESTORE_DRILL_RUNS, namespace, of, spec, now, wish.start_within)


def verdict(session: Session, seen: SeenDrillRun) -> int:
    """Say what was found: how long it took, what was checked, where the evidence is; or why it proves nothing."""
    status, name = seen.status, f"{seen.meta.namespace}/{seen.meta.name}"
    if seen.spec.database_ref is None:
        return _verdict_of_many(session, seen)
    for check in status.checks or []:
        if check.result is not CheckOutcome.PASSED:
            session.screen.note(
                f"  {check.result} {check.name} ({check.severity}): {check.message or check.reason or ''}"
            )
    if status.phase is not DrillPhase.PASSED:
        tell_failure(session, seen, "RestoreDrillRun")
        return OK if status.proven else FAILED
    backup = status.backup.name if status.backup else "?"
    lines = [f"RestoreDrillRun {name} passed at level {status.level_reached}: {backup} restores"]
    if status.rto is not None:
        lines.append(f"  RTO {status.rto.took}{_of(status.rto.objective, met=status.rto.met)}")
    if status.rpo is not None:
        lines.append(f"  RPO {status.rpo.span}{_of(status.rpo.objective, met=status.rpo.met)}")
    lines += [f"  evidence: {status.evidence.uri}"] if status.evidence else []
    lines += [f"  {note}" for note in status.notes or []]
    for line in lines:
        session.screen.out.print(line, markup=False)
    return OK


def _verdict_of_many(session: Session, seen: SeenDrillRun) -> int:
    status, print_ = seen.status, session.screen.out.print
    for member in status.members or []:
        ready = f", back after {member.ready}{'' if member.met is not False else ', TOO LATE'}" if member.ready else ""
        why = f": {member.reason}: {member.message}" if member.phase is not DrillPhase.PASSED else ""
        print_(f"  {member.group} {member.database} {member.phase or 'not drilled'}{ready}{why}", markup=False)
    if status.evidence is not None:
        print_(f"  evidence: {status.evidence.uri}", markup=False)
    if status.phase is not DrillPhase.PASSED:
        tell_failure(session, seen, "RestoreDrillRun")
        return FAILED
    took = status.rto.took if status.rto else "?"
    print_(f"RestoreDrillRun {seen.meta.namespace}/{seen.meta.name} passed: all were back in {took}", markup=False)
    return OK


def _of(objective: str | None, *, met: bool | None) -> str:
    if objective is None:
        return ""
    return f" of {objective}" + (", MISSED" if met is False else "")


RUN = Run(RESTORE_DRILL_RUNS, "drun", read.drill_run, verdict)
