"""Names of runs and Jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from databosun.domain.names import (
    attempt_job_name,
    check_storage_id,
    recover_job_name,
    run_name,
    run_now_name,
    task_job_name,
)

SLOT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def test_a_run_shows_its_database_and_its_slot() -> None:
    name = run_name("orders", SLOT, "policy", "full", "database")
    assert name.startswith("orders-2603010200-")
    assert len(name) == len("orders-2603010200-") + 5


def test_a_slot_has_one_name_in_whatever_zone_it_is_told() -> None:
    berlin = SLOT.astimezone(timezone(timedelta(hours=1)))
    assert run_name("orders", berlin, "p", "full", "d") == run_name("orders", SLOT, "p", "full", "d")


def test_names_are_the_same_in_every_release() -> None:
    """A new operator must find the runs that an older one created."""
    assert run_name("orders", SLOT, "p", "full", "d") == "orders-2603010200-kek7x"
    assert run_now_name("orders", "p", "d", "full/7") == "orders-now-zewbep4d"
    assert task_job_name("probe", "orders", "3") == "probe-orders-m16d145y"


@pytest.mark.parametrize(
    "other",
    [
        run_name("orders", SLOT, "other", "full", "d"),
        run_name("orders", SLOT, "p", "other", "d"),
        run_name("orders", SLOT, "p", "full", "other"),
        run_name("orders", SLOT + timedelta(minutes=1), "p", "full", "d"),
    ],
)
def test_a_run_is_named_by_policy_schedule_database_and_slot(other: str) -> None:
    assert other != run_name("orders", SLOT, "p", "full", "d")


def test_the_longest_database_still_leaves_room_for_attempts() -> None:
    run = run_name("d" * 40, SLOT, "p", "full", "d")
    assert len(run) == 57
    assert attempt_job_name(run, 1) == f"{run}-01"
    assert len(attempt_job_name(run, 99)) == 60
    assert recover_job_name(run, 2) == f"{run}-r02"


def test_a_name_with_dots_becomes_a_label_of_its_own() -> None:
    """Object names may have dots, and pods' host names may not."""
    dotted, dashed = attempt_job_name("orders.v2", 1), attempt_job_name("orders-v2", 1)
    assert dashed == "orders-v2-01"
    assert dotted.startswith("orders-v2-")
    assert dotted != dashed


def test_tasks_of_one_owner_differ_by_token() -> None:
    assert task_job_name("delete", "nightly", "a") != task_job_name("delete", "nightly", "b")
    assert len(task_job_name("validate", "s" * 253, "a")) == 63


@pytest.mark.parametrize("good", ["a", "orders-2603010200-abcde", "x" * 57])
def test_a_run_may_name_a_folder(good: str) -> None:
    assert check_storage_id(good) is None


@pytest.mark.parametrize("bad", ["", "..", "a/b", "a\\b", "Orders", "-a", "a-", "a.b", "ä", "a\n", "x" * 58])
def test_nothing_else_may_name_a_folder(bad: str) -> None:
    problem = check_storage_id(bad)
    assert problem is not None
    assert "expected" in problem
