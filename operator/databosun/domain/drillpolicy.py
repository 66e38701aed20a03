"""A RestoreDrill: when it wants a database drilled, and the runs that answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.databasestatus import DrillCursor, PolicyCursor
from databosun.api.v1alpha1.restoredrill import HistoryLimits, RestoreDrillSpec
from databosun.domain.attempt import Limits
from databosun.domain.capabilities import is_managed, series_of
from databosun.domain.database import RunOrder
from databosun.domain.plan import CreateRun
from databosun.domain.policyruns import Template, beyond_limits, create_run
from databosun.domain.presets import read_span
from databosun.domain.requests import Named
from databosun.domain.schedule import interval
from databosun.domain.timing import OnlySchedule, check_timing, read_limits

SCHEDULE = "drill"
_WEEKLY, _MONTHLY, _QUARTERLY = "0 4 * * 0", "0 4 1 * *", "0 4 1 1,4,7,10 *"
_BY_TIER = {1: _WEEKLY, 2: _WEEKLY, 3: _MONTHLY, 4: _QUARTERLY}
# All databases of a tier would start at once.
_SPREAD = timedelta(hours=1)
_SECOND, _YEAR = timedelta(seconds=1), timedelta(days=365)


@dataclass(frozen=True, slots=True)
class EffectiveDrill:
    """A drill's spec, read, for databases of one tier."""

    schedules: tuple[OnlySchedule, ...]
    zone: str
    jitter: timedelta
    starting_deadline: timedelta
    limits: Limits
    evidence_lock: timedelta | None = None
    instance_limit: timedelta | None = None

    def limits_of(self, engine: EngineName) -> Limits:
        """For databases of an engine: where a drill needs an instance of a cloud, no attempt outlives its ceiling."""
        if self.instance_limit is None or not is_managed(engine):
            return self.limits
        deadline = min(self.limits.deadline, self.instance_limit)
        return replace(self.limits, deadline=deadline, start_deadline=min(self.limits.start_deadline, deadline))

    def interval(self, at: datetime) -> timedelta:
        """The longest time between two slots."""
        return interval(self.schedules[0].cron, self.zone, at)


def effective_drill(spec: RestoreDrillSpec, tier: int) -> EffectiveDrill:
    """Read every value; the schedule is the tier's where none is given. UserFault(InvalidSpec) names the field."""
    schedule = spec.schedule
    cron, zone = (schedule.cron, schedule.time_zone) if schedule else (_BY_TIER.get(tier, _MONTHLY), "UTC")
    check_timing("spec.schedule", cron, zone)
    starting = read_span("spec.startingDeadline", spec.starting_deadline, _SECOND, _YEAR)
    most = starting - _SECOND
    jitter = read_span("spec.schedule.jitter", schedule.jitter, timedelta(0), most) if schedule else min(_SPREAD, most)
    return EffectiveDrill(
        schedules=(OnlySchedule(cron, SCHEDULE),),
        zone=zone,
        jitter=jitter,
        starting_deadline=starting,
        limits=read_limits(spec, spec.retries, _YEAR),
        evidence_lock=read_span("spec.evidence.retention", spec.evidence.retention, _SECOND, 100 * _YEAR)
        if spec.evidence and spec.evidence.retention
        else None,
        instance_limit=timedelta(hours=spec.max_instance_hours) if spec.max_instance_hours is not None else None,
    )


@dataclass(frozen=True, slots=True)
class TriggerFacts:
    """What may ask for a drill beside the schedule. `backups`: the successful ones since the newest drill began, or
    since the drill was made, oldest first. `engine_version`: of the newest backup."""

    backups: Sequence[str]
    engine_version: str | None
    entry: DrillCursor | None
    engine: EngineName


def cause_of(spec: RestoreDrillSpec, facts: TriggerFacts) -> str | None:
    """What asks for a drill now; the same cause has the same words, so that it starts one run."""
    trigger = spec.trigger
    if trigger is None:
        return None
    if trigger.on_engine_upgrade and facts.entry is not None:
        before, now = (series_of(facts.engine, one) for one in (facts.entry.engine_version, facts.engine_version))
        if before is not None and now is not None and before != now:
            return f"upgrade from {before} to {now}"
    every = trigger.every_n_backups
    if every is not None and len(facts.backups) >= every:
        return f"backup {facts.backups[every - 1]}"
    return None


def cursor_of(
    entry: PolicyCursor, before: DrillCursor | None, engine_version: str | None, started: int, *, answered: bool
) -> DrillCursor:
    """The drill's entry in Database.status. A version is taken over at first sight, and once a drill answers it."""
    known = before.engine_version if before else None
    taken = engine_version if known is None or answered else known
    return DrillCursor(**entry.model_dump(), engine_version=taken, runs=(before.runs if before else 0) + started)


def create_joint_run(drill: Named, spec: RestoreDrillSpec, order: RunOrder, before: DrillCursor | None) -> CreateRun:
    """The run over all databases of a drill, which owns a run for each."""
    template = Template("RestoreDrillRun", "RestoreDrill", drill, {"drillRef": {"name": drill.name}})
    return create_run(template, order, **_control(spec, before))


def create_drill_run(
    database: Named, drill: Named, spec: RestoreDrillSpec, order: RunOrder, before: DrillCursor | None
) -> CreateRun:
    """The run of one order, of one database."""
    refs = {"drillRef": {"name": drill.name}, "databaseRef": {"name": database.name}}
    template = Template("RestoreDrillRun", "RestoreDrill", drill, refs, database.uid)
    return create_run(template, order, **_control(spec, before))


def _control(spec: RestoreDrillSpec, before: DrillCursor | None) -> dict[str, bool]:
    every = spec.negative_control.every_n_runs if spec.negative_control else 0
    number = (before.runs if before else 0) + 1
    return {"negativeControl": True} if every and number % every == 0 else {}


@dataclass(frozen=True, slots=True)
class PastDrill:
    """A finished run of a drill."""

    name: str
    database_uid: str
    created: datetime
    passed: bool


def beyond_history(runs: Sequence[PastDrill], limits: HistoryLimits) -> tuple[str, ...]:
    """The finished runs to let go of, for each database. The newest run of a database is never among them."""
    return beyond_limits(
        runs, lambda run: (run.database_uid, run.passed), lambda run: limits.passed if run.passed else limits.others
    )
