"""The truth about one database: is it protected, is its recovery point within its objective, when will that change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.quantities import format_duration
from databosun.api.result import ProbeResult
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.recovery import LogPreflight, ManagedRecovery, Trouble
from databosun.domain.attempt import Ending
from databosun.domain.conditions import Wanted, kstatus
from databosun.domain.presets import EffectiveContinuous

CONTINUOUS = "Continuous"
"""What a finding blocks that stands in the way of archiving the log."""
# A database may miss one slot before it counts as unprotected (docs/concepts/truth.md).
INTERVALS_UNTIL_OVERDUE = 2


@dataclass(frozen=True, slots=True)
class Success:
    """A successful backup: its name, and the instant that it restores to. `restore_bytes`: what restoring it reads.
    `start_lsn`: where replay onto it begins; None where no log can be replayed onto it."""

    name: str
    at: datetime
    size_bytes: int
    engine_version: str | None = None
    system_identifier: str | None = None
    restore_bytes: int | None = None
    start_lsn: str | None = None
    storage: str | None = None


@dataclass(frozen=True, slots=True)
class ProtectionFacts:
    """What decides over `Protected` and `RPOMet`. `interval`: the shortest schedule's; None where there is none.
    `latest`: the newest recovery point where the log reaches further than `newest`. `gap`: one that is open."""

    policies: int
    broken: str | None
    newest: Success | None
    interval: timedelta | None
    rpo: timedelta
    unreachable_objective: str | None = None
    latest: datetime | None = None
    gap: str | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Conditions, and the next instant at which one of them turns by itself."""

    conditions: tuple[Wanted, ...]
    wake_at: datetime | None


def decide_protection(facts: ProtectionFacts, now: datetime) -> Verdicts:
    """Say whether the database is protected and within its RPO, from what storage holds alone."""
    protected, first = _protected(facts, now)
    met, second = _rpo_met(facts, now)
    wakes = [at for at in (first, second) if at is not None and at > now]
    return Verdicts((protected, met), min(wakes, default=None))


def _protected(facts: ProtectionFacts, now: datetime) -> tuple[Wanted, datetime | None]:
    kind = ConditionType.PROTECTED
    if not facts.policies:
        message = "no BackupPolicy covers this database; apply one that names it or selects its labels"
        return Wanted(kind, False, "NoPolicy", message), None
    if facts.newest is None:
        return Wanted(kind, False, "NoBackup", facts.broken or "no backup has succeeded yet"), None
    if facts.interval is None:
        return Wanted(
            kind, False, "NoSchedule", facts.broken or "no schedule of any policy takes backups of this database"
        ), None
    if facts.gap is not None:
        return Wanted(kind, False, "LogGap", facts.gap), None
    overdue = _plus(facts.newest.at, facts.interval * INTERVALS_UNTIL_OVERDUE)
    if now >= overdue:
        message = (
            f"the newest backup {facts.newest.name} restores to {facts.newest.at.isoformat()}, more than two intervals "
            f"({format_duration(facts.interval)} each) ago"
        )
        return Wanted(kind, False, "Overdue", message), None
    return Wanted(kind, True, "RecentBackup", f"{facts.newest.name} restores to {facts.newest.at.isoformat()}"), overdue


def _rpo_met(facts: ProtectionFacts, now: datetime) -> tuple[Wanted, datetime | None]:
    kind = ConditionType.RPO_MET
    if facts.newest is None:
        return Wanted(kind, False, "NoBackup", "nothing could be restored yet"), None
    newest = max(facts.newest.at, facts.latest or facts.newest.at)
    until = _plus(newest, facts.rpo)
    limit = format_duration(facts.rpo)
    if now >= until:
        why = f"; {facts.unreachable_objective}" if facts.unreachable_objective else ""
        message = f"the newest recovery point {newest.isoformat()} is older than the objective of {limit}{why}"
        return Wanted(kind, False, "RecoveryPointTooOld", message), None
    if facts.unreachable_objective:
        return Wanted(kind, False, "ObjectiveUnreachable", facts.unreachable_objective), None
    return Wanted(kind, True, "WithinObjective", f"the newest recovery point is younger than {limit}"), until


def _plus(at: datetime, span: timedelta) -> datetime:
    try:
        return at + span
    except OverflowError:
        return datetime.max.replace(tzinfo=at.tzinfo)


def judge_probe(probe: ProbeResult | None, ending: Ending, wanted_methods: Sequence[str]) -> tuple[Wanted, ...]:
    """Turn the agent's look into `Ready` and `Reachable`. Findings that block every wanted method: not ready."""
    if probe is not None and not probe.reachable and probe.findings:
        first = probe.findings[0]
        gone = Wanted(ConditionType.REACHABLE, False, first.reason, first.message)
        return (*kstatus(ready=False, reason=first.reason, message=first.message, stalled=True), gone)
    if probe is None or not probe.reachable:
        message = ending.message or "the database did not answer"
        again = message if ending.retryable else None
        return (
            *kstatus(
                ready=False, reason=ending.reason, message=message, stalled=not ending.retryable, reconciling=again
            ),
            Wanted(ConditionType.REACHABLE, False, ending.reason, message),
        )
    reachable = Wanted(
        ConditionType.REACHABLE, True, "Connected", f"{probe.host} answers as version {probe.engine_version}"
    )
    blocking = [finding for finding in probe.findings if set(wanted_methods) & set(finding.blocks)]
    if blocking and all(any(method in finding.blocks for finding in blocking) for method in wanted_methods):
        first = blocking[0]
        message = f"{first.message}{f'; fix: {first.fix}' if first.fix else ''}"
        return (*kstatus(ready=False, reason=first.reason, message=message, stalled=True), reachable)
    message = "; ".join(finding.message for finding in probe.findings if finding.blocks != [CONTINUOUS])
    return (*kstatus(ready=True, reason="Ready", message=message), reachable)


def judge_log(probe: ProbeResult, asked: EffectiveContinuous | None, known: LogPreflight | None) -> LogPreflight | None:
    """What stands in the way of archiving the log. A look that could not be taken leaves what was known."""
    if asked is None:
        return None
    if not probe.reachable:
        return known
    blocking = [finding for finding in probe.findings if CONTINUOUS in finding.blocks]
    first = blocking[0] if blocking else None
    blocked = None
    if first is not None:
        advice = f"; fix: {first.fix}" if first.fix else ""
        blocked = Trouble(reason=first.reason, message=f"{first.message}{advice}")
    return LogPreflight(allow_unbounded_slot=asked.allow_unbounded_slot, blocked=blocked)


def managed_of(probe: ProbeResult, known: ManagedRecovery | None) -> ManagedRecovery | None:
    """What a cloud says that it can restore. A look that could not be taken leaves what was known."""
    if not probe.reachable and probe.managed is None:
        return known
    if probe.managed is None:
        return None
    state = probe.managed.model_dump(exclude={"removed"})
    return ManagedRecovery(**{**state, "earliest": _whole(state["earliest"]), "latest": _whole(state["latest"])})


def _whole(at: datetime | None) -> datetime | None:
    return at.replace(microsecond=0) if at is not None else None
