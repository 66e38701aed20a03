"""A run: from Pending to a final verdict, through attempts that are one Job each. Every kind of run goes this one way.

Facts come in, a Step goes out. What a request says and what a verdict means is the kind's own business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from databosun.domain.attempt import DEADLINE_MARGIN, Ending, JobSeen, Limits, judge, next_look

RETRY_DELAY = timedelta(seconds=15)
LONGEST_RETRY_DELAY = timedelta(minutes=10)
MAX_RECOVERS = 3
# Without a policy to ask, a run that waits is given up after this long.
PATIENCE = timedelta(hours=24)


class Stage(StrEnum):
    """Where a run stands before its verdict."""

    NEW = "New"
    PENDING = "Pending"
    RUNNING = "Running"


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt as recorded in status."""

    number: int
    job: str
    started: datetime
    deadline: datetime
    ended: datetime | None = None
    reason: str | None = None
    message: str | None = None
    retryable: bool = False
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a run may not start yet."""

    reason: str
    message: str
    again: datetime | None = None


@dataclass(frozen=True, slots=True)
class Doomed:
    """Why a run can never start; the user must act."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """All that decides over a run. `too_old`: it has no status, and its time to start is over."""

    created: datetime
    stage: Stage
    limits: Limits
    tried: tuple[Tried, ...] = ()
    job: JobSeen | None = None
    recovers: tuple[JobSeen, ...] = ()
    too_old: str | None = None
    blocked: Blocked | None = None
    doomed: Doomed | None = None
    recoverable: bool = True


@dataclass(frozen=True, slots=True)
class Wait:
    """Not started; say why."""

    reason: str
    message: str
    wake_at: datetime


@dataclass(frozen=True, slots=True)
class Start:
    """Create the Job of attempt `number`."""

    number: int
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Watch:
    """The attempt goes on. `orphan`: its Job is gone but its agent may still write."""

    number: int
    wake_at: datetime
    message: str = ""


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """Record that the attempt ended; another follows at `retry_at`, else (None) a look for the durable object."""

    number: int
    ending: Ending
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Recover:
    """Create the n-th small Job that reads the durable object."""

    number: int


@dataclass(frozen=True, slots=True)
class Conclude:
    """The verdict. `attempt` is the last one, 0 where none was made."""

    ending: Ending
    attempt: int

    @property
    def refused(self) -> bool:
        """Whether nothing was done: for want of something, or since it never began."""
        return self.ending.refused or (self.attempt == 0 and not self.ending.succeeded)


Step = Wait | Start | Watch | EndAttempt | Recover | Conclude


def too_old(
    scheduled_for: datetime | None, not_after: datetime | None, starting_deadline: timedelta, now: datetime
) -> str | None:
    """Why a run may no longer start, were it to begin now; None where it may."""
    if not_after is not None and now >= not_after:
        return f"its notAfter {not_after.isoformat()} is over; nothing was started"
    if scheduled_for is not None and now > scheduled_for + starting_deadline:
        return f"its slot {scheduled_for.isoformat()} is more than startingDeadline ago; nothing was started"
    return None


def retry_delay(attempt: int) -> timedelta:
    """How long to wait after a failed attempt: 15 s doubling to 10 min."""
    return min(LONGEST_RETRY_DELAY, RETRY_DELAY * float(2 ** (attempt - 1)))


def decide_run(facts: RunFacts, now: datetime) -> Step:
    """Say the next step of a run; total, deterministic."""
    if facts.stage is Stage.NEW and facts.too_old is not None and facts.job is None:
        return _look_for_durable(facts, Ending("NotStarted", facts.too_old), now)
    last = facts.tried[-1] if facts.tried else None
    if last is None and facts.job is None:
        return _begin(facts, now)
    if last is not None and last.ended is not None:
        return _after(facts, last, now)
    return _during(facts, last, now)


def _begin(facts: RunFacts, now: datetime) -> Step:
    if facts.doomed is not None:
        return Conclude(Ending(facts.doomed.reason, facts.doomed.message), attempt=0)
    if facts.blocked is not None:
        give_up = facts.created + PATIENCE
        if now >= give_up:
            message = f"waited since {facts.created.isoformat()} and never started: {facts.blocked.message}"
            return Conclude(Ending("NeverStarted", message), attempt=0)
        wake_at = min(give_up, facts.blocked.again or give_up)
        return Wait(facts.blocked.reason, facts.blocked.message, wake_at)
    return Start(1, now + facts.limits.deadline)


def _during(facts: RunFacts, last: Tried | None, now: datetime) -> Step:
    job = facts.job
    if job is None:
        assert last is not None  # noqa: S101 (decide_run's own case split)
        return _lost(facts, last, now)
    number = job.attempt
    ending = judge(job, facts.limits, now)
    if ending is None:
        return Watch(number, wake_at=next_look(job, facts.limits, now))
    if ending.succeeded and ending.certain:
        return Conclude(ending, number)
    return _close(facts, number, ending, now)


def _lost(facts: RunFacts, last: Tried, now: datetime) -> Step:
    """The Job is gone. Its agent may live on, so nothing follows before its deadline plus the margin."""
    safe = last.deadline + DEADLINE_MARGIN
    if now < safe:
        return Watch(
            last.number,
            wake_at=safe,
            message=f"Job {last.job} is gone; its agent may still write until {last.deadline.isoformat()}",
        )
    return _close(
        facts, last.number, Ending("JobLost", f"Job {last.job} disappeared before it reported", retryable=True), now
    )


def _close(facts: RunFacts, number: int, ending: Ending, now: datetime) -> Step:
    more = ending.retryable and number <= facts.limits.retries
    if more:
        return EndAttempt(number, ending, retry_at=now + retry_delay(number))
    if ending.certain and not ending.succeeded:
        return Conclude(ending, number)
    return EndAttempt(number, ending, retry_at=None)


def _after(facts: RunFacts, last: Tried, now: datetime) -> Step:
    """Between attempts, or after the last one."""
    ending = Ending(last.reason or "NoResult", last.message or "", retryable=last.retryable, certain=last.certain)
    if last.retryable and last.number <= facts.limits.retries:
        if facts.job is not None and facts.job.attempt == last.number + 1:
            return Watch(facts.job.attempt, wake_at=now)
        due = (last.ended or now) + retry_delay(last.number)
        if now < due:
            return Wait("Retrying", f"attempt {last.number} ended with {ending.reason}: {ending.message}", due)
        if facts.doomed is not None:
            return Conclude(Ending(facts.doomed.reason, facts.doomed.message), last.number)
        if any(one.created > (last.ended or now) for one in facts.recovers):
            return _last_word(facts, last, ending, now)  # it was given up before: whatever is free by now
        if facts.blocked is not None:
            return _held_up(facts, last, ending, facts.blocked, now)
        return Start(last.number + 1, now + facts.limits.deadline)
    return _last_word(facts, last, ending, now)


def _held_up(facts: RunFacts, last: Tried, ending: Ending, blocked: Blocked, now: datetime) -> Step:
    """What keeps a first attempt from starting keeps every other: for a while, for others wait for this run."""
    give_up = (last.ended or now) + facts.limits.start_deadline
    message = f"attempt {last.number} ended with {ending.reason}: {ending.message}"
    if now < give_up:
        again = blocked.again if blocked.again is not None and blocked.again > now else give_up
        return Wait(blocked.reason, f"{message}; the next one waits: {blocked.message}", min(give_up, again))
    over = f"{ending.message}; no other attempt could start until {give_up.isoformat()}: {blocked.message}"
    return _last_word(facts, last, replace(ending, message=over), now)


def _last_word(facts: RunFacts, last: Tried, ending: Ending, now: datetime) -> Step:
    """No other attempt follows."""
    if last.certain:
        return Conclude(ending, last.number)
    return _look_for_durable(facts, ending, now, last.number)


def _look_for_durable(facts: RunFacts, otherwise: Ending, now: datetime, attempt: int = 0) -> Step:
    """Nobody said how it ended: what the bucket holds decides, and where it cannot be asked, `otherwise` does."""
    for seen in facts.recovers:
        ending = judge(seen, facts.limits, now)
        if ending is None:
            return Watch(
                attempt, wake_at=next_look(seen, facts.limits, now), message="looking for the run's durable result"
            )
        if ending.certain and (ending.succeeded or not ending.retryable):
            return Conclude(ending if ending.succeeded else otherwise, attempt)
    if not facts.recoverable or len(facts.recovers) >= MAX_RECOVERS:
        return Conclude(otherwise, attempt)
    return Recover(len(facts.recovers) + 1)
