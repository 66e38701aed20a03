"""Whoever asks, in whatever order: two runs that must not meet are never both granted."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.interlock import Active, Operation, blockers, conflict

OPERATIONS = st.sampled_from(list(Operation))
ASKED = st.tuples(
    OPERATIONS, st.sampled_from(["db1", "db2", None]), st.sampled_from(["st1", "st2", None]), st.booleans()
)
STREAMING = {Operation.BACKUP, Operation.RESTORE, Operation.DRILL, Operation.LIFECYCLE}
CHANGES = {Operation.RESTORE, Operation.FAILOVER, Operation.LIFECYCLE, Operation.MIGRATION}


@given(OPERATIONS, OPERATIONS, st.booleans())
def test_a_conflict_is_mutual(one: Operation, other: Operation, allow: bool) -> None:
    assert conflict(one, other, allow_same=allow) == conflict(other, one, allow_same=allow)


@given(st.lists(ASKED, max_size=40), st.integers(1, 4), st.lists(st.integers(0, 30), max_size=40))
def test_what_was_granted_may_run_together(
    asked: list[tuple[Operation, str | None, str | None, bool]], limit: int, ended: list[int]
) -> None:
    granted: list[Active] = []
    tolerant: set[str] = set()
    for number, (operation, database, storage, allow) in enumerate(asked):
        if number < len(ended) and granted:
            granted.pop(ended[number] % len(granted))
        found = blockers(operation, database, storage, granted, limit, allow_same=allow)
        assert {blocker.run for blocker in found} <= {run.run for run in granted}
        if not found:
            granted.append(Active(operation, database, storage, f"r{number}"))
            tolerant |= {f"r{number}"} if allow else set()
        check(granted, limit, tolerant)


def check(granted: list[Active], limit: int, tolerant: set[str]) -> None:
    streams = Counter(run.storage_uid for run in granted if run.operation in STREAMING and run.storage_uid)
    assert all(count <= limit for count in streams.values())
    for one, other in combinations(granted, 2):
        if one.database_uid is None or one.database_uid != other.database_uid:
            continue
        pair = {one.operation, other.operation}
        assert not (pair <= CHANGES), "two changes of one database"
        assert not (pair & CHANGES and Operation.BACKUP in pair), "a backup of a database that changes"
        assert not (Operation.DELETE in pair and pair & {Operation.DRILL, Operation.RESTORE}), "deleted while read"
        if one.operation is other.operation is Operation.BACKUP:
            assert {one.run, other.run} & tolerant, "two backups where one at a time was asked for"


@given(st.lists(ASKED, max_size=10), st.integers(1, 4))
def test_the_answer_does_not_depend_on_the_order(
    asked: list[tuple[Operation, str | None, str | None, bool]], limit: int
) -> None:
    active = [Active(*run[:3], f"r{number}") for number, run in enumerate(asked)]
    answer = blockers(Operation.BACKUP, "db1", "st1", active, limit, allow_same=False)
    assert blockers(Operation.BACKUP, "db1", "st1", reversed(active), limit, allow_same=False) == answer
