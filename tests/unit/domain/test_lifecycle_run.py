"""A lifecycle's run: told which plan it carries out and until when, and every ending has a verdict of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import RecoverTask
from databosun.api.lifecycle import (
    ActionType,
    BatchOrder,
    LifecycleMode,
    LifecycleOrder,
    LimitsOrder,
    RuleCounts,
    RuleFacts,
    RuleOrder,
    TableFact,
    ThrottleOrder,
)
from databosun.api.lifecycleresult import LifecycleResult, RuleFailure, RuleOutcome, RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.result import Outcome, Result
from databosun.api.targets import DatabaseTarget, SecretUse, StorageTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunSpec, LifecycleRunStatus
from databosun.domain.attempt import JobSeen, Limits, PodSeen
from databosun.domain.consent import Consent
from databosun.domain.lifecycle import make_plan
from databosun.domain.lifecyclerun import (
    LIFECYCLE_RUN,
    LifecycleJobOrder,
    LifecycleRunFacts,
    decide_lifecycle_run,
)
from databosun.domain.plan import StartJob
from databosun.domain.requests import Named
from databosun.domain.run import RunFacts, Tried
from databosun.domain.running import RunState, stage, tried

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LIMITS = Limits(retries=1, deadline=2 * HOUR, start_deadline=timedelta(minutes=30))
RULE = RuleOrder(
    name="old",
    table="orders",
    action=ActionType.DELETE,
    where="a",
    limits=LimitsOrder(max_rows_per_run=5, max_percent=9),
)
RULES = LifecycleOrder(database_uid="db-uid", storage="prod", rules=[RULE])
FACTS = [
    RuleFacts(
        rule="old",
        tables=[TableFact(name="public.orders", kind="Table", primary_key=["id"])],
        counts=RuleCounts(rows=100, eligible=7),
    )
]
PLAN = make_plan(RULES, FACTS)
ORDER = LifecycleJobOrder(
    policy="old-orders",
    policy_uid="policy-uid",
    order=RULES,
    database=DatabaseTarget(
        namespace="shop", name="orders", uid="db-uid", engine=EngineName.POSTGRESQL, hosts=["db"], port=5432
    ),
    storage=StorageTarget(namespace="shop", name="prod", cluster_id="c"),
    secrets=tuple(SecretUse(use=use, secret="s", keys={}) for use in ("database", "storage", "hash")),
    image="runner:18",
    at=NOW,
    batch=BatchOrder(),
    throttle=ThrottleOrder(),
    time_budget=30 * MINUTE,
)
CONSENT = Consent("appr", PLAN.hash, NOW + 12 * HOUR)
CHOSEN = {"phase": "Pending", "approved": PLAN.hash, "approval": "appr", "at": NOW}


def facts(
    mode: LifecycleMode = LifecycleMode.ENFORCE,
    status: dict[str, Any] | None = None,
    order: LifecycleJobOrder = ORDER,
    **run: Any,
) -> LifecycleRunFacts:
    known = LifecycleRunStatus.model_validate(status or {})
    base = RunFacts(created=NOW, stage=stage(known), limits=LIMITS, tried=tried(known))
    state = RunState(LIFECYCLE_RUN, Named("shop", "run", "run-uid"), 1, known, replace(base, **run))
    spec = LifecycleRunSpec.model_validate(
        {"policyRef": {"name": "old-orders"}, "mode": mode, "scheduledFor": NOW.isoformat()}
    )
    return LifecycleRunFacts(state, spec, known, order, CONSENT if mode is LifecycleMode.ENFORCE else None)


def started(found: LifecycleRunFacts, now: datetime = NOW) -> tuple[StartJob, LifecycleTask]:
    (job,) = decide_lifecycle_run(found, now).before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, LifecycleTask)
    return job, job.request.job


def outcome(name: str, state: RuleState, **more: Any) -> RuleOutcome:
    failure = RuleFailure(reason="Word", message="words") if state in (RuleState.REFUSED, RuleState.FAILED) else None
    return RuleOutcome(name=name, action=ActionType.DELETE, state=state, failure=failure, **more)


def result(mode: LifecycleMode, *outcomes: RuleOutcome, plan_hash: str = PLAN.hash) -> LifecycleResult:
    return LifecycleResult(
        id="run",
        mode=mode,
        at=NOW,
        engine_version="18.1",
        order=RULES,
        plan_hash=plan_hash,
        facts=FACTS,
        outcomes=list(outcomes),
        completed_at=NOW,
        audit="s3://b/audit" if outcomes else None,
        audit_sha256="00" if outcomes else None,
    )


def reported(found: LifecycleResult, said: Outcome = Outcome.SUCCEEDED, reason: str = "Word") -> JobSeen:
    whole = Result(outcome=said, reason=reason, message="words", lifecycle=found)
    pod = PodSeen(
        "pod", "pod-uid", NOW, started=True, terminated=True, ended=NOW, outcome=said, reason=reason, message="words",
        result=whole, result_expected=True,
    )  # fmt: skip
    return JobSeen("run-01", "job-uid", 1, NOW, NOW + HOUR, pod=pod)


def verdict(job: JobSeen, mode: LifecycleMode = LifecycleMode.ENFORCE) -> dict[str, Any]:
    status = CHOSEN if mode is LifecycleMode.ENFORCE else {}
    plan = decide_lifecycle_run(facts(mode, status, job=job), NOW)
    assert plan.status is not None
    return dict(plan.status)


def test_the_plan_that_is_carried_out_is_written_down_before_anything_starts() -> None:
    plan = decide_lifecycle_run(facts(), NOW)
    assert plan.before == ()
    assert plan.status is not None
    assert (plan.status["approved"], plan.status["approval"]) == (PLAN.hash, "appr")
    assert plan.wake_at == NOW


def test_an_enforced_run_is_told_its_plan_and_stops_with_budget_window_deadline_or_consent() -> None:
    job, task = started(facts(status=CHOSEN))
    assert (task.approved, task.mode, task.at) == (PLAN.hash, LifecycleMode.ENFORCE, NOW)
    assert task.stop_at == NOW + 30 * MINUTE
    assert job.request.not_after == CONSENT.not_after
    _, task = started(facts(status=CHOSEN, order=replace(ORDER, closes=NOW + 5 * MINUTE)))
    assert task.stop_at == NOW + 5 * MINUTE
    _, task = started(facts(status=CHOSEN, order=replace(ORDER, time_budget=9 * HOUR)))
    assert task.stop_at == NOW + LIMITS.deadline - MINUTE
    _, task = started(replace(facts(status=CHOSEN), consent=Consent("appr", PLAN.hash, NOW + 3 * MINUTE)))
    assert task.stop_at == NOW + 3 * MINUTE


def test_a_further_attempt_reckons_from_the_same_instant_and_has_no_new_budget() -> None:
    attempt = {"number": 1, "job": "run-01", "startedAt": NOW, "deadline": NOW + HOUR, "endedAt": NOW + MINUTE,
               "reason": "ConnectionLost", "retryable": True, "certain": True}  # fmt: skip
    status = {**CHOSEN, "phase": "Running", "startTime": NOW, "attempts": [attempt]}
    _, task = started(facts(status=status, order=replace(ORDER, at=NOW)), NOW + 20 * MINUTE)
    assert (task.at, task.stop_at) == (NOW, NOW + 30 * MINUTE)


def test_a_dry_run_is_told_of_no_plan() -> None:
    job, task = started(facts(LifecycleMode.DRY_RUN))
    assert (task.approved, task.stop_at, task.previous, job.request.not_after) == (None, None, None, None)


def test_a_dry_run_shows_what_it_found_and_succeeds_even_where_a_rule_may_not_run() -> None:
    status = verdict(reported(result(LifecycleMode.DRY_RUN)), LifecycleMode.DRY_RUN)
    assert status["phase"] == "Succeeded"
    assert status["plan"]["hash"] == PLAN.hash
    (rule,) = status["plan"]["rules"]
    assert (rule["eligible"], rule["refusals"]) == (7, [])


@pytest.mark.parametrize(
    ("states", "phase", "reason"),
    [
        ([RuleState.COMPLETED, RuleState.LIMITED], "Succeeded", None),
        ([RuleState.COMPLETED, RuleState.REFUSED], "Succeeded", None),
        ([RuleState.REFUSED, RuleState.REFUSED], "Refused", "RulesRefused"),
        ([RuleState.COMPLETED, RuleState.FAILED], "Failed", "RulesFailed"),
    ],
)
def test_what_the_rules_came_to_is_the_verdict_whoever_reports_it(
    states: list[RuleState], phase: str, reason: str | None
) -> None:
    outcomes = [outcome(f"r{number}", state, deleted=3) for number, state in enumerate(states)]
    # The record that is read back says Succeeded of the reading.
    for said in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REFUSED):
        status = verdict(reported(result(LifecycleMode.ENFORCE, *outcomes), said))
        assert status["phase"] == phase
        assert status.get("failure", {}).get("reason") == reason
        assert status["processed"] == 3 * len(states)
        assert status["audit"]["run"] == "run"


def test_a_plan_that_changed_is_refused_and_the_new_one_is_shown() -> None:
    found = result(LifecycleMode.ENFORCE)
    status = verdict(reported(found, Outcome.REFUSED, "PlanChanged"))
    assert (status["phase"], status["failure"]["reason"]) == ("Refused", "PlanChanged")
    assert status["plan"]["hash"] == PLAN.hash


def test_a_hash_that_the_operator_does_not_come_to_is_of_another_release() -> None:
    status = verdict(reported(result(LifecycleMode.DRY_RUN, plan_hash="0" * 32)), LifecycleMode.DRY_RUN)
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "BadRequest")
    assert "plan" not in status


def test_the_record_of_an_earlier_run_of_that_name_is_not_this_ones() -> None:
    found = result(LifecycleMode.ENFORCE, outcome("old", RuleState.COMPLETED, deleted=9))
    status = verdict(reported(found.model_copy(update={"at": NOW - HOUR}), reason="AlreadyDone"))
    assert (status["phase"], status["failure"]["reason"]) == ("Refused", "NameTaken")
    assert "processed" not in status


def test_only_an_enforced_run_leaves_a_record_to_look_for() -> None:
    lost = (Tried(1, "run-01", NOW, NOW + HOUR, ended=NOW, reason="NoResult", message="no word"),)
    found = decide_lifecycle_run(facts(status=CHOSEN, tried=lost), NOW)
    (job,) = found.before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, RecoverTask)
    assert (job.request.job.durable, [use.use for use in job.request.secrets]) == ("lifecycle", ["storage"])
    dry = decide_lifecycle_run(facts(LifecycleMode.DRY_RUN, tried=lost), NOW)
    assert dry.before == ()
    assert dry.status is not None
    assert (dry.status["phase"], dry.status["failure"]["reason"]) == ("Failed", "NoResult")
