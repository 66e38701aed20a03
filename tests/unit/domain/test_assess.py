"""What can be brought back is said from records alone, and never more than there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.databasestatus import LastProven
from databosun.api.v1alpha1.recovery import Gap
from databosun.api.v1alpha1.restore import RestoreSpec
from databosun.domain.assess import AssessFacts, assess
from databosun.domain.recovery import LogReach
from databosun.domain.selection import Candidate
from databosun.domain.tiers import Objectives
from databosun.domain.wal import parse_lsn

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def position(age: timedelta) -> str:
    """Where the log was then: a byte a second."""
    return f"0/{int(timedelta(days=60).total_seconds() - age.total_seconds()):X}"


def backup(name: str, age: timedelta, **more: Any) -> Candidate:
    at = NOW - age
    values: dict[str, Any] = {"start_lsn": position(age), "storage": "prod", "system_identifier": "7", **more}
    return Candidate(
        name=name, database="orders", at=at, completed=at + HOUR / 60, checksum="x", stored_bytes=100, **values
    )


def facts(*candidates: Candidate, **more: Any) -> AssessFacts:
    values: dict[str, Any] = {
        "namespace": "shop",
        "database": "orders",
        "objectives": Objectives(rto=HOUR, rpo=5 * HOUR),
        "log": None,
        "candidates": candidates,
        "proven": {},
        "last_proven": None,
        **more,
    }
    return AssessFacts(**values)


def gap(begin: timedelta | None, end: timedelta) -> Gap:
    return Gap.model_validate(
        {
            "from": NOW - begin if begin is not None else None,
            "to": NOW - end,
            "reason": "SlotLost",
            "position": f"{position(begin or end)} on timeline 1",
            "resume": position(end),
        }
    )


def shipped(latest: timedelta, *gaps: Gap, since: timedelta = 30 * DAY) -> LogReach:
    return LogReach("7", "prod", parse_lsn(position(since)), NOW - latest, gaps)


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
    found = assess(facts(backup("old", DAY), backup("late", HOUR), log=shipped(HOUR / 60), before=before), NOW)
    assert (found.until, found.backup and found.backup.name) == ("Time", "old")
    assert found.point == before - timedelta(seconds=1)
    assert found.loss_seconds == 1
    assert "--time 2026-03-10T08:59:59Z" in (found.command or "")


def test_a_time_that_the_log_has_not_reached_ends_where_the_log_does() -> None:
    found = assess(facts(backup("old", DAY), log=shipped(HOUR), before=NOW), NOW)
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
    dump = backup("dump", HOUR, method=Method.LOGICAL, start_lsn=None)
    found = assess(facts(dump, log=shipped(HOUR / 60)), NOW)
    assert (found.until, found.loss_seconds) == ("EndOfBackup", 3600)
    assert found.window is not None
    assert (found.window.continuous, found.window.spans) == (False, [])


def test_a_newer_dump_is_passed_over_for_what_the_log_reaches() -> None:
    dump = backup("dump", HOUR, method=Method.LOGICAL, start_lsn=None)
    found = assess(facts(backup("full", DAY), dump, log=shipped(HOUR / 60)), NOW)
    assert (found.until, found.backup and found.backup.name) == ("Latest", "full")
    assert found.passed_over == ["dump: no log can be replayed on it"]


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


def test_a_thaw_is_counted_in_the_time_and_asked_for() -> None:
    proof = LastProven(run="d", at=NOW, level="Deep", rto_seconds=100, restore_bytes=50, passed=True)
    old, new = backup("old", DAY), backup("new", HOUR)
    known: dict[str, Any] = {"archived_until": NOW - DAY, "thaw": 5 * HOUR, "last_proven": proof}
    at_once = assess(facts(old, new, **known), NOW)
    assert (at_once.restore_seconds, at_once.rto_met, at_once.thaw_seconds) == (200, True, None)
    assert "thaw" not in f"{at_once.command} {at_once.restore}"
    found = assess(facts(old, new, before=NOW - 2 * HOUR, **known), NOW)
    assert (found.restore_seconds, found.rto_met, found.thaw_seconds) == (200 + 5 * 3600, False, 5 * 3600)
    assert found.restore_basis.endswith("; before that, a thaw may take up to 5h")
    assert found.command is not None
    assert "--backup old --thaw Standard" in found.command
    assert found.restore is not None
    spec = RestoreSpec.model_validate(found.restore["spec"])
    assert spec.thaw is not None
    assert spec.thaw.speed == "Standard"
    unmeasured = assess(facts(old, **{**known, "last_proven": None}), NOW)
    assert (unmeasured.restore_seconds, unmeasured.rto_met) == (None, False)


def test_a_time_within_a_gap_ends_where_the_gap_begins() -> None:
    log = shipped(HOUR / 60, gap(6 * HOUR, 3 * HOUR))
    found = assess(facts(backup("old", DAY), backup("late", HOUR), log=log, before=NOW - 4 * HOUR), NOW)
    assert (found.until, found.backup and found.backup.name) == ("Time", "old")
    assert found.point == NOW - 6 * HOUR
    assert found.loss_seconds == 2 * 3600
    assert found.window is not None
    assert [(span.backup, span.end) for span in found.window.spans] == [
        ("old", NOW - 6 * HOUR),
        ("late", NOW - HOUR / 60),
    ]
    assert [one.reason for one in found.window.gaps] == ["SlotLost"]
    assert found.window.continuous


def test_a_time_behind_a_gap_that_no_backup_bridges_is_not_offered() -> None:
    log = shipped(HOUR / 60, gap(6 * HOUR, 3 * HOUR))
    found = assess(facts(backup("old", DAY), log=log), NOW)
    assert found.point == NOW - 6 * HOUR
    assert found.window is not None
    assert not found.window.continuous


def test_a_backup_after_the_gap_is_nearer_than_the_log_before_it() -> None:
    log = shipped(HOUR / 60, gap(6 * HOUR, 3 * HOUR))
    between = backup("between", 4 * HOUR)
    found = assess(facts(backup("old", DAY), between, log=log, before=NOW - 2 * HOUR), NOW)
    assert (found.until, found.point) == ("EndOfBackup", NOW - 4 * HOUR)


def test_a_gap_of_unknown_begin_promises_nothing_before_it() -> None:
    log = shipped(HOUR / 60, gap(None, 3 * HOUR))
    found = assess(facts(backup("old", DAY), log=log, before=NOW - 4 * HOUR), NOW)
    assert (found.until, found.point) == ("EndOfBackup", NOW - DAY)


@pytest.mark.parametrize("more", [{"storage": "other"}, {"system_identifier": "8"}, {"start_lsn": None}])
def test_a_log_of_another_server_or_store_is_of_no_use(more: dict[str, Any]) -> None:
    found = assess(facts(backup("old", DAY, **more), log=shipped(HOUR / 60)), NOW)
    assert (found.until, found.point) == ("EndOfBackup", NOW - DAY)


def test_a_backup_from_before_the_log_began_stands_alone_and_is_said() -> None:
    log = shipped(HOUR / 60, since=2 * HOUR)
    found = assess(
        facts(backup("full", 5 * HOUR), backup("dump", 3 * HOUR, method=Method.LOGICAL, start_lsn=None), log=log), NOW
    )
    assert (found.until, found.backup and found.backup.name) == ("EndOfBackup", "dump")


AGES = st.lists(st.integers(1, 500), min_size=0, max_size=6, unique=True)


@given(ages=AGES, back=st.integers(0, 500), lag=st.one_of(st.none(), st.integers(0, 200)))
def test_what_is_offered_can_be_asked_for_and_holds_nothing_of_the_harm(
    ages: list[int], back: int, lag: int | None
) -> None:
    before = NOW - back * HOUR
    log = None if lag is None else shipped(lag * HOUR)
    made = [backup(f"b{age}", age * HOUR) for age in ages]
    found = assess(facts(*made, log=log, before=before), NOW)
    if found.obstacle is not None:
        assert not any(one.at < before for one in made)
        return
    assert found.point is not None
    assert found.backup is not None
    assert found.point < before
    assert found.backup.at <= found.point
    assert found.restore is not None
    RestoreSpec.model_validate(found.restore["spec"])


def test_a_snapshot_that_a_cloud_keeps_is_brought_back_by_hand() -> None:
    found = assess(facts(backup("new", HOUR, method=Method.SNAPSHOT)), NOW)
    assert found.backup
    assert found.restore is None
    assert found.command
    assert "RESTORE.md beside its manifest in BackupStorage prod" in found.command
