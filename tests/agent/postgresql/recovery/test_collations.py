"""Where texts sort otherwise than on the original, nobody is told that indexes are right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from databosun.api.drill import CheckOutcome, Verdict
from databosun.api.restoretasks import RestoreTask
from databosun.api.result import Outcome
from support.agentrun import backup_task
from support.pgsample import ROLES
from support.pgserver import Server
from support.recoveryyard import Yard, drilled

pytestmark = pytest.mark.servers


@pytest.fixture
def elsewhere(yard_of: Callable[..., Yard], own_server: Callable[..., Server]) -> Yard:
    """A backup of a server whose collations had another version than this machine's."""
    server = own_server(18)
    server.sql(ROLES)
    server.sql(
        "CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' ENCODING 'UTF8'"
    )
    server.sql("CREATE TABLE t (v text PRIMARY KEY); INSERT INTO t SELECT md5(i::text) FROM generate_series(1, 999) i",
               "sorted")  # fmt: skip
    server.sql("UPDATE pg_database SET datcollversion = '0.0' WHERE datname = 'sorted'")
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1"))
    return yard


def test_a_drill_is_partial_counts_no_index_and_still_proves_the_backup(elsewhere: Yard) -> None:
    found = drilled(elsewhere.drill("orders-1"))
    assert (found.verdict, found.reason, found.proven) == (Verdict.PARTIAL, "CollationMismatch", True), found
    structure = next(one for one in found.checks if one.name == "structure")
    assert (structure.outcome, structure.observed) == (CheckOutcome.PASSED, "tables without indexes")


def test_a_restore_refuses_unless_indexes_are_rebuilt(elsewhere: Yard) -> None:
    task = RestoreTask(id="restore-1", candidates=[elsewhere.refs["orders-1"]])
    pod = elsewhere.pod()
    ran = pod.run(task)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "CollationMismatch")
    assert "reindex" in ran.summary.message
    assert list(pod.restored.iterdir()) == []
    again = pod.run(task.model_copy(update={"reindex": True}))
    assert again.result.restore, again.output[-3000:]
    collations = next(one for one in again.result.restore.checks if one.name == "collations")
    assert collations.outcome is CheckOutcome.PASSED
    assert "rebuilt" in collations.message
