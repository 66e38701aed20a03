"""What /metrics says: of objects by their status, of the operator by what it did."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from databosun.runtime.families import OF_THE_OPERATOR
from databosun.runtime.metrics import MOST_REASONS, Metrics
from databosun.runtime.objectfamilies import OF_OBJECTS
from databosun.runtime.reference import reference
from databosun.runtime.series import (
    database_series,
    drill_series,
    failover_series,
    lifecycle_series,
    policy_series,
    storage_series,
)

ROOT = Path(__file__).resolve().parents[3]


def read(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples, as Prometheus would read them."""
    text = metrics.render().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, sample: str, /, **labels: str) -> float | None:
    return read(metrics).get((sample, frozenset(labels.items())))


def condition(kind: str, status: str, reason: str = "Because") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason}


DATABASE: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "orders"},
    "spec": {"engine": "PostgreSQL", "tier": 2, "environment": "Production"},
    "status": {
        "conditions": [condition("Protected", "True"), condition("Reachable", "False")],
        "engineVersion": "16.4",
        "objectives": {"tier": 2, "rpo": "15m", "rto": "1h"},
        "recovery": {"latest": "2026-03-01T00:00:00Z"},
        "lastBackup": {"name": "x", "at": "2026-03-01T00:00:00Z", "sizeBytes": 1234},
        "policies": [
            {
                "name": "daily",
                "uid": "u",
                "lastSuccess": "2026-02-28T00:00:00.5Z",
                "consecutiveFailures": 2,
                "missedSlots": 3,
            },
            {"name": "new", "uid": "v"},
        ],
    },
}


def archived(condition_: dict[str, Any], **archiver: Any) -> dict[str, Any]:
    return DATABASE | {"status": DATABASE["status"] | {"conditions": [condition_], "archiver": archiver}}


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("True", "Archiving", 1),
        ("False", "ArchiveStalled", 0),
        ("Unknown", "ArchiverStarting", None),
        ("False", "OneDatabaseOnly", None),
    ],
)
def test_a_log_that_is_not_shipped_is_told_from_one_that_nobody_can_ship(
    metrics: Metrics, status: str, reason: str, expected: float | None
) -> None:
    body = archived(condition("ContinuousHealthy", status, reason), gaps=2)
    metrics.objects.put("Database", "shop", "orders", database_series(body))
    one = {"namespace": "shop", "database": "orders"}
    assert value(metrics, "databosun_database_continuous_healthy", **one) == expected
    assert value(metrics, "databosun_database_log_gaps", **one) == 2


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_a_database_with_all_that_its_status_says(metrics: Metrics) -> None:
    metrics.objects.put("Database", "shop", "orders", database_series(DATABASE))
    one = {"namespace": "shop", "database": "orders"}
    expected = {
        "databosun_database_protected": 1,
        "databosun_database_reachable": 0,
        "databosun_database_recovery_point_timestamp_seconds": 1772323200,
        "databosun_database_rpo_objective_seconds": 900,
        "databosun_database_rto_objective_seconds": 3600,
        "databosun_backup_size_bytes": 1234,
    }
    assert {name: value(metrics, name, **one) for name in expected} == expected
    info = {"engine": "PostgreSQL", "version": "16.4", "tier": "2", "environment": "Production"}
    assert value(metrics, "databosun_database_info", **one, **info) == 1
    daily = one | {"policy": "daily"}
    assert value(metrics, "databosun_backup_last_success_timestamp_seconds", **daily) == 1772236800.5
    assert value(metrics, "databosun_backup_consecutive_failures", **daily) == 2
    assert value(metrics, "databosun_backup_missed_slots_total", **daily) == 3
    assert value(metrics, "databosun_backup_last_success_timestamp_seconds", **one, policy="new") == 0


def test_a_database_without_status_is_unprotected_and_never_a_gap_in_the_graph(metrics: Metrics) -> None:
    metrics.objects.put("Database", "shop", "orders", database_series({**DATABASE, "status": {}}))
    one = {"namespace": "shop", "database": "orders"}
    assert value(metrics, "databosun_database_protected", **one) == 0
    assert value(metrics, "databosun_database_recovery_point_timestamp_seconds", **one) == 0
    assert value(metrics, "databosun_database_reachable", **one) is None


