"""What the engine of RDS decides without an account: names, whose something is, how long to wait."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.errors import WorldFault
from databosun.engines.managed import Visit
from databosun.engines.rds.cloud import AnswerError
from databosun.engines.rds.instances import Left, forsaken
from databosun.engines.rds.marks import Owner
from databosun.engines.rds.snapshots import name_of
from databosun.engines.rds.waiting import Patience

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OWNER = Owner("cluster", "shop", "uid")
VISIT = Visit("cluster", "shop", "orders", "uid", "orders-1", 1, NOW)
# A letter first, then letters, digits and single hyphens, none at the end (the API's own rule).
ALLOWED = re.compile(r"[a-z](-?[a-z0-9])*")
NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9.-]{0,55}[a-z0-9])?\Z")


@given(NAMES, st.integers(1, 99))
def test_every_run_has_names_that_the_api_takes(run: str, attempt: int) -> None:
    snapshot, instance = OWNER.snapshot(run), OWNER.instance(run, attempt)
    assert ALLOWED.fullmatch(snapshot)
    assert ALLOWED.fullmatch(instance)
    assert len(snapshot) <= 255
    assert len(instance) <= 63


@given(NAMES, NAMES)
def test_two_runs_two_owners_two_names(one: str, other: str) -> None:
    assert (OWNER.snapshot(one) == OWNER.snapshot(other)) == (one == other)
    assert OWNER.snapshot(one) != Owner("another", "shop", "uid").snapshot(one)
    assert OWNER.snapshot(one) != Owner("cluster", "shop", "another").snapshot(one)


def test_all_tags_must_be_right() -> None:
    tags = OWNER.tags(VISIT)
    assert OWNER.owns({"TagList": tags}, "orders-1")
    assert not OWNER.owns({"TagList": tags}, "orders-2")
    for left_out in range(len(tags)):
        some = [one for number, one in enumerate(tags) if number != left_out]
        spoilt = tags[left_out]["Key"] not in {"databosun.io/database"}
        assert OWNER.owns({"TagList": some}, "orders-1") is not spoilt
    assert not OWNER.owns({})


def test_nobody_owns_what_bears_no_tags() -> None:
    assert not Owner("", "", "").owns({"TagList": []})


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:rds:eu-central-1:123456789012:snapshot:databosun-x", "databosun-x"),
        ("arn:aws:rds:eu-central-1:123456789012:snapshot:rds:orders-2026", "rds:orders-2026"),
        ("arn:aws-cn:rds:cn-north-1:123456789012:cluster-snapshot:databosun-x", "databosun-x"),
        ("databosun-x", "databosun-x"),
    ],
)
def test_the_name_in_an_arn(arn: str, name: str) -> None:
    assert name_of(arn) == name


def test_only_what_is_over_is_forsaken() -> None:
    later, before = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
    found = [
        Left("DBInstances", "at-work", "drill-1", later),
        Left("DBInstances", "too-long", "drill-1", before),
        Left("DBInstances", "unbounded", "drill-1", None),
        Left("DBInstances", "over", "drill-2", later),
    ]
    assert [one.name for one in forsaken(found, {"drill-1"}, NOW)] == ["too-long", "unbounded", "over"]


def test_a_drill_that_began_after_the_look_was_ordered_keeps_its_instance_until_its_time_is_over() -> None:
    later, ordered = NOW + timedelta(hours=1), NOW - timedelta(minutes=10)
    found = [
        Left("DBInstances", "begun-since", "drill-3", later, NOW),
        Left("DBInstances", "begun-before", "drill-2", later, NOW - timedelta(hours=1)),
        Left("DBInstances", "too-long", "drill-3", NOW - timedelta(seconds=1), NOW),
    ]
    assert [one.name for one in forsaken(found, (), NOW, ordered)] == ["begun-before", "too-long"]
    assert len(forsaken(found, (), NOW)) == 3


class Clock:
    """A clock that moves by sleeping alone."""

    def __init__(self) -> None:
        self.now, self.naps, self.pulses = NOW, 0, 0

    def sleep(self, seconds: float) -> None:
        assert seconds <= 1.0, "nobody would be heard for so long"
        self.now += timedelta(seconds=seconds)
        self.naps += 1

    def pulse(self) -> None:
        self.pulses += 1

    def patience(self, seconds: float) -> Patience:
        return Patience(NOW + timedelta(seconds=seconds), self.pulse, 5.0, lambda: self.now, self.sleep)


def test_waiting_ends_and_says_for_what() -> None:
    clock = Clock()
    with pytest.raises(WorldFault, match=r"for a miracle; raise spec\.deadline"):
        clock.patience(60).wait("a miracle", lambda: None)
    assert timedelta(seconds=60) <= clock.now - NOW <= timedelta(seconds=66)
    assert clock.pulses >= clock.naps


def test_throttling_is_no_end_and_any_other_refusal_is() -> None:
    clock = Clock()
    answers = [AnswerError("rds:X", "Throttling", "slower"), None, "there"]

    def look() -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, AnswerError):
            raise answer
        return answer

    assert clock.patience(60).wait("it", look) == "there"
    answers.append(AnswerError("rds:X", "AccessDenied", "no"))
    with pytest.raises(AnswerError):
        clock.patience(60).wait("it", look)


def test_who_is_told_to_stop_stops_within_a_second() -> None:
    clock = Clock()

    def stop() -> None:
        if clock.naps >= 2:
            message = "stop"
            raise InterruptedError(message)

    patience = Patience(NOW + timedelta(hours=1), stop, 5.0, lambda: clock.now, clock.sleep)
    with pytest.raises(InterruptedError):
        patience.wait("it", lambda: None)
    assert clock.now - NOW == timedelta(seconds=2)
