"""What a reconcile reads becomes metrics: each verdict is counted once, and every metric has somebody who feeds it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from databosun.controllers.observing import Observer
from databosun.runtime.metrics import Metrics
from databosun.runtime.queue import Key

PACKAGE = Path(__file__).resolve().parents[3] / "operator" / "databosun"
RUN = Key("Backup", "shop", "orders-1")
DATABASE = {"metadata": {"name": "orders", "namespace": "shop"}, "spec": {"engine": "PostgreSQL", "tier": 3}}


def backup(phase: str, *, uid: str = "one", labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    times = {"startTime": "2026-03-01T02:00:00Z", "completionTime": "2026-03-01T02:01:05Z"}
    return {
        "metadata": {"name": "orders-1", "namespace": "shop", "uid": uid, "labels": labels or {}},
        "spec": {"databaseRef": {"name": "orders"}},
        "status": {"phase": phase, "type": "Full", "method": "Physical", **times, **status},
    }


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def observer(metrics: Metrics) -> Observer:
    found = Observer(metrics)
    found.observe("Database", Key("Database", "shop", "orders"), DATABASE)
    return found


def runs(metrics: Metrics, outcome: str, reason: str) -> float | None:
    return metrics.registry.get_sample_value(
        "databosun_runs_total", {"kind": "Backup", "outcome": outcome, "reason": reason}
    )


def test_a_verdict_is_counted_once_however_often_it_is_read(metrics: Metrics, observer: Observer) -> None:
    for phase in ("Pending", "Running", "Succeeded", "Succeeded"):
        observer.observe("Backup", RUN, backup(phase))
    observer.observe("Backup", RUN, backup("Succeeded", labels={"databosun.io/finished": "Succeeded"}))
    assert runs(metrics, "Succeeded", "Succeeded") == 1
    full = {"engine": "PostgreSQL", "type": "Full", "method": "Physical"}
    assert metrics.registry.get_sample_value("databosun_backup_duration_seconds_sum", full) == 65


def test_a_failure_is_counted_with_its_reason_and_takes_no_time(metrics: Metrics, observer: Observer) -> None:
    observer.observe("Backup", RUN, backup("Failed", failure={"reason": "WrongPassword", "message": "no"}))
    assert runs(metrics, "Failed", "WrongPassword") == 1
    full = {"engine": "PostgreSQL", "type": "Full", "method": "Physical"}
    assert metrics.registry.get_sample_value("databosun_backup_duration_seconds_count", full) is None


def test_an_object_of_the_same_name_is_another_run(metrics: Metrics, observer: Observer) -> None:
    observer.observe("Backup", RUN, backup("Succeeded"))
    observer.observe("Backup", RUN, {})
    observer.observe("Backup", RUN, backup("Succeeded", uid="two"))
    assert runs(metrics, "Succeeded", "Succeeded") == 2


def test_a_record_that_was_finished_long_ago_is_not_counted(metrics: Metrics, observer: Observer) -> None:
    observer.observe("Backup", RUN, backup("Succeeded", labels={"databosun.io/finished": "Succeeded"}))
    assert runs(metrics, "Succeeded", "Succeeded") is None


@pytest.mark.parametrize(
    "method", [name for name, _ in inspect.getmembers(Metrics, inspect.isfunction) if not name.startswith("_")]
)
def test_every_metric_has_somebody_who_feeds_it(method: str) -> None:
    sources = (path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "metrics.py")
    assert any(re.search(rf"\.{method}\b", source) for source in sources), f"Metrics.{method} is never called"
