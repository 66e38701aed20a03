"""The point that a replay of a shipped log of files is to end at: judged step by step, and once more at the end.

A step is what happens as one: a transaction, a command, an entry.
"""

from __future__ import annotations

from datetime import datetime

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.wal import format_lsn, parse_lsn
from databosun.engines.recovery import LogSupply, RecoveryPlan


def demand_log(plan: RecoveryPlan, backup: str, *, positioned: bool) -> LogSupply:
    """The log that goes on from a backup. UserFault(LogMissing) where there is none, or nobody knows from where on."""
    if plan.log is None or not positioned:
        message = f"backup {backup} has no position in a log that was shipped: {plan.until.kind} is out of reach"
        raise UserFault(Reason.LOG_MISSING, message)
    return plan.log


class Aim:
    """What was asked for: a position, a time, or all that there is."""

    def __init__(self, plan: RecoveryPlan) -> None:
        until = plan.until
        self.lsn = parse_lsn(until.lsn) if until.kind is PointKind.LSN and until.lsn else None
        self.time = until.time if until.kind is PointKind.TIME else None
        self._asked = until.name or f"{self.time}"
        self.expected = parse_lsn(plan.expected) if plan.expected else None
        self._surely = parse_lsn(plan.surely) if plan.surely else 0

    def excludes(self, end: int, at: datetime | None) -> bool:
        """Whether a step that ends there, and happened `at` the latest (None: nobody knows), lies behind the point."""
        if self.lsn is not None:
            return end > self.lsn
        if self.time is None or end <= self._surely:
            return False
        later = self.expected is not None and end > self.expected
        return later or at is None or at > self.time

    def not_covered(self, backup: str, ends: str) -> UserFault:
        """The error where the point lies within the backup."""
        asked = format_lsn(self.lsn) if self.lsn is not None else self._asked
        message = f"{asked} lies before the end of backup {backup} ({ends}): choose an older backup"
        return UserFault(Reason.POINT_NOT_COVERED, message)

    def demand_reached(self, end: int, *, file_ended: bool = False) -> None:
        """Of a replay that nothing stopped. SafetyStop(LogGap) where the log was shorter than it promised to be;
        UserFault(PointNotReached). `file_ended`: no more of it was promised than up to the next file."""
        if self.expected is None:
            message = f"the log ends at {format_lsn(end)}, before the point that was asked for ({self._asked})"
            raise UserFault(Reason.POINT_NOT_REACHED, message)
        if end < self.expected and not file_ended:
            message = f"the replay ended at {format_lsn(end)}, before {format_lsn(self.expected)}, where the log ends"
            raise SafetyStop(Reason.LOG_GAP, message)
