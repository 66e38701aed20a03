"""Argo CD's view of our kinds: `hack/argocd/health.lua` in the Lua that Argo CD runs."""

from __future__ import annotations

from typing import Any

import lupa.lua51
import pytest

from chart.rendering import ROOT

SCRIPT = (ROOT / "hack" / "argocd" / "health.lua").read_text()
# Argo CD opens the base, table and a reduced os library only.
CLOSED = ("string", "io", "os", "debug", "package", "require", "dofile", "loadfile")


def condition(kind: str, status: str, reason: str = "Some", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def health(kind: str, *conditions: dict[str, str], **more: Any) -> tuple[str, str]:
    """Health and message of an object whose status has these conditions and has seen generation 2 of it."""
    obj = {
        "apiVersion": "databosun.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "orders", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": 2, "conditions": list(conditions)},
    } | more
    lua = lupa.lua51.LuaRuntime()
    for name in CLOSED:
        lua.globals()[name] = None
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    result = lua.execute(SCRIPT)
    return result["status"], result["message"]


READY = condition("Ready", "True", "Succeeded", "backup succeeded")


@pytest.mark.parametrize("kind", ["Database", "BackupStorage", "BackupPolicy", "Backup"])
def test_ready_is_healthy(kind: str) -> None:
    assert health(kind, READY) == ("Healthy", "backup succeeded")


def test_stalled_is_degraded_and_says_what_a_person_must_do() -> None:
    stalled = condition("Stalled", "True", "MissingSecret", "Secret orders-backup has no key password")
    assert health("Database", condition("Ready", "False"), stalled) == (
        "Degraded",
        "Secret orders-backup has no key password",
    )


def test_stalled_counts_more_than_reconciling() -> None:
    conditions = (condition("Reconciling", "True"), condition("Stalled", "True", "Conflict"))
    assert health("BackupPolicy", *conditions) == ("Degraded", "Conflict")


def test_reconciling_is_progressing_even_while_ready_is_false() -> None:
    conditions = (condition("Ready", "False"), condition("Reconciling", "True", "Unreachable", "no route to host"))
    assert health("Database", *conditions) == ("Progressing", "no route to host")


def test_a_failed_backup_is_degraded() -> None:
    conditions = (condition("Ready", "False", "ToolFailed"), condition("Stalled", "True", "ToolFailed", "exit code 1"))
    assert health("Backup", *conditions) == ("Degraded", "exit code 1")


def test_not_ready_without_another_word_is_degraded() -> None:
    assert health("BackupStorage", condition("Ready", "False", "Refused")) == ("Degraded", "Refused")


def test_an_unknown_readiness_is_progressing() -> None:
    assert health("Database", condition("Ready", "Unknown", "Probing")) == ("Progressing", "Probing")
    assert health("Database", condition("Reachable", "True"))[0] == "Progressing"


def test_a_suspended_policy_is_suspended() -> None:
    suspended = condition("Ready", "True", "Suspended", "spec.suspend is true")
    assert health("BackupPolicy", suspended) == ("Suspended", "spec.suspend is true")


def test_an_unprotected_database_does_not_stop_a_sync_but_says_so() -> None:
    unprotected = condition("Protected", "False", "NoPolicy", "no BackupPolicy covers it")
    assert health("Database", READY, unprotected) == (
        "Healthy",
        "ready, but not protected: no BackupPolicy covers it",
    )


@pytest.mark.parametrize(
    "status",
    [None, {}, {"observedGeneration": 2}, {"conditions": [READY]}, {"observedGeneration": 1, "conditions": [READY]}],
    ids=["no status", "empty status", "no conditions", "no generation", "old generation"],
)
def test_what_the_operator_has_not_seen_is_progressing(status: dict[str, Any] | None) -> None:
    assert health("Database", status=status)[0] == "Progressing"


def test_what_is_being_deleted_is_progressing() -> None:
    metadata = {"name": "orders", "generation": 2, "deletionTimestamp": "2026-03-01T00:00:00Z"}
    assert health("Backup", READY, metadata=metadata)[0] == "Progressing"


def test_an_approval_stands_once_it_is_accepted() -> None:
    assert health("Approval", spec={"approvedBy": "eve"}, status=None) == ("Healthy", "approved by eve")