def test_a_policy(metrics: Metrics) -> None:
    body = {
        "metadata": {"namespace": "shop", "name": "daily"},
        "status": {
            "conditions": [condition("RetentionHealthy", "False"), condition("Stalled", "True", "BreakerTripped")],
            "backups": {"total": 9, "proven": 4, "held": 1, "bytes": 77},
            "pendingDeletions": {"count": 3},
        },
    }
    metrics.objects.put("BackupPolicy", "shop", "daily", policy_series(body, timedelta(days=1)))
    one = {"namespace": "shop", "policy": "daily"}
    expected = {
        "databosun_backup_expected_interval_seconds": 86400,
        "databosun_retention_blocked": 1,
        "databosun_policy_backups": 9,
        "databosun_policy_backups_proven": 4,
        "databosun_policy_backups_held": 1,
        "databosun_policy_stored_bytes": 77,
        "databosun_policy_pending_deletions": 3,
    }
    assert {name: value(metrics, name, **one) for name in expected} == expected
    stalled = {"kind": "BackupPolicy", "namespace": "shop", "name": "daily", "reason": "BreakerTripped"}
    assert value(metrics, "databosun_object_stalled", **stalled) == 1
    metrics.objects.put("BackupPolicy", "shop", "daily", policy_series({**body, "status": {}}, None))
    assert value(metrics, "databosun_backup_expected_interval_seconds", **one) is None
    assert value(metrics, "databosun_object_stalled", **stalled) is None


def test_a_storage(metrics: Metrics) -> None:
    body = {
        "metadata": {"namespace": "shop", "name": "s3"},
        "status": {"conditions": [condition("Reachable", "True")], "lastValidatedTime": "2026-03-01T00:00:00Z"},
    }
    metrics.objects.put("BackupStorage", "shop", "s3", storage_series(body))
    one = {"namespace": "shop", "storage": "s3"}
    assert value(metrics, "databosun_storage_reachable", **one) == 1
    assert value(metrics, "databosun_storage_last_validated_timestamp_seconds", **one) == 1772323200


PROVEN: dict[str, Any] = {
    **DATABASE,
    "status": {
        "conditions": [condition("Proven", "True", "DrillPassed")],
        "drills": [{"name": "weekly", "uid": "u"}],
        "lastProven": {"run": "r", "at": "2026-03-01T00:00:00Z", "rtoSeconds": 552},
        "estimate": {"restoreNowSeconds": 600},
    },
}


def test_what_drills_measured_is_said_of_the_database(metrics: Metrics) -> None:
    metrics.objects.put("Database", "shop", "orders", database_series(PROVEN))
    at = {"namespace": "shop", "database": "orders"}
    found = {
        name: value(metrics, f"databosun_database_{name}", **at)
        for name in ("proven", "drill_failed", "drill_overdue", "rto_seconds", "restore_estimate_seconds")
    }
    assert found == {
        "proven": 1.0,
        "drill_failed": 0.0,
        "drill_overdue": 0.0,
        "rto_seconds": 552.0,
        "restore_estimate_seconds": 600.0,
    }
    assert value(metrics, "databosun_database_last_proven_timestamp_seconds", **at) == 1772323200.0


def test_what_a_failover_test_measured_is_said_of_the_database(metrics: Metrics) -> None:
    at = {"namespace": "shop", "database": "orders"}
    names = ("failover_downtime_seconds", "failover_lost_writes")
    for last, expected in (
        ({"lastFailover": {"run": "r", "writeDowntimeMilliseconds": 2600, "lost": 0}}, [2.6, 0.0]),
        ({"lastFailover": {"run": "r"}}, [None, None]),
        ({}, [None, None]),
    ):
        metrics.objects.put("Database", "shop", "orders", database_series({**DATABASE, "status": last}))
        assert [value(metrics, f"databosun_database_{name}", **at) for name in names] == expected


@pytest.mark.parametrize(
    ("reason", "drills", "failed", "overdue"),
    [
        ("DrillFailed", 1, 1.0, 0.0),
        ("ProofTooOld", 1, 0.0, 1.0),
        ("DrillOverdue", 1, 0.0, 1.0),
        ("NeverProven", 1, 0.0, 0.0),
        ("ProofTooOld", 0, 0.0, 0.0),
    ],
)
def test_why_a_database_is_not_proven_decides_what_is_alerted_on(
    metrics: Metrics, reason: str, drills: int, failed: float, overdue: float
) -> None:
    status = {"conditions": [condition("Proven", "False", reason)], "drills": [{"name": "weekly", "uid": "u"}] * drills}
    metrics.objects.put("Database", "shop", "orders", database_series({**DATABASE, "status": status}))
    at = {"namespace": "shop", "database": "orders"}
    assert value(metrics, "databosun_database_proven", **at) == 0.0
    assert value(metrics, "databosun_database_drill_failed", **at) == failed
    assert value(metrics, "databosun_database_drill_overdue", **at) == overdue
    assert value(metrics, "databosun_database_drills", **at) == drills
    suspended = {**status, "drills": [{"name": "weekly", "uid": "u", "suspended": True}]}
    metrics.objects.put("Database", "shop", "orders", database_series({**DATABASE, "status": suspended}))
    assert value(metrics, "databosun_database_drills", **at) == 0.0
    assert value(metrics, "databosun_database_rto_seconds", **at) is None


