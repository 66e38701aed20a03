"""A replication group of MySQL: it hands over without a loss, elects where its primary is killed, and is left alone
where it could not do without one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode, FailoverResult, FailoverStep, FailoverVerdict
from databosun.engines.mysql.failover import group as provider_of_groups
from databosun.engines.mysql.failover.group import GroupProvider
from support.failoverjob import LONG, why
from support.mariafailover import MOVER, SCHEMA
from support.mysqlgroup import MEMBERS, ROLE, MySQLGroup
from support.mysqlserver import mysql_bin
from support.waiting import eventually

pytestmark = pytest.mark.servers

HANDS_OVER_SECONDS = 15
"""So long it is seen at it at least, where somebody has something in hand."""


@pytest.fixture(scope="module")
def made() -> Iterator[MySQLGroup]:
    """One group of all tests."""
    mysql_bin()  # skipped where there is none
    yard = MySQLGroup()
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()


@pytest.fixture
def group(made: MySQLGroup) -> Iterator[MySQLGroup]:
    """Whole, and made whole after."""
    made.whole()
    yield made
    made.mend()


def test_a_group_hands_over_without_a_loss(group: MySQLGroup, tmp_path: Path) -> None:
    job = group.job(tmp_path)
    plan = job.plan()
    assert group.leftovers() == []  # looking makes nothing
    found = job.switch(plan, rate=50.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.unexplained) == (0, 0, 0, 0)
    assert (measured.split_brain, found.settled) == ([], True)
    assert measured.acknowledged == len(job.acknowledged()) > 0
    assert group.name(group.leader) == plan.candidate == found.candidate
    assert found.topology
    assert found.topology.synchronous == "Group Replication, consistency BEFORE_ON_PRIMARY_FAILOVER"
    assert [one.lag_seconds is not None for one in found.topology.members] == [True] * 3
    group.level()
    assert group.leftovers() == []


def test_a_killed_primary_costs_no_acknowledged_write_and_joins_again(group: MySQLGroup, tmp_path: Path) -> None:
    job, old = group.job(tmp_path, FailoverMode.FORCED_FAILOVER), group.leader
    plan = job.plan()

    def come_back() -> None:
        """Once the group has given it up: one that is back before may not be let in, and gives up."""
        others = [node for number, node in enumerate(group.nodes) if number != old]
        eventually("another one is primary", lambda: [("PRIMARY",)] in [node.sql(ROLE) for node in others], LONG)
        group.nodes[old].start()

    def operator(asked: ActAsked) -> ActAnswer:
        assert asked.member == group.name(old)
        group.be_patient(0)
        group.nodes[old].kill()
        threading.Thread(target=come_back, daemon=True).start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    job.operator = operator
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.split_brain) == (0, 0, 0, [])
    assert measured.write_downtime_seconds is not None
    assert measured.write_downtime_seconds > 1.0
    assert measured.rejoin_seconds is not None
    assert found.settled
    assert found.candidate == plan.candidate == group.name(group.leader)  # whom it would elect is known before
    group.level()
    assert group.leftovers() == []


@pytest.mark.parametrize("mode", [FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER])
def test_a_group_that_has_lost_a_member_is_left_alone(group: MySQLGroup, tmp_path: Path, mode: FailoverMode) -> None:
    away, before = group.led[1], group.leader
    job = group.job(tmp_path, mode)
    plan = job.plan()
    group.nodes[away].sql("STOP GROUP_REPLICATION")
    eventually("the others know", lambda: len(group.nodes[before].sql(MEMBERS)) == 2)
    failing = _failing(job.run(FailoverStep.DISCOVER).failover)
    assert f"{group.name(away)} is not in the primary's group" in failing["membersReachable"]
    assert ("majorityLeft" in failing) == (mode is FailoverMode.FORCED_FAILOVER)
    found = job.switch(plan)
    assert (found.verdict, found.reason, found.ordered_at) == (FailoverVerdict.REFUSED, "GuardFailed", None), why(found)
    assert group.leader == before


def test_a_member_that_is_not_online_is_waited_for(group: MySQLGroup, tmp_path: Path) -> None:
    """It catches up with what it missed, and cannot, for its donors let it in no more."""
    away = group.led[1]
    group.nodes[away].sql("STOP GROUP_REPLICATION")
    primary = group.nodes[group.leader]
    primary.sql("CREATE DATABASE missed;\nDROP DATABASE missed")
    group.let_in(group.nodes[away], "wrong")
    group.nodes[away].sql("START GROUP_REPLICATION")
    failing = _failing(group.job(tmp_path).run(FailoverStep.DISCOVER).failover)
    assert f"{group.name(away)} is RECOVERING" in failing["membersOnline"]


def test_a_group_in_which_all_take_writes_is_refused(group: MySQLGroup, tmp_path: Path) -> None:
    before = group.leader
    uuid = group.nodes[before].sql("SELECT @@server_uuid")[0][0]
    group.nodes[before].sql("SELECT group_replication_switch_to_multi_primary_mode()")
    try:
        eventually("all lead", lambda: all(node.sql(ROLE) == [("PRIMARY",)] for node in group.nodes))
        failing = _failing(group.job(tmp_path).run(FailoverStep.DISCOVER).failover)
    finally:
        group.nodes[before].sql(f"SELECT group_replication_switch_to_single_primary_mode('{uuid}')")
    assert "is in multi-primary mode" in failing["singlePrimary"]
    assert "none" not in failing["onePrimary"]


def test_what_somebody_has_in_hand_is_not_cut_off(
    group: MySQLGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_of_groups, "OPEN_SECONDS", 1)
    before = group.leader
    busy = group.nodes[before].connect()
    busy.begin()
    with busy.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM mysql.user")
        job = group.job(tmp_path)
        failing: dict[str, str] = {}

        def noticed() -> bool:
            failing.update(_failing(job.run(FailoverStep.DISCOVER).failover))
            return bool(failing)

        eventually("it is open for long", noticed)
        assert failing == {"noLongTransactions": f"sessions {busy.thread_id()}"}
        cursor.execute("SELECT 1")  # and it is there still
    busy.close()


def test_an_agent_that_is_killed_while_the_group_hands_over_leaves_one_that_takes_writes(
    group: MySQLGroup, tmp_path: Path
) -> None:
    """The group goes on by itself, and settling waits for that."""
    job, old = group.job(tmp_path), group.leader
    plan = job.plan()
    agent = job.start(
        plan, before=GroupProvider.move, settings={f"{provider_of_groups.__name__}:OPEN_SECONDS": HANDS_OVER_SECONDS}
    )
    job.await_hold(agent)
    primary = group.nodes[old]
    busy = primary.connect()
    busy.begin()  # the group waits for it
    with busy.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {SCHEMA}.writes_5f7c0b1e")
    job.go()
    ordered = f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{MOVER}' AND INFO LIKE 'SELECT group_repl%'"
    eventually("it hands over", lambda: bool(primary.sql(ordered)))
    agent.kill()
    agent.wait()
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert (found.verdict, found.settled) == (FailoverVerdict.INCONCLUSIVE, True), why(found)
    assert not primary.sql(ordered)
    with pytest.raises(pymysql.MySQLError), busy.cursor() as cursor:  # it was ended, and the group handed over
        cursor.execute("SELECT 1")
    assert group.name(group.leader) == plan.candidate
    group.nodes[group.leader].sql("CREATE DATABASE written;\nDROP DATABASE written")
    group.level()
    assert group.leftovers() == []


def test_a_group_that_does_not_hand_over_is_said_to_have_not(
    group: MySQLGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = group.leader
    job = group.job(tmp_path)
    plan = job.plan()
    monkeypatch.setattr(provider_of_groups, "MOVE", "SELECT group_replication_set_as_primary(CONCAT(%s, 'x'), %s)")
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "SwitchFailed"), why(found)
    assert f"{plan.primary} was told to hand over to {plan.candidate}, which is not the primary" in found.message
    assert found.settled
    assert group.leader == before


def test_where_the_answer_is_lost_it_is_looked_who_leads(
    group: MySQLGroup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = group.job(tmp_path).plan()
    asked = provider_of_groups.rows

    def cut_off(*given: object) -> object:
        asked(*given)  # type: ignore[arg-type]
        raise pymysql.OperationalError(2013, "Lost connection to server during query")

    monkeypatch.setattr(provider_of_groups, "rows", cut_off)
    with group.provider() as provider:
        assert provider.move(plan, lambda: None) == plan.candidate
    assert group.name(group.leader) == plan.candidate


def test_a_login_that_may_too_little_is_named_with_what_to_grant(group: MySQLGroup, tmp_path: Path) -> None:
    primary = group.nodes[group.leader]
    primary.sql(f"REVOKE GROUP_REPLICATION_ADMIN ON *.* FROM {MOVER}@'%'")
    primary.sql(f"REVOKE INSERT ON `{SCHEMA}`.* FROM probe@'%'")
    group.level()
    found = group.job(tmp_path).run(FailoverStep.DISCOVER).failover
    primary.sql(f"GRANT GROUP_REPLICATION_ADMIN ON *.* TO {MOVER}@'%'")
    primary.sql(f"GRANT INSERT ON `{SCHEMA}`.* TO probe@'%'")
    assert found
    failing = {one.name: one.message for one in found.guards if not one.ok}
    assert failing == {
        "grants": f"GRANT GROUP_REPLICATION_ADMIN ON *.* TO '{MOVER}'@'%';",
        "probeWritable": f"GRANT SELECT, INSERT, CREATE, DROP ON `{SCHEMA}`.* TO 'probe'@'%';",
    }


def test_a_login_that_may_not_read_of_the_group_is_told_what_to_grant(group: MySQLGroup, tmp_path: Path) -> None:
    primary = group.nodes[group.leader]
    primary.sql(f"REVOKE SELECT ON performance_schema.* FROM {MOVER}@'%'")
    group.level()
    result = group.job(tmp_path).run(FailoverStep.DISCOVER)
    primary.sql(f"GRANT SELECT ON performance_schema.* TO {MOVER}@'%'")
    assert result.failover is None
    assert "GRANT SELECT ON performance_schema.*" in result.message


def _failing(found: FailoverResult | None) -> dict[str, str]:
    """Guards that do not hold, and what was found."""
    assert found
    return {one.name: one.observed for one in found.guards if not one.ok}
