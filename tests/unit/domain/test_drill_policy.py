"""When a RestoreDrill wants a database drilled, what else asks for one, and which old runs go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.databasestatus import DrillCursor, PolicyCursor
from databosun.api.v1alpha1.restoredrill import HistoryLimits, RestoreDrillSpec
from databosun.domain.database import RunOrder
from databosun.domain.drillpolicy import (
    PastDrill,
    TriggerFacts,
    beyond_history,
    cause_of,
    create_drill_run,
    cursor_of,
    effective_drill,
)
from databosun.domain.errors import UserFault
from databosun.domain.requests import Named

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATABASE, DRILL = Named("shop", "orders", "db-uid"), Named("shop", "weekly", "drill-uid")


def spec(**more: Any) -> RestoreDrillSpec:
    return RestoreDrillSpec.model_validate({"databaseRef": {"name": "orders"}, **more})


def entry(**more: Any) -> DrillCursor:
    return DrillCursor(name="weekly", uid="drill-uid", **more)


@pytest.mark.parametrize(("tier", "days"), [(1, 7), (2, 7), (3, 31), (4, 92)])
def test_without_a_schedule_the_tier_says_how_often(tier: int, days: int) -> None:
    effective = effective_drill(spec(), tier)
    assert effective.interval(NOW) == timedelta(days=days)
    assert effective.jitter == timedelta(hours=1)


def test_a_schedule_of_its_own_starts_on_the_dot() -> None:
    effective = effective_drill(spec(schedule={"cron": "0 4 * * *", "timeZone": "Europe/Berlin"}), 1)
    assert (effective.zone, effective.jitter) == ("Europe/Berlin", timedelta(0))


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"schedule": {"cron": "0 0 31 2 *"}}, "spec.schedule.cron"),
        ({"schedule": {"cron": "0 0 * * *", "timeZone": "Nowhere"}}, "spec.schedule.timeZone"),
        ({"schedule": {"cron": "0 0 * * *", "jitter": "13h"}}, "spec.schedule.jitter"),
        ({"deadline": "99999d"}, "spec.deadline"),
    ],
)
def test_what_cannot_be_carried_out_is_named(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(UserFault, match=path):
        effective_drill(spec(**wrong), 1)


def test_so_many_backups_ask_for_a_drill_and_more_of_them_for_the_same_one() -> None:
    every = spec(trigger={"everyNBackups": 3})
    assert cause_of(every, TriggerFacts(["a", "b"], "18.1", entry(), EngineName.POSTGRESQL)) is None
    third = cause_of(every, TriggerFacts(["a", "b", "c"], "18.1", entry(), EngineName.POSTGRESQL))
    assert third is not None
    assert third == cause_of(every, TriggerFacts(["a", "b", "c", "d"], "18.1", entry(), EngineName.POSTGRESQL))


def test_another_major_version_asks_for_a_drill_a_minor_one_does_not() -> None:
    upgrade = spec(trigger={"onEngineUpgrade": True})
    assert (
        cause_of(upgrade, TriggerFacts((), "18.1", entry(engine_version="17.9"), EngineName.POSTGRESQL))
        == "upgrade from 17 to 18"
    )
    maria = entry(engine_version="10.6.20")
    assert cause_of(upgrade, TriggerFacts((), "10.11.2", maria, EngineName.MARIADB)) == "upgrade from 10.6 to 10.11"
    assert cause_of(upgrade, TriggerFacts((), "18.2", entry(engine_version="18.1"), EngineName.POSTGRESQL)) is None
    assert cause_of(upgrade, TriggerFacts((), "18.1", None, EngineName.POSTGRESQL)) is None
    assert cause_of(spec(), TriggerFacts((), "18.1", entry(engine_version="17.9"), EngineName.POSTGRESQL)) is None


def test_the_version_is_taken_over_at_first_sight_and_when_a_drill_answers_it() -> None:
    known = PolicyCursor(name="weekly", uid="drill-uid")
    first = cursor_of(known, None, "17.9", 0, answered=False)
    assert (first.engine_version, first.runs) == ("17.9", 0)
    assert cursor_of(known, first, "18.1", 0, answered=False).engine_version == "17.9"
    after = cursor_of(known, first, "18.1", 1, answered=True)
    assert (after.engine_version, after.runs) == ("18.1", 1)


def test_a_run_goes_with_its_drill_and_every_so_many_damage_a_copy() -> None:
    control = spec(negativeControl={"everyNRuns": 3})
    order = RunOrder("orders-2603010400-abcde", effective_drill(control, 1).schedules[0].type, "drill", NOW)
    made = [create_drill_run(DATABASE, DRILL, control, order, entry(runs=runs)) for runs in range(6)]
    assert [one.spec.get("negativeControl", False) for one in made] == [False, False, True] * 2
    assert made[0].owner is not None
    assert made[0].owner.uid == "drill-uid"
    assert made[0].spec["scheduledFor"] == "2026-03-01T00:00:00Z"


def past(number: int, *, passed: bool = True, database: str = "db") -> PastDrill:
    return PastDrill(f"r{number}", database, NOW + timedelta(days=number), passed)


def test_history_keeps_the_newest_of_each_sort_for_each_database() -> None:
    runs = [past(1), past(2), past(3), past(4, passed=False), past(5, passed=False), past(6, database="other")]
    assert beyond_history(runs, HistoryLimits(passed=2, others=1)) == ("r1", "r4")


def test_the_newest_run_always_stays() -> None:
    assert beyond_history([past(1), past(2)], HistoryLimits(passed=1, others=1)) == ("r1",)
