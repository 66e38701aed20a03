"""What may run beside what."""

from __future__ import annotations

import pytest

from databosun.domain.interlock import Active, BlockedBy, Operation, blockers

LIMIT = 4


def active(operation: Operation, database: str | None = "db", storage: str | None = "st", run: str = "r1") -> Active:
    return Active(operation, database, storage, run)


def test_a_second_backup_of_one_database_waits() -> None:
    (blocker,) = blockers(Operation.BACKUP, "db", "st", [active(Operation.BACKUP)], LIMIT, allow_same=False)
    assert (blocker.by, blocker.run) == (BlockedBy.DATABASE, "r1")
    assert str(blocker) == "Backup r1 is active on the same database"


def test_concurrency_policy_allow_lets_it_run() -> None:
    assert blockers(Operation.BACKUP, "db", "st", [active(Operation.BACKUP)], LIMIT, allow_same=True) == ()


def test_another_database_is_no_obstacle() -> None:
    assert blockers(Operation.BACKUP, "db", "st", [active(Operation.RESTORE, "other")], LIMIT, allow_same=False) == ()


@pytest.mark.parametrize("other", [Operation.RESTORE, Operation.FAILOVER, Operation.LIFECYCLE, Operation.MIGRATION])
def test_allow_never_lets_a_backup_run_into_a_change_of_the_database(other: Operation) -> None:
    assert blockers(Operation.BACKUP, "db", "st", [active(other)], LIMIT, allow_same=True)
    assert blockers(other, "db", "st", [active(Operation.BACKUP)], LIMIT, allow_same=True)


def test_backups_are_not_deleted_while_one_is_read() -> None:
    for reader in (Operation.DRILL, Operation.RESTORE):
        assert blockers(Operation.DELETE, "db", "st", [active(reader)], LIMIT, allow_same=False)
        assert blockers(reader, "db", "st", [active(Operation.DELETE)], LIMIT, allow_same=False)


def test_a_clean_up_that_hangs_costs_no_backup() -> None:
    assert blockers(Operation.BACKUP, "db", "st", [active(Operation.DELETE)], LIMIT, allow_same=False) == ()


def test_a_full_storage_makes_the_next_wait_and_names_who_is_there() -> None:
    there = [active(Operation.BACKUP, f"db{number}", run=f"r{number}") for number in range(LIMIT)]
    found = blockers(Operation.BACKUP, "db", "st", there, LIMIT, allow_same=False)
    assert [(blocker.by, blocker.run) for blocker in found] == [
        (BlockedBy.STORAGE, f"r{number}") for number in range(LIMIT)
    ]
    assert "maxConcurrentRuns" in str(found[0])
    assert blockers(Operation.BACKUP, "db", "other", there, LIMIT, allow_same=False) == ()
    assert blockers(Operation.DELETE, "db", "st", there, LIMIT, allow_same=False) == ()
