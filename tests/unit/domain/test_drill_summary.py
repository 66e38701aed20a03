"""What a RestoreDrill comes to over its databases: who is overdue, what was never drilled, how long restores take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.restoredrill import RestoreDrillStatus
from databosun.domain.drillsummary import (
    DrilledDatabase,
    DrillSummaryFacts,
    EndedDrill,
    KeptBackup,
    decide_drill,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def facts(**more: Any) -> DrillSummaryFacts:
    given = {
        "generation": 1,
        "status": RestoreDrillStatus(),
        "fault": None,
        "suspended": False,
        "databases": (),
        "runs": (),
        "run_now": None,
        **more,
    }
    return DrillSummaryFacts(**given)


def run(number: int, seconds: int | None = None, *, database: str = "db", outcome: str = "Passed", control: str = "",
        met: bool | None = None) -> EndedDrill:  # fmt: skip
    return EndedDrill(f"run-{number}", database, NOW + timedelta(hours=number), outcome, seconds, met, control)


def condition(status: dict[str, Any], kind: str) -> tuple[str, str, str] | None:
    return next(
        ((one["status"], one["reason"], one["message"]) for one in status["conditions"] if one["type"] == kind), None
    )


def test_a_database_without_a_proof_in_time_makes_the_drill_overdue() -> None:
    fine, late = DrilledDatabase("users", "u", None, True), DrilledDatabase("orders", "o", None, False, overdue=True)
    status = decide_drill(facts(databases=(fine, late)), NOW)
    found = condition(status, "Overdue")
    assert found is not None
    assert found[:2] == ("True", "DrillOverdue")
    assert "orders" in found[2]
    assert "users" not in found[2]
    assert condition(decide_drill(facts(databases=(fine,)), NOW), "Overdue") is None
    assert condition(decide_drill(facts(databases=(late,), suspended=True), NOW), "Overdue") is None


def test_the_newest_control_says_whether_drills_notice_damage() -> None:
    good, bad, other = run(1, control="Passed"), run(2, control="Failed"), run(3)
    assert condition(decide_drill(facts(runs=(other,)), NOW), "NegativeControlPassed") is None
    found = condition(decide_drill(facts(runs=(good, other)), NOW), "NegativeControlPassed")
    assert found is not None
    assert found[:2] == ("True", "ControlNoticed")
    found = condition(decide_drill(facts(runs=(good, bad, other)), NOW), "NegativeControlPassed")
    assert found is not None
    assert found[:2] == ("False", "ControlPassed")
    assert "run-2" in found[2]


def test_the_oldest_backup_that_no_drill_has_restored_is_named() -> None:
    backups = tuple(KeptBackup(f"b{n}", NOW + timedelta(days=n), proven=n in (0, 2)) for n in range(4))
    assert decide_drill(facts(backups=backups), NOW)["coverage"] == {
        "backupsTotal": 4,
        "backupsDrilled": 2,
        "oldestUndrilled": "b1",
        "oldestUndrilledTime": "2026-03-02T00:00:00Z",
    }
    assert decide_drill(facts(), NOW)["coverage"] == {"backupsTotal": 0, "backupsDrilled": 0}


@pytest.mark.parametrize(
    ("seconds", "p50", "p95"),
    [([7], 7, 7), ([1, 100], 1, 100), (list(range(1, 101)), 50, 95), ([30, 10, 20], 20, 30)],
)
def test_the_trend_names_times_that_were_really_measured(seconds: list[int], p50: int, p95: int) -> None:
    runs = [run(number, value) for number, value in enumerate(seconds)]
    trend = decide_drill(facts(runs=(*runs, run(999))), NOW)["trend"]
    assert (trend["runs"], trend["rtoP50Seconds"], trend["rtoP95Seconds"]) == (len(seconds), p50, p95)


def test_nothing_measured_has_no_trend() -> None:
    assert "trend" not in decide_drill(facts(runs=(run(1, outcome="Error"),)), NOW)


def test_of_a_drill_with_an_order_the_runs_over_all_databases_count() -> None:
    member, whole = run(1, 60), run(2, 90, database="", met=False)
    status = decide_drill(facts(runs=(member, whole, run(3, 50)), joint=True), NOW)
    assert status["runs"]["passed"] == 1
    assert status["trend"]["rtoP50Seconds"] == 90
    assert status["lastRun"] == {
        "name": "run-2",
        "phase": "Passed",
        "at": "2026-03-01T02:00:00Z",
        "rtoSeconds": 90,
        "rto": "1m30s",
        "rtoMet": False,
    }
