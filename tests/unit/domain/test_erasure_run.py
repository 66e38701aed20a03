"""An ErasureRequest's run: what its Jobs are told, whose word it waits for, and what every ending says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import RecoverTask
from databosun.api.erasure import ErasureResult
from databosun.api.lifecycle import LifecycleMode
from databosun.api.lifecycleresult import RuleOutcome, RuleState
from databosun.api.lifecycletasks import EraseTask
from databosun.api.result import Outcome, Result
from databosun.api.targets import DatabaseTarget, SecretUse, StorageTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.erasurerequest import ErasureRequestSpec, ErasureRequestStatus
from databosun.domain.attempt import JobSeen, Limits, PodSeen
from databosun.domain.consent import Consent
from databosun.domain.erasure import erasure_hash
from databosun.domain.erasurerun import ERASURE_RUN, ErasureFacts, ErasureJobOrder, decide_erasure
from databosun.domain.plan import Plan, StartJob
from databosun.domain.remains import Kept
from databosun.domain.requests import Named
from databosun.domain.run import Doomed, RunFacts
from databosun.domain.running import RunState, stage, tried
from unit.domain.test_erasure import SPEC, facts, order

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIMITS = Limits(retries=3, deadline=2 * HOUR, start_deadline=HOUR)
SUBJECT, UID = "ab" * 32, "request-uid"
HASH = erasure_hash(order(), facts(rows=500, eligible=1), SUBJECT, UID)
ORDER = ErasureJobOrder(
    order=order(),
    database=DatabaseTarget(
        namespace="shop", name="orders", uid="db-uid", engine=EngineName.POSTGRESQL, hosts=["db"], port=5432
    ),
    storage=StorageTarget(namespace="shop", name="prod", cluster_id="c"),
    secrets=tuple(SecretUse(use=use, secret="s", keys={}) for use in ("database", "storage", "subject", "erasure")),
    image="runner:18",
    at=NOW,
    wait=7 * DAY,
    system="7",
)
CONSENT = Consent("appr", HASH, NOW + 12 * HOUR)
LOOKED = {"number": 1, "job": "r-01", "startedAt": NOW, "deadline": NOW + HOUR, "endedAt": NOW,
          "reason": "ErasurePlanned", "retryable": False, "certain": True}  # fmt: skip
WAITS: dict[str, Any] = {
    "phase": "AwaitingApproval",
    "attempts": [LOOKED],
    "plan": {"hash": HASH, "at": NOW, "until": NOW + 7 * DAY, "attempt": 1, "rows": 1},
}
RUNS = {"number": 2, "job": "r-02", "startedAt": NOW, "deadline": NOW + HOUR}
ERASES = {**WAITS, "phase": "Running", "approved": HASH, "approval": "appr", "attempts": [LOOKED, RUNS]}


def request(status: dict[str, Any] | None = None, **more: Any) -> ErasureFacts:
    """One unfinished request."""
    known = ErasureRequestStatus.model_validate(status or {})
    beside = {name: more.pop(name) for name in ("consent", "kept", "withdrawn") if name in more}
    base = RunFacts(created=NOW, stage=stage(known), limits=LIMITS, tried=tried(known))
    state = RunState(ERASURE_RUN, Named("shop", "r", UID), 1, known, replace(base, **more))
    return ErasureFacts(state, ErasureRequestSpec.model_validate(SPEC), known, ORDER, **beside)


def told(plan: Plan) -> EraseTask:
    """What the Job that it starts is told."""
    (job,) = plan.before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, EraseTask)
    return job.request.job


def found(mode: LifecycleMode = LifecycleMode.DRY_RUN, **more: Any) -> ErasureResult:
    """What an agent says."""
    values: dict[str, Any] = {
        "id": "r", "uid": UID, "mode": mode, "at": NOW, "engine_version": "18.1", "order": order(),
        "subject": SUBJECT, "plan_hash": HASH, "facts": facts(rows=500, eligible=1), "completed_at": NOW,
    }  # fmt: skip
    return ErasureResult(**{**values, **more})


def erased(**more: Any) -> ErasureResult:
    """An erasure that came to its end."""
    rule = RuleOutcome(
        name="customers", action="Delete", state=RuleState.COMPLETED, deleted=1, children={"public.orders": 7}
    )
    done = {"outcomes": [rule], "verified_at": NOW, "receipt": "s3://b/r", "receipt_sha256": "00"}
    return found(LifecycleMode.ENFORCE, **{**done, **more})


def reported(result: ErasureResult | None, said: Outcome = Outcome.SUCCEEDED, number: int = 1) -> JobSeen:
    """The Job of an attempt that has spoken."""
    whole = Result(outcome=said, reason="Word", message="words", erasure=result)
    pod = PodSeen(
        "pod", "pod-uid", NOW, started=True, terminated=True, ended=NOW, outcome=said, reason="Word", message="words",
        result=whole, result_expected=True,
    )  # fmt: skip
    return JobSeen(f"r-0{number}", "job-uid", number, NOW, NOW + HOUR, pod=pod)


def status_of(plan: Plan) -> dict[str, Any]:
    """The status that it writes."""
    assert plan.status is not None
    return dict(plan.status)


def test_it_looks_first_and_is_told_of_no_plan() -> None:
    task = told(decide_erasure(request(), NOW))
    assert (task.mode, task.approved, task.uid, task.system) == (LifecycleMode.DRY_RUN, None, UID, "7")


def test_what_was_found_is_shown_and_waited_for() -> None:
    plan = decide_erasure(request(job=reported(found())), NOW)
    status = status_of(plan)
    assert (status["phase"], status["subject"], status["plan"]["hash"]) == ("AwaitingApproval", SUBJECT, HASH)
    assert status["plan"]["until"] == "2026-03-08T04:00:00Z"
    assert plan.wake_at == NOW


def test_a_plan_with_a_rule_that_may_not_run_is_refused_and_shown() -> None:
    many = facts(rows=500, eligible=11)
    result = found(facts=many, plan_hash=erasure_hash(order(), many, SUBJECT, UID))
    status = status_of(decide_erasure(request(job=reported(result)), NOW))
    assert (status["phase"], status["failure"]["reason"]) == ("Refused", "RulesRefused")
    assert "more than maxRows (10)" in status["failure"]["message"]
    assert status["plan"]["rules"][0]["refusals"] != []


def test_consent_is_written_down_and_then_exactly_that_plan_is_started() -> None:
    assert decide_erasure(request(WAITS), NOW).wake_at == NOW + 7 * DAY
    written = decide_erasure(request(WAITS, consent=CONSENT), NOW)
    status = status_of(written)
    assert (status["approved"], status["approval"], written.before) == (HASH, "appr", ())
    plan = decide_erasure(request(status, consent=CONSENT), NOW)
    task = told(plan)
    assert (task.mode, task.approved) == (LifecycleMode.ENFORCE, HASH)
    (job,) = plan.before
    assert isinstance(job, StartJob)
    assert (job.request.attempt, job.request.not_after) == (2, CONSENT.not_after)


@pytest.mark.parametrize(
    ("status", "more", "at", "reason"),
    [
        (WAITS, {}, NOW + 7 * DAY, "NotApproved"),
        ({**WAITS, "approved": HASH, "approval": "appr"}, {}, NOW, "NotApproved"),
        (WAITS, {"doomed": Doomed("BlockedByHold", "held")}, NOW, "BlockedByHold"),
    ],
)
def test_without_consent_in_time_or_under_a_hold_nothing_is_done(
    status: dict[str, Any], more: dict[str, Any], at: datetime, reason: str
) -> None:
    plan = decide_erasure(request(status, **more), at)
    assert plan.before == ()
    assert (status_of(plan)["phase"], status_of(plan)["failure"]["reason"]) == ("Refused", reason)


def test_a_job_that_was_started_and_not_written_down_is_gone_on_with() -> None:
    """The operator died in between: no second one is started beside it."""
    status = {**WAITS, "approved": HASH, "approval": "appr"}
    job = JobSeen("r-02", "job-uid", 2, NOW, NOW + HOUR)
    plan = decide_erasure(request(status, job=job, consent=CONSENT), NOW)
    assert plan.before == ()
    assert [one["number"] for one in status_of(plan)["attempts"]] == [1, 2]


def test_the_end_says_what_went_where_the_receipt_is_and_what_is_left_in_backups() -> None:
    kept = (Kept("one", NOW - DAY, NOW + DAY),)
    job = reported(erased(), number=2)
    status = status_of(decide_erasure(request(ERASES, job=job, consent=CONSENT, kept=kept), NOW))
    assert (status["phase"], status["processed"], status["verifiedTime"]) == ("Succeeded", 8, "2026-03-01T04:00:00Z")
    assert status["receipt"] == {"uri": "s3://b/r", "sha256": "00"}
    assert (status["remains"]["backups"], status["remains"]["clearedAfter"]) == (1, "Unknown")
    assert "no BackupStorage was looked through yet" in status["remains"]["lasting"][0]


def test_where_nobody_has_looked_at_the_backups_it_is_not_said_that_none_holds_the_person() -> None:
    job = reported(erased(), number=2)
    plan = decide_erasure(request(ERASES, job=job, consent=CONSENT), NOW)
    assert status_of(plan)["remains"]["clearedAfter"] == "Unknown"
    assert "looked up next" in str(plan.after)
    none_left = decide_erasure(request(ERASES, job=job, consent=CONSENT, kept=()), NOW)
    assert status_of(none_left)["remains"]["clearedAfter"] == "Unknown"


def test_rows_that_are_left_are_no_success_whatever_the_job_says() -> None:
    job = reported(erased(verified_at=None, receipt=None, receipt_sha256=None), number=2)
    assert status_of(decide_erasure(request(ERASES, job=job, consent=CONSENT), NOW))["phase"] == "Failed"


@pytest.mark.parametrize(
    ("result", "phase", "reason"),
    [
        (found(uid="another"), "Refused", "NameTaken"),
        (found(plan_hash="0" * 32), "Failed", "BadRequest"),
    ],
)
def test_a_result_of_another_request_or_another_release_is_not_believed(
    result: ErasureResult, phase: str, reason: str
) -> None:
    status = status_of(decide_erasure(request(job=reported(result)), NOW))
    assert (status["phase"], status["failure"]["reason"]) == (phase, reason)


def test_a_lost_look_erased_nobody_and_a_lost_erasure_is_looked_for_by_its_receipt() -> None:
    lost = {**LOOKED, "reason": "JobLost", "certain": False}
    status = status_of(decide_erasure(request({"phase": "Running", "attempts": [lost]}), NOW))
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "NoResult")
    second = {**lost, "number": 2, "job": "r-02"}
    plan = decide_erasure(request({**ERASES, "attempts": [LOOKED, second]}, consent=CONSENT), NOW)
    (job,) = plan.before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, RecoverTask)
    assert job.request.job.durable == "erasure"
    assert {one.use for one in job.request.secrets} == {"storage"}


def test_a_request_that_came_back_without_its_status_erases_nobody() -> None:
    """The cluster was restored from a backup of itself: the receipt is looked for, and nothing is started."""
    plan = decide_erasure(request(too_old="its notAfter is over"), NOW)
    (job,) = plan.before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, RecoverTask)
