"""A policy with its preset filled in, and what is wrong with a bad one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, BackupType
from databosun.api.v1alpha1.database import EngineName
from databosun.domain import presets
from databosun.domain.capabilities import Capabilities
from databosun.domain.errors import UserFault
from databosun.domain.presets import EffectivePolicy, effective
from databosun.domain.retention import RetentionRules

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FULL_AT_TWO = {"name": "full", "type": "Full", "cron": "0 2 * * *"}


def spec(**fields: Any) -> BackupPolicySpec:
    """A policy for one database; its own words as in YAML."""
    return BackupPolicySpec.model_validate({"databaseRef": {"name": "orders"}, "storageRef": {"name": "s3"}, **fields})


def read(**fields: Any) -> EffectivePolicy:
    return effective(spec(**fields), EngineName.POSTGRESQL)


def timetable(policy: EffectivePolicy) -> dict[BackupType, str]:
    return {row.type: row.cron for row in policy.schedules}


@pytest.mark.parametrize(
    ("preset", "full", "incremental", "kept"),
    [
        ("Critical", "0 2 * * *", "0 * * * *", RetentionRules(daily=30, monthly=84)),
        ("Production", "0 2 * * *", "0 * * * *", RetentionRules(daily=14, monthly=12)),
        ("Development", "0 2 * * 0", "0 2 * * *", RetentionRules(weekly=4)),
    ],
)
def test_a_preset_fills_what_is_not_said(preset: str, full: str, incremental: str, kept: RetentionRules) -> None:
    policy = read(preset=preset)
    assert timetable(policy) == {BackupType.FULL: full, BackupType.INCREMENTAL: incremental}
    assert policy.retention == kept
    assert {row.max_chain for row in policy.schedules} == {8}


def test_what_is_said_goes_before_the_preset() -> None:
    policy = read(preset="Critical", schedules=[FULL_AT_TWO], timeZone="Europe/Berlin")
    assert timetable(policy) == {BackupType.FULL: "0 2 * * *"}
    assert policy.zone == "Europe/Berlin"


def test_retention_is_filled_rule_by_rule_and_zero_takes_one_away() -> None:
    policy = read(preset="Critical", retention={"daily": 7, "recoveryWindow": "30d"})
    assert policy.retention == RetentionRules(daily=7, monthly=84, recovery_window=30 * DAY)
    assert read(preset="Critical", retention={"monthly": 0}).retention == RetentionRules(daily=30)


def test_without_preset_and_retention_everything_is_kept() -> None:
    assert not read(schedules=[FULL_AT_TWO]).retention.limit_anything


def test_spans_are_read() -> None:
    policy = read(
        schedules=[FULL_AT_TWO], jitter="5m", startingDeadline="2h", startDeadline="10m", deadline="1d", retries=0
    )
    assert (policy.jitter, policy.starting_deadline) == (timedelta(minutes=5), 2 * HOUR)
    assert (policy.start_deadline, policy.deadline) == (timedelta(minutes=10), DAY)
    assert policy.retries == 0


def test_a_pod_may_not_wait_longer_than_its_run_may_take() -> None:
    assert read(schedules=[FULL_AT_TWO], deadline="10m").start_deadline == timedelta(minutes=10)


def test_a_log_that_is_not_shipped_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "CAPABILITIES", {EngineName.MYSQL: Capabilities(3306)})
    policy = effective(spec(preset="Critical"), EngineName.MYSQL)
    assert policy.continuous is None
    (note,) = policy.notes
    assert note.startswith("ContinuousUnsupported: ")
    assert "MySQL" in note
    assert "continuous" not in policy.document()
    assert effective(spec(preset="Critical"), None).notes


@pytest.mark.parametrize(("preset", "lag"), [("Critical", "1m"), ("Production", "15m")])
def test_a_preset_ships_the_log_where_the_engine_can(preset: str, lag: str) -> None:
    policy = read(preset=preset)
    assert policy.document()["continuous"]["maxLag"] == lag
    assert policy.notes == ()


def test_a_log_that_is_switched_off_is_not_missed() -> None:
    assert read(preset="Critical", continuous={"enabled": False}).notes == ()
    assert read(preset="Development").notes == ()


def test_the_document_speaks_as_the_spec_does() -> None:
    assert read(preset="Production", retention={"keepForever": "Yearly", "recoveryWindow": "36h"}).document() == {
        "preset": "Production",
        "method": "Auto",
        "timeZone": "UTC",
        "schedules": [
            {"name": "full", "type": "Full", "cron": "0 2 * * *", "maxChain": 8},
            {"name": "incremental", "type": "Incremental", "cron": "0 * * * *", "maxChain": 8},
        ],
        "continuous": {
            "enabled": True,
            "maxLag": "15m",
            "maxRetained": "10737418240",
            "allowUnboundedSlot": False,
            "synchronous": False,
        },
        "retention": {
            "daily": 14,
            "monthly": 12,
            "recoveryWindow": "1d12h",
            "keepForever": "Yearly",
            "grace": "1d",
        },
        "jitter": "0s",
        "startingDeadline": "1h",
        "startDeadline": "30m",
        "deadline": "6h",
        "retries": 2,
    }


def test_equal_policies_share_one_object() -> None:
    """Ten thousand of them are held in memory."""
    one, other = (read(preset="Critical", jitter="7m", storageRef={"name": name}) for name in ("a", "b"))
    assert one is other


@pytest.mark.parametrize(
    ("fields", "path", "found"),
    [
        ({"timeZone": "Europe/Berlim"}, "spec.timeZone", "'Europe/Berlim'"),
        (
            {"schedules": [FULL_AT_TWO, {"name": "b", "type": "Incremental", "cron": "0 25 * * *"}]},
            "spec.schedules[1].cron",
            "'0 25 * * *'",
        ),
        ({"schedules": [FULL_AT_TWO, FULL_AT_TWO]}, "spec.schedules[1].name", "'full'"),
        ({"jitter": "1h"}, "spec.jitter", "1h"),
        ({"jitter": "2h", "startingDeadline": "90m"}, "spec.jitter", "2h"),
        ({"startingDeadline": "400d"}, "spec.startingDeadline", "400d"),
        ({"startDeadline": "999y"}, "spec.startDeadline", "999y"),
        ({"deadline": "2y"}, "spec.deadline", "2y"),
        ({"retention": {"grace": "500d"}}, "spec.retention.grace", "500d"),
        ({"retention": {"recoveryWindow": "101y"}}, "spec.retention.recoveryWindow", "101y"),
        ({"continuous": {"maxLag": "2y"}}, "spec.continuous.maxLag", "2y"),
        ({"continuous": {"maxRetained": "0"}}, "spec.continuous.maxRetained", "0"),
    ],
)
def test_a_value_that_cannot_be_names_its_field(fields: dict[str, Any], path: str, found: str) -> None:
    with pytest.raises(UserFault) as fault:
        read(**{"preset": "Critical", **fields})
    assert fault.value.reason == "InvalidSpec"
    assert fault.value.message.startswith(path)
    assert found in fault.value.message
    assert "expected" in fault.value.message or "longer than any duration" in fault.value.message


@pytest.mark.parametrize("field", ["startingDeadline", "startDeadline", "deadline"])
def test_a_span_of_nothing_names_its_field(field: str) -> None:
    """The schema refuses these too; a cluster may hold objects that an older schema let in."""
    old = spec(preset="Critical").model_copy(
        update={{"startingDeadline": "starting_deadline", "startDeadline": "start_deadline"}.get(field, field): "0s"}
    )
    with pytest.raises(UserFault, match=rf"spec\.{field} is 0s; expected a duration from 1s"):
        effective(old, None)
