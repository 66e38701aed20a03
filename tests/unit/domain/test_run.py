"""A run, step by step: when it starts, when it is tried again, and that it always ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from databosun.api.result import Outcome, Result
from databosun.domain.attempt import (
    DEADLINE_MARGIN,
    LOG_PATIENCE,
    LOOK_AGAIN,
    LOOK_FOR_POD,
    JobSeen,
    Limits,
    PodSeen,
    judge,
)
from databosun.domain.run import (
    MAX_RECOVERS,
    PATIENCE,
    Blocked,
    Conclude,
    Doomed,
    EndAttempt,
    Recover,
    RunFacts,
    Stage,
    Start,
    Tried,
    Wait,
    Watch,
    decide_run,
    retry_delay,
)
from support.backups import at

T0 = at("2026-03-01T02:00")
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
LIMITS = Limits(retries=2, deadline=6 * HOUR, start_deadline=30 * MINUTE)
DEADLINE = T0 + LIMITS.deadline
GOOD = Result(outcome=Outcome.SUCCEEDED, reason="Succeeded")


def facts(**more: Any) -> RunFacts:
    return RunFacts(**{"created": T0, "stage": Stage.PENDING, "limits": LIMITS, **more})


def pod(**more: Any) -> PodSeen:
    return PodSeen(**{"name": "p", "uid": "u", "created": T0, "started": True, **more})


def ended(outcome: Outcome | None = None, **more: Any) -> PodSeen:
    return pod(terminated=True, outcome=outcome, **more)


def job(seen: PodSeen | None, attempt: int = 1, **more: Any) -> JobSeen:
    fields = {"name": f"run-{attempt:02d}", "uid": "j", "attempt": attempt, "created": T0, "deadline": DEADLINE}
    return JobSeen(**{**fields, "pod": seen, **more})


def tried(number: int = 1, **more: Any) -> Tried:
    return Tried(**{"number": number, "job": f"run-{number:02d}", "started": T0, "deadline": DEADLINE, **more})


def over(number: int = 1, *, ago: timedelta = HOUR, **more: Any) -> Tried:
    """An attempt that ended a while before T0 + 1 h."""
    return tried(number, **{"ended": T0 + HOUR - ago, "reason": "NoResult", "retryable": True, **more})


def running(seen: JobSeen | None, **more: Any) -> RunFacts:
    return facts(**{"stage": Stage.RUNNING, "tried": (tried(),), "job": seen, **more})


# --- before the first attempt


def test_a_new_run_starts_at_once_with_an_absolute_deadline() -> None:
    assert decide_run(facts(stage=Stage.NEW), T0) == Start(1, T0 + LIMITS.deadline)


def test_a_blocked_run_waits_and_says_for_what() -> None:
    blocked = Blocked("StorageNotReady", "not validated", again=T0 + MINUTE)
    assert decide_run(facts(blocked=blocked), T0) == Wait("StorageNotReady", "not validated", T0 + MINUTE)


def test_a_run_that_was_blocked_for_a_day_is_given_up() -> None:
    blocked = Blocked("StorageNotReady", "not validated")
    assert decide_run(facts(blocked=blocked), T0) == Wait("StorageNotReady", "not validated", T0 + PATIENCE)
    step = decide_run(facts(blocked=blocked), T0 + PATIENCE)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.attempt) == ("NeverStarted", 0)
    assert "not validated" in step.ending.message


def test_a_doomed_run_fails_without_an_attempt_even_while_blocked() -> None:
    doomed = Doomed("DatabaseNotFound", "Database shop/orders does not exist")
    step = decide_run(facts(doomed=doomed, blocked=Blocked("X", "y")), T0)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.ending.succeeded, step.attempt) == ("DatabaseNotFound", False, 0)


def test_a_run_that_is_too_old_is_recovered_and_never_started() -> None:
    too_old = facts(stage=Stage.NEW, too_old="its slot is long past")
    assert decide_run(too_old, T0) == Recover(1)
    looking = job(pod(), attempt=1)
    assert isinstance(decide_run(replace(too_old, recovers=(looking,)), T0), Watch)
    absent = job(ended(Outcome.FAILED, reason="NoManifest"))
    step = decide_run(replace(too_old, recovers=(absent,)), T0)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.ending.message, step.attempt) == ("NotStarted", "its slot is long past", 0)


def test_a_run_that_is_too_old_succeeds_where_its_backup_lies_in_storage() -> None:
    found = job(ended(Outcome.SUCCEEDED, reason="Succeeded", result=GOOD, result_expected=True))
    step = decide_run(facts(stage=Stage.NEW, too_old="long past", recovers=(found,)), T0)
    assert isinstance(step, Conclude)
    assert step.ending.succeeded
    assert step.ending.result is GOOD


def test_a_run_that_is_too_old_and_whose_storage_is_unknown_fails_at_once() -> None:
    step = decide_run(facts(stage=Stage.NEW, too_old="long past", recoverable=False), T0)
    assert isinstance(step, Conclude)
    assert step.ending.reason == "NotStarted"


def test_a_job_that_was_created_before_the_status_was_written_is_taken_up_however_old_the_run() -> None:
    step = decide_run(facts(stage=Stage.NEW, too_old="long past", job=job(pod())), T0)
    assert isinstance(step, Watch)
    assert step.number == 1


# --- while an attempt is under way


def test_a_running_attempt_is_looked_at_again_soon_and_not_later_than_its_deadline() -> None:
    assert decide_run(running(job(pod())), T0) == Watch(1, T0 + LOOK_AGAIN)
    late = DEADLINE + DEADLINE_MARGIN - SECOND
    assert decide_run(running(job(pod())), late) == Watch(1, DEADLINE + DEADLINE_MARGIN)


def test_a_reported_success_is_the_verdict() -> None:
    step = decide_run(running(job(ended(Outcome.SUCCEEDED, result=GOOD, result_expected=True))), T0)
    assert isinstance(step, Conclude)
    assert (step.ending.succeeded, step.ending.result, step.attempt) == (True, GOOD, 1)


def test_a_success_whose_result_cannot_be_read_is_looked_for_in_storage() -> None:
    step = decide_run(running(job(ended(Outcome.SUCCEEDED, result_expected=True))), T0)
    assert isinstance(step, EndAttempt)
    assert (step.ending.reason, step.retry_at) == ("ResultUnreadable", None)
    after = facts(stage=Stage.RUNNING, tried=(over(reason="ResultUnreadable", retryable=False),))
    assert decide_run(after, T0 + HOUR) == Recover(1)


def test_a_log_that_cannot_be_asked_for_is_waited_for_a_little_and_then_done_without() -> None:
    away = job(ended(Outcome.SUCCEEDED, result_expected=True, log_away=True, ended=T0))
    assert decide_run(running(away), T0) == Watch(1, T0 + LOOK_AGAIN)
    step = decide_run(running(away), T0 + LOG_PATIENCE)
    assert isinstance(step, EndAttempt)
    assert step.ending.reason == "ResultUnreadable"


def test_a_refusal_is_final() -> None:
    step = decide_run(running(job(ended(Outcome.REFUSED, reason="GrantMissing", message="grant it"))), T0)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.ending.message, step.ending.certain) == ("GrantMissing", "grant it", True)


def test_a_failure_that_may_pass_is_tried_again_after_a_pause() -> None:
    step = decide_run(running(job(ended(Outcome.FAILED, reason="StorageAway", retryable=True))), T0)
    assert isinstance(step, EndAttempt)
    assert (step.ending.reason, step.retry_at) == ("StorageAway", T0 + retry_delay(1))


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        (ended(disrupted=True, message="node is drained"), "Disrupted", "node is drained"),
        (ended(exit_reason="OOMKilled", exit_code=137), "OutOfMemory", "resources.limits.memory"),
        (ended(exit_code=139), "NoResult", "exit code 139"),
        (ended(exit_reason="Evicted"), "NoResult", "Evicted"),
        (ended(), "NoResult", "no exit code"),
    ],
)
def test_an_agent_that_ended_without_a_word_may_be_tried_again_but_is_not_certain(
    seen: PodSeen, reason: str, words: str
) -> None:
    step = decide_run(running(job(seen)), T0)
    assert isinstance(step, EndAttempt)
    assert (step.ending.reason, step.ending.certain) == (reason, False)
    assert step.retry_at == T0 + retry_delay(1)
    assert words in step.ending.message


def test_on_a_frozen_node_the_next_attempt_comes_only_after_the_deadline_and_a_minute() -> None:
    frozen = job(pod(deleting=True, disrupted=True), failed="PodFailurePolicy: DisruptionTarget")
    just_before = DEADLINE + DEADLINE_MARGIN - SECOND
    assert isinstance(decide_run(running(frozen), just_before), Watch)
    step = decide_run(running(frozen), DEADLINE + DEADLINE_MARGIN)
    assert isinstance(step, EndAttempt)
    assert (step.ending.reason, step.ending.retryable) == ("Unresponsive", True)


def test_a_job_that_is_gone_is_followed_by_nothing_before_its_deadline_and_a_minute() -> None:
    step = decide_run(running(None), T0)
    assert isinstance(step, Watch)
    assert (step.number, step.wake_at) == (1, DEADLINE + DEADLINE_MARGIN)
    assert "may still write" in step.message
    step = decide_run(running(None), DEADLINE + DEADLINE_MARGIN)
    assert isinstance(step, EndAttempt)
    assert (step.ending.reason, step.ending.certain) == ("JobLost", False)


def test_a_pod_that_was_there_and_is_gone_counts_as_writing_until_the_deadline_and_a_minute() -> None:
    gone = job(None, pod_was_seen=True, failed="BackoffLimitExceeded: ")
    assert isinstance(decide_run(running(gone), DEADLINE), Watch)
    assert isinstance(decide_run(running(gone), DEADLINE + DEADLINE_MARGIN), EndAttempt)


# --- pods that do not start


def test_a_missing_image_ends_the_run_at_the_start_deadline_with_the_kubelets_words() -> None:
    waiting = job(pod(started=False, waiting_reason="ImagePullBackOff", waiting_message="not found"))
    assert decide_run(running(waiting), T0) == Watch(1, T0 + LIMITS.start_deadline)
    step = decide_run(running(waiting), T0 + LIMITS.start_deadline)
    assert isinstance(step, Conclude)
    assert step.ending.reason == "StartDeadlineExceeded"
    assert "ImagePullBackOff: not found" in step.ending.message


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_no_time_will_mend_ends_the_run_at_once(reason: str) -> None:
    step = decide_run(running(job(pod(started=False, waiting_reason=reason))), T0)
    assert isinstance(step, Conclude)
    assert step.ending.reason == reason


def test_a_quota_that_admits_no_pod_ends_the_run_at_the_start_deadline_with_the_events_text() -> None:
    refused = job(None, warning="FailedCreate: pods is forbidden: exceeded quota: none")
    assert decide_run(running(refused), T0) == Watch(1, T0 + LOOK_FOR_POD)
    step = decide_run(running(refused), T0 + LIMITS.start_deadline)
    assert isinstance(step, Conclude)
    assert step.ending.reason == "StartDeadlineExceeded"
    assert "exceeded quota: none" in step.ending.message


def test_a_pod_that_pod_security_refuses_ends_the_run_at_once() -> None:
    refused = job(None, warning='FailedCreate: violates PodSecurity "restricted:latest"', refused=True)
    step = decide_run(running(refused), T0)
    assert isinstance(step, Conclude)
    assert step.ending.reason == "PodRefused"
    assert "violates PodSecurity" in step.ending.message


def test_a_job_without_any_pod_says_so_when_nobody_else_does() -> None:
    step = decide_run(running(job(None)), T0 + LIMITS.start_deadline)
    assert isinstance(step, Conclude)
    assert "no event says why" in step.ending.message


def test_a_job_that_failed_before_any_pod_is_tried_again() -> None:
    step = decide_run(running(job(None, failed="DeadlineExceeded: too slow")), T0)
    assert isinstance(step, EndAttempt)
    assert (step.ending.reason, step.retry_at) == ("JobFailed", T0 + retry_delay(1))


# --- between attempts


def test_the_next_attempt_waits_for_its_pause_and_then_gets_a_deadline_of_its_own() -> None:
    just_ended = facts(stage=Stage.RUNNING, tried=(over(ago=SECOND, message="cut"),))
    now = T0 + HOUR
    step = decide_run(just_ended, now)
    assert step == Wait("Retrying", "attempt 1 ended with NoResult: cut", now - SECOND + retry_delay(1))
    assert decide_run(just_ended, now + MINUTE) == Start(2, now + MINUTE + LIMITS.deadline)


def test_an_attempt_that_was_created_but_not_written_down_is_taken_up_not_doubled() -> None:
    seen = facts(stage=Stage.RUNNING, tried=(over(),), job=job(pod(), attempt=2))
    assert decide_run(seen, T0 + HOUR) == Watch(2, T0 + HOUR)


def test_a_run_that_became_doomed_is_not_tried_again() -> None:
    seen = facts(stage=Stage.RUNNING, tried=(over(),), doomed=Doomed("PolicyNotFound", "gone"))
    step = decide_run(seen, T0 + HOUR)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.attempt) == ("PolicyNotFound", 1)


def test_what_keeps_a_first_attempt_from_starting_keeps_the_next_ones_too_but_not_for_ever() -> None:
    opens = T0 + 26 * HOUR
    closed = Blocked("OutsideWindow", "no window is open", again=opens)
    seen = facts(stage=Stage.RUNNING, tried=(over(message="drained"),), blocked=closed)
    ended_at = T0
    give_up = ended_at + LIMITS.start_deadline
    step = decide_run(seen, ended_at + MINUTE)
    assert isinstance(step, Wait)
    assert (step.reason, step.wake_at) == ("OutsideWindow", give_up)
    assert "no window is open" in step.message
    soon = replace(seen, blocked=replace(closed, again=ended_at + 5 * MINUTE))
    assert decide_run(soon, ended_at + MINUTE).wake_at == ended_at + 5 * MINUTE  # type: ignore[union-attr]
    past = replace(seen, blocked=replace(closed, again=ended_at))
    assert decide_run(past, ended_at + MINUTE).wake_at == give_up  # type: ignore[union-attr]
    assert isinstance(decide_run(replace(seen, blocked=None), ended_at + MINUTE), Start)
    assert decide_run(seen, give_up) == Recover(1)
    # A window that opens while the store is asked starts nothing: the run was given up.
    absent = job(ended(Outcome.FAILED, reason="NoManifest"), created=give_up)
    asked = replace(seen, blocked=None, recovers=(absent,))
    for one in (asked, replace(asked, blocked=closed)):
        step = decide_run(one, give_up + MINUTE)
        assert isinstance(step, Conclude)
        assert (step.ending.reason, step.attempt) == ("NoResult", 1)
    certain = replace(seen, tried=(over(message="gone", certain=True),))
    step = decide_run(certain, give_up)
    assert isinstance(step, Conclude)
    assert "no window is open" in step.ending.message


def test_retries_are_bounded_and_then_storage_has_the_last_word() -> None:
    spent = facts(stage=Stage.RUNNING, tried=(over(1), over(2), over(3, message="cut")))
    for number in range(1, MAX_RECOVERS + 1):
        assert decide_run(spent, T0 + HOUR) == Recover(number)
        unreadable = job(ended(), attempt=number)
        spent = replace(spent, recovers=(*spent.recovers, unreadable))
    step = decide_run(spent, T0 + HOUR)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.ending.message, step.attempt) == ("NoResult", "cut", 3)


def test_a_certain_failure_needs_no_look_into_storage() -> None:
    last = over(3, reason="WrongPassword", retryable=True, certain=True)
    step = decide_run(facts(stage=Stage.RUNNING, tried=(over(1), over(2), last)), T0 + HOUR)
    assert isinstance(step, Conclude)
    assert (step.ending.reason, step.attempt) == ("WrongPassword", 3)


def test_a_backup_found_in_storage_after_all_attempts_is_a_success() -> None:
    found = job(ended(Outcome.SUCCEEDED, result=GOOD, result_expected=True))
    step = decide_run(facts(stage=Stage.RUNNING, tried=(over(1), over(2), over(3)), recovers=(found,)), T0 + HOUR)
    assert isinstance(step, Conclude)
    assert (step.ending.succeeded, step.attempt) == (True, 3)


def test_without_retries_the_first_failure_is_the_last() -> None:
    none = replace(LIMITS, retries=0)
    step = decide_run(running(job(ended(Outcome.FAILED, retryable=True, reason="Cut")), limits=none), T0)
    assert isinstance(step, Conclude)
    assert step.ending.reason == "Cut"


def test_pauses_double_up_to_ten_minutes() -> None:
    assert [retry_delay(number).total_seconds() for number in (1, 2, 3, 9)] == [15, 30, 60, 600]


def test_a_job_that_goes_on_is_not_judged() -> None:
    assert judge(job(pod()), LIMITS, T0 + 5 * HOUR) is None
    assert judge(job(pod(started=False)), LIMITS, T0) is None
    assert judge(job(None), LIMITS, T0) is None
