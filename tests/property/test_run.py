"""Whatever happens to Jobs, pods and the operator's clock: a run ends, in bounded time, and two agents never write at
once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.api.result import Outcome, Result
from databosun.domain.attempt import DEADLINE_MARGIN, JobSeen, Limits, PodSeen
from databosun.domain.run import (
    MAX_RECOVERS,
    PATIENCE,
    Blocked,
    Conclude,
    EndAttempt,
    Recover,
    RunFacts,
    Stage,
    Start,
    Tried,
    Wait,
    Watch,
    decide_run,
)
from support.backups import at

T0 = at("2026-03-01T02:00")
LIMITS = Limits(retries=2, deadline=timedelta(minutes=6), start_deadline=timedelta(minutes=3))
# All attempts with their margins, pauses and looks into storage, and the wait before the first.
LONGEST = (
    PATIENCE
    + (LIMITS.retries + 1) * (LIMITS.deadline + DEADLINE_MARGIN + timedelta(minutes=12))
    + MAX_RECOVERS * (LIMITS.deadline + DEADLINE_MARGIN + timedelta(minutes=12))
)
GOOD = Result(outcome=Outcome.SUCCEEDED, reason="Succeeded")

OUTCOMES = st.sampled_from([None, *Outcome])
OVER = ("refused", "ended", "unreadable", "away")
STATES = st.sampled_from(["absent", "lost", "waiting", "running", "deleting", *OVER])


def observation(attempt: int, created: datetime, deadline: datetime, state: str, outcome: Outcome | None) -> JobSeen:
    pod = PodSeen("p", "u", created, started=True)
    job = JobSeen(f"run-{attempt:02d}", "j", attempt, created, deadline)
    return {
        "absent": job,
        "lost": replace(job, pod_was_seen=True, failed="Lost: "),
        "refused": replace(job, refused=True, warning="violates PodSecurity"),
        "waiting": replace(job, pod=replace(pod, started=False, waiting_reason="ImagePullBackOff")),
        "running": replace(job, pod=pod),
        "deleting": replace(job, pod=replace(pod, deleting=True, disrupted=True)),
        "ended": replace(job, pod=replace(pod, terminated=True, outcome=outcome, retryable=True, result=GOOD)),
        "unreadable": replace(
            job, pod=replace(pod, terminated=True, outcome=Outcome.SUCCEEDED, result_expected=True, ended=created)
        ),
        "away": replace(
            job,
            pod=replace(
                pod, terminated=True, outcome=Outcome.SUCCEEDED, result_expected=True, ended=created, log_away=True
            ),
        ),
    }[state]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_run_ends_in_time_and_no_two_agents_write(data: st.DataObject) -> None:
    now, known = T0, RunFacts(T0, Stage.PENDING, LIMITS)
    jobs: list[tuple[datetime, datetime]] = []
    alive: dict[int, datetime] = {}  # agents whose end nobody has seen, with their deadlines
    blocked = data.draw(st.booleans())
    while True:
        assert now - T0 <= LONGEST, "the run goes on and on"
        facts = known
        last = facts.tried[-1] if facts.tried else None
        if last is not None and last.ended is None and data.draw(st.booleans(), label="seen"):
            state, outcome = data.draw(STATES), data.draw(OUTCOMES)
            facts = replace(facts, job=observation(len(jobs), *jobs[-1], state, outcome))
            if state in OVER:
                alive.pop(len(jobs), None)
        if blocked and not jobs:
            facts = replace(facts, blocked=Blocked("StorageNotReady", "away"))
            blocked = data.draw(st.booleans(), label="still blocked")
        match decide_run(facts, now):
            case Conclude():
                return
            case Start(number=number, deadline=deadline):
                assert number == len(jobs) + 1 <= LIMITS.retries + 1
                writing = [other for other, until in alive.items() if now < until + DEADLINE_MARGIN]
                assert not writing, "an agent of an earlier attempt may still write"
                jobs.append((now, deadline))
                alive[number] = deadline
                attempt = Tried(number, f"run-{number:02d}", now, deadline)
                known = replace(known, stage=Stage.RUNNING, tried=(*known.tried, attempt))
            case EndAttempt(number=number, ending=ending):
                assert last is not None
                assert number == last.number
                end = {"reason": ending.reason, "retryable": ending.retryable, "certain": ending.certain}
                known = replace(known, tried=(*known.tried[:-1], replace(last, ended=now, **end)))
            case Recover(number=number):
                assert number == len(known.recovers) + 1 <= MAX_RECOVERS
                seen = observation(number, now, now + LIMITS.deadline, data.draw(STATES), data.draw(OUTCOMES))
                known = replace(known, recovers=(*known.recovers, seen))
            case Watch(wake_at=wake_at) | Wait(wake_at=wake_at):
                assert wake_at > now, "it would spin"
                now = wake_at
