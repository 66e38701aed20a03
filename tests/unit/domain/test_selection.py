"""Which backup is read: by name, by age, by chance that can be repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.proving import TargetPoint
from databosun.api.v1alpha1.restoredrill import SelectFrom
from databosun.domain.selection import (
    Candidate,
    before,
    chain_bytes,
    chain_of,
    choose,
    chosen,
    instant_between,
    within,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def backup(number: int, parent: str | None = None, lsn: str | None = None) -> Candidate:
    at = START + timedelta(days=number)
    return Candidate(
        f"b{number}", "orders", at, at, f"sum{number}", stored_bytes=10 * (number + 1), parent=parent, end_lsn=lsn
    )


FIVE = [backup(number) for number in range(5)]


@pytest.mark.parametrize(("how", "name"), [(SelectFrom.LATEST, "b4"), (SelectFrom.OLDEST, "b0")])
def test_latest_and_oldest_go_by_the_instant_that_a_backup_shows(how: SelectFrom, name: str) -> None:
    found = choose(list(reversed(FIVE)), how, "seed")
    assert found is not None
    assert found.name == name


def test_one_seed_always_draws_the_same_and_many_seeds_draw_all() -> None:
    drawn = {seed: choose(FIVE, SelectFrom.RANDOM, str(seed)) for seed in range(200)}
    assert drawn == {seed: choose(list(reversed(FIVE)), SelectFrom.RANDOM, str(seed)) for seed in range(200)}
    assert {one.name for one in drawn.values() if one is not None} == {one.name for one in FIVE}


@pytest.mark.parametrize("how", list(SelectFrom))
def test_of_nothing_nothing_is_chosen(how: SelectFrom) -> None:
    assert choose([], how, "seed") is None


def test_a_restore_tries_the_newest_that_does_not_lie_behind_the_point() -> None:
    assert [one.name for one in before(FIVE, START + timedelta(days=2, hours=5))] == ["b2", "b1", "b0"]
    assert [one.name for one in before(FIVE, None)] == ["b4", "b3", "b2", "b1", "b0"]
    assert before(FIVE, START - timedelta(seconds=1)) == ()


def test_where_a_chain_holds_the_log_a_time_is_reached_by_the_first_that_ends_behind_it() -> None:
    def of(engine: EngineName) -> dict[str, Candidate]:
        chain = [backup(0), backup(1, "b0"), backup(2, "b1"), backup(3), backup(4, "b3")]
        kinds = [BackupType.INCREMENTAL if one.parent else BackupType.FULL for one in chain]
        return {one.name: replace(one, engine=engine, type=kind) for one, kind in zip(chain, kinds, strict=True)}

    known = of(EngineName.MONGODB)
    half = START + timedelta(days=1, hours=12)
    assert [one.name for one in within(known, half)] == ["b2"]
    assert [one.name for one in within(known, START + timedelta(hours=1))] == ["b1", "b2"]
    assert [one.name for one in within(known, START + timedelta(days=3, hours=1))] == ["b4"]
    assert within(known, START + timedelta(days=2, hours=1)) == ()  # between two chains
    assert within(known, START + timedelta(days=5)) == ()
    without_base = {name: one for name, one in known.items() if name != "b0"}
    assert within(without_base, half) == ()
    assert within(of(EngineName.MARIADB), half) == ()


def test_a_backup_that_ends_after_a_position_lies_behind_it() -> None:
    def at(lsn: str) -> TargetPoint:
        return TargetPoint(kind=PointKind.LSN, lsn=lsn)

    assert backup(0, lsn="1/0").behind(at("0/FFFFFFFF"))
    assert not backup(0, lsn="0/3000148").behind(at("0/3000148"))
    assert not backup(0).behind(at("0/1"))


def test_a_backup_that_holds_a_transaction_lies_behind_it() -> None:
    held = replace(backup(0), gtid="0-1-12,3-2-4")
    found = {
        gtid: held.behind(TargetPoint(kind=PointKind.GTID, name=gtid))
        for gtid in ("0-1-11", "0-1-12", "0-1-13", "3-1-4", "3-1-5", "7-1-1")
    }
    assert [gtid for gtid, behind in found.items() if behind] == ["0-1-11", "0-1-12", "3-1-4"]
    assert not backup(0).behind(TargetPoint(kind=PointKind.GTID, name="0-1-1"))


def test_what_is_written_down_counts_the_whole_chain() -> None:
    chain = {one.name: one for one in (backup(0), backup(1, "b0"), backup(2, "b1"))}
    assert [one.name for one in chain_of("b2", chain)] == ["b2", "b1", "b0"]
    picked = chosen(chain["b2"], chain, START)
    assert (picked.restore_bytes, picked.checksum, picked.resolved_at) == (60, "sum2", START)


def test_records_that_name_each_other_end_the_walk() -> None:
    circle = {one.name: one for one in (backup(0, "b1"), backup(1, "b0"))}
    assert len(chain_of("b0", circle)) == 2
    assert chain_bytes("b0", {"b0": ("b1", 1), "b1": ("b0", 2)}) == 3


def test_a_random_instant_lies_in_the_window_and_is_the_same_for_one_seed() -> None:
    for seed in map(str, range(100)):
        found = instant_between(seed, START, START + timedelta(hours=1))
        assert START <= found <= START + timedelta(hours=1)
        assert found == instant_between(seed, START, START + timedelta(hours=1))
    assert instant_between("any", START, START) == START
