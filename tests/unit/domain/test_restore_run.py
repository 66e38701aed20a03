"""A restore's run: what an earlier restore of its name left in storage is not its own success."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.restoretasks import BridgeTask
from databosun.api.result import Outcome, PlacedResult, RestoreResult, Result
from databosun.api.targets import DatabaseTarget, StorageTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.restore import RestorePhase, RestoreSpec, RestoreStatus
from databosun.domain.attempt import JobSeen, Limits, PodSeen
from databosun.domain.plan import Plan, StartJob
from databosun.domain.requests import Named
from databosun.domain.restoreorder import RestoreOrder
from databosun.domain.restorerun import RESTORE_RUN, RestoreFacts, decide_restore, plan_hash
from databosun.domain.run import Blocked, RunFacts, Stage
from databosun.domain.running import RunState, stage, tried

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
LIMITS = Limits(retries=1, deadline=timedelta(hours=1), start_deadline=timedelta(minutes=30))
CHOSEN = ChosenBackup(name="b1", database="orders", resolved_at=NOW, checksum="abc", attempt=1)


def verdict_of(**found: Any) -> dict[str, Any]:
    values = {
        "id": "mine",
        "claim": "new",
        "backup": "b1",
        "chosen": "the newest",
        "data_directory": "data",
        "until": RecoveryPoint(),
        "engine_version": "18.1",
        "bytes": 1,
        "record": "file:///result.json",
        "record_sha256": "a" * 64,
    }
    result = Result(outcome=Outcome.SUCCEEDED, reason="AlreadyDone", restore=RestoreResult(**{**values, **found}))
    pod = PodSeen(
        "pod", "u", NOW, started=True, terminated=True, ended=NOW, outcome=Outcome.SUCCEEDED, result=result,
        reason="AlreadyDone", result_expected=True,
    )  # fmt: skip
    job = JobSeen("mine-01", "job-uid", 1, NOW, NOW + timedelta(hours=1), pod=pod)
    status = RestoreStatus.model_validate({"phase": "Pending", "candidates": [CHOSEN.dump()]})
    spec = RestoreSpec.model_validate(
        {
            "from": {"databaseRef": {"name": "orders"}},
            "target": {"volume": {"claimName": "new"}},
            "notAfter": NOW.isoformat(),
        }
    )
    facts = RunFacts(created=NOW, stage=Stage.PENDING, limits=LIMITS, job=job, recoverable=False)
    state = RunState(RESTORE_RUN, Named("shop", "mine", "uid"), 1, status, facts)
    plan = decide_restore(RestoreFacts(state, spec, status, None), NOW)
    assert plan.status is not None
    return dict(plan.status)


def test_its_own_record_is_its_success() -> None:
    assert verdict_of()["phase"] == "Succeeded"


@pytest.mark.parametrize("found", [{"claim": "old"}, {"backup": "b0"}])
def test_the_record_of_another_restore_of_its_name_is_not(found: dict[str, Any]) -> None:
    status = verdict_of(**found)
    assert (status["phase"], status["failure"]["reason"]) == ("Refused", "NameTaken")
    assert "backup" not in status


# --- what is staged


UID = "0d9b1a52-6a0f-4a53-9c33-1d5a2f4f9a11"
PLACED = [PlacedResult(database="shop", at="shop_restore_1", rows=7)]


def bridge_result(**more: Any) -> RestoreResult:
    values = {
        "id": "mine", "target": "orders", "backup": "b1", "chosen": "the newest", "placed": PLACED, "bytes": 1,
        "until": RecoveryPoint(), "engine_version": "18.1", "record": "file:///r", "record_sha256": "a" * 64,
    }  # fmt: skip
    return RestoreResult(**{**values, **more})


@dataclass
class Staging:
    """A restore with stageFirst, decision by decision. `order` stands for what the controller gathers."""

    status: RestoreStatus = field(
        default_factory=lambda: RestoreStatus.model_validate({"phase": "Pending", "candidates": [CHOSEN.dump()]})
    )
    job: JobSeen | None = None
    now: datetime = NOW
    woken: datetime | None = None
    spec: RestoreSpec = field(
        default_factory=lambda: RestoreSpec.model_validate(
            {
                "from": {"databaseRef": {"name": "orders"}},
                "target": {"databaseRef": {"name": "orders"}},
                "selection": {"databases": ["shop"]},
                "overwrite": "Replace",
                "confirm": "orders",
                "stageFirst": True,
                "stageFor": "2h",
                "notAfter": NOW.isoformat(),
            }
        )
    )

    def decide(self, *, consent: str | None = None, blocked: Blocked | None = None) -> Plan:
        limits = replace(LIMITS, retries=1 + (self.status.staged.attempt if self.status.staged else 0))
        facts = RunFacts(
            created=NOW, stage=stage(self.status), limits=limits, tried=tried(self.status), job=self.job,
            blocked=blocked, recoverable=False,
        )  # fmt: skip
        state = RunState(RESTORE_RUN, Named("shop", "mine", UID), 1, self.status, facts)
        plan = decide_restore(RestoreFacts(state, self.spec, self.status, ORDER, consent), self.now)
        if plan.status is not None:
            self.status = RestoreStatus.model_validate(plan.status)
        self.woken = plan.wake_at
        return plan

    def ends(self, number: int, result: Result) -> Plan:
        pod = PodSeen(
            "pod", "u", self.now, started=True, terminated=True, ended=self.now, outcome=result.outcome, result=result,
            reason=result.reason, message=result.message, result_expected=True, retryable=result.retryable,
        )  # fmt: skip
        self.job = JobSeen(f"mine-0{number}", "u", number, self.now, self.now + timedelta(hours=1), pod=pod)
        plan = self.decide()
        self.job = None
        return plan

    def staged(self) -> Staging:
        self.decide()
        result = Result(outcome=Outcome.SUCCEEDED, reason="Staged", restore=bridge_result(staged=True))
        self.ends(1, result)
        assert self.status.phase is RestorePhase.STAGED
        return self


def started(plan: Plan) -> BridgeTask:
    (job,) = [action for action in plan.before if isinstance(action, StartJob)]
    assert isinstance(job.request.job, BridgeTask)
    return job.request.job


ORDER = RestoreOrder(
    database=DatabaseTarget(
        namespace="shop", name="orders", uid="d", engine=EngineName.POSTGRESQL, hosts=["a"], port=1
    ),
    storage=StorageTarget(namespace="shop", name="prod", cluster_id="c"),
    secrets=(),
    image="runner:18",
    candidates=(CHOSEN,),
    until=TargetPoint(kind=PointKind.NONE),
    target=DatabaseTarget(namespace="shop", name="orders", uid="d", engine=EngineName.POSTGRESQL, hosts=["a"], port=1),
)


def test_the_first_attempt_stages_and_then_waits_for_a_bounded_time() -> None:
    run = Staging()
    task = started(run.decide())
    assert (task.mode, task.stage_first, task.uid, task.selection.databases) == ("Restore", True, UID, ["shop"])
    run.staged()
    status = run.status
    assert status.staged
    assert status.staged.until == NOW + timedelta(hours=2)
    assert "--promote mine" in next(one.message for one in status.conditions if one.type == "Ready")
    assert run.woken == run.now, "its turn is let go of by the next look, which no event need bring"
    plan = run.decide()
    assert (plan.before, plan.status, plan.wake_at) == ((), None, status.staged.until)


def test_consent_is_written_down_and_then_it_is_put_in_place() -> None:
    run = Staging().staged()
    plan = run.decide(consent="yes")
    assert plan.before == ()
    assert run.status.staged
    assert (run.status.staged.decision, run.status.staged.approval) == ("Promote", "yes")
    assert started(run.decide()).mode == "Promote"
    assert run.status.phase is RestorePhase.RUNNING
    run.ends(2, Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", restore=bridge_result()))
    assert run.status.phase is RestorePhase.SUCCEEDED


def test_without_consent_it_is_removed_when_its_time_is_over() -> None:
    run = Staging().staged()
    run.now = NOW + timedelta(hours=2)
    run.decide()
    assert started(run.decide(consent="too late")).mode == "Discard"
    run.ends(2, Result(outcome=Outcome.REFUSED, reason="NotPromoted", message="nobody consented"))
    assert (run.status.phase, run.status.failure and run.status.failure.reason) == (RestorePhase.REFUSED, "NotPromoted")


def test_a_promotion_is_tried_again_as_any_attempt_is() -> None:
    run = Staging().staged()
    run.decide(consent="yes")
    run.decide()
    run.ends(2, Result(outcome=Outcome.FAILED, reason="TargetBusy", message="sessions", retryable=True))
    assert run.status.phase is RestorePhase.RUNNING
    run.now += timedelta(minutes=5)
    assert started(run.decide()).mode == "Promote"


def test_a_promotion_waits_for_others_and_is_given_up_in_the_end() -> None:
    run = Staging().staged()
    run.decide(consent="yes")
    blocked = Blocked("Waiting", "Backup orders-1 is active on the same database")
    assert run.decide(blocked=blocked).before == ()
    assert run.status.phase is RestorePhase.STAGED
    run.now = NOW + timedelta(days=3)
    run.decide(blocked=blocked)
    assert (run.status.phase, run.status.failure and run.status.failure.reason) == (RestorePhase.FAILED, "NotPromoted")


def test_a_job_whose_start_was_not_written_down_is_not_started_twice() -> None:
    run = Staging().staged()
    run.decide(consent="yes")
    run.job = JobSeen("mine-02", "u", 2, NOW, NOW + timedelta(hours=1))
    assert run.decide().before == ()
    assert [one.number for one in run.status.attempts] == [1, 2]
    assert run.status.phase is RestorePhase.RUNNING


def test_another_plan_needs_another_consent() -> None:
    other = [PlacedResult(database="shop", at="shop_restore_1", rows=8)]
    assert plan_hash(UID, bridge_result()) != plan_hash(UID, bridge_result(placed=other))
    assert plan_hash(UID, bridge_result()) == plan_hash(UID, bridge_result(notes=["a note"]))
