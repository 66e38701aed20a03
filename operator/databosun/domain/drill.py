"""What a drill proved: a verdict from facts, pure. Objectives stand beside it: a slow restore is still a restore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, auto

from databosun.api.drill import (
    CheckOutcome,
    CheckResult,
    CheckType,
    Level,
    Rpo,
    RpoSource,
    Severity,
    Verdict,
)

LEVELS = (Level.ARTIFACT, Level.RESTORE, Level.DEEP, Level.APPLICATION)


NEGATIVE_CONTROL = "negative-control"
"""Name of the check that damages a copy."""


class CheckReason(StrEnum):
    """Why a check failed, or a drill is no more than Partial. Never renamed."""

    CANARY_MISSING = "CanaryMissing"
    CHECK_FAILED = "CheckFailed"
    COLLATION_MISMATCH = "CollationMismatch"
    CONTROL_PASSED = "ControlPassed"
    DATA_DAMAGED = "DataDamaged"
    EXTENSION_MISSING = "ExtensionMissing"
    NOTHING_CHECKED = "NothingChecked"
    PROGRAM_FAILED = "ProgramFailed"
    QUERY_FAILED = "QueryFailed"
    ROW_COUNT_WRONG = "RowCountWrong"
    ROWS_DIFFER = "RowsDiffer"
    SCHEMA_DIFFERS = "SchemaDiffers"
    STALE = "Stale"
    UNVERIFIED = "Unverified"


class Blame(StrEnum):
    """Whose doing it is that a drill did not get to its end."""

    BACKUP = auto()  # it does not restore
    PRECONDITION = auto()  # somebody must act before a drill can say anything
    OURS = auto()  # the network, the node, a bug: says nothing about the backup


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a drill did not get to its end."""

    blame: Blame
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DrillFacts:
    """What happened. `reached`: the highest level whose own steps were all taken, whatever the checks said."""

    asked: Level
    reached: Level | None
    checks: Sequence[CheckResult]
    broken: Broken | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Judgement:
    """`level`: what is proven; None where nothing is."""

    verdict: Verdict
    level: Level | None
    reason: str
    message: str


def judge(facts: DrillFacts) -> Judgement:
    """The verdict; total. Passed only where every step was taken and nothing that was asked was left unanswered."""
    if facts.broken:
        verdict = {
            Blame.BACKUP: Verdict.FAILED,
            Blame.PRECONDITION: Verdict.REFUSED,
            Blame.OURS: Verdict.ERROR,
        }[facts.broken.blame]
        return Judgement(verdict, None, facts.broken.reason, facts.broken.message)
    critical = [one for one in facts.checks if _failed(one) and one.severity is Severity.CRITICAL]
    if critical:
        more = f" (and {len(critical) - 1} more)" if len(critical) > 1 else ""
        message = f"check {critical[0].name} failed: {critical[0].message}{more}"
        return Judgement(Verdict.FAILED, None, critical[0].reason or CheckReason.CHECK_FAILED, message)
    if facts.reached is None or _rank(facts.reached) < _rank(facts.asked):
        message = f"level {facts.asked} was asked for, and {facts.reached or 'none'} was reached"
        return Judgement(Verdict.ERROR, facts.reached, CheckReason.NOTHING_CHECKED, message)
    if not any(one.outcome is CheckOutcome.PASSED for one in facts.checks):
        message = "no check passed, so nothing is proven"
        return Judgement(Verdict.ERROR, None, CheckReason.NOTHING_CHECKED, message)
    return _partial(facts) or Judgement(
        Verdict.PASSED, facts.reached, "Passed", f"{len(facts.checks)} checks, level {facts.reached}"
    )


def _partial(facts: DrillFacts) -> Judgement | None:
    if not facts.verified:
        message = "nothing outside of the bucket vouches for this backup, so it could be a forged one; sign backups"
        return Judgement(Verdict.PARTIAL, facts.reached, CheckReason.UNVERIFIED, message)
    for one in facts.checks:
        warned = _failed(one) and one.severity is Severity.WARNING
        unanswered = one.outcome is CheckOutcome.SKIPPED and one.severity is Severity.CRITICAL
        if warned or unanswered:
            said = "failed" if warned else "could say nothing"
            reason = one.reason or CheckReason.CHECK_FAILED
            return Judgement(Verdict.PARTIAL, facts.reached, reason, f"check {one.name} {said}: {one.message}")
    return None


def only_collation_differs(checks: Sequence[CheckResult]) -> bool:
    """Whether a Partial drill still proves its backup: its sole finding is another version of the collations."""
    found = [one for one in checks if one.outcome is not CheckOutcome.PASSED and one.severity is not Severity.INFO]
    return bool(found) and all(one.type is CheckType.COLLATION for one in found)


@dataclass(frozen=True, slots=True)
class Newest:
    """The instants that the recovered copy is known to hold everything up to, or to hold something of."""

    started: datetime
    last_commit: datetime | None = None
    snapshot: datetime | None = None
    log: datetime | None = None
    heartbeat: bool = False


def decide_rpo(newest: Newest, objective: float | None) -> Rpo | None:
    """Drill start minus the newest recovered instant, by the best source there is; None where none is known.

    A commit was seen in the copy, so it is exact. What snapshot and log promise is complete up to their instant; where
    that is newer than the last commit, nothing was written in between, or nothing is known of it: not exact.
    """
    best: tuple[datetime, RpoSource, bool] | None = None
    commit = RpoSource.HEARTBEAT if newest.heartbeat else RpoSource.COMMIT
    for at, source, exact in (
        (newest.last_commit, commit, True),
        (newest.log, RpoSource.POSITION, False),
        (newest.snapshot, RpoSource.MANIFEST, False),
    ):
        if at is not None and (best is None or at > best[0]):
            best = (at, source, exact)
    if best is None:
        return None
    seconds = max(0.0, (newest.started - best[0]).total_seconds())
    met = None if objective is None else seconds <= objective
    return Rpo(seconds=round(seconds, 3), objective=objective, met=met, source=best[1], newest=best[0], exact=best[2])


def _failed(check: CheckResult) -> bool:
    return check.outcome is CheckOutcome.FAILED


def _rank(level: Level) -> int:
    return LEVELS.index(level)