def test_a_drills_runs_are_counted_by_verdict(metrics: Metrics) -> None:
    status = {"databases": {"matched": 3, "proven": 1, "failing": 2}, "runs": {"passed": 1, "failed": 2, "error": 0}}
    body = {"metadata": {"namespace": "shop", "name": "weekly"}, "status": status}
    metrics.objects.put("RestoreDrill", "shop", "weekly", drill_series(body))
    at = {"namespace": "shop", "drill": "weekly"}
    assert value(metrics, "databosun_drill_databases_failing", **at) == 2.0
    assert [value(metrics, "databosun_drill_runs", **at, verdict=one) for one in ("passed", "failed", "error")] == [
        1.0,
        2.0,
        0.0,
    ]


@pytest.mark.parametrize("met", [True, False, None])
def test_what_a_drill_of_many_took_is_said_of_the_drill(metrics: Metrics, met: bool | None) -> None:
    status = {
        "coverage": {"backupsTotal": 12, "backupsDrilled": 5},
        "trend": {"rtoP95Seconds": 700},
        "lastRun": {"name": "r", "rtoSeconds": 552, **({} if met is None else {"rtoMet": met})},
    }
    metadata = {"namespace": "shop", "name": "disaster"}
    for order in ([{"databaseSelector": {}}], None):
        body = {"metadata": metadata, "spec": {"order": order}, "status": status}
        metrics.objects.put("RestoreDrill", "shop", "disaster", drill_series(body))
        at = {"namespace": "shop", "drill": "disaster"}
        assert value(metrics, "databosun_drill_backups", **at) == 12.0
        assert value(metrics, "databosun_drill_backups_drilled", **at) == 5.0
        assert value(metrics, "databosun_drill_rto_seconds", **at) == 700.0
        assert value(metrics, "databosun_drill_joint_seconds", **at) == (552.0 if order else None)
        assert value(metrics, "databosun_drill_joint_too_slow", **at) == (float(met is False) if order else None)


@pytest.mark.parametrize(("phase", "failed"), [("Passed", 0.0), ("Refused", 0.0), ("Failed", 1.0), ("Aborted", 1.0)])
def test_a_failover_that_did_not_pass_is_told_from_one_that_moved_nothing(
    metrics: Metrics, phase: str, failed: float
) -> None:
    status = {"lastRun": {"name": "r", "phase": phase}, "runs": {"passed": 3, "refused": 1}}
    body = {"metadata": {"namespace": "shop", "name": "monthly"}, "status": status}
    metrics.objects.put("FailoverTest", "shop", "monthly", failover_series(body))
    at = {"namespace": "shop", "test": "monthly"}
    assert value(metrics, "databosun_failover_test_failed", **at) == failed
    assert value(metrics, "databosun_failover_test_last_passed_timestamp_seconds", **at) == 0.0
    assert value(metrics, "databosun_failover_test_runs", **at, verdict="passed") == 3.0


def test_series_end_with_their_object(metrics: Metrics) -> None:
    metrics.objects.put("Database", "shop", "orders", database_series(DATABASE))
    metrics.objects.drop("Database", "shop", "orders")
    metrics.objects.drop("Database", "shop", "never-there")
    assert not [name for name, labels in read(metrics) if ("database", "orders") in labels]


def test_label_values_are_escaped(metrics: Metrics) -> None:
    odd = 'a"b\\c\nd'
    body = {
        "metadata": {"namespace": "shop", "name": "x"},
        "status": {"conditions": [condition("Stalled", "True", odd)]},
    }
    metrics.objects.put("BackupStorage", "shop", "x", storage_series(body))
    assert value(metrics, "databosun_object_stalled", kind="BackupStorage", namespace="shop", name="x", reason=odd) == 1


