"""Whatever goes in, a name is a label, and two things never share one."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.names import attempt_job_name, recover_job_name, run_name, run_now_name, task_job_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
ANY = st.text(max_size=100)
RUNS = st.one_of(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True), ANY)
# Long, and different only where cutting would lose it.
LONG = st.builds(lambda head, tail: "d" * head + tail, st.integers(30, 250), st.text("ab.-", max_size=4))
SLOTS = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them naive


def assert_label(name: str, limit: int) -> None:
    assert len(name) <= limit
    assert LABEL.fullmatch(name), name


@given(ANY, SLOTS, ANY, ANY, ANY)
def test_every_run_has_a_label_that_leaves_room(
    database: str, slot: datetime, policy: str, schedule: str, uid: str
) -> None:
    assert_label(run_name(database, slot, policy, schedule, uid), 57)
    assert_label(run_now_name(database, policy, uid, schedule), 57)


@given(RUNS, st.integers(0, 9999))
def test_every_job_has_a_label(run: str, number: int) -> None:
    assert_label(attempt_job_name(run, number), 63)
    assert_label(recover_job_name(run, number), 63)
    assert_label(task_job_name(run, run, run), 63)


@given(st.lists(st.tuples(RUNS | LONG, st.integers(1, 200)), unique=True, min_size=2, max_size=20))
def test_no_two_attempts_share_a_job(attempts: list[tuple[str, int]]) -> None:
    names = [attempt_job_name(run, number) for run, number in attempts]
    names += [recover_job_name(run, number) for run, number in attempts]
    assert len(set(names)) == len(names)


@given(st.lists(st.tuples(LONG, LONG, LONG), unique=True, min_size=2, max_size=20))
def test_no_two_tasks_share_a_job(tasks: list[tuple[str, str, str]]) -> None:
    assert len({task_job_name(*task) for task in tasks}) == len(tasks)


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_moving_a_border_makes_another_name(one: str, two: str, three: str) -> None:
    if two:
        assert run_now_name("db", one + two, three, "t") != run_now_name("db", one, two + three, "t")
