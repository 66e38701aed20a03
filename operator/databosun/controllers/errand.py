"""An errand: a small Job outside any run that an object needs done (a look, a validation, a deletion)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.request import Request
from databosun.api.targets import SecretUse
from databosun.api.v1alpha1.common import API_VERSION, PodTemplate
from databosun.controllers.context import Context
from databosun.controllers.jobs import Bench, observe, over_by
from databosun.controllers.seen import Meta
from databosun.domain.attempt import Ending, JobSeen, Limits, judge
from databosun.domain.plan import Action, DeleteJob, Owner, StartJob
from databosun.runtime.queue import Key

ERRAND_DEADLINE = timedelta(minutes=5)
ERRAND_START = timedelta(minutes=5)
LIMITS = Limits(retries=0, deadline=ERRAND_DEADLINE, start_deadline=ERRAND_START)
# Looking again is only a backstop: the Job's own events come first.
LOOK_AGAIN = timedelta(seconds=30)
# How long the finalizer of what somebody deleted waits for an API server that refuses its Job.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Errand:
    """The Job that should be there now, if it is; how it ended, if it did; and everything that is over and may go.
    `alone`: no other pod of this task may be at work any more, not even one on its way out."""

    job: JobSeen | None
    ending: Ending | None
    leftovers: tuple[Action, ...]
    alone: bool = True


async def look(context: Context, key: Key, meta: Meta, task: str, job_name: str) -> Errand:
    """Find the errand's Job by its deterministic name; the object's other Jobs are leftovers of recorded errands."""
    if not context.workers.get(key):
        return Errand(None, None, ())
    bench = await Bench.read(context.kube, meta.namespace, meta.uid)
    jobs = await observe(context.kube, bench, task)
    current = next((job for job in jobs if job.name == job_name), None)
    ending = judge(current, LIMITS, context.clock.now()) if current is not None else None
    gone = [
        job
        for job in bench.jobs
        if job["metadata"]["labels"].get("databosun.io/task") == task and job["metadata"]["name"] != job_name
    ]
    over: list[Action] = []
    for job in gone:
        pod = bench.pod_of(job)
        over += Bench([], [pod] if pod else []).releases()
        over.append(DeleteJob(meta.namespace, job["metadata"]["name"], job["metadata"]["uid"]))
    orphans = bench.orphans(task)
    over += Bench([], orphans).releases()
    alone = all(over_by(one["metadata"]) <= context.clock.now() for one in (*gone, *orphans))
    return Errand(current, ending, tuple(over), alone)


async def dismiss(context: Context, meta: Meta, job: JobSeen) -> tuple[Action, ...]:
    """Let go of an errand's Job and pod; to be applied after its outcome is recorded."""
    bench = await Bench.read(context.kube, meta.namespace, meta.uid)
    pods = [pod for pod in bench.pods if job.pod is not None and pod["metadata"]["uid"] == job.pod.uid]
    present = any(one["metadata"]["uid"] == job.uid for one in bench.jobs)
    return (*Bench([], pods).releases(), *((DeleteJob(meta.namespace, job.name, job.uid),) if present else ()))


def order(
    meta: Meta,
    kind: str,
    name: str,
    request: Request,
    image: str,
    *,
    pod_template: PodTemplate | None = None,
    storage_claim: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> StartJob:
    """The Job of an errand."""
    owner = Owner(API_VERSION, kind, meta.name, meta.uid)
    return StartJob(name, meta.namespace, owner, request, image, pod_template, labels or {}, storage_claim)


def given_up(meta: Meta, now: datetime) -> bool:
    """Whether an object that somebody deleted has waited long enough for a Job that cannot even be created: tries that
    never began are not counted by their Jobs."""
    return meta.going_since is not None and now >= meta.going_since + PATIENCE


def deadline(now: datetime, span: timedelta = ERRAND_DEADLINE) -> datetime:
    """When an errand that starts now must be over, to the second."""
    return (now + span).replace(microsecond=0)


def merge_secrets(*groups: list[SecretUse] | tuple[SecretUse, ...]) -> list[SecretUse]:
    """Secrets of several targets in one list, each use once."""
    merged = {use.use: use for group in groups for use in group}
    return list(merged.values())
