"""A physical backup becomes a running, promoted copy: laid out, verified, recovered to the point that was asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.v1alpha1.backup import Position
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.wal import format_lsn, parse_history, parse_history_name, parse_lsn
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.configuration import recovery_settings
from databosun.engines.postgresql.recovery.control import Control, read_control
from databosun.engines.postgresql.recovery.copy import RunningCopy
from databosun.engines.postgresql.recovery.facts import (
    Backup,
    demand_restorable,
    library_name,
    needed_libraries,
    quiet_settings,
    read_backup,
)
from databosun.engines.postgresql.recovery.feeder import Feeder
from databosun.engines.postgresql.recovery.place import Place, lay_out, make_private, verify_files
from databosun.engines.postgresql.recovery.private import EndedEarly, PrivateServer
from databosun.engines.postgresql.recovery.tail import demand_complete_tail
from databosun.engines.recovery import Reached, RecoveryPlan, Source

_ANY_SUPERUSER = "postgres"


@contextmanager
def recover_physical(plan: RecoveryPlan, source: Source) -> Iterator[RunningCopy]:
    """The copy runs while the block does."""
    backups = [read_backup(manifest) for manifest in plan.chain]
    backup, place = backups[-1], Place(plan.place)
    demand_restorable(backup)
    seconds: dict[str, float] = {}
    _lay_out(backups, source, place, plan, seconds)
    if plan.verify:
        with _timed(seconds, "verify"):
            verify_files(backup.major, place, plan.pulse)
    make_private(backup, place)
    control = read_control(place.data, backup.major, plan.pulse)
    _demand_same_server(backup, control)
    server = PrivateServer(place.data, backup.major, backup.superuser or _ANY_SUPERUSER)
    try:
        with _timed(seconds, "start"):
            to_the_end = _replay(server, backup, control, plan)
        seconds["replay"] = server.replay_seconds
        seconds["start"] -= server.replay_seconds
        reached = read_reached(place.data, server.last_commit)
        _demand_reached(backup, reached, plan, control.segment_bytes, to_the_end=to_the_end)
        yield RunningCopy(server, backup, place, reached, seconds, _notes(backup), plan)
    finally:
        server.close()


def _lay_out(
    backups: list[Backup], source: Source, place: Place, plan: RecoveryPlan, seconds: dict[str, float]
) -> None:
    """Bytes are unpacked while they come in: `fetch` is what that had to wait for them, `restore` is the rest."""
    before = source.waited
    with _timed(seconds, "restore"):
        lay_out(backups, source, place, plan.pulse)
    seconds["fetch"] = min(source.waited - before, seconds["restore"])
    seconds["restore"] -= seconds["fetch"]


def _replay(server: PrivateServer, backup: Backup, control: Control, plan: RecoveryPlan) -> bool:
    """Start, replay, promote. A target behind the end of a log that reaches so far is the state at its end.

    True where all of the log was to be replayed, as far as the plan expects it.
    """
    with Feeder(server.folder, server.data, plan.log) as feeder:

        def pulse() -> None:
            plan.pulse()
            if feeder.fault:
                raise feeder.fault

        def start(until: RecoveryPoint) -> None:
            server.start(
                recovery_settings(until, plan.timeline, feeder.command),
                pulse,
                minima=control.settings,
                preload=needed_libraries(backup.preloaded),
                more=quiet_settings(needed_libraries(backup.preloaded)),
            )
            server.connect("template1").close()

        try:
            start(plan.until)
        except EndedEarly as early:
            if plan.until.kind not in (PointKind.TIME, PointKind.LSN) or plan.expected is None:
                message = f"recovery ended before the point that was asked for ({_shown(plan.until)}): {early}"
                raise UserFault(Reason.POINT_NOT_REACHED, message) from early
            start(RecoveryPoint(kind=PointKind.LATEST))
            return True
        except SafetyStop as fault:
            raise feeder.fault or fault from fault
    return plan.until.kind in (PointKind.LATEST, PointKind.LSN)


def read_reached(data: Path, last_commit: str | None) -> Reached:
    """Where the replay ended, from the history of the timeline that the promotion began."""
    newest = max(
        (found for path in (data / "pg_wal").iterdir() if (found := parse_history_name(path.name))), default=None
    )
    if newest is None:
        message = f"the copy began no timeline of its own in {data}, so it was not recovered as it should have been"
        raise SafetyStop(Reason.RECOVERY_FAILED, message)
    text = (data / "pg_wal" / f"{newest:08X}.history").read_text(errors="replace")
    ancestor = parse_history(newest, text).branches[-2]
    position = Position(lsn=format_lsn(ancestor.end or 0), timeline=ancestor.timeline)
    return Reached(position, _instant(last_commit))


def _demand_reached(
    backup: Backup, reached: Reached, plan: RecoveryPlan, segment_bytes: int, *, to_the_end: bool
) -> None:
    """SafetyStop(LogGap) where the replay ended before the position that backup or log promise."""
    found = parse_lsn(reached.position.lsn or "0/0")
    least = parse_lsn(backup.end_lsn) if backup.end_lsn else 0
    if found < least:
        message = f"the replay ended at {reached.position.lsn}, before the end {backup.end_lsn} of the backup itself"
        raise SafetyStop(Reason.LOG_GAP, message)
    if to_the_end and plan.expected is not None and plan.log is not None:
        timeline = reached.position.timeline or 1
        demand_complete_tail(plan.log, found, parse_lsn(plan.expected), timeline, segment_bytes)


def _demand_same_server(backup: Backup, control: Control) -> None:
    if backup.system_identifier and control.system_identifier != backup.system_identifier:
        message = (
            f"the files are of server {control.system_identifier}, but the manifest of {backup.id} says "
            f"{backup.system_identifier}"
        )
        raise SafetyStop(Reason.RECOVERY_FAILED, message)


def _notes(backup: Backup) -> tuple[str, ...]:
    needed = set(needed_libraries(backup.preloaded))
    left = [library_name(name) for name in backup.preloaded if name not in needed]
    return (f"not loaded in the copy: {', '.join(left)}",) if left else ()


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


def _shown(until: RecoveryPoint) -> str:
    return str(until.time or until.lsn or until.name or until.kind)


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        seconds[phase] = seconds.get(phase, 0.0) + time.monotonic() - began


def _total(seconds: Mapping[str, float]) -> float:
    return sum(seconds.values())
