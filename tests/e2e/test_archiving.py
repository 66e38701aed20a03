"""The log of a real server, shipped by a real archiver: what is acknowledged comes back, and nothing is left behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.domain.wal import parse_lsn
from support.clusterapi import Object
from support.stack import IMAGE, ROOT, SYSTEM
from support.stackfaults import kill
from support.stackplace import GROUP, LABEL_FINISHED, Place, database_of

pytestmark = [pytest.mark.e2e, pytest.mark.disruptive]

CONTINUOUS = {"enabled": True, "maxLag": "5s", "maxRetained": "1Gi"}
PSQL = ("psql", "-qAtX", "-h", "/data", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-d", "orders")
SLOTS = "select count(*) from pg_replication_slots"


class Source:
    """A PostgreSQL server of the test's own, which it may destroy."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def sql(self, statement: str) -> str:
        """What psql prints."""
        exec_in = ("exec", "-i", "-n", self.place.namespace, "deployment/orders", "--")
        return self.place.stack.kubectl(*exec_in, *PSQL, input=statement).strip()

    def pod(self) -> Object:
        """Its pod."""
        (pod,) = self.place.stack.api.list("pods", self.place.namespace, "app=orders")
        return pod


@pytest.fixture(scope="module")
def source(place: Place) -> Source:
    text = (ROOT / "hack/demo/orders.yaml").read_text()
    assert IMAGE.format(major=18) in text
    place.stack.kubectl("apply", "-n", place.namespace, "-f", "-", input=text)
    place.stack.kubectl("rollout", "status", "-n", place.namespace, "deployment/orders", "--timeout=240s")
    made = Source(place)
    made.sql("create table if not exists ticks (i bigserial primary key, at timestamptz default clock_timestamp())")
    return made


def health(place: Place) -> tuple[str, str]:
    """Status and reason of ContinuousHealthy."""
    found = place.condition("databases", "orders", "ContinuousHealthy")
    return found.get("status", ""), found.get("reason", "")


def latest(place: Place) -> datetime:
    return datetime.fromisoformat(place.status("databases", "orders")["recovery"]["latest"])


def archiver_pod(place: Place) -> Object | None:
    pods = place.stack.api.list("pods", place.namespace, "databosun.io/task=archive")
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return alive[0] if alive else None


def stored_position(place: Place) -> int:
    """The end of what the newest position line of the archiver says to be in the bucket."""
    pod = archiver_pod(place)
    if pod is None:
        return 0
    log = place.stack.kubectl("logs", "-n", place.namespace, pod["metadata"]["name"], "--tail=20", check=False)
    lines = [json.loads(line) for line in log.splitlines() if '"event":"position"' in line]
    return parse_lsn(lines[-1]["lsn"]) if lines and lines[-1].get("lsn") else 0


def drained(source: Source) -> None:
    """Wait until everything that the server has written is in the bucket."""
    written = parse_lsn(source.sql("select pg_current_wal_lsn()"))
    source.place.wait("the bucket has the server's log", lambda: stored_position(source.place) >= written, 60)


def test_a_server_without_a_limit_is_refused_until_the_statement_was_run(source: Source) -> None:
    place = source.place
    objectives = {"rpo": "2m"}
    place.apply(database_of("orders", f"orders.{place.namespace}.svc", tier=1, objectives=objectives))
    spec = {"databaseRef": {"name": "orders"}, "storageRef": {"name": "backups"}, "method": "Physical"}
    spec |= {"schedules": [{"name": "full", "type": "Full", "cron": "0 0 29 2 *"}], "continuous": CONTINUOUS}
    place.apply({"apiVersion": GROUP, "kind": "BackupPolicy", "metadata": {"name": "orders"}, "spec": spec})
    place.ready("databases", "orders")
    place.wait("archiving is refused", lambda: health(place) == ("False", "SlotUnbounded"))
    assert archiver_pod(place) is None
    message = place.condition("databases", "orders", "ContinuousHealthy")["message"]
    statement = message.partition("fix: ")[2].partition(" --")[0]
    assert statement.startswith("ALTER SYSTEM SET max_slot_wal_keep_size")
    source.sql("\n".join(statement.replace("; ", ";\n").splitlines()))
    place.wait("the log is shipped", lambda: health(place) == ("True", "Archiving"), 300)
    status = place.status("databases", "orders")
    assert status["recovery"]["continuous"] is True
    assert source.sql("select slot_name from pg_replication_slots") == status["archiver"]["slot"]
    (backup,) = place.backups("orders")
    assert backup["spec"]["type"] == "Full", "the log got a backup to stand on"


