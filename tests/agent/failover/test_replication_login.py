"""The login by which the old primary of MariaDB or MySQL is to follow is tried before anything is moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from databosun.api.failover import FailoverStep, FailoverVerdict, GuardResult
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.base import Credentials
from databosun.engines.mysql.failover.facts import Place
from support.failoverjob import FailoverJob, why
from support.mariafailover import MariaFailoverYard

pytestmark = pytest.mark.servers

LOGIN = "follower"
KEYS = "replicationUsername and replicationPassword (else username and password) of spec.credentialsSecretRef"


def test_a_password_that_is_mistyped_is_found_before_anything_is_moved(
    replicated: MariaFailoverYard, tmp_path: Path
) -> None:
    _let(replicated, LOGIN, "f0llows")
    found = _job(replicated, tmp_path, "mistyped").switch()
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, "GuardFailed"), why(found)
    assert "guard replicationLogin" in found.message
    assert replicated.read_only() == [False, True, True]
    assert replicated.leftovers() == []
    (guard,) = [one for one in found.guards if not one.ok]
    assert f"Access denied for user '{LOGIN}'" in guard.observed
    assert f"put a login into {KEYS} that {replicated.name(0)} lets in" in (guard.message or "")


def test_one_that_only_the_candidate_does_not_let_in_is_found(maria: MariaFailoverYard, tmp_path: Path) -> None:
    _let(maria, LOGIN, "f0llows")
    maria.nodes[1].sql(f"SET SESSION sql_log_bin = 0;\nALTER USER {LOGIN}@'%' ACCOUNT LOCK")
    assert maria.name(1) in _refused(maria, tmp_path, "f0llows").observed


def test_one_that_may_not_follow_is_named_with_what_to_grant(replicated: MariaFailoverYard, tmp_path: Path) -> None:
    _let(replicated, LOGIN, "f0llows", grant="SELECT")
    guard = _refused(replicated, tmp_path, "f0llows")
    assert guard.observed == f"{replicated.name(0)}: lacks REPLICATION SLAVE"
    assert guard.message == f"GRANT REPLICATION SLAVE ON *.* TO '{LOGIN}'@'%';"


@pytest.mark.parametrize("letter", ["k", "\u00e4"])
def test_a_password_that_no_replica_may_be_told_is_refused(
    replicated: MariaFailoverYard, tmp_path: Path, letter: str
) -> None:
    """The bound is that of the servers themselves, which count bytes."""
    longest = replicated.words.longest
    held = letter * (longest // len(letter.encode()))
    words, source = replicated.words, Place.parse(replicated.name(0))
    replicated.nodes[2].sql(words.stop)
    with replicated.nodes[2].connect() as connection:
        words.follow(connection, source, Credentials(LOGIN, held), replicated.database.tls)
    guard = _refused(replicated, tmp_path, f"{held}k")
    assert guard.observed == f"the password of {LOGIN} is longer"
    assert guard.limit == f"REPLICATION SLAVE, and a password of at most {longest} bytes"


def test_a_login_of_its_own_does(replicated: MariaFailoverYard, tmp_path: Path) -> None:
    _let(replicated, LOGIN, "f0llows")
    found = _job(replicated, tmp_path, "f0llows").switch()
    assert (found.verdict, found.settled) == (FailoverVerdict.PASSED, True), why(found)
    assert next(one for one in found.guards if one.name == "replicationLogin").ok
    asked = {EngineName.MARIADB: "SHOW ALL SLAVES STATUS", EngineName.MYSQL: "SHOW REPLICA STATUS"}
    assert LOGIN in replicated.nodes[0].sql(asked[replicated.engine])[0]


def _let(yard: MariaFailoverYard, user: str, password: str, grant: str = "REPLICATION SLAVE") -> None:
    yard.nodes[0].sql(f"CREATE USER {user}@'%' IDENTIFIED BY '{password}';\nGRANT {grant} ON *.* TO {user}@'%'")
    for node in yard.nodes[1:]:
        yard.nodes[0].wait_for(node)


def _job(yard: MariaFailoverYard, folder: Path, password: str) -> FailoverJob:
    return yard.job(folder, replicationUsername=LOGIN, replicationPassword=password)


def _refused(yard: MariaFailoverYard, folder: Path, password: str) -> GuardResult:
    """The guard, which does not hold."""
    found = _job(yard, folder, password).run(FailoverStep.DISCOVER).failover
    assert found
    (guard,) = [one for one in found.guards if one.name == "replicationLogin"]
    assert not guard.ok
    return guard
