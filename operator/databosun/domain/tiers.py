"""Recovery objectives: what a tier asks for, and whether a timetable can meet it at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from databosun.api.quantities import format_duration
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.database import Objectives as Overrides
from databosun.domain.conditions import Wanted, kstatus
from databosun.domain.errors import UserFault
from databosun.domain.presets import invalid_spec, read_span

_MEASURED = (ConditionType.RPO_MET, ConditionType.RTO_MET)
_OF_OBJECTIVES = frozenset({*_MEASURED, ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED})
_LONGEST = timedelta(days=100 * 365)


@dataclass(frozen=True, slots=True)
class Objectives:
    """Longest acceptable time to restore, and longest acceptable span of lost writes."""

    rto: timedelta
    rpo: timedelta


_TIERS = {
    1: Objectives(rto=timedelta(minutes=15), rpo=timedelta(minutes=5)),
    2: Objectives(rto=timedelta(hours=1), rpo=timedelta(hours=1)),
    3: Objectives(rto=timedelta(hours=4), rpo=timedelta(hours=24)),
    4: Objectives(rto=timedelta(hours=24), rpo=timedelta(days=7)),
}


def tier_objectives(tier: int, overrides: Overrides | None) -> Objectives:
    """The objectives in force. UserFault(InvalidSpec) names the field."""
    if tier not in _TIERS:
        message = f"spec.tier is {tier}; expected 1 to 4"
        raise invalid_spec(message)
    return override(_TIERS[tier], overrides)


def understood_objectives(tier: int, overrides: Overrides | None) -> tuple[Objectives, UserFault | None]:
    """The objectives in force; where they cannot be understood, those of the tier alone, and what is wrong."""
    try:
        return tier_objectives(tier, overrides), None
    except UserFault as fault:
        if overrides is None:
            raise
        message = f"{fault.message}; until that is put right, the objectives of tier {tier} stand in"
        return tier_objectives(tier, None), UserFault(fault.reason, message)


def not_understood(wanted: Iterable[Wanted], fault: UserFault) -> list[Wanted]:
    """The conditions of a Database whose own objectives nobody can measure it by."""
    kept = [one for one in wanted if one.type not in _OF_OBJECTIVES]
    unknown = [Wanted(kind, None, fault.reason, fault.message) for kind in _MEASURED]
    return [*kstatus(ready=False, reason=fault.reason, message=fault.message, stalled=True), *kept, *unknown]


def override(base: Objectives, overrides: Overrides | None) -> Objectives:
    """The objectives with those that differ. UserFault(InvalidSpec) names the field."""
    if overrides is None:
        return base
    return Objectives(
        rto=_override("spec.objectives.rto", overrides.rto, base.rto),
        rpo=_override("spec.objectives.rpo", overrides.rpo, base.rpo),
    )


def objective_out_of_reach(between: timedelta, rpo: timedelta, max_lag: timedelta | None = None) -> str | None:
    """Why a recovery point objective cannot be met, with the arithmetic; None where it can.

    Backups at most `between` apart can lose twice that, since one of them may fail. Where the log is shipped, within
    `max_lag`, that is what can be lost.
    """
    aim = f"RPO {format_duration(rpo)} cannot be met"
    if max_lag is not None:
        if max_lag <= rpo:
            return None
        return (
            f"{aim}: the log may lag {format_duration(max_lag)} behind; expected continuous.maxLag of at most the RPO"
        )
    if between <= rpo / 2:
        return None
    apart, loss, half = (format_duration(span) for span in (between, 2 * between, rpo / 2))
    lost = f"backups are up to {apart} apart, so {loss} are lost if one fails"
    return f"{aim}: {lost}; expected at most {half} apart, or continuous"


def _override(path: str, text: str | None, default: timedelta) -> timedelta:
    return default if text is None else read_span(path, text, timedelta(seconds=1), _LONGEST)
