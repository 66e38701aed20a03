"""The agent is killed at any moment, under load, and what it was doing is finished by the next one: no row is lost.

The same on PostgreSQL, with a bucket too, is `tests/agent/postgresql/lifecycle/test_kills.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.lifecyclekills import Agents, Kills, Load, open_agents, run_with_kills
from support.mariaserver import MariaServer
from support.mysqllifecycling import MariaKeeper, prepare
from support.rulekeeping import result_of, rule

pytestmark = pytest.mark.servers
ROWS = 100_000
KILLS = 12
BRIEF = Kills(0, KILLS, 0.9, {"rows": 200, "target_milliseconds": 20, "pause_milliseconds": 2})


@pytest.fixture
def agents() -> Iterator[Agents]:
    """For one test."""
    with open_agents() as made:
        yield made


@pytest.fixture
def large(maria_server: MariaServer, tmp_path: Path) -> MariaKeeper:
    """Many orders, and a pod with a volume for storage."""
    keeper = MariaKeeper(maria_server, Workplace(tmp_path / "pod"), make_age_key(tmp_path))
    prepare(maria_server, keeper.numbers(ROWS))
    return keeper


def test_not_one_row_is_lost_when_the_agent_is_killed_at_any_moment_under_load(
    large: MariaKeeper, agents: Agents
) -> None:
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
    assert large.sql("SELECT count(*) FROM orders WHERE created_at < '2026-02-09 12:00'") == [(0,)]
    assert outcome.deleted <= len(gone) <= outcome.archived


def test_deletes_and_limits_stand_across_kills(large: MariaKeeper, agents: Agents) -> None:
    asked = rule(where=None, older_than_seconds=20 * 86400, limits={"max_rows_per_run": 40_000})
    approved = large.look(asked).plan_hash
    large.runs += 1
    before = large.ids()
    ran, met = run_with_kills(agents, large, replace(BRIEF, seed=5), asked, approved=approved)
    assert met > 0
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    left = large.ids()
    # What was granted when an attempt was killed counts as used up.
    assert result_of(ran).outcomes[0].deleted <= len(before - left) <= 40_000
    assert {one for one in before if one % 200 <= 19} <= left
    again = large.carry_out(asked)["old-orders"]
    assert (again.state, again.deleted) == (RuleState.LIMITED, 40_000)
    assert len(left - large.ids()) == 40_000
