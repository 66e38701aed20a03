"""Many databases, one verdict: the gravest counts, and time is that until the last one was back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.drill import Verdict
from databosun.domain.joint import GroupFacts, MemberFacts, into_groups, judge_joint, measure_joint

NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)
GRAVITY = [Verdict.PASSED, Verdict.PARTIAL, Verdict.REFUSED, Verdict.ERROR, Verdict.FAILED]


def member(
    name: str = "orders", after: float | None = 1.0, seconds: float | None = 60.0, **more: object
) -> MemberFacts:
    values = {"verdict": Verdict.PASSED, "reason": "Passed", "objective": 900.0, **more}
    at = None if after is None else NOW + timedelta(seconds=after)
    return MemberFacts(name, ordered_at=at, seconds=seconds, **values)  # type: ignore[arg-type]


def test_a_groups_span_is_that_of_its_slowest_and_the_whole_is_their_sum() -> None:
    first = GroupFacts(NOW, [member("users", 2, 30), member("accounts", 1, 90)])
    # What lies between the groups is verification: it is no part of the time.
    later = NOW + timedelta(minutes=30)
    second = GroupFacts(later, [member("orders", 1800 + 3, 10)])
    times = measure_joint([first, second])
    assert times.groups == (91.0, 13.0)
    assert times.seconds == 104.0
    assert {one.database: one.seconds for one in times.ready} == {"users": 32.0, "accounts": 91.0, "orders": 104.0}
    assert times.met is True


def test_each_database_has_its_own_objective_counted_from_the_start_of_the_whole() -> None:
    first = GroupFacts(NOW, [member("users", 0, 100, objective=200.0)])
    second = GroupFacts(NOW, [member("orders", 0, 50, objective=120.0)])
    times = measure_joint([first, second])
    assert {one.database: one.met for one in times.ready} == {"users": True, "orders": False}
    assert times.met is False


def test_where_one_did_not_come_back_there_is_no_time_after_which_all_had() -> None:
    first = GroupFacts(NOW, [member("users", 0, 10), member("accounts", None, None, verdict=Verdict.FAILED)])
    times = measure_joint([first, GroupFacts(NOW, [member("orders", 0, 50)])])
    assert times.seconds is None
    assert times.groups == (None, None)
    assert times.met is False
    assert [one.database for one in times.ready] == ["users"]


def test_a_clock_that_differs_takes_nothing_off() -> None:
    assert measure_joint([GroupFacts(NOW, [member("orders", -5, 50)])]).seconds == 50.0


def test_without_any_database_nothing_is_claimed() -> None:
    assert measure_joint([]).seconds is None
    assert measure_joint([]).met is None
    assert judge_joint([]).verdict is Verdict.REFUSED


@given(st.lists(st.sampled_from(GRAVITY), min_size=1, max_size=6))
def test_the_gravest_verdict_is_that_of_the_whole(verdicts: list[Verdict]) -> None:
    found = judge_joint([member(f"d{number}", verdict=one) for number, one in enumerate(verdicts)])
    assert found.verdict is max(verdicts, key=GRAVITY.index)
    assert (found.verdict is Verdict.PASSED) == all(one is Verdict.PASSED for one in verdicts)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1e4), st.none() | st.floats(0, 1e4)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    )
)
def test_the_time_of_all_is_never_less_than_that_of_any(groups: list[list[tuple[float, float | None]]]) -> None:
    facts = [
        GroupFacts(NOW, [member(f"d{at}-{place}", after, seconds) for place, (after, seconds) in enumerate(group)])
        for at, group in enumerate(groups)
    ]
    times = measure_joint(facts)
    whole = all(seconds is not None for group in groups for _, seconds in group)
    assert (times.seconds is not None) == whole
    if times.seconds is not None:
        longest = max(after + (seconds or 0) for group in groups for after, seconds in group)
        assert times.seconds >= longest - 0.01
        assert times.seconds == pytest.approx(max(one.seconds for one in times.ready))


def test_the_message_names_who_is_to_blame_and_how_many_there_are() -> None:
    bad = [member(f"d{n}", verdict=Verdict.FAILED, reason="ArtefactCorrupt", message="bit 7") for n in range(7)]
    found = judge_joint([*bad, member("good"), member("none", verdict=Verdict.REFUSED, reason="NoBackup")])
    assert found.reason == "ArtefactCorrupt"
    assert found.message.startswith("Failed for 7 of 9 databases: d0 (ArtefactCorrupt): bit 7; d1")
    assert found.message.endswith("and 2 more")


def test_each_database_is_in_the_first_group_that_wants_it_and_the_rest_come_last() -> None:
    matches = [("web", (False, False)), ("users", (True, True)), ("orders", (False, True)), ("auth", (True, False))]
    assert into_groups(matches) == (("auth", "users"), ("orders",), ("web",))
    assert into_groups([("web", ()), ("app", ())]) == (("app", "web"),)
    assert into_groups([("web", (False, True))]) == (("web",),)
    assert into_groups([]) == ()
