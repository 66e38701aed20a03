"""Across a promotion every commit that the new primary received comes back, and what it did not is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from databosun.domain.wal import parse_lsn
from support.stackplace import Place, ask_for_drill, database_of, policy
from support.stacksource import CONTINUOUS, Shipping, Source

pytestmark = pytest.mark.e2e

COMMITS = 300
LOST = 100
AFTER = 50


@dataclass(frozen=True, slots=True)
class Failover:
    """A primary and its standby, and how far the primary's log had come in the bucket when it vanished."""

    place: Place
    primary: Source
    standby: Source
    shipping: Shipping
    facts: dict[str, int] = field(default_factory=dict)


def commit(server: Source, kind: str, count: int) -> None:
    """One commit a row."""
    server.sql("".join(f"insert into rows values ('{kind}', {i});\n" for i in range(count)))


@pytest.fixture(scope="module")
def failover(place: Place) -> Failover:
    """The standby is cut off, the primary goes on, all of its log is stored, it vanishes, the standby is promoted."""
    primary = Source(place).start(settings="max_slot_wal_keep_size = '1GB'")
    standby = Source(place, "standby").follow(primary)
    database = database_of("orders", "", connection={"hosts": [primary.host, standby.host]})
    del database["spec"]["connection"]["host"]
    place.apply(database, policy("orders", continuous=CONTINUOUS))
    primary.sql("create table rows (kind text, i int)")
    shipping = Shipping(place)
    shipping.wait_until_healthy()
    slots = "select count(*) from pg_replication_slots"
    place.wait("a slot is kept on the standby", lambda: standby.sql(slots) == "1")
    found = Failover(place, primary, standby, shipping)
    _cut_off(found)
    primary.lose()
    place.wait("the archiver misses the primary", lambda: bool(shipping.line().get("trouble")), 90)
    line = shipping.line()
    assert line["timeline"] == 1
    found.facts["stored"] = parse_lsn(line["lsn"])
    assert standby.sql("select pg_promote()") == "t"
    commit(standby, "after", AFTER)
    place.wait("the archiver follows", lambda: shipping.line().get("timeline") == 2, 120)
    shipping.drained(standby)
    return found


def _cut_off(failover: Failover) -> None:
    primary, standby, place = failover.primary, failover.standby, failover.place
    commit(primary, "both", COMMITS)
    lsn = primary.sql("select pg_current_wal_lsn()")
    replayed = f"select pg_last_wal_replay_lsn() >= '{lsn}'"
    place.wait("the standby has them", lambda: standby.sql(replayed) == "t")
    standby.sql("alter system set primary_conninfo = ''")
    standby.sql("select pg_reload_conf()")
    place.wait("it receives nothing", lambda: standby.sql("select count(*) from pg_stat_wal_receiver") == "0")
    commit(primary, "lost", LOST)
    failover.shipping.drained(primary)


def test_what_the_new_primary_never_received_is_counted_to_the_byte(failover: Failover) -> None:
    place, standby = failover.place, failover.standby
    history = standby.sql("select pg_read_file('pg_wal/00000002.history')").split()
    fork = parse_lsn(history[1])
    lost = failover.facts["stored"] - fork
    assert lost > 0

    def told() -> int | None:
        found: int | None = place.status("databases", "orders")["archiver"].get("divergedBytes")
        return found

    place.wait("the status says what is of the old timeline alone", lambda: told() is not None)
    assert told() == lost
    assert failover.shipping.gaps() == []
    failover.shipping.wait_until_healthy(60)


def test_every_commit_of_the_new_primary_comes_back_from_the_bucket_alone(failover: Failover) -> None:
    failover.standby.lose()
    rows = {
        "name": "rows",
        "type": "Query",
        "database": "orders",
        "query": "select string_agg(kind || ' ' || n, ', ' order by kind)"
        " from (select kind, count(*) as n from rows group by kind) as all_of_them",
        "value": f"after {AFTER}, both {COMMITS}",
    }
    selection = {"from": "Latest", "pointInTime": "Latest"}
    ask_for_drill(failover.place, "newest", "orders", checks=[rows], selection=selection)
    status = failover.place.verdict("newest")
    assert status["phase"] == "Passed", status
