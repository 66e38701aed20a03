"""Locks, lag, lost connections, and the end of the time: each is given way to, none does harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.lifecycle.pacemaker import Pacemaker
from databosun.api.lifecycle import ActionType, ForeignKeys, MaskMethod, MaskOrder, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.domain.lifecycleview import plan_status
from support.archiving import beside
from support.lifecycling import Keeper, after_steps, make_keeper, prepare, result_of, rule
from support.pgserver import Server
from support.waiting import eventually

pytestmark = pytest.mark.servers
SMALL = {"rows": 50, "target_milliseconds": 1000, "pause_milliseconds": 0}


def test_a_table_that_is_locked_is_waited_for_and_the_rule_goes_on(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder: list[Any] = []
    wait = Pacemaker.wait

    def lock(count: int) -> None:
        if count == 2:
            holder.append(keeper.server.connect("shop"))
            holder[0].execute("BEGIN; LOCK TABLE orders IN SHARE MODE")

    def waiting(self: Pacemaker, seconds: float) -> None:
        """It gave up once."""
        for busy in holder:
            busy.close()
        wait(self, seconds)

    after_steps(monkeypatch, "take", lock)
    monkeypatch.setattr(Pacemaker, "wait", waiting)
    ran = keeper.enforce(rule(), batch=SMALL, throttle={"lock_timeout_milliseconds": 200})
    outcome = result_of(ran).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    assert outcome.throttled_seconds > 0
    assert any(line["event"] == "step" and line["reason"] == "LockTimeout" for line in ran.lines)


def test_a_server_that_restarts_is_waited_for(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    def restart(count: int) -> None:
        if count == 3:
            keeper.server.stop("immediate")
            keeper.server.start()

    after_steps(monkeypatch, "take", restart)
    ran = keeper.enforce(rule(), batch=SMALL)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    assert result_of(ran).outcomes[0].remaining == 0


def test_no_step_begins_after_the_time_is_up_and_the_run_succeeds(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at = datetime.now(UTC) + timedelta(hours=1)
    steps: list[datetime] = []
    monkeypatch.setattr(Pacemaker, "_up", lambda self: len(steps) >= 3)
    after_steps(monkeypatch, "release", lambda _: steps.append(datetime.now(UTC)))
    before = keeper.ids()
    ran = keeper.enforce(rule(action=ActionType.ARCHIVE), batch=SMALL, stop_at=stop_at)
    outcome = result_of(ran).outcomes[0]
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert (outcome.state, outcome.batches, len(steps)) == (RuleState.LIMITED, 3, 3)
    gone = before - keeper.ids()
    assert outcome.deleted == len(gone)
    # What was archived and not yet deleted is said to be in the table still.
    assert set(keeper.archive().rows()) == gone
    assert outcome.changed == outcome.archived - outcome.deleted


def test_a_right_that_is_taken_away_in_the_middle_fails_for_good(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_steps(monkeypatch, "take", lambda count: count == 2 and keeper.sql("REVOKE DELETE ON orders FROM keeper"))
    outcome = keeper.carry_out(rule(), batch=SMALL)["old-orders"]
    assert outcome.failure is not None
    assert (outcome.failure.sqlstate, outcome.failure.retryable) == ("42501", False)


MASKS = {
    "action": ActionType.ANONYMIZE,
    "masks": [MaskOrder(column="customer", method=MaskMethod.NULL), MaskOrder(column="amount", method=MaskMethod.NULL)],
    "mark_column": "masked_at",
}
PARTED = (
    "CREATE TABLE events (id bigint, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
    "CREATE TABLE \"Events 1\" PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');"
)


@pytest.mark.parametrize(
    ("asked", "taken", "given"),
    [
        (rule(), "REVOKE DELETE ON orders FROM keeper", "GRANT DELETE ON public.orders TO keeper;"),
        (rule(), "REVOKE UPDATE ON orders FROM keeper", "GRANT UPDATE ON public.orders TO keeper;"),
        (
            rule(action=ActionType.ARCHIVE),
            "REVOKE ALL ON orders FROM keeper",
            "GRANT UPDATE, SELECT, DELETE ON public.orders TO keeper;",
        ),
        (
            rule(**MASKS),
            "ALTER TABLE orders ADD masked_at date; REVOKE UPDATE ON orders FROM keeper;"
            "GRANT UPDATE (customer) ON orders TO keeper",
            "GRANT UPDATE (amount), UPDATE (masked_at) ON public.orders TO keeper;",
        ),
        (
            rule(cascades=["items"], foreign_keys=ForeignKeys.CHILDREN_FIRST),
            "CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders);"
            "REVOKE ALL ON items FROM keeper",
            "GRANT SELECT, DELETE ON public.items TO keeper;",
        ),
        (
            rule(table="public.events", column="at", where=None, action=ActionType.DROP_PARTITION),
            PARTED,
            'ALTER TABLE public."Events 1" OWNER TO keeper;',
        ),
        (
            rule(table="public.events", column="at", where=None, action=ActionType.DETACH_PARTITION),
            PARTED,
            "ALTER TABLE public.events OWNER TO keeper;",
        ),
        (
            rule(table="public.events", column="at", where=None),
            PARTED + 'REVOKE ALL ON "Events 1" FROM keeper',
            'GRANT UPDATE, SELECT, DELETE ON public."Events 1" TO keeper;',
        ),
        (
            rule(table="far.orders"),
            "CREATE SCHEMA far; CREATE TABLE far.orders (LIKE orders INCLUDING ALL);"
            "GRANT SELECT, UPDATE, DELETE ON far.orders TO keeper",
            "GRANT USAGE ON SCHEMA far TO keeper;",
        ),
    ],
)
def test_a_dry_run_says_what_the_login_lacks_and_the_sql_that_gives_it(
    keeper: Keeper, asked: RuleOrder, taken: str, given: str
) -> None:
    keeper.sql(taken)
    seen = keeper.look(asked)
    (refusal, *more) = plan_status(seen, "r").rules[0].refusals
    assert refusal == f"PermissionDenied: rule old-orders: the login lacks what {asked.action} needs; run {given}"
    assert more == []
    outcome = keeper.carry_out(asked)["old-orders"]
    assert (outcome.state, outcome.failure and outcome.failure.reason) == (RuleState.REFUSED, "PermissionDenied")
    keeper.sql(given)
    assert keeper.look(asked).facts[0].grants == []
    assert keeper.look(asked).plan_hash == seen.plan_hash


def test_row_security_that_hides_rows_is_a_refusal(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE items (id int PRIMARY KEY, order_id bigint REFERENCES orders ON DELETE CASCADE);"
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY;"
        f'{PARTED} ALTER TABLE "Events 1" ENABLE ROW LEVEL SECURITY'
    )
    before = keeper.ids()
    rules = (rule(cascades=["items"]), rule("events", table="public.events", column="at", where=None))
    for one in plan_status(keeper.look(*rules), "r").rules:
        table = "public.items" if one.name == "old-orders" else "public.events"
        wanted = f"RowsHidden: rule {one.name}: row security hides rows of {table} from the login; it needs BYPASSRLS"
        assert one.refusals == [wanted]
    keeper.sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    for outcome in keeper.carry_out(*rules).values():
        assert (outcome.state, outcome.failure and outcome.failure.reason) == (RuleState.REFUSED, "RowsHidden")
    assert keeper.ids() == before


@pytest.fixture
def lagging(tmp_path: Path) -> Iterator[tuple[Keeper, Server]]:
    """A primary with a standby that does not replay."""
    primary = Server(17)
    standby = None
    try:
        primary.init()
        primary.configure()
        primary.start()
        prepare(primary, 3000)
        keeper = make_keeper(primary, tmp_path / "pod")
        standby = beside(primary)
        eventually("the standby streams", lambda: primary.sql("SELECT count(*) FROM pg_stat_replication") == [(1,)])
        yield keeper, standby
    finally:
        for server in (standby, primary):
            if server is not None:
                server.remove()


def test_a_replica_that_falls_behind_is_waited_for(
    lagging: tuple[Keeper, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, standby = lagging
    waited, wait = threading.Event(), Pacemaker.wait

    def waiting(self: Pacemaker, seconds: float) -> None:
        wait(self, seconds)
        waited.set()

    monkeypatch.setattr(Pacemaker, "wait", waiting)
    hash_of = keeper.look(rule()).plan_hash
    standby.sql("SELECT pg_wal_replay_pause()")
    late = "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0) > 2 FROM pg_stat_replication"
    write = "UPDATE orders SET customer = 1 WHERE id = 1"  # a standby answers what it is sent
    eventually("the lag is seen", lambda: bool(keeper.sql(f"{write}; {late}")[0][0]))
    before = keeper.ids()
    ran: list[Any] = []
    thread = threading.Thread(
        target=lambda: ran.append(keeper.enforce(rule(), approved=hash_of, throttle={"max_replica_lag_seconds": 1.0}))
    )
    thread.start()
    assert waited.wait(300), "the agent waits for the replica"
    assert keeper.ids() == before
    standby.sql("SELECT pg_wal_replay_resume()")
    thread.join()
    outcome = result_of(ran[0]).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    assert outcome.throttled_seconds >= 0.9
