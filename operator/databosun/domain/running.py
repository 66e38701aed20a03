"""What the steps of a run mean for its status and its Jobs, the same for every kind of run.

A kind says what is its own: the Job of an attempt, what looks for the durable object, and what a verdict writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from databosun.api.quantities import format_duration
from databosun.api.v1alpha1.common import API_VERSION
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.run import Attempt, Failure, Progress, RunStatus
from databosun.domain.attempt import Ending, JobSeen
from databosun.domain.conditions import Wanted, kstatus, merge_conditions
from databosun.domain.names import attempt_job_name
from databosun.domain.plan import (
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_POLICY_UID,
    LABEL_SCHEDULE,
    LABEL_STORAGE_UID,
    Action,
    DeleteJob,
    Owner,
    PatchMetadata,
    Plan,
    StartJob,
)
from databosun.domain.requests import Named
from databosun.domain.run import EndAttempt, RunFacts, Stage, Tried, Wait, Watch

MAX_ATTEMPTS_SHOWN = 50
PROGRESS_EVERY = timedelta(seconds=30)
PROGRESS_PERCENT = 5
LOOK_AFTER_START = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class RunKind:
    """A kind of run, and its words for the two phases before a verdict."""

    kind: str
    pending: StrEnum
    running: StrEnum


@dataclass(frozen=True, slots=True)
class RunState:
    """One unfinished run. `remember`: what stands in every status that is written from now on."""

    kind: RunKind
    ref: Named
    generation: int
    status: RunStatus
    facts: RunFacts
    progress: Progress | None = None
    progress_at: datetime | None = None
    remember: Mapping[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> Owner:
        """The run, as its Jobs name it."""
        return Owner(API_VERSION, self.kind.kind, self.ref.name, self.ref.uid)

    def write(self, conditions: Sequence[Wanted], now: datetime, **changes: Any) -> dict[str, Any]:
        """The status with these conditions and changes."""
        update = {
            "observed_generation": self.generation,
            "conditions": merge_conditions(self.status.conditions, conditions, self.generation, now),
            **self.remember,
            **changes,
        }
        return self.status.model_copy(update=update).dump()

    def under_way(self, reason: str, message: str, now: datetime, **changes: Any) -> dict[str, Any]:
        """The status while something is still to come; `message` says what."""
        conditions = kstatus(ready=False, reason=reason, message=message, reconciling=message)
        return self.write(conditions, now, **changes)

    def duration(self, end: datetime, start: datetime | None = None) -> str | None:
        """From the start of the first attempt to `end`."""
        begin = self.status.start_time or start
        return format_duration(end - begin) if begin is not None else None


def tried(status: RunStatus) -> tuple[Tried, ...]:
    """The attempts as recorded in status."""
    return tuple(
        Tried(
            number=attempt.number,
            job=attempt.job,
            started=attempt.started_at or datetime.min,  # noqa: DTZ901 (never read: an attempt is recorded with its start)
            deadline=attempt.deadline or attempt.started_at or datetime.min,  # noqa: DTZ901 (as above)
            ended=attempt.ended_at,
            reason=attempt.reason,
            message=attempt.message,
            retryable=attempt.retryable,
            certain=attempt.certain,
        )
        for attempt in status.attempts
    )


def stage(status: RunStatus) -> Stage:
    """Where the run stands before its verdict."""
    if status.phase is None:
        return Stage.NEW
    return Stage.RUNNING if status.attempts else Stage.PENDING


def go_on(state: RunState, step: Wait | Watch | EndAttempt, now: datetime, image: str | None) -> Plan:
    """The plan of a step that is the same for every kind."""
    match step:
        case Wait():
            return _waiting(state, step, now)
        case Watch():
            return _watch(state, step, now, image)
        case EndAttempt():
            return _end_attempt(state, step, now)


def started(state: RunState, job: StartJob, now: datetime, **more: Any) -> Plan:
    """The Job of an attempt, and the attempt written down."""
    request = job.request
    attempt = Attempt(
        number=request.attempt, job=job.name, started_at=now.replace(microsecond=0), deadline=request.deadline
    )
    status = _running(state, attempt, now, image=job.image, **more)
    return Plan(before=(job,), status=status, wake_at=now + LOOK_AFTER_START)


def ended(state: RunState, number: int, ending: Ending, now: datetime) -> list[Attempt]:
    """The attempts with the one that ended closed; also where its start was never written down."""
    job = state.facts.job
    records = list(state.status.attempts)
    if number and number not in {attempt.number for attempt in records}:
        begun = job.created if job else now
        deadline = job.deadline if job else now
        name = job.name if job else attempt_job_name(state.ref.name, number)
        records.append(Attempt(number=number, job=name, started_at=begun, deadline=deadline))
    closed = {
        "ended_at": now.replace(microsecond=0),
        "reason": ending.reason,
        "message": ending.message[:1024],
        "retryable": ending.retryable,
        "certain": ending.certain,
    }
    return [
        attempt.model_copy(update=closed) if attempt.number == number and attempt.ended_at is None else attempt
        for attempt in records
    ]


def without_success(state: RunState, number: int, ending: Ending, now: datetime, **more: Any) -> dict[str, Any]:
    """The status of a run that ended otherwise than it should: not ready, and stalled, since nothing follows."""
    message = ending.message[:2048]
    changes: dict[str, Any] = {
        "start_time": state.status.start_time,
        "completion_time": now.replace(microsecond=0),
        "attempts": ended(state, number, ending, now),
        "progress": None,
        "failure": failure_of(ending),
        "duration": state.duration(now),
    }
    conditions = kstatus(ready=False, reason=ending.reason, message=message, stalled=True)
    return state.write(conditions, now, **(changes | more))


def with_success(
    state: RunState,
    number: int,
    ending: Ending,
    now: datetime,
    *,
    reason: str,
    message: str = "",
    also: Sequence[Wanted] = (),
    **more: Any,
) -> dict[str, Any]:
    """The status of a run that came to a good end. `also`: conditions of the kind's own."""
    changes: dict[str, Any] = {
        "completion_time": now.replace(microsecond=0),
        "attempts": ended(state, number, replace(ending, reason="Succeeded", retryable=False), now),
        "progress": None,
        "failure": None,
        "duration": state.duration(now),
    }
    conditions = (*kstatus(ready=True, reason=reason, message=message), *also)
    return state.write(conditions, now, **(changes | more))


