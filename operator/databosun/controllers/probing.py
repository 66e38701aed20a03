"""Look at a database by a small Job: at once for a changed spec, again while something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import ManagedLook, ProbeTask
from databosun.api.request import Request
from databosun.api.targets import DatabaseTarget, SecretUse
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import errand
from databosun.controllers.context import Context
from databosun.controllers.covering import ask_incremental, methods_of, pod_template_of
from databosun.controllers.datavolumes import with_data
from databosun.controllers.ordering import runner_image
from databosun.controllers.seen import SeenDatabase, SeenPolicy
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.capabilities import CAPABILITIES, is_managed
from databosun.domain.conditions import Wanted, find, kstatus
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import LABEL_DATABASE_UID, Plan, StartJob
from databosun.domain.presets import EffectiveContinuous
from databosun.domain.protection import judge_log, judge_probe, managed_of
from databosun.domain.requests import database_target
from databosun.domain.storage import retry_after
from databosun.domain.tiers import understood_objectives
from databosun.engines.registry import supported
from databosun.runtime.queue import Key

# A server that is another one than its archiver was started for is looked at no more often than this.
AGAIN = timedelta(minutes=1)
# How far a cloud's own backups reach is known by asking alone; it moves about every five minutes.
MANAGED_SHORTEST, MANAGED_LONGEST = timedelta(minutes=5), timedelta(hours=1)
MOST_LOOKED = 1000


@dataclass(frozen=True, slots=True)
class Probed:
    """What one look did and found. `conditions` None: as they stand."""

    plan: Plan = field(default_factory=Plan)
    conditions: Sequence[Wanted] | None = None
    update: dict[str, Any] = field(default_factory=dict)
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the look is for: the policies, and the log where one of them asks for it."""

    policies: Sequence[SeenPolicy]
    continuous: EffectiveContinuous | None = None


async def probe(context: Context, key: Key, seen: SeenDatabase, wish: Wish, now: datetime) -> Probed:
    """Start, watch or evaluate the Job that looks at the database."""
    try:
        return await _probe(context, key, seen, wish, now)
    except UserFault as fault:
        stalled = kstatus(ready=False, reason=fault.reason, message=fault.message, stalled=True)
        return Probed(conditions=stalled, update={"probed_generation": seen.meta.generation})


async def _probe(context: Context, key: Key, seen: SeenDatabase, wish: Wish, now: datetime) -> Probed:
    target, secrets = target_of(seen)
    name = task_job_name("probe", seen.meta.name, _token(seen, wish))
    found = await errand.look(context, key, seen.meta, "probe", name)
    if found.ending is not None and found.job is not None:
        looked = found.ending.result.probe if found.ending.result is not None else None
        verdict = judge_probe(looked, found.ending, [str(method) for method in methods_of(wish.policies)])
        update: dict[str, Any] = {
            "probed_generation": seen.meta.generation,
            "last_probe_time": now.replace(microsecond=0),
        }
        if looked is not None:
            update |= {
                "engine_version": looked.engine_version or seen.status.engine_version,
                "system_identifier": looked.system_identifier or seen.status.system_identifier,
                "log_preflight": judge_log(looked, wish.continuous, seen.status.log_preflight),
                "managed": managed_of(looked, seen.status.managed),
            }
        after = (*await errand.dismiss(context, seen.meta, found.job), *found.leftovers)
        return Probed(Plan(after=after), verdict, update, now)
    if found.job is not None:
        wake_at = min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        return Probed(Plan(after=found.leftovers), _looking(seen), wake_at=wake_at)
    due = _due(context, seen, wish, now)
    if due is None or now < due:
        return Probed(Plan(after=found.leftovers), wake_at=due)
    target, data = await with_data(context, seen, target, methods_of(wish.policies))
    job = replace(_order(context, seen, wish, name, (target, secrets), now), data=data)
    context.workers.setdefault(key, set()).add(f"Job/{name}")
    return Probed(Plan(before=(job,), after=found.leftovers), _looking(seen), wake_at=now + errand.LOOK_AGAIN)


