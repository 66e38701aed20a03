"""A drill's run: chosen once, told all it needs, and every ending has a verdict of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import RecoverTask
from databosun.api.drill import Level, PointKind, RecoveryPoint, Rto, Verdict
from databosun.api.restoretasks import DrillTask
from databosun.api.result import DrillResult, Outcome, Result
from databosun.api.targets import DatabaseTarget, SecretUse, StorageTarget
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.restoredrillrun import RestoreDrillRunSpec, RestoreDrillRunStatus
from databosun.domain.attempt import JobSeen, Limits, PodSeen
from databosun.domain.drillrun import DRILL_RUN, DrillOrder, DrillRunFacts, decide_drill_run, proof_of
from databosun.domain.plan import StartJob
from databosun.domain.requests import Named
from databosun.domain.run import Blocked, Doomed, RunFacts, Stage
from databosun.domain.running import RunState, stage, tried

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
LIMITS = Limits(retries=1, deadline=timedelta(hours=1), start_deadline=timedelta(minutes=30))
BACKUP = ChosenBackup(name="b1", database="orders", resolved_at=NOW, checksum="abc", attempt=2, unverified=True)
ORDER = DrillOrder(
    database=DatabaseTarget(
        namespace="shop", name="orders", uid="db-uid", engine=EngineName.POSTGRESQL, hosts=["db"], port=5432
    ),
    storage=StorageTarget(namespace="shop", name="prod", cluster_id="c"),
    secrets=(),
    image="runner:18",
    backup=BACKUP,
    until=TargetPoint(kind=PointKind.NONE),
    level=Level.DEEP,
    rto_seconds=900.0,
    scratch_bytes=5,
)
CHOSEN = {"backup": BACKUP, "phase": "Pending", "until": ORDER.until, "level": Level.DEEP}


def facts(status: RestoreDrillRunStatus | None = None, order: DrillOrder | None = ORDER, **run: Any) -> DrillRunFacts:
    known = status or RestoreDrillRunStatus()
    base = RunFacts(created=NOW, stage=stage(known), limits=LIMITS, tried=tried(known), recoverable=False)
    state = RunState(DRILL_RUN, Named("shop", "run", "run-uid"), 1, known, replace(base, **run))
    spec = RestoreDrillRunSpec.model_validate({"databaseRef": {"name": "orders"}, "scheduledFor": NOW.isoformat()})
    return DrillRunFacts(state, spec, known, order)


def ended(**pod: Any) -> JobSeen:
    seen = PodSeen("pod", "pod-uid", NOW, started=True, terminated=True, ended=NOW, **pod)
    return JobSeen("run-01", "job-uid", 1, NOW, NOW + timedelta(hours=1), pod=seen)


def reported(verdict: Verdict, outcome: Outcome, **more: Any) -> JobSeen:
    drill = DrillResult(
        id="run",
        verdict=verdict,
        reason="Word",
        message="words",
        backup="b1",
        level_asked=Level.DEEP,
        until=RecoveryPoint(),
        **more,
    )
    result = Result(outcome=outcome, reason="Word", message="words", drill=drill)
    return ended(outcome=outcome, reason="Word", message="words", result=result, result_expected=True)


def verdict_of(job: JobSeen) -> dict[str, Any]:
    plan = decide_drill_run(facts(RestoreDrillRunStatus.model_validate(CHOSEN), job=job), NOW)
    assert plan.status is not None
    return dict(plan.status)


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in status["conditions"]}


def test_the_choice_is_written_down_before_anything_starts() -> None:
    plan = decide_drill_run(facts(), NOW)
    assert plan.before == ()
    assert plan.status is not None
    assert plan.status["backup"]["name"] == "b1"
    assert plan.wake_at == NOW


def test_the_job_is_told_the_digest_that_stands_in_the_cluster_and_nothing_of_the_source() -> None:
    plan = decide_drill_run(facts(RestoreDrillRunStatus.model_validate(CHOSEN)), NOW + timedelta(seconds=3))
    (job,) = plan.before
    assert isinstance(job, StartJob)
    task = job.request.job
    assert isinstance(task, DrillTask)
    assert (task.backup.id, task.backup.attempt, task.backup.manifest_sha256) == ("b1", 2, "abc")
    assert not task.backup.verified
    assert (task.level, task.rto_seconds, task.ordered_at) == (Level.DEEP, 900.0, NOW)
    assert not [use for use in job.request.secrets if use.use.startswith("database")]
    assert job.scratch_bytes == 5


def test_what_came_between_choice_and_start_is_no_part_of_the_time_to_restore() -> None:
    waiting = [{"type": "Ready", "status": "False", "reason": "Waiting"}]
    status = RestoreDrillRunStatus.model_validate({**CHOSEN, "conditions": waiting})
    (job,) = decide_drill_run(facts(status), NOW + timedelta(hours=2)).before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, DrillTask)
    assert job.request.job.ordered_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    ("verdict", "outcome", "ready", "stalled"),
    [
        (Verdict.PASSED, Outcome.SUCCEEDED, "True", None),
        (Verdict.FAILED, Outcome.SUCCEEDED, "False", "True"),
        (Verdict.PARTIAL, Outcome.SUCCEEDED, "False", "True"),
        (Verdict.REFUSED, Outcome.REFUSED, "False", "True"),
        (Verdict.ERROR, Outcome.FAILED, "False", "True"),
    ],
)
def test_every_verdict_has_its_phase_and_only_a_passed_one_is_ready(
    verdict: Verdict, outcome: Outcome, ready: str, stalled: str | None
) -> None:
    status = verdict_of(reported(verdict, outcome))
    assert status["phase"] == verdict.value
    found = conditions(status)
    assert (found["Ready"], found.get("Stalled")) == (ready, stalled)


def test_a_partial_one_that_proves_its_backup_is_ready_and_says_what_was_found() -> None:
    status = verdict_of(reported(Verdict.PARTIAL, Outcome.SUCCEEDED, proven=True, level_reached=Level.DEEP))
    assert conditions(status)["Ready"] == "True"
    assert status["failure"]["reason"] == "Word"
    assert proof_of("run", RestoreDrillRunStatus.model_validate(status)) is not None


def test_what_was_measured_is_kept_to_the_millisecond_and_shown_in_seconds() -> None:
    rto = Rto(seconds=552.0004, objective=900.0, met=True, queue=1.0, fetch=551.0)
    shown = verdict_of(reported(Verdict.PASSED, Outcome.SUCCEEDED, rto=rto))["rto"]
    assert (shown["milliseconds"], shown["seconds"], shown["took"]) == (552000, 553, "9m12s")
    assert (shown["objective"], shown["met"], shown["breakdown"]["fetch"]) == ("15m", True, 551000)


def test_an_agent_that_ended_without_a_word_is_an_error_and_never_the_backups_fault() -> None:
    once = RestoreDrillRunStatus.model_validate(CHOSEN)
    last = replace(LIMITS, retries=0)
    plan = decide_drill_run(facts(once, job=ended(exit_code=137), limits=last), NOW)
    assert plan.status is not None
    again = RestoreDrillRunStatus.model_validate(plan.status)
    verdict = decide_drill_run(facts(again, limits=last), NOW).status
    assert verdict is not None
    assert (verdict["phase"], verdict["failure"]["reason"]) == ("Error", "NoResult")
    assert not verdict["proven"]


def test_a_drill_that_could_never_start_is_refused() -> None:
    plan = decide_drill_run(facts(order=None, doomed=Doomed("NoBackup", "there is none")), NOW)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["failure"]["reason"]) == ("Refused", "NoBackup")


def test_a_drill_that_waits_chooses_nothing_yet() -> None:
    plan = decide_drill_run(facts(blocked=Blocked("Waiting", "another run", NOW)), NOW)
    assert plan.status is not None
    assert "backup" not in plan.status


def test_a_slot_long_past_is_not_started_and_proves_nothing() -> None:
    plan = decide_drill_run(facts(too_old="long past", stage=Stage.NEW), NOW)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["proven"]) == ("Refused", False)


def test_who_reads_what_a_drill_left_gets_the_secrets_of_that_store_alone() -> None:
    uses = ("database", "cloud", "storage", "storage-ca", "signing", "age-0")
    order = replace(ORDER, secrets=tuple(SecretUse(use=use, secret="s", keys={}) for use in uses))
    seen = facts(order=order, too_old="long past", stage=Stage.NEW, recoverable=True)
    (job,) = decide_drill_run(seen, NOW).before
    assert isinstance(job, StartJob)
    assert isinstance(job.request.job, RecoverTask)
    assert [use.use for use in job.request.secrets] == ["storage", "storage-ca", "signing"]


def test_evidence_of_another_backup_proves_nothing_of_the_one_that_was_chosen() -> None:
    job = reported(Verdict.PASSED, Outcome.SUCCEEDED, proven=True, level_reached=Level.DEEP)
    chosen = RestoreDrillRunStatus.model_validate({**CHOSEN, "backup": BACKUP.model_copy(update={"name": "b2"})})
    status = decide_drill_run(facts(chosen, job=job), NOW).status
    assert status is not None
    assert (status["phase"], status["failure"]["reason"], status["proven"]) == ("Refused", "NameTaken", False)
    assert proof_of("run", RestoreDrillRunStatus.model_validate(status)) is None


def test_what_is_read_from_evidence_was_proven_when_the_drill_ended_and_not_now() -> None:
    then = NOW - timedelta(days=40)
    job = reported(Verdict.PASSED, Outcome.SUCCEEDED, proven=True, level_reached=Level.DEEP, completed_at=then)
    proof = proof_of("run", RestoreDrillRunStatus.model_validate(verdict_of(job)))
    assert proof is not None
    assert proof.at == then