def test_what_the_operator_did(metrics: Metrics) -> None:
    leading = False
    metrics.watch_queue(lambda: 7, lambda: 2)
    metrics.watch_leader(lambda: leading)
    metrics.run_ended("Backup", "Failed", "WrongPassword")
    metrics.backup_taken("PostgreSQL", "Full", "Physical", 65)
    metrics.reconciled("Backup", "ok", 0.2)
    metrics.panicked("Backup")
    metrics.woke(-0.2)
    metrics.api_request("create", "jobs.batch", "ok", 0.05)
    assert value(metrics, "databosun_runs_total", kind="Backup", outcome="Failed", reason="WrongPassword") == 1
    full = {"engine": "PostgreSQL", "type": "Full", "method": "Physical"}
    assert value(metrics, "databosun_backup_duration_seconds_sum", **full) == 65
    assert value(metrics, "databosun_backup_duration_seconds_bucket", **full, le="300.0") == 1
    assert value(metrics, "databosun_reconcile_total", kind="Backup", outcome="ok") == 1
    assert value(metrics, "databosun_reconcile_panics_total", kind="Backup") == 1
    assert value(metrics, "databosun_queue_depth") == 7
    assert value(metrics, "databosun_queue_running") == 2
    assert value(metrics, "databosun_queue_lateness_seconds_sum") == 0
    assert value(metrics, "databosun_api_requests_total", verb="create", resource="jobs.batch", outcome="ok") == 1
    assert value(metrics, "databosun_leader") == 0
    leading = True
    assert value(metrics, "databosun_leader") == 1
    assert value(metrics, "process_resident_memory_bytes")


def test_reasons_from_outside_cannot_fill_the_memory(metrics: Metrics) -> None:
    metrics.run_ended("Backup", "Failed", "not a reason at all")
    for number in range(MOST_REASONS + 50):
        metrics.run_ended("Backup", "Failed", f"Reason{number}")
    found = {labels for name, labels in read(metrics) if name == "databosun_runs_total"}
    assert len(found) == MOST_REASONS + 1
    assert value(metrics, "databosun_runs_total", kind="Backup", outcome="Failed", reason="Other") == 51


def test_two_operators_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.panicked("Backup")
    assert value(other, "databosun_reconcile_panics_total", kind="Backup") is None


def test_rendering_while_objects_come_and_go(metrics: Metrics) -> None:
    rows = database_series(DATABASE)
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            metrics.objects.put("Database", "shop", f"d{number % 500}", rows)
            metrics.objects.drop("Database", "shop", f"d{(number + 250) % 500}")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(30):
            assert b"databosun_build_info" in metrics.render()
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("family", [*OF_OBJECTS, *OF_THE_OPERATOR], ids=lambda family: family.name)
def test_names_follow_prometheus_rules(family: Any) -> None:
    assert re.fullmatch(r"databosun_[a-z_]+", family.name)
    assert (family.kind == "counter") == family.name.endswith("_total")
    assert (family.kind == "histogram") == bool(family.buckets)
    assert family.meaning.endswith(".")
    assert "|" not in family.meaning


def test_every_declared_family_is_served_and_nothing_else(metrics: Metrics) -> None:
    metrics.watch_leader(lambda: True)
    served = set(re.findall(r"^# TYPE (databosun_\S+)", metrics.render().decode(), re.MULTILINE))
    declared = {family.name for family in (*OF_OBJECTS, *OF_THE_OPERATOR)}
    assert served == declared


def test_the_reference_is_up_to_date() -> None:
    page = ROOT / "docs" / "reference" / "metrics.md"
    assert page.read_text() == reference(), "run: python -m databosun.runtime.reference > docs/reference/metrics.md"


def test_of_a_lifecycle_it_says_what_is_left_and_whether_anything_may_go(metrics: Metrics) -> None:
    rule = {"name": "old", "remaining": 7, "ratePerDay": 5, "inflowPerDay": 6, "processed": 40, "heldBack": 1}
    status = {
        "conditions": [condition("FallingBehind", "True"), condition("Approved", "True")],
        "rules": [rule | {"oldestEligible": "2026-01-01T00:00:00Z"}, {"name": "new"}],
        "lastEnforcedTime": "2026-03-01T00:00:00Z",
    }
    body = {"metadata": {"namespace": "shop", "name": "old"}, "spec": {"mode": "Enforce"}, "status": status}
    metrics.objects.put("LifecyclePolicy", "shop", "old", lifecycle_series(body))
    labels = {"namespace": "shop", "lifecycle": "old"}
    assert value(metrics, "databosun_lifecycle_remaining_rows", **labels, rule="old") == 7
    assert value(metrics, "databosun_lifecycle_processed_rows_total", **labels, rule="old") == 40
    assert value(metrics, "databosun_lifecycle_rate_rows_per_day", **labels, rule="new") is None
    assert value(metrics, "databosun_lifecycle_falling_behind", **labels) == 1
    assert value(metrics, "databosun_lifecycle_approved", **labels) == 1
    assert value(metrics, "databosun_lifecycle_last_enforced_timestamp_seconds", **labels) == 1772323200
    metrics.objects.put("LifecyclePolicy", "shop", "old", lifecycle_series(body | {"spec": {}}))
    assert value(metrics, "databosun_lifecycle_approved", **labels) is None
