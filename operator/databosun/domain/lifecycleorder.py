"""What a LifecyclePolicy comes to: its timetable and bounds, and the order that an agent is given."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.lifecycle import (
    ActionType,
    ArchiveFormat,
    BatchOrder,
    HoldOrder,
    LifecycleOrder,
    LimitsOrder,
    MaskOrder,
    Preconditions,
    RuleOrder,
    ThrottleOrder,
)
from databosun.api.tiering import StorageClass, TransitionOrder
from databosun.api.v1alpha1.lifecyclepolicy import (
    LifecycleAction,
    LifecycleHold,
    LifecycleMatch,
    LifecyclePolicySpec,
    LifecycleRule,
    Mask,
    RowHold,
)
from databosun.domain.attempt import Limits
from databosun.domain.keyrules import demand_pattern, keys_of
from databosun.domain.lifecycle import HASH_CHARACTERS, normal_order
from databosun.domain.presets import invalid_spec, read_span
from databosun.domain.schedule import interval
from databosun.domain.tiering import BILLED_DAYS, DEFAULT_TRANSITIONS, coldness
from databosun.domain.timing import OnlySchedule, Window, check_timing, read_limits, read_windows
from databosun.domain.whereabouts import Whereabouts

SCHEDULE = "lifecycle"
_NONE, _SECOND, _YEAR = timedelta(0), timedelta(seconds=1), timedelta(days=365)
_CENTURY = 100 * _YEAR


@dataclass(frozen=True, slots=True)
class EffectiveLifecycle:
    """A policy's spec, read."""

    schedules: tuple[OnlySchedule, ...]
    zone: str
    jitter: timedelta
    starting_deadline: timedelta
    limits: Limits
    time_budget: timedelta
    windows: tuple[Window, ...]
    backup_within: timedelta
    proven_within: timedelta

    def interval(self, at: datetime) -> timedelta | None:
        """The longest time between two slots; None without a schedule."""
        return interval(self.schedules[0].cron, self.zone, at) if self.schedules else None


def effective_lifecycle(spec: LifecyclePolicySpec) -> EffectiveLifecycle:
    """Read every value. UserFault(InvalidSpec) names the field."""
    starting = read_span("spec.startingDeadline", spec.starting_deadline, _SECOND, _YEAR)
    rows: tuple[OnlySchedule, ...] = ()
    zone, jitter = "UTC", _NONE
    if spec.schedule is not None:
        check_timing("spec.schedule", spec.schedule.cron, spec.schedule.time_zone)
        rows, zone = (OnlySchedule(spec.schedule.cron, SCHEDULE),), spec.schedule.time_zone
        jitter = read_span("spec.schedule.jitter", spec.schedule.jitter, _NONE, starting - _SECOND)
    return EffectiveLifecycle(
        schedules=rows,
        zone=zone,
        jitter=jitter,
        starting_deadline=starting,
        limits=read_limits(spec, spec.retries, _YEAR),
        time_budget=read_span("spec.timeBudget", spec.time_budget, _SECOND, _YEAR),
        windows=read_windows(spec.windows, timedelta(minutes=1), _YEAR),
        backup_within=read_span("spec.preconditions.backupWithin", spec.preconditions.backup_within, _SECOND, _CENTURY),
        proven_within=read_span("spec.preconditions.provenWithin", spec.preconditions.proven_within, _SECOND, _CENTURY),
    )


def order_of(spec: LifecyclePolicySpec, where: Whereabouts) -> LifecycleOrder:
    """What the agent is to look at and do, and what a person approves. UserFault(InvalidSpec) names the field."""
    effective = effective_lifecycle(spec)
    return LifecycleOrder(
        database_uid=where.database_uid,
        server=where.server,
        place=where.place,
        database=spec.database,
        storage=spec.storage_ref.name,
        rules=[_rule(number, rule) for number, rule in enumerate(spec.rules)],
        holds=[_hold(number, hold) for number, hold in enumerate(spec.holds)],
        preconditions=Preconditions(
            backup_within_seconds=_seconds(effective.backup_within),
            proven_within_seconds=_seconds(effective.proven_within),
        ),
    )


def batch_of(spec: LifecyclePolicySpec) -> BatchOrder:
    """How rows are taken."""
    pause = read_span("spec.batch.pause", spec.batch.pause, _NONE, _YEAR)
    return BatchOrder(
        rows=spec.batch.rows, target_milliseconds=spec.batch.target_millis, pause_milliseconds=_millis(pause)
    )


