"""`databosun assess`: what could be brought back of a database, from when, and what that would cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from databosun.api.assessment import Assessment, Window
from databosun.api.comparison import Comparison, TableDifference, TableState
from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.cli.asking import Question, ask
from databosun.cli.options import Output
from databosun.cli.output import yaml_of
from databosun.cli.reasons import CliReason
from databosun.cli.restore import instant
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.cli.words import span_of
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenBackup
from databosun.domain.assess import AssessFacts, assess
from databosun.domain.conditions import is_true
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED
from databosun.domain.recovery import log_reach
from databosun.domain.selection import Candidate
from databosun.domain.tiers import tier_objectives
from databosun.kube.resources import BACKUPS, DATABASES

NEXT: Final = (
    "Stop what does the harm: the job, the deployment, the person. Do not restart the server over lost files.",
    "See what is missing: {compare}",
    "Restore into a volume of its own, beside production: the command above. Nothing is overwritten.",
    "Verify the copy: its checks stand in status.checks, yours go into spec.checks.",
    "Resume: the steps in status.handOver give the volume to a server.",
    "Write it down: {report}",
)


async def gather(session: Session, database: str, before: str | None) -> AssessFacts:
    """What the cluster knows. UserFault where there is no such Database."""
    seen = read.database(await session.find(DATABASES, database))
    selector = f"{LABEL_FINISHED}=Succeeded,{LABEL_DATABASE_UID}={seen.meta.uid}"
    bodies = session.kube.list(BACKUPS, session.namespace, label_selector=selector)
    backups = [read.backup(body) async for body in bodies]
    found = [(one, _candidate(one)) for one in backups]
    recovery, archiver = seen.status.recovery, seen.status.archiver
    return AssessFacts(
        namespace=seen.meta.namespace,
        database=seen.meta.name,
        objectives=tier_objectives(seen.spec.tier, seen.spec.objectives),
        log=log_reach(archiver, recovery.gaps) if archiver is not None and recovery is not None else None,
        candidates=[candidate for _, candidate in found if candidate is not None],
        proven={one.meta.name: one.status.proven.level for one in backups if one.status.proven is not None},
        last_proven=seen.status.last_proven,
        before=datetime.fromisoformat(instant(before)) if before is not None else None,
        archived_until=recovery.archived_until if recovery is not None else None,
    )


def _candidate(one: SeenBackup) -> Candidate | None:
    status = one.status
    if one.meta.deleting or status.checksum is None:
        return None
    completed = status.completion_time or one.meta.created
    return Candidate(
        name=one.meta.name,
        database=read.database_name(one),
        at=status.shows or completed,
        completed=completed,
        checksum=status.checksum,
        type=status.type or BackupType.FULL,
        method=status.method or Method.AUTO,
        stored_bytes=status.size.stored if status.size else 0,
        parent=status.parent,
        storage=one.spec.storage_ref.name if one.spec.storage_ref else None,
        unverified=is_true(status.conditions, ConditionType.UNVERIFIED),
        system_identifier=status.system_identifier,
        start_lsn=status.position.start_lsn if status.position else None,
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for. `within`, `tables`: what to compare; nothing: the whole server."""

    database: str
    before: str | None
    compare: bool
    within: str | None
    tables: tuple[str, ...]
    timeout: timedelta | None


async def show(session: Session, wish: Wish, output: Output) -> int:
    """Print it. 1 where nothing can be restored. UserFault where what is to be compared is not said right."""
    if (wish.within or wish.tables) and not wish.compare:
        message = "--in and --table say what to compare: give --compare too"
        raise UserFault(CliReason.BAD_USAGE, message)
    if wish.tables and not wish.within:
        message = "--table names tables of one database of the server: say which one with --in"
        raise UserFault(CliReason.BAD_USAGE, message)
    found = assess(await gather(session, wish.database, wish.before), session.clock.now())
    if wish.compare and found.obstacle is None:
        found = found.model_copy(update={"comparison": await _compare(session, wish, found)})
    return tell(session, found, output)


async def _compare(session: Session, wish: Wish, found: Assessment) -> Comparison:
    """What differs, from an Inquiry of the operator."""
    asked: dict[str, Any] = {"databaseRef": {"name": found.database}}
    if found.until == "EndOfBackup" and found.backup is not None:
        asked["backupRef"] = {"name": found.backup.name}
    elif found.point is not None:
        asked["pointInTime"] = f"{found.point:%Y-%m-%dT%H:%M:%SZ}"
    asked |= {"database": wish.within} if wish.within else {}
    asked |= {"tables": list(wish.tables)} if wish.tables else {}
    question = Question(found.namespace, f"compare-{found.database}", {"comparison": asked})
    answer = (await ask(session, question, wish.timeout)).status.comparison
    if answer is None:
        raise WorldFault(CliReason.NO_ANSWER, "the answer holds no comparison")
    return answer


