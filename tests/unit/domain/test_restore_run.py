"""A restore's run: what an earlier restore of its name left in storage is not its own success."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.drill import RecoveryPoint
from databosun.api.result import Outcome, RestoreResult, Result
from databosun.api.v1alpha1.proving import ChosenBackup
from databosun.api.v1alpha1.restore import RestoreSpec, RestoreStatus
from databosun.domain.requests import Named
from databosun.domain.restorerun import RESTORE_RUN, RestoreFacts, decide_restore
from databosun.domain.run import JobSeen, Limits, PodSeen, RunFacts, Stage
from databosun.domain.running import RunState

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