def failure_of(ending: Ending) -> Failure:
    """Why it did not end as it should, as a status says it."""
    return Failure(reason=ending.reason, message=ending.message[:2048])


def chosen(state: RunState, message: str, now: datetime, **choice: Any) -> Plan:
    """Write the choice down before anything starts: from here on it stands for all attempts, and retention sees it."""
    return Plan(status=state.under_way(Reason.CHOSEN, message, now, phase=state.kind.pending, **choice), wake_at=now)


def decide_cleanup(
    phase: str, jobs: Sequence[JobSeen], releases: Sequence[Action], labels: Mapping[str, str], namespace: str
) -> Plan:
    """After the verdict is recorded: let go of pods and Jobs, and only then mark the run as finished.

    `labels` are the references that finished runs are found by.
    """
    delete = tuple(DeleteJob(namespace, job.name, job.uid) for job in jobs)
    mark = PatchMetadata({"labels": {**labels, LABEL_FINISHED: phase}})
    return Plan(after=(*releases, *delete, mark))


def references(
    database_uid: str | None, policy_uid: str | None, storage_uid: str | None, schedule: str | None = None
) -> dict[str, str]:
    """What a run refers to as labels; what is not known is left out."""
    wanted = {
        LABEL_DATABASE_UID: database_uid,
        LABEL_POLICY_UID: policy_uid,
        LABEL_STORAGE_UID: storage_uid,
        LABEL_SCHEDULE: schedule,
    }
    return {key: value for key, value in wanted.items() if value}


def _waiting(state: RunState, step: Wait, now: datetime) -> Plan:
    phase = state.kind.running if state.status.attempts else state.kind.pending
    return Plan(status=state.under_way(step.reason, step.message, now, phase=phase), wake_at=step.wake_at)


def _running(state: RunState, attempt: Attempt, now: datetime, **more: Any) -> dict[str, Any]:
    message = f"attempt {attempt.number} is running"
    attempts = [known for known in state.status.attempts if known.number != attempt.number]
    changes: dict[str, Any] = {
        "phase": state.kind.running,
        "start_time": state.status.start_time or attempt.started_at,
        "deadline": attempt.deadline,
        "attempts": [*attempts, attempt][-MAX_ATTEMPTS_SHOWN:],
        "failure": None,
    }
    return state.under_way("Running", message, now, **(changes | more))


def _watch(state: RunState, step: Watch, now: datetime, image: str | None) -> Plan:
    """The Job goes on; record an attempt that was started but not written down, and progress when it moved enough."""
    job = state.facts.job
    known = {attempt.number for attempt in state.status.attempts}
    if job is not None and job.attempt not in known:
        attempt = Attempt(number=job.attempt, job=job.name, started_at=job.created, deadline=job.deadline)
        return Plan(status=_running(state, attempt, now, image=image), wake_at=step.wake_at)
    if state.progress is None or not _moved(state, now):
        return Plan(wake_at=step.wake_at)
    status = state.status.model_copy(update={"progress": state.progress})
    return Plan(status=status.dump(), wake_at=step.wake_at)


def _moved(state: RunState, now: datetime) -> bool:
    old, new = state.status.progress, state.progress
    if old is None or new is None or old.stage != new.stage:
        return new is not None
    if old == new:
        return False
    if new.percent is not None and old.percent is not None and abs(new.percent - old.percent) >= PROGRESS_PERCENT:
        return True
    return state.progress_at is None or now - state.progress_at >= PROGRESS_EVERY


def _end_attempt(state: RunState, step: EndAttempt, now: datetime) -> Plan:
    ending = step.ending
    more = "another attempt follows" if step.retry_at else "looking for what it left in storage"
    message = f"attempt {step.number} ended with {ending.reason}: {ending.message}; {more}"
    status = state.under_way(
        ending.reason,
        message,
        now,
        phase=state.kind.running,
        start_time=state.status.start_time or now.replace(microsecond=0),
        attempts=ended(state, step.number, ending, now),
        failure=failure_of(ending),
    )
    return Plan(status=status, wake_at=step.retry_at or now)