def test_commits_become_recoverable_and_idle_time_passes(source: Source) -> None:
    place = source.place
    source.sql("insert into ticks default values")
    committed = datetime.now(UTC)
    place.wait("the commit is recoverable", lambda: latest(place) >= committed, 5 + 30 + 30)
    before = latest(place)
    place.wait("an idle database is not stale", lambda: latest(place) > before + timedelta(seconds=30), 120)
    age = datetime.now(UTC) - latest(place)
    assert age <= timedelta(seconds=5 + 30 + 30 + 5)
    assert place.condition("databases", "orders", "RPOMet")["status"] == "True"
    point = place.stack.metrics()[
        f'databosun_database_recovery_point_timestamp_seconds{{namespace="{place.namespace}",database="orders"}}'
    ]
    assert datetime.fromtimestamp(point, UTC) >= before


def test_an_archiver_that_is_killed_goes_on_without_a_hole(source: Source) -> None:
    place, gone = source.place, archiver_pod(source.place)
    assert gone is not None
    source.sql("insert into ticks select from generate_series(1, 1000)")
    place.stack.kubectl("delete", "pod", "-n", place.namespace, gone["metadata"]["name"], "--grace-period=0", "--force")
    source.sql("insert into ticks select from generate_series(1, 1000)")

    def another() -> bool:
        pod = archiver_pod(place)
        return pod is not None and pod["metadata"]["uid"] != gone["metadata"]["uid"]

    place.wait("another pod ships the log", another)
    drained(source)
    place.wait("all is well again", lambda: health(place) == ("True", "Archiving"))
    assert place.status("databases", "orders")["recovery"].get("gaps", []) == []


def test_the_truth_is_back_within_a_minute_after_the_operator_was_away(source: Source) -> None:
    place, stack = source.place, source.place.stack
    stack.kubectl("scale", "-n", SYSTEM, "deployment/databosun", "--replicas=0")
    try:
        gone = "no operator is left"
        place.wait(gone, lambda: not stack.api.list("pods", SYSTEM, "app.kubernetes.io/name=databosun"))
        source.sql("insert into ticks default values")
        written = datetime.now(UTC)
    finally:
        stack.kubectl("scale", "-n", SYSTEM, "deployment/databosun", "--replicas=1")
    stack.kubectl("rollout", "status", "-n", SYSTEM, "deployment/databosun", "--timeout=120s")
    place.wait("the status is true again", lambda: latest(place) >= written, 60)


def test_nobody_asks_any_more_and_nothing_is_left(source: Source) -> None:
    place = source.place
    place.stack.api.merge("backuppolicies", place.namespace, "orders", {"spec": {"continuous": {"enabled": False}}})
    place.wait("the slot is gone", lambda: source.sql(SLOTS) == "0")
    place.wait("the status says so", lambda: "archiver" not in place.status("databases", "orders"))
    assert place.stack.api.list("deployments", place.namespace, "databosun.io/task=archive") == []

    def released() -> bool:
        body = place.stack.api.read("databases", place.namespace, "orders")
        return "databosun.io/slot" not in body["metadata"].get("finalizers", [])

    place.wait("the finalizer is gone", released)
    place.stack.api.merge("backuppolicies", place.namespace, "orders", {"spec": {"continuous": CONTINUOUS}})
    place.wait("the log is shipped again", lambda: health(place) == ("True", "Archiving"), 300)


def test_every_acknowledged_commit_comes_back_from_the_bucket_alone(source: Source) -> None:
    place = source.place
    source.sql("create table acknowledged (i int primary key)")
    source.sql("".join(f"insert into acknowledged values ({i});\n" for i in range(300)))
    drained(source)
    kill(source.pod(), "postgres -D /data/pg")
    place.stack.kubectl("delete", "-n", place.namespace, "deployment/orders", "--now")
    check = {"name": "all", "type": "RowCount", "database": "orders", "table": "public.acknowledged", "min": 300}
    selection = {"from": "Latest", "pointInTime": "Latest"}
    status = _drill(place, "alone", level="Restore", checks=[check], selection=selection)
    assert status["phase"] == "Passed", status
    (counted,) = [one for one in status["checks"] if one["name"] == "all"]
    assert counted["result"] == "Passed", counted


def test_a_database_whose_server_is_gone_does_not_hang(source: Source) -> None:
    place = source.place
    place.stack.kubectl("delete", "bdb", "-n", place.namespace, "orders", "--wait=false")
    place.wait("the Database is gone", lambda: place.stack.api.get("databases", place.namespace, "orders") is None, 600)
    assert "databosun_" in place.events("orders")["SlotLeft"]


def _drill(place: Place, name: str, **spec: Any) -> Object:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {"databaseRef": {"name": "orders"}, "notAfter": soon, **spec}
    place.apply({"apiVersion": GROUP, "kind": "RestoreDrillRun", "metadata": {"name": name}, "spec": given})
    found: list[Object] = []

    def ended() -> bool:
        found[:] = [place.stack.api.read("restoredrillruns", place.namespace, name)]
        return LABEL_FINISHED in found[0]["metadata"].get("labels", {})

    place.wait("the drill has a verdict", ended, 300)
    status: Object = found[0]["status"]
    return status
