"""A policy with its preset filled in and its texts read: what is really done.

A preset fills what is not said: the schedules where there are none, `continuous` where it is absent, and each retention
rule that is absent (rule by rule, since more rules only keep more; 0 takes one away).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal

from databosun.api.quantities import format_duration, parse_duration, parse_quantity
from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, BackupType, Continuous, Method, Retention, Schedule
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.capabilities import CAPABILITIES, is_managed
from databosun.domain.errors import UserFault
from databosun.domain.retention import RetentionRules
from databosun.domain.schedule import check_cron, check_zone

PresetName = Literal["Critical", "Production", "Development"]

_NONE = timedelta(0)
_SECOND = timedelta(seconds=1)
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class EffectiveSchedule:
    """One row of the timetable, checked."""

    name: str
    type: BackupType
    cron: str
    max_chain: int = 8


@dataclass(frozen=True, slots=True)
class EffectiveContinuous:
    """Continuous shipping of the log, sizes in bytes."""

    max_lag: timedelta
    max_retained: int
    allow_unbounded_slot: bool
    synchronous: bool


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What a policy comes to. Equal policies share one object; `notes` are `Reason: sentence`, what differs from what
    was asked."""

    preset: PresetName | None
    method: Method
    zone: str
    schedules: tuple[EffectiveSchedule, ...]
    continuous: EffectiveContinuous | None
    retention: RetentionRules
    jitter: timedelta
    starting_deadline: timedelta
    start_deadline: timedelta
    deadline: timedelta
    retries: int
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The form for `status.effective`: the spec's own field names and units."""
        found: dict[str, Any] = {
            "preset": self.preset,
            "method": str(self.method),
            "timeZone": self.zone,
            "schedules": [
                {"name": row.name, "type": str(row.type), "cron": row.cron, "maxChain": row.max_chain}
                for row in self.schedules
            ],
            "continuous": _continuous_document(self.continuous),
            "retention": _retention_document(self.retention),
            "jitter": format_duration(self.jitter),
            "startingDeadline": format_duration(self.starting_deadline),
            "startDeadline": format_duration(self.start_deadline),
            "deadline": format_duration(self.deadline),
            "retries": self.retries,
            "notes": list(self.notes),
        }
        return {key: value for key, value in found.items() if value is not None and value != []}


@dataclass(frozen=True, slots=True)
class _Preset:
    schedules: tuple[EffectiveSchedule, ...]
    continuous: Continuous | None
    retention: Mapping[str, int]


_DAILY_FULL = EffectiveSchedule("full", BackupType.FULL, "0 2 * * *")
_HOURLY = EffectiveSchedule("incremental", BackupType.INCREMENTAL, "0 * * * *")
_PRESETS: Mapping[PresetName, _Preset] = {
    "Critical": _Preset((_DAILY_FULL, _HOURLY), Continuous(max_lag="1m"), {"daily": 30, "monthly": 84}),
    "Production": _Preset((_DAILY_FULL, _HOURLY), Continuous(max_lag="15m"), {"daily": 14, "monthly": 12}),
    "Development": _Preset(
        (
            EffectiveSchedule("full", BackupType.FULL, "0 2 * * 0"),
            EffectiveSchedule("incremental", BackupType.INCREMENTAL, "0 2 * * *"),
        ),
        None,
        {"weekly": 4},
    ),
}
_NOTHING = _Preset((), None, {})


def effective(spec: BackupPolicySpec, engine: EngineName | None) -> EffectivePolicy:
    """Fill in the preset and read every value; `engine` is None where it is not known, or not one for all databases.

    UserFault(InvalidSpec) names the field's path, what was found and what was expected.
    """
    spans = (spec.jitter, spec.starting_deadline, spec.start_deadline, spec.deadline)
    what = (spec.preset, spec.method, spec.time_zone, tuple(spec.schedules), spec.continuous, spec.retention)
    return _effective(*what, spans, spec.retries, engine)


def read_span(path: str, text: str, least: timedelta, most: timedelta) -> timedelta:
    """A duration of a spec within bounds. UserFault(InvalidSpec) names the path, what was found and what was
    expected."""
    try:
        span = parse_duration(text)
    except ValueError as error:
        message = f"{path}: {error}"
        raise invalid_spec(message) from error
    if not least <= span <= most:
        expected = f"a duration from {format_duration(least)} to {format_duration(most)}"
        message = f"{path} is {text}; expected {expected}"
        raise invalid_spec(message)
    return span


def invalid_spec(message: str) -> UserFault:
    """A spec that cannot be carried out; the message names the field's path."""
    reason = "InvalidSpec"
    return UserFault(reason, message)


