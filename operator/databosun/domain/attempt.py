"""One attempt of a run, as its Job and pod show it: whether it is over, how it ended, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.result import Outcome, Result

# The agent stops by itself at its deadline; this long after it none of that attempt writes (docs/concepts/jobs.md).
DEADLINE_MARGIN = timedelta(seconds=60)

LOOK_AGAIN = timedelta(seconds=15)

# A Job without a pod says why in an Event, and Events wake nobody up.
LOOK_FOR_POD = timedelta(seconds=60)

# A node that is away takes its pods' logs with it; the result then comes from the bucket.
LOG_PATIENCE = timedelta(minutes=2)

# Waiting reasons of a container that no time will mend.
HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended. `certain`: by the agent's own word, or because no agent ran; not inferred. `refused`: the
    agent found a precondition missing, and did nothing."""

    reason: str
    message: str
    succeeded: bool = False
    retryable: bool = False
    certain: bool = False
    refused: bool = False
    result: Result | None = None


@dataclass(frozen=True, slots=True)
class PodSeen:
    """The pod of one attempt, as the API server knows it. `log_away`: its log could not be asked for just now."""

    name: str
    uid: str
    created: datetime
    started: bool = False
    terminated: bool = False
    deleting: bool = False
    disrupted: bool = False
    waiting_reason: str | None = None
    waiting_message: str | None = None
    exit_reason: str | None = None
    exit_code: int | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    message: str = ""
    retryable: bool = False
    result: Result | None = None
    result_expected: bool = False
    log_away: bool = False
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobSeen:
    """One Job of a run, with its pod if there is one."""

    name: str
    uid: str
    attempt: int
    created: datetime
    deadline: datetime
    pod: PodSeen | None = None
    failed: str | None = None
    pod_was_seen: bool = False
    warning: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """The policy's bounds on a run; `deadline` is that of one attempt."""

    retries: int
    deadline: timedelta
    start_deadline: timedelta


def judge(job: JobSeen, limits: Limits, now: datetime) -> Ending | None:
    """How the Job ended, or None while it goes on. Never waits for the Job's own `Failed`: a lost node has none."""
    pod = job.pod
    if pod is not None and pod.terminated:
        return None if _log_may_come_back(pod, now) else _judge_terminated(pod)
    if now >= job.deadline + DEADLINE_MARGIN:
        return Ending(
            "Unresponsive", f"the agent did not report by its deadline {job.deadline.isoformat()}", retryable=True
        )
    if pod is None:
        return _judge_without_pod(job, limits, now)
    if pod.started:
        return None
    if pod.waiting_reason in HOPELESS:
        return Ending(pod.waiting_reason or "", _waiting(pod), certain=True)
    if now >= job.created + limits.start_deadline:
        return Ending(
            "StartDeadlineExceeded",
            f"the pod did not start within {limits.start_deadline}: {_waiting(pod)}",
            certain=True,
        )
    return None


def _log_may_come_back(pod: PodSeen, now: datetime) -> bool:
    return pod.log_away and pod.result is None and now < (pod.ended or pod.created) + LOG_PATIENCE


def _judge_terminated(pod: PodSeen) -> Ending:
    if pod.outcome is Outcome.SUCCEEDED:
        if pod.result is not None or not pod.result_expected:
            return Ending(pod.reason or "Succeeded", pod.message, succeeded=True, certain=True, result=pod.result)
        return Ending(
            "ResultUnreadable", "the agent reported success, but its full result could not be read from the log"
        )
    if pod.outcome is not None:
        return Ending(
            pod.reason or "Failed",
            pod.message,
            retryable=pod.retryable,
            certain=True,
            refused=pod.outcome is Outcome.REFUSED,
            result=pod.result,
        )
    if pod.disrupted:
        return Ending(
            "Disrupted",
            f"pod {pod.name} was evicted, preempted or deleted: {pod.message or 'no message'}",
            retryable=True,
        )
    if pod.exit_reason == "OOMKilled":
        return Ending(
            "OutOfMemory",
            "the agent was killed for lack of memory; raise podTemplate.resources.limits.memory",
            retryable=True,
        )
    detail = f"exit code {pod.exit_code}" if pod.exit_code is not None else pod.exit_reason or "no exit code"
    return Ending("NoResult", f"the agent ended without a word ({detail}) {pod.message}".rstrip(), retryable=True)


def _judge_without_pod(job: JobSeen, limits: Limits, now: datetime) -> Ending | None:
    if job.pod_was_seen:
        return None
    if job.refused:
        return Ending("PodRefused", job.warning or "the API server refuses the pod", certain=True)
    if job.failed is not None:
        return Ending("JobFailed", job.failed, retryable=True)
    if now >= job.created + limits.start_deadline:
        message = f"no pod was created within {limits.start_deadline}: {job.warning or 'no event says why'}"
        return Ending("StartDeadlineExceeded", message, certain=True)
    return None


def _waiting(pod: PodSeen) -> str:
    parts = [part for part in (pod.waiting_reason, pod.waiting_message) if part]
    return ": ".join(parts) or "no reason given"


def next_look(job: JobSeen, limits: Limits, now: datetime) -> datetime:
    """When to look again without being told: progress while it runs, why there is no pod, else the next instant that
    decides something."""
    if job.pod is not None and job.pod.terminated:
        return now + LOOK_AGAIN
    if job.pod is not None and job.pod.started:
        return min(now + LOOK_AGAIN, job.deadline + DEADLINE_MARGIN)
    turn = max(job.created + limits.start_deadline, now + timedelta(seconds=1))
    if job.pod is None:
        turn = min(turn, now + LOOK_FOR_POD)
    return min(turn, job.deadline + DEADLINE_MARGIN)
