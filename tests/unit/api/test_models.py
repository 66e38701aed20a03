"""The models read what is there, older and newer than themselves, and write what the API server takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from databosun.api.result import Result
from databosun.api.v1alpha1.backup import BackupPhase, BackupSpec, BackupStatus
from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec
from databosun.api.v1alpha1.backupstorage import BackupStorageStatus
from databosun.api.v1alpha1.conditions import Condition, ConditionType
from databosun.api.v1alpha1.databasestatus import DatabaseStatus
from databosun.api.v1alpha1.dataexport import DataExportStatus
from databosun.api.v1alpha1.erasurerequest import ErasureRequestStatus
from databosun.api.v1alpha1.failovertestrun import FailoverTestRunStatus
from databosun.api.v1alpha1.inquiry import InquiryStatus
from databosun.api.v1alpha1.kinds import KINDS
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePolicyStatus
from databosun.api.v1alpha1.restore import RestoreStatus
from databosun.api.v1alpha1.restoredrillrun import RestoreDrillRunStatus

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))


def test_an_empty_status_is_a_status() -> None:
    more = {
        BackupStatus: {"attempts": []},
        DatabaseStatus: {"policies": [], "drills": []},
        RestoreDrillRunStatus: {"attempts": [], "proven": False},
        RestoreStatus: {"attempts": []},
        InquiryStatus: {"attempts": []},
        FailoverTestRunStatus: {"attempts": []},
        LifecyclePolicyStatus: {"rules": [], "counted": []},
        LifecycleRunStatus: {"attempts": []},
        ErasureRequestStatus: {"attempts": []},
        DataExportStatus: {"attempts": []},
    }
    for kind in KINDS:
        if kind.status is not None:
            assert kind.status.model_validate({}).dump() == {"conditions": []} | more.get(kind.status, {})


def test_fields_of_a_newer_version_are_passed_over() -> None:
    status = BackupStatus.model_validate(
        {"phase": "Running", "colour": "red", "size": {"logical": 1, "stored": 1, "human": "1B", "x": 2}}
    )
    assert status.phase is BackupPhase.RUNNING
    assert "colour" not in status.dump()


def test_a_time_is_written_to_the_second_in_utc() -> None:
    status = BackupStatus(start_time=NOON)
    assert status.dump()["startTime"] == "2026-03-01T11:00:00Z"


def test_what_is_read_back_equals_what_was_written() -> None:
    status = BackupStatus(start_time=NOON, expires_at=NOON)
    assert BackupStatus.model_validate(status.dump()) == status


def test_a_copy_with_a_finer_time_is_written_to_the_second_too() -> None:
    assert BackupStatus().model_copy(update={"start_time": NOON}).dump()["startTime"] == "2026-03-01T11:00:00Z"


def test_a_time_without_a_zone_is_utc() -> None:
    naive = BackupStatus.model_validate({"startTime": "2026-03-01T11:00:00"})
    assert naive.start_time == datetime(2026, 3, 1, 11, tzinfo=UTC)


def test_an_agents_times_keep_their_fractions() -> None:
    result = Result.model_validate(
        {"outcome": "Succeeded", "reason": "Succeeded", "probe": {"reachable": True, "now": NOON.isoformat()}}
    )
    assert result.probe is not None
    assert result.probe.now == NOON


def test_a_long_message_is_cut_not_refused() -> None:
    condition = Condition(type=ConditionType.READY, status="False", reason="ToolFailed", message="m" * 5000)
    assert len(condition.message) == 4096
    assert condition.message.endswith("…")


def test_a_long_log_keeps_its_end() -> None:
    status = BackupStatus.model_validate(
        {"failure": {"reason": "r", "message": "m", "logTail": "start" + "." * 20000 + "the end"}}
    )
    assert status.failure is not None
    tail = status.failure.log_tail
    assert tail is not None
    assert len(tail) == 16384
    assert tail.startswith("…")
    assert tail.endswith("the end")


def test_of_too_many_attempts_the_newest_are_kept() -> None:
    status = BackupStatus.model_validate({"attempts": [{"number": n, "job": f"j{n}"} for n in range(1, 61)]})
    assert [attempt.number for attempt in status.attempts] == list(range(11, 61))


def test_of_too_many_objects_the_first_are_kept() -> None:
    status = BackupStatus.model_validate({"objects": [{"name": f"t{n}"} for n in range(60)]})
    assert status.objects is not None
    assert [one.name for one in status.objects] == [f"t{n}" for n in range(50)]


def test_a_size_is_shown_to_people_beside_its_bytes() -> None:
    status = BackupStorageStatus.model_validate({"usage": {"objects": 3, "bytes": 1503238553}})
    assert status.usage is not None
    assert status.usage.human == "1.4GiB"
    assert BackupStorageStatus.model_validate(status.dump()) == status


def test_a_size_may_be_given_as_a_number() -> None:
    spec = BackupPolicySpec.model_validate({"storageRef": {"name": "s"}, "continuous": {"maxRetained": 1024}})
    assert spec.continuous is not None
    assert spec.continuous.max_retained == "1024"


@pytest.mark.parametrize("wrong", ["soon", "1h30", "-1h", "1m30h", "1e3s", "10000w1d"])
def test_a_duration_that_no_rule_saw_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError, match="startingDeadline"):
        BackupPolicySpec.model_validate({"storageRef": {"name": "s"}, "startingDeadline": wrong})


def test_what_was_written_cannot_be_changed_in_place() -> None:
    spec = BackupSpec.model_validate({"policyRef": {"name": "p"}})
    with pytest.raises(ValidationError, match="frozen"):
        spec.schedule = "other"  # type: ignore[misc]
