"""Who owns a log, how an archiver fares, and what the log makes recoverable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.archive import LogGap
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.recovery import Archiver, Gap, Recovery
from databosun.domain.archiving import (
    FIRST_LINE,
    LATE_BY,
    LOOK_LONGEST,
    LOOK_SHORTEST,
    Claim,
    Hindrance,
    LogFacts,
    choose_lead,
    choose_policy,
    conflict,
    decide_health,
    look_every,
    refusal,
)
from databosun.domain.conditions import Wanted
from databosun.domain.names import archiver_name
from databosun.domain.presets import EffectiveContinuous
from databosun.domain.protection import Success
from databosun.domain.recovery import (
    MOST_GAPS,
    LogReach,
    calm,
    calm_archiver,
    cause_of_full,
    decide_recovery,
    log_begin,
    merge_gaps,
    open_gap,
    with_archived,
)
from databosun.domain.requests import Named

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CONTINUOUS = EffectiveContinuous(MINUTE, 10 * 2**30, allow_unbounded_slot=False, synchronous=False)


def claim(database: str, policy: str, age: int = 0, storage: str = "prod") -> Claim:
    created = NOW - timedelta(days=age)
    named = Named("shop", database, f"uid-{database}"), Named("shop", policy, f"uid-{policy}")
    return Claim(named[0], created, named[1], created, storage, CONTINUOUS)


def test_the_policy_that_has_the_log_keeps_it_and_else_the_oldest_gets_it() -> None:
    young, old = claim("orders", "a", 1), claim("orders", "b", 2)
    assert choose_policy([young, old], None) is old
    assert choose_policy([young, old], "uid-a") is young
    assert choose_policy([young, old], "uid-gone") is old
    assert choose_policy([], "uid-a") is None


def test_the_database_that_speaks_for_a_server_goes_on_doing_so() -> None:
    young, old = claim("a", "p", 1), claim("b", "p", 2)
    assert choose_lead([young, old], None) is old
    assert choose_lead([young, old], "uid-a") is young


@pytest.mark.parametrize(
    ("engine", "method", "database", "reason"),
    [
        (EngineName.POSTGRESQL, Method.AUTO, None, None),
        (EngineName.POSTGRESQL, Method.PHYSICAL, None, None),
        (EngineName.POSTGRESQL, Method.LOGICAL, None, "LogicalHasNoLog"),
        (EngineName.POSTGRESQL, Method.AUTO, "orders", "OneDatabaseOnly"),
        (EngineName.MARIADB, Method.AUTO, None, None),
        (EngineName.MARIADB, Method.LOGICAL, None, None),
        (EngineName.MARIADB, Method.PHYSICAL, None, None),
        (EngineName.MYSQL, Method.PHYSICAL, None, "LogicalHasNoLog"),
        (EngineName.MARIADB, Method.LOGICAL, "orders", "OneDatabaseOnly"),
    ],
)
def test_what_a_log_can_never_serve_is_refused(
    engine: EngineName, method: Method, database: str | None, reason: str | None
) -> None:
    found = refusal(claim("orders", "nightly"), engine, method, database)
    assert (found.reason if found else None) == reason
    assert found is None or "nightly" in found.message


def test_one_server_has_one_log_in_one_storage() -> None:
    lead = claim("orders", "a")
    assert conflict(claim("billing", "b"), lead) is None
    refused = conflict(claim("billing", "b", storage="other"), lead)
    assert refused is not None
    assert all(word in refused.message for word in ("orders", "prod", "other"))


def facts(**changes: Any) -> LogFacts:
    known: dict[str, Any] = {
        "name": "archiver-1",
        "storage": "prod",
        "max_lag": MINUTE,
        "began": NOW - HOUR,
        "recoverable_at": NOW - 30 * timedelta(seconds=1),
        "hindrance": None,
        "open_gap": None,
        "has_base": True,
    }
    return LogFacts(**{**known, **changes})


def verdict(**changes: Any) -> tuple[bool | None, str]:
    wanted: Wanted = decide_health(facts(**changes), NOW)[0]
    return wanted.status, wanted.reason


GAP = Gap.model_validate(
    {"from": NOW - HOUR, "to": NOW - MINUTE, "reason": "SlotLost", "position": "0/1", "resume": "0/200"}
)
WORLD, PERSON = Hindrance("StorageUnreachable", "no answer"), Hindrance("SourceWentBack", "it did", person=True)
LATE = NOW - MINUTE - LATE_BY


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (True, "Archiving")),
        ({"hindrance": WORLD}, (True, "Archiving")),
        ({"hindrance": PERSON}, (False, "SourceWentBack")),
        ({"recoverable_at": LATE}, (False, "ArchiveStalled")),
        ({"recoverable_at": LATE, "hindrance": WORLD}, (False, "StorageUnreachable")),
        ({"recoverable_at": None, "began": NOW}, (None, "ArchiverStarting")),
        ({"recoverable_at": None, "began": NOW, "hindrance": WORLD}, (None, "ArchiverStarting")),
        ({"recoverable_at": None, "began": NOW - FIRST_LINE}, (False, "ArchiveStalled")),
        ({"has_base": False}, (None, "NoBase")),
        ({"has_base": False, "open_gap": GAP}, (False, "LogGap")),
        ({"recoverable_at": LATE, "open_gap": GAP, "has_base": False}, (False, "LogGap")),
    ],
)
def test_how_an_archiver_fares(changes: dict[str, Any], expected: tuple[bool | None, str]) -> None:
    assert verdict(**changes) == expected


def test_health_wakes_at_the_instant_at_which_it_turns() -> None:
    wanted, until = decide_health(facts(), NOW)
    assert until is not None
    assert decide_health(facts(), until)[0].reason == "ArchiveStalled"
    assert decide_health(facts(), until - timedelta(seconds=1))[0] == wanted
    assert until - facts().recoverable_at <= MINUTE + timedelta(seconds=30)  # type: ignore[operator]  # it is set


@pytest.mark.parametrize(("lag", "every"), [(1, 5), (2, 5), (30, 15), (60, 30), (900, 30)])
def test_an_archiver_is_looked_at_as_often_as_it_speaks_within_bounds(lag: int, every: int) -> None:
    assert look_every(timedelta(seconds=lag)) == timedelta(seconds=every)
    assert LOOK_SHORTEST <= look_every(timedelta(seconds=lag)) <= LOOK_LONGEST


# --- what is recoverable


def success(name: str, ago: timedelta, lsn: str | None, **changes: Any) -> Success:
    fields = {"system_identifier": "7", "storage": "prod", **changes}
    return Success(name, NOW - ago, 500, start_lsn=lsn, **fields)


def reach(begin: int | None = 0x100, *gaps: Gap, at: datetime | None = NOW) -> LogReach:
    return LogReach("7", "prod", begin, at, gaps)


def test_the_log_carries_the_recovery_point_on_from_a_backup_that_began_in_it() -> None:
    backups = [success("old", 5 * HOUR, "0/50"), success("base", HOUR, "0/150")]
    found = decide_recovery(None, backups, reach(), NOW)
    assert found is not None
    assert (found.continuous, found.continuous_from, found.latest) == (True, NOW - HOUR, NOW)
    assert (found.earliest, found.backups) == (NOW - 5 * HOUR, 2)


@pytest.mark.parametrize(
    "unfit",
    [
        success("early", HOUR, "0/50"),
        success("logical", HOUR, None),
        success("other server", HOUR, "0/150", system_identifier="8"),
        success("elsewhere", HOUR, "0/150", storage="other"),
    ],
)
def test_a_backup_that_the_log_cannot_be_replayed_onto_proves_nothing(unfit: Success) -> None:
    found = decide_recovery(None, [unfit], reach(), NOW)
    assert found is not None
    assert (found.continuous, found.latest) == (False, NOW - HOUR)
    assert cause_of_full(found, reach()) == "log:7/0/100"


def test_a_gap_is_bridged_only_by_a_backup_behind_it() -> None:
    log = reach(0x100, GAP)
    before = decide_recovery(None, [success("before", 2 * HOUR, "0/150")], log, NOW)
    assert before is not None
    assert not before.continuous
    assert open_gap(before, log) == GAP
    assert cause_of_full(before, log) == "log:7/0/200"
    behind = decide_recovery(None, [success("before", 2 * HOUR, "0/150"), success("b", HOUR, "0/200")], log, NOW)
    assert behind is not None
    assert behind.continuous
    assert open_gap(behind, log) is None
    assert cause_of_full(behind, log) is None
    assert behind.gaps == [GAP]


def test_a_backup_is_told_where_the_log_begins_that_it_is_to_carry() -> None:
    archiver = Archiver(
        name="a", system_identifier="7", policy="p", policy_uid="u", storage="prod", port=1, started=NOW,
        log_begin="0/100",
    )  # fmt: skip
    gap = merge_gaps([], [told(0x200, 0x300, 60)])
    assert log_begin(archiver, None, "prod") == "0/100"
    assert log_begin(archiver, Recovery(gaps=list(gap)), "prod") == "0/300"
    assert log_begin(archiver, None, "elsewhere") is None
    assert log_begin(archiver.model_copy(update={"log_begin": None}), None, "prod") is None
    assert log_begin(None, None, "prod") is None


def test_a_gap_from_before_the_log_that_counts_is_history() -> None:
    assert open_gap(None, reach(0x300, GAP)) is None


def test_without_news_the_base_stands_and_the_point_moves_never_past_now() -> None:
    old = Recovery(earliest=NOW - HOUR, latest=NOW - HOUR, continuous=True, continuous_from=NOW - HOUR, backups=1)
    found = decide_recovery(old, None, reach(at=NOW + HOUR), NOW)
    assert found is not None
    assert found.latest == NOW
    assert decide_recovery(old, None, reach(at=NOW - 2 * HOUR), NOW) == old


def test_no_recovery_point_lies_ahead() -> None:
    ahead = Success("a", NOW + HOUR, 1)
    for old, successes in ((None, (ahead,)), (Recovery(latest=NOW + HOUR, backups=1), None)):
        found = decide_recovery(old, successes, None, NOW)
        assert found is not None
        assert found.latest == NOW


def test_an_archive_that_has_ended_promises_nothing_more() -> None:
    old = Recovery(latest=NOW - MINUTE, continuous=True, continuous_from=NOW - HOUR, backups=1, gaps=[GAP])
    found = decide_recovery(old, None, None, NOW)
    assert found is not None
    assert (found.continuous, found.continuous_from, found.gaps) == (False, None, [])


def told(begin: int, end: int, ago: int) -> LogGap:
    return LogGap(
        timeline=1,
        begin=f"0/{begin:X}",
        end_timeline=1,
        end=f"0/{end:X}",
        end_time=NOW - ago * MINUTE,
        reason="SlotLost",
        message="",
    )


def test_gaps_are_remembered_once_and_the_newest_fifty() -> None:
    gaps = merge_gaps([], [told(i, i + 1, 100 - i) for i in range(60)])
    assert len(gaps) == MOST_GAPS
    assert [gap.resume for gap in gaps][-1] == "0/3C"
    assert merge_gaps(gaps, [told(59, 60, 41)]) == gaps


def test_a_gap_never_seems_shorter_than_it_is() -> None:
    late = told(1, 2, 0).model_copy(update={"end_time": NOW + timedelta(milliseconds=1)})
    assert merge_gaps([], [late])[0].end == NOW + timedelta(seconds=1)


# --- writes


def test_the_recovery_point_is_written_in_fair_steps() -> None:
    old = Recovery(latest=NOW, continuous=True, backups=1)
    little, enough = (old.model_copy(update={"latest": NOW + timedelta(seconds=span)}) for span in (74, 75))
    assert calm(old, little, 5 * MINUTE, flipped=False) == (old, False)
    assert calm(old, little, 5 * MINUTE, flipped=True) == (little, True)
    assert calm(old, enough, 5 * MINUTE, flipped=False) == (enough, True)
    more = little.model_copy(update={"backups": 2})
    assert calm(old, more, 5 * MINUTE, flipped=False) == (more, True)


def test_an_archivers_figures_move_with_the_recovery_point_and_its_state_at_once() -> None:
    old = Archiver(
        name="a", system_identifier="7", policy="p", policy_uid="u", storage="s", port=1, started=NOW, behind_bytes=1
    )
    new = old.model_copy(update={"behind_bytes": 2})
    assert calm_archiver(old, new, moved=False) is old
    assert calm_archiver(old, new, moved=True) is new
    found = calm_archiver(old, new.model_copy(update={"slot": "s"}), moved=False)
    assert found is not None
    assert (found.slot, found.behind_bytes) == ("s", 2)


@pytest.mark.parametrize("system", ["7300000000000000001", "X" * 200, "Ünï"])
def test_the_name_of_an_archiver_leaves_room_for_its_pods(system: str) -> None:
    name = archiver_name(system)
    assert len(f"{name}-{'0' * 10}-{'0' * 5}") <= 63
    assert name == name.lower()


def test_what_lies_in_an_archive_is_not_there_at_once() -> None:
    backups = [Success(name, NOW - days * DAY, 1) for name, days in (("a", 100), ("b", 40), ("c", 1))]
    found = decide_recovery(None, backups, None, NOW)
    assert with_archived(found, None, backups, None) == found
    told = with_archived(found, None, backups, NOW - 90 * DAY)
    assert told is not None
    assert (told.earliest, told.archived_until, told.earliest_at_once) == (
        NOW - 100 * DAY,
        NOW - 90 * DAY,
        NOW - 40 * DAY,
    )
    # It is remembered without the policy, through looks that read no backups, and never goes back.
    again = with_archived(decide_recovery(told, None, None, NOW), told, None, None)
    assert again == told
    assert with_archived(found, told, backups, NOW - 95 * DAY) == told
    later = with_archived(found, told, backups, NOW - DAY)
    assert later is not None
    assert later.earliest_at_once is None