@lru_cache(maxsize=4096)
def _effective(
    preset: PresetName | None,
    method: Method,
    zone: str,
    schedules: tuple[Schedule, ...],
    continuous: Continuous | None,
    retention: Retention | None,
    spans: tuple[str, str, str, str],
    retries: int,
    engine: EngineName | None,
) -> EffectivePolicy:
    base = _PRESETS[preset] if preset else _NOTHING
    if problem := check_zone(zone):
        message = f"spec.timeZone: {problem}"
        raise invalid_spec(message)
    log, notes = _continuous(continuous or base.continuous, engine)
    rows, more = _taken(_schedules(schedules) or base.schedules, engine)
    starting_deadline = read_span("spec.startingDeadline", spans[1], _SECOND, _YEAR)
    jitter = read_span("spec.jitter", spans[0], _NONE, starting_deadline - _SECOND)
    deadline = read_span("spec.deadline", spans[3], _SECOND, _YEAR)
    return EffectivePolicy(
        preset=preset,
        method=method,
        zone=zone,
        schedules=rows,
        continuous=log,
        retention=_retention(retention or Retention(), base.retention),
        jitter=jitter,
        starting_deadline=starting_deadline,
        start_deadline=min(read_span("spec.startDeadline", spans[2], _SECOND, _YEAR), deadline),
        deadline=deadline,
        retries=retries,
        notes=(*notes, *more),
    )


def _taken(
    rows: tuple[EffectiveSchedule, ...], engine: EngineName | None
) -> tuple[tuple[EffectiveSchedule, ...], tuple[str, ...]]:
    """Where a cloud keeps log and increments, each run would be a snapshot of its own, and their number is bounded:
    incrementals between fulls are the cloud's."""
    fulls = tuple(row for row in rows if row.type is BackupType.FULL)
    if not is_managed(engine) or not fulls or len(fulls) == len(rows):
        return rows, ()
    left = ", ".join(row.name for row in rows if row not in fulls)
    return fulls, (f"ManagedByCloud: {left} starts no run; the cloud's own backups reach every instant in between",)


def _schedules(rows: Sequence[Schedule]) -> tuple[EffectiveSchedule, ...]:
    for place, row in enumerate(rows):
        if problem := check_cron(row.cron):
            message = f"spec.schedules[{place}].cron: {problem}"
            raise invalid_spec(message)
        if row.name in {other.name for other in rows[:place]}:
            message = f"spec.schedules[{place}].name is {row.name!r} again; expected each name once"
            raise invalid_spec(message)
    return tuple(EffectiveSchedule(row.name, row.type, row.cron, row.max_chain) for row in rows)


def _continuous(
    asked: Continuous | None, engine: EngineName | None
) -> tuple[EffectiveContinuous | None, tuple[str, ...]]:
    if asked is None or not asked.enabled:
        return None, ()
    found = EffectiveContinuous(
        max_lag=read_span("spec.continuous.maxLag", asked.max_lag, _SECOND, _YEAR),
        max_retained=_size("spec.continuous.maxRetained", asked.max_retained),
        allow_unbounded_slot=asked.allow_unbounded_slot,
        synchronous=asked.synchronous,
    )
    known = CAPABILITIES.get(engine) if engine else None
    if known and known.log_onto:
        return found, ()
    if known and known.managed:
        return None, (
            "ManagedByCloud: the cloud keeps the log; status.managed of the Database says how far it reaches",
        )
    whose = f"{engine}'s log" if engine else "a database's log"
    note = f"ContinuousUnsupported: this release does not ship {whose}; the recovery point is that of the newest backup"
    return None, (note,)


def _retention(asked: Retention, base: Mapping[str, int]) -> RetentionRules:
    counts = {name: getattr(asked, name) for name in ("keep_last", "daily", "weekly", "monthly", "yearly")}
    window = asked.recovery_window
    return RetentionRules(
        **{name: base.get(name, 0) if count is None else count for name, count in counts.items()},
        recovery_window=None
        if window is None
        else read_span("spec.retention.recoveryWindow", window, _SECOND, 100 * _YEAR),
        keep_forever=asked.keep_forever,
        grace=read_span("spec.retention.grace", asked.grace, _NONE, _YEAR),
    )


def _size(path: str, text: str) -> int:
    try:
        size = parse_quantity(text)
    except ValueError as error:
        message = f"{path}: {error}"
        raise invalid_spec(message) from error
    if size <= 0:
        message = f"{path} is {text}; expected more than nothing"
        raise invalid_spec(message)
    return size


def _continuous_document(found: EffectiveContinuous | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "enabled": True,
        "maxLag": format_duration(found.max_lag),
        "maxRetained": str(found.max_retained),
        "allowUnboundedSlot": found.allow_unbounded_slot,
        "synchronous": found.synchronous,
    }


def _retention_document(rules: RetentionRules) -> dict[str, Any]:
    counts = {
        "keepLast": rules.keep_last,
        "daily": rules.daily,
        "weekly": rules.weekly,
        "monthly": rules.monthly,
        "yearly": rules.yearly,
    }
    return {
        **{name: count for name, count in counts.items() if count},
        **({"recoveryWindow": format_duration(rules.recovery_window)} if rules.recovery_window is not None else {}),
        "keepForever": rules.keep_forever,
        "grace": format_duration(rules.grace),
    }
