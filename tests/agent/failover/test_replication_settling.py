"""What is left of a move of MariaDB or MySQL is put in order, told as it is, and nobody else's work is undone."""

from __future__ import annotations

from pathlib import Path

import pymysql
import pytest

from databosun.api.failover import FailoverPlan, FailoverStep
from databosun.engines.base import Credentials
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.words import Words
from support.failoverjob import RUN, why
from support.mariafailover import MOVER, MOVER_PASSWORD, SCHEMA, MariaFailoverYard
from support.mariaserver import MariaServer
from support.waiting import eventually

pytestmark = pytest.mark.servers


def test_a_move_after_which_the_old_primary_cannot_follow_is_settled_once_it_can(
    replicated: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replicated.job(tmp_path)
    plan = job.plan()
    follow = Words.follow

    def refused(words: Words, connection: object, source: Place, *login: object) -> None:
        if str(source) == plan.candidate:
            raise pymysql.OperationalError(3056, "the password is too long")
        follow(words, connection, source, *login)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr("databosun.agent.tasks.failover.SETTLE_SECONDS", 0.5)
        broken.setattr("databosun.agent.failovers.drive.SETTLE_SECONDS", 0.5)
        broken.setattr(Words, "follow", refused)
        found = job.switch(plan, rejoin_seconds=2.0)
        assert not found.settled
        _says_who_leads(found.notes, plan)
        again = job.run(FailoverStep.SETTLE, plan).failover
        assert again
        assert not again.settled
        _says_who_leads(again.notes, plan)
    assert replicated.read_only() == [True, False, True]
    assert replicated.nodes[1].sql(f"SELECT candidate FROM {SCHEMA}.moves_{RUN}") == [(plan.candidate,)]
    done = job.run(FailoverStep.SETTLE, plan).failover
    assert done
    assert done.settled, why(done)
    for node in (replicated.nodes[0], replicated.nodes[2]):
        replicated.nodes[1].wait_for(node)
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


def _says_who_leads(notes: list[str], plan: FailoverPlan) -> None:
    said = " ".join(notes)
    assert f"{plan.candidate} is the primary" in said
    assert "was not promoted" not in said
    assert f"`moves_{RUN}` at the primary stays" in said


@pytest.mark.parametrize("marked", [True, False])
def test_of_a_candidate_that_takes_writes_it_is_never_said_that_it_was_not_promoted(
    maria: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: bool
) -> None:
    monkeypatch.setattr("databosun.agent.tasks.failover.SETTLE_SECONDS", 0.5)
    job = maria.job(tmp_path)
    plan = job.plan()
    if marked:
        maria.mark(plan)
    maria.nodes[0].kill()
    maria.nodes[1].sql("STOP SLAVE;\nRESET SLAVE ALL;\nSET GLOBAL read_only = 0")
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert not found.settled
    assert f"{plan.candidate} is the primary; {plan.primary} must not take writes when it is back" in found.notes[1]
    assert _source(maria, 2) == maria.name(1 if marked else 0)  # what no run of ours wrote down is left alone


@pytest.mark.parametrize("how", ["both follow another one", "another one takes writes"])
def test_what_somebody_else_has_seen_to_since_is_left_as_it_is_and_told(
    replicated: MariaFailoverYard, tmp_path: Path, how: str
) -> None:
    job = replicated.job(tmp_path)
    plan = job.plan()
    old, new, third = replicated.nodes
    _move(replicated, plan)
    third.sql(f"{replicated.words.stop};\n{replicated.words.forget};\nSET GLOBAL read_only = 0")
    if how == "both follow another one":  # else by somebody who has come no further yet
        new.sql("SET GLOBAL read_only = 1")
        for node in (old, new):
            _follow(replicated, node, 2)
    before = replicated.read_only(), [_source(replicated, number) for number in range(3)]
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert not found.settled
    expected = {
        "both follow another one": f"{plan.primary} follows {replicated.name(2)}, and {plan.candidate} follows "
        f"{replicated.name(2)}: somebody else saw to that since, so nothing was changed",
        "another one takes writes": f"{replicated.name(2)} takes writes and follows nobody: it leads by now",
    }
    assert expected[how] in found.message
    assert (replicated.read_only(), [_source(replicated, number) for number in range(3)]) == before


def test_where_the_old_primary_is_away_and_another_one_leads_that_is_said(
    maria: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("databosun.agent.tasks.failover.SETTLE_SECONDS", 0.5)
    job = maria.job(tmp_path)
    plan = job.plan()
    maria.mark(plan)
    maria.nodes[0].kill()
    maria.nodes[2].sql("STOP SLAVE;\nRESET SLAVE ALL;\nSET GLOBAL read_only = 0")
    _follow(maria, maria.nodes[1], 2)
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert found.notes[1].startswith(f"{maria.name(2)} takes writes and follows nobody: it leads by now")
    assert _source(maria, 1) == maria.name(2)


def _move(yard: MariaFailoverYard, plan: FailoverPlan) -> None:
    """And be lost before anything is cleaned up."""
    with yard.provider() as provider:
        provider.prepare_probe()
        for node in yard.nodes[1:]:
            yard.nodes[0].wait_for(node)
        provider.move(plan, lambda: None)
    yard.nodes[1].sql("CREATE DATABASE moved")
    for node in (yard.nodes[0], yard.nodes[2]):
        yard.nodes[1].wait_for(node)


def _follow(yard: MariaFailoverYard, node: MariaServer, source: int) -> None:
    """As an administrator has it."""
    node.sql(f"{yard.words.stop};\n{yard.words.forget}")
    with node.connect() as connection:
        login = Credentials(MOVER, MOVER_PASSWORD)
        yard.words.follow(connection, Place.parse(yard.name(source)), login, yard.database.tls)


def _source(yard: MariaFailoverYard, number: int) -> str | None:
    """Whom it follows."""
    if not yard.nodes[number].runs:
        return None
    with yard.nodes[number].connect() as connection:
        following = yard.words.ask(connection).following
    return str(following.source) if following else None