def target_of(seen: SeenDatabase) -> tuple[DatabaseTarget, list[SecretUse]]:
    """The database as an agent sees it, and its Secrets. UserFault where this release does not serve its engine."""
    if seen.spec.engine not in supported():
        known = ", ".join(supported())
        raise UserFault(
            Reason.UNSUPPORTED_ENGINE,
            f"spec.engine is {seen.spec.engine}, which this release does not serve; expected one of: {known}",
        )
    return database_target(seen.meta.named, seen.spec, CAPABILITIES[seen.spec.engine].port, seen.status.engine_version)


def _order(
    context: Context,
    seen: SeenDatabase,
    wish: Wish,
    name: str,
    target: tuple[DatabaseTarget, list[SecretUse]],
    now: datetime,
) -> StartJob:
    image = runner_image(context, seen)
    request = Request(
        run=seen.meta.name,
        deadline=errand.deadline(now),
        database=target[0],
        secrets=list(target[1]),
        image=image,
        job=ProbeTask(
            methods=methods_of(wish.policies),
            incremental=ask_incremental(wish.policies),
            continuous=wish.continuous is not None,
            allow_unbounded_slot=wish.continuous is not None and wish.continuous.allow_unbounded_slot,
            managed=_managed_look(context, seen, now) if is_managed(seen.spec.engine) else None,
        ),
    )
    labels = {LABEL_DATABASE_UID: seen.meta.uid}
    template = pod_template_of(wish.policies)
    return errand.order(seen.meta, "Database", name, request, image, labels=labels, pod_template=template)


def _managed_look(context: Context, seen: SeenDatabase, now: datetime) -> ManagedLook:
    """What must be there, and what may be; the newest of either."""
    good = [one.name for one in context.finished.of_database(seen.meta.uid) if one.succeeded and not one.deleting]
    runs = context.cache.referring("RestoreDrillRun", seen.meta.namespace, f"database:{seen.meta.name}")
    active = sorted(key.name for key in runs)
    return ManagedLook(
        cluster_id=context.cluster_id, backups=good[-MOST_LOOKED:], active=active[-MOST_LOOKED:], ordered_at=now
    )


def _looking(seen: SeenDatabase) -> Sequence[Wanted] | None:
    if seen.status.probed_generation == seen.meta.generation:
        return None
    message = "the database is being looked at"
    return kstatus(ready=False, reason="Probing", message=message, reconciling=message)


def _due(context: Context, seen: SeenDatabase, wish: Wish, now: datetime) -> datetime | None:
    """At once for a changed spec, again and again while something is wrong, once after a failed backup, and for what no
    look has asked yet."""
    status = seen.status
    if status.probed_generation != seen.meta.generation or status.last_probe_time is None:
        return now
    ready = find(status.conditions, ConditionType.READY)
    if ready is None or ready.status != "True":
        return status.last_probe_time + retry_after(status.conditions, now)
    log_due = _log_due(seen, wish, status.last_probe_time, now)
    if is_managed(seen.spec.engine):
        half = understood_objectives(seen.spec.tier, seen.spec.objectives)[0].rpo / 2
        log_due = status.last_probe_time + min(max(half, MANAGED_SHORTEST), MANAGED_LONGEST)
    runs = context.finished.of_database(seen.meta.uid)
    if runs and not runs[-1].succeeded and runs[-1].created > status.last_probe_time:
        return now
    return log_due


def _log_due(seen: SeenDatabase, wish: Wish, last: datetime, now: datetime) -> datetime | None:
    """When to look for the log's sake."""
    status, continuous = seen.status, wish.continuous
    if continuous is None:
        return None
    known = status.log_preflight
    if known is None or known.allow_unbounded_slot != continuous.allow_unbounded_slot:
        return now
    if status.archiver is not None:
        trouble = status.archiver.trouble
        strange = trouble is not None and trouble.reason == Reason.ANOTHER_SERVER
        return last + AGAIN if strange else None
    if known.blocked is not None:
        return last + retry_after(status.conditions, now, ConditionType.CONTINUOUS_HEALTHY)
    return None


def _token(seen: SeenDatabase, wish: Wish) -> str:
    """A look that was not asked for the log says nothing of it: one that is asked has another name."""
    last, continuous = seen.status.last_probe_time, wish.continuous
    log = f"/log:{continuous.allow_unbounded_slot}" if continuous is not None else ""
    return f"{seen.meta.uid}/{seen.meta.generation}/{last.isoformat() if last else ''}{log}"