def throttle_of(spec: LifecyclePolicySpec) -> ThrottleOrder:
    """What the database is spared."""
    lag = read_span("spec.throttle.maxReplicaLag", spec.throttle.max_replica_lag, timedelta(milliseconds=1), _YEAR)
    lock = read_span("spec.throttle.lockTimeout", spec.throttle.lock_timeout, timedelta(milliseconds=1), _YEAR)
    return ThrottleOrder(max_replica_lag_seconds=lag.total_seconds(), lock_timeout_milliseconds=_millis(lock))


def order_digest(order: LifecycleOrder) -> str:
    """The order in one word: where it is still the same, the plan that was shown is still of these rules."""
    document = json.dumps(normal_order(order), sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:HASH_CHARACTERS]


def _rule(number: int, rule: LifecycleRule) -> RuleOrder:
    path, match, action, limits = f"spec.rules[{number}]", rule.match or LifecycleMatch(), rule.action, rule.limits
    older = read_span(f"{path}.match.olderThan", match.older_than, _SECOND, _CENTURY) if match.older_than else None
    floor = (
        read_span(f"{path}.limits.minRetention", limits.min_retention, _NONE, _CENTURY)
        if limits.min_retention
        else _NONE
    )
    archive = action.archive.format if action.archive else ArchiveFormat.JSON_LINES
    return RuleOrder(
        name=rule.name,
        table=(rule.target.table or "") if rule.target else "",
        action=action.type,
        column=match.column,
        older_than_seconds=_seconds(older) if older else None,
        where=match.where,
        archive_format=archive if action.type is ActionType.ARCHIVE else None,
        masks=[mask_of(mask) for mask in action.columns or []],
        mark_column=action.mark_column,
        cascades=list(rule.allow.cascades),
        triggers=list(rule.allow.triggers),
        foreign_keys=rule.foreign_keys,
        limits=LimitsOrder(
            max_rows_per_run=limits.max_rows_per_run,
            max_percent=limits.max_percent,
            keep_newest=limits.keep_newest,
            min_retention_seconds=_seconds(floor),
        ),
        transitions=transitions_of(path, action),
        **keys_of(path, rule),
    )


def transitions_of(path: str, action: LifecycleAction) -> list[TransitionOrder]:
    """The steps down, each later and colder than the one before. UserFault(InvalidSpec) names the field."""
    if action.type is not ActionType.STORAGE_TRANSITION:
        return []
    asked = [(one.days, one.storage_class) for one in action.transitions or ()] or DEFAULT_TRANSITIONS
    before: TransitionOrder | None = None
    found = []
    for place, (days, storage_class) in enumerate(asked):
        where = f"{path}.action.transitions[{place}]"
        if before is not None and coldness(storage_class) <= coldness(before.storage_class):
            message = f"{where}.class is {storage_class} after {before.storage_class}; expected a colder one"
            raise invalid_spec(message)
        least = before.days + BILLED_DAYS[before.storage_class] if before else 1
        if storage_class is StorageClass.STANDARD_IA:
            least = 30  # the store takes no fewer
        if days < least:
            why = f": {before.storage_class} is billed for {BILLED_DAYS[before.storage_class]} d" if before else ""
            message = f"{where}.days is {days}; expected {least} or more{why}"
            raise invalid_spec(message)
        before = TransitionOrder(days=days, storage_class=storage_class)
        found.append(before)
    return found


def moves_objects(spec: LifecyclePolicySpec) -> bool:
    """Whether it is about the objects of backups, and not about rows."""
    return spec.rules[0].action.type is ActionType.STORAGE_TRANSITION


def mask_of(mask: Mask) -> MaskOrder:
    """One column that is overwritten."""
    return MaskOrder(
        column=mask.name,
        method=mask.method,
        value=mask.value,
        keep_first=mask.keep_first,
        keep_last=mask.keep_last,
        step=mask.step,
        to=mask.to,
    )


def hold_of(hold: RowHold) -> HoldOrder:
    """One hold."""
    return HoldOrder(
        name=hold.name,
        table=hold.table,
        keys=hold.key_pattern if isinstance(hold, LifecycleHold) else None,
        where=hold.where,
        reason=hold.reason,
        until=hold.until,
    )


def _hold(number: int, hold: LifecycleHold) -> HoldOrder:
    if hold.key_pattern is not None:
        demand_pattern(f"spec.holds[{number}].keyPattern", hold.key_pattern)
    return hold_of(hold)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _millis(span: timedelta) -> int:
    return int(span / timedelta(milliseconds=1))
