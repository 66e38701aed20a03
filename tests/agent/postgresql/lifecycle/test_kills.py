"""The agent is killed at any moment, under load, and what it was doing is finished by the next one: no row is lost.

The long form, with ten million rows, is `tests/soak/test_lifecycle.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.api.targets import S3Target
from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.lifecyclekills import Agents, Kills, Load, open_agents, run_with_kills
from support.lifecycling import Keeper, prepare, result_of, rule
from support.pgserver import Server
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

pytestmark = pytest.mark.servers
ROWS = 200_000
KILLS = 20
BRIEF = Kills(0, KILLS, 0.9, {"rows": 200, "target_milliseconds": 20, "pause_milliseconds": 2})
# So few rows would be gone before the first kill.
SLOW = {"rows": 200, "target_milliseconds": 2, "pause_milliseconds": 100}


@pytest.fixture
def agents() -> Iterator[Agents]:
    """For one test."""
    with open_agents() as made:
        yield made


@pytest.fixture(params=["volume", "bucket"])
def large(request: pytest.FixtureRequest, rule_servers: Callable[[int], Server], tmp_path: Path) -> Keeper:
    """Many orders, and a pod with a volume or a bucket for storage."""
    server = rule_servers(17)
    prepare(server, ROWS)
    place, store, key = Workplace(tmp_path / "pod"), None, make_age_key(tmp_path)
    if request.param == "bucket":
        weed: Seaweed = request.getfixturevalue("weed")
        bucket = weed.bucket()
        target: S3Target = weed.target(bucket)
        place.s3, store = target, weed.store(bucket)
        place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    return Keeper(server, place, key, store=store)


def test_not_one_row_is_lost_when_the_agent_is_killed_at_any_moment_under_load(large: Keeper, agents: Agents) -> None:
    before = large.ids()
    asked = rule(action=ActionType.ARCHIVE, older_than_seconds=20 * 86400, where=None)
    approved = large.look(asked).plan_hash
    large.runs += 1
    load = Load(large, ROWS)
    with load.at_work():
        ran, met = run_with_kills(agents, large, replace(BRIEF, seed=11), asked, approved=approved)
    assert met == KILLS, "the run was over before it was killed often enough: give it more rows"
    assert load.changes > 100
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    outcome = result_of(ran).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    rows, left = large.archive().rows(), large.ids()
    assert set(rows) | left == before
    # A row that is there still may lie in a part that a kill cut off: the table has the word.
    gone = before - left
    known = {row: value for row, value in load.known.items() if row in gone}
    assert known
    assert {row: rows[row]["customer"] for row in known} == known
    assert large.sql("SELECT count(*) FROM orders WHERE created_at < '2026-02-09 12:00Z'") == [(0,)]
    assert outcome.deleted <= len(gone) <= outcome.archived


def test_deletes_and_limits_stand_across_kills(
    rule_servers: Callable[[int], Server], tmp_path: Path, agents: Agents
) -> None:
    server = rule_servers(17)
    prepare(server, ROWS)
    keeper = Keeper(server, Workplace(tmp_path / "pod"))
    asked = rule(where=None, older_than_seconds=20 * 86400, limits={"max_rows_per_run": 40_000})
    approved = keeper.look(asked).plan_hash
    keeper.runs += 1
    before = keeper.ids()
    ran, met = run_with_kills(agents, keeper, replace(BRIEF, seed=5, batch=SLOW), asked, approved=approved)
    assert met > 0, "the run was over before it was killed"
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    gone = before - keeper.ids()
    assert 0 < len(gone) <= 40_000
    young = {int(row[0]) for row in keeper.sql("SELECT id FROM orders WHERE created_at >= '2026-02-09 12:00Z'")}
    assert len(young) == sum(1 for row in before if row % 200 <= 19)
    assert result_of(ran).outcomes[0].deleted <= len(gone)