def tell(session: Session, found: Assessment, output: Output) -> int:
    """Print an assessment; 1 where nothing can be restored."""
    if output in (Output.JSON, Output.YAML):
        session.screen.document(output, found.dump())
    else:
        for line in lines(found):
            session.screen.out.print(line, markup=False)
    return OK if found.obstacle is None else FAILED


def lines(found: Assessment) -> Iterator[str]:
    """The assessment for people."""
    yield f"Database {found.namespace}/{found.database}, as its records stand at {_at(found.assessed_at)}"
    if found.window is not None:
        yield from _recoverable(found.window)
    yield from (f"  passed over: {one}" for one in found.passed_over)
    if found.obstacle is not None or found.backup is None or found.point is None or found.loss_seconds is None:
        yield f"  NOTHING can be restored: {found.obstacle}"
        return
    backup = found.backup
    ends = {"Latest": "to the end of the log", "Time": "by the log", "EndOfBackup": "the end of the backup itself"}
    yield f"  point: {_at(found.point)}, {ends[found.until or 'EndOfBackup']}"
    stands = f", on {' on '.join(backup.chain[1:])}" if len(backup.chain) > 1 else ""
    proven = f"proven ({backup.proven})" if backup.proven else "never drilled"
    vouched = "" if backup.vouched else "; nothing but the store vouches for its manifest"
    size = humanize_bytes(backup.restore_bytes)
    yield f"  from: {backup.name}, {backup.type} {backup.method} of {_at(backup.at)}{stands}; {size}; {proven}{vouched}"
    what = "before that time" if found.before else "up to now"
    lost = span_of(found.loss_seconds)
    yield f"  lost: {lost} of writes {what}; objective {span_of(found.rpo_seconds)}{_missed(found.rpo_met)}"
    takes = span_of(found.restore_seconds) if found.restore_seconds is not None else "not known"
    if found.thaw_seconds is not None:
        thaw = span_of(found.thaw_seconds)
        yield f"  archived: it may lie in an archive class; a thaw takes up to {thaw} and costs money (--thaw)"
    aim = f"objective {span_of(found.rto_seconds)}{_missed(found.rto_met)}"
    yield f"  takes: {takes} ({found.restore_basis}); {aim}"
    yield "  the manifest and the data are verified when a restore begins; one that does not verify is passed over"
    yield ""
    yield str(found.command)
    yield ""
    if found.restore is not None:
        yield from yaml_of(found.restore).splitlines()
        yield ""
    if found.comparison is not None:
        yield from compared(found.comparison)
        yield ""
    yield "what to do, in order:"
    names = {"compare": _compare_command(found), "report": "kubectl bosun report --restore NAME"}
    yield from (f"  {number}. {step.format(**names)}" for number, step in enumerate(NEXT, 1))


def _recoverable(window: Window) -> Iterator[str]:
    """The instants that can be had, and the stretches between that cannot."""
    yield f"  recoverable: the instants of its backups, from {_at(window.earliest)} to {_at(window.latest)}"
    for span in window.spans:
        yield f"  any instant: from {_at(span.begin)} to {_at(span.end)}, onto {span.backup}"
    for gap in window.gaps:
        begin = _at(gap.begin) if gap.begin else "an unknown time"
        yield f"  the log is missing: from {begin} to {_at(gap.end)} ({gap.reason})"


def _compare_command(found: Assessment) -> str:
    before = f" --before {found.before:%Y-%m-%dT%H:%M:%SZ}" if found.before else ""
    return f"kubectl bosun assess {found.database} -n {found.namespace}{before} --compare"


def compared(found: Comparison) -> Iterator[str]:
    """The comparison for people: what differs, in columns; what is the same only counted."""
    shows = f", which shows {_at(found.copy_at)}" if found.copy_at else ""
    yield f"compared {found.host} at {_at(found.live_at)} with a copy from {found.backup}{shows}:"
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items())
    yield f"  tables: {counts or 'none'}"
    head = ("TABLE", "STATE", "ROWS THEN", "ROWS NOW", "LOST", "ADDED", "CHANGED", "NOTE")
    rows = [
        (one.table, str(one.state), *map(_number, _counts(one)), one.message or "")
        for one in found.tables
        if one.state is not TableState.SAME
    ]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows) if rows else ():
        yield "  " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield from (f"  {note}" for note in found.notes or ())


def _counts(one: TableDifference) -> tuple[int | None, ...]:
    return one.copy_rows, one.live_rows, one.lost, one.added, one.changed


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _missed(met: bool | None) -> str:
    return ", MISSED" if met is False else ""


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
