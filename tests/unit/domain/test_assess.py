"""What can be brought back is said from records alone, and never more than there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import LastProven
from databosun.api.v1alpha1.recovery import Recovery
from databosun.api.v1alpha1.restore import RestoreSpec
from databosun.domain.assess import AssessFacts, assess
from databosun.domain.selection import Candidate
from databosun.domain.tiers import Objectives

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def backup(name: str, age: timedelta, **more: Any) -> Candidate:
    at = NOW - age
    return Candidate(
        name=name, database="orders", at=at, completed=at + HOUR / 60, checksum="x", stored_bytes=100, **more
    )


def facts(*candidates: Candidate, **more: Any) -> AssessFacts:
    values: dict[str, Any] = {
        "namespace": "shop",
        "database": "orders",
        "objectives": Objectives(rto=HOUR, rpo=5 * HOUR),
        "recovery": None,
        "candidates": candidates,
        "proven": {},
        "last_proven": None,
        **more,
    }
    return AssessFacts(**values)


def shipped(latest: timedelta) -> Recovery:
    return Recovery(earliest=NOW - 9 * DAY, latest=NOW - latest, continuous=True, backups=2)


def test_without_a_log_the_newest_backup_is_what_can_be_had() -> None:
    found = assess(facts(backup("old", 2 * DAY), backup("new", HOUR)), NOW)
    assert (found.until, found.backup and found.backup.name) == ("EndOfBackup", "new")
    assert found.loss_seconds == 3600
    assert found.rpo_met
    assert found.command == "kubectl bosun restore orders -n shop --to-volume orders-restored --backup new --wait"
    assert found.window is not None
    assert not found.window.continuous


def test_with_a_log_any_instant_just_before_the_harm() -> None:
    before = NOW - 3 * HOUR
    found = assess(facts(backup("old", DAY), backup("late", HOUR), recovery=shipped(HOUR / 60), before=before), NOW)
    assert (found.until, found.backup and found.backup.name) == ("Time", "old")
    assert found.point == before - timedelta(seconds=1)
    assert found.loss_seconds == 1
    assert "--time 2026-03-10T08:59:59Z" in (found.command or "")


def test_a_time_that_the_log_has_not_reached_ends_where_the_log_does() -> None:
    found = assess(facts(backup("old", DAY), recovery=shipped(HOUR), before=NOW), NOW)
    assert (found.until, found.loss_seconds) == ("Latest", 3600)


def test_a_backup_whose_chain_is_broken_is_passed_over_and_said() -> None:
    lonely = backup("incr", HOUR, type=BackupType.INCREMENTAL, parent="gone")
    found = assess(facts(backup("full", DAY), lonely), NOW)
    assert found.backup is not None
    assert found.backup.name == "full"
    assert found.passed_over == ["incr: it stands on gone, which is not there"]


def test_a_chain_is_named_and_counted() -> None:
    chain = (backup("full", DAY), backup("incr", HOUR, type=BackupType.INCREMENTAL, parent="full"))
    found = assess(facts(*chain, proven={"incr": "Deep"}), NOW)
    assert found.backup is not None
    assert (found.backup.chain, found.backup.restore_bytes, found.backup.proven) == (["incr", "full"], 200, "Deep")


def test_where_only_dumps_are_there_no_log_is_promised() -> None:
    dump = backup("dump", HOUR, method=Method.LOGICAL)
    found = assess(facts(dump, recovery=shipped(HOUR / 60)), NOW)
    assert (found.until, found.loss_seconds) == ("EndOfBackup", 3600)
    assert "no log can be replayed" in found.passed_over[0]


@pytest.mark.parametrize("candidates", [(), (backup("late", HOUR),)])
def test_where_nothing_is_there_that_is_said(candidates: tuple[Candidate, ...]) -> None:
    found = assess(facts(*candidates, before=NOW - DAY), NOW)
    assert found.obstacle
    assert (found.command, found.backup, found.loss_seconds) == (None, None, None)


def test_the_time_grows_with_the_size_and_is_not_invented() -> None:
    proof = LastProven(run="d", at=NOW, level="Deep", rto_seconds=100, restore_bytes=50, passed=True)
    assert assess(facts(backup("b", HOUR)), NOW).restore_seconds is None
    found = assess(facts(backup("b", HOUR), last_proven=proof), NOW)
    assert (found.restore_seconds, found.rto_met) == (200, True)


AGES = st.lists(st.integers(1, 500), min_size=0, max_size=6, unique=True)


@given(ages=AGES, back=st.integers(0, 500), lag=st.one_of(st.none(), st.integers(0, 200)))
def test_what_is_offered_can_be_asked_for_and_holds_nothing_of_the_harm(
    ages: list[int], back: int, lag: int | None
) -> None:
    before = NOW - back * HOUR
    recovery = None if lag is None else shipped(lag * HOUR)
    made = [backup(f"b{age}", age * HOUR) for age in ages]
    found = assess(facts(*made, recovery=recovery, before=before), NOW)
    if found.obstacle is not None:
        assert not any(one.at < before for one in made)
        return
    assert found.point is not None
    assert found.backup is not None
    assert found.point < before
    assert found.backup.at <= found.point
    assert found.restore is not None
    RestoreSpec.model_validate(found.restore["spec"])
