"""Old rows of a real server, in pods: seen first, approved, archived, deleted, and read back from the bucket."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import zstandard

from support.clusterapi import Object
from support.pgsample import BACKUP_ROLE
from support.stack import Postgres
from support.stackplace import GROUP, LABEL_FINISHED, NEVER, Place, ask_for_drill

pytestmark = pytest.mark.e2e

POLICIES, RUNS = "lifecyclepolicies", "lifecycleruns"
DATABASE = "tickets"
CLOSED, HELD = 300, 7
OLD = "now() - interval '400 days'"
TICKETS = f"""
CREATE TABLE tickets (id bigint PRIMARY KEY, closed_at timestamptz, customer bigint NOT NULL, body text NOT NULL);
INSERT INTO tickets SELECT i, {OLD}, i % 100, 'old ' || i FROM generate_series(1, {CLOSED}) i;
INSERT INTO tickets SELECT i, now() - interval '3 days', i % 100, 'new ' || i FROM generate_series(1001, 1700) i;
GRANT SELECT, UPDATE, DELETE ON tickets TO {BACKUP_ROLE};
"""
HOLD = {"name": "case-7", "table": "public.tickets", "where": "customer = 7", "reason": "litigation"}


@pytest.fixture(scope="module")
def shop(place: Place) -> Place:
    """A database with old rows, a backup that a drill proved, and a policy that only looks."""
    server = _server(place)
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    server.sql(f"CREATE DATABASE {DATABASE}")
    server.sql(TICKETS, DATABASE)
    place.offer("server")
    place.back_up("server-1", "server")
    place.succeeded("server-1")
    ask_for_drill(place, "proof", "server")
    assert place.verdict("proof")["phase"] == "Passed"
    place.apply(_policy("DryRun"))
    return place


def test_a_look_shows_what_would_go_and_touches_nothing(shop: Place) -> None:
    found = _ended(shop, _start(shop, "look"))
    assert found["phase"] == "Succeeded", found
    shop.wait("the policy shows the plan", lambda: "plan" in shop.status(POLICIES, "old"))
    (rule,) = shop.status(POLICIES, "old")["plan"]["rules"]
    held = CLOSED // 100
    assert (rule["eligible"], rule["held"], rule["rows"]) == (CLOSED - held, held, 1000)
    assert rule.get("refusals", []) == []
    assert len(_rows(shop)) == 1000


def test_what_was_approved_is_archived_and_deleted_and_nothing_else(shop: Place) -> None:
    before = _rows(shop)
    shop.apply(_policy("Enforce"))
    shop.wait("the plan waits for consent", lambda: _approved(shop) == "False")
    shop.stack.bosun("approve", "old", "--lifecycle", "--yes", "-n", shop.namespace)
    shop.wait("the plan is approved", lambda: _approved(shop) == "True")
    found = _ended(shop, _start(shop, "enforced", mode="Enforce"))
    assert found["phase"] == "Succeeded", (found.get("failure"), found.get("rules"))
    left = _rows(shop)
    gone = [json.loads(row) for row in before - left]
    assert left < before
    assert {row["id"] for row in gone} == {i for i in range(1, CLOSED + 1) if i % 100 != HELD}
    assert sorted(_archived(shop, "enforced"), key=_id) == sorted(gone, key=_id)


def test_a_table_that_is_otherwise_than_approved_is_left_alone(shop: Place) -> None:
    server = _server(shop)
    server.sql(f"INSERT INTO tickets SELECT i, {OLD}, 1, 'late' FROM generate_series(2001, 2010) i", DATABASE)
    server.sql("ALTER TABLE tickets ADD COLUMN note text", DATABASE)
    before = _rows(shop)
    found = _ended(shop, _start(shop, "changed", mode="Enforce"))
    assert (found["phase"], found["failure"]["reason"]) == ("Refused", "PlanChanged"), found
    assert _rows(shop) == before


def _server(place: Place) -> Postgres:
    return place.stack.servers[18]


def _policy(mode: str) -> Object:
    spec = {
        "databaseRef": {"name": "server"}, "database": DATABASE, "storageRef": {"name": "backups"}, "mode": mode,
        "schedule": {"cron": NEVER}, "holds": [HOLD],
        "rules": [{
            "name": "closed", "target": {"table": "public.tickets"}, "action": {"type": "Archive"},
            "match": {"column": "closed_at", "olderThan": "365d"}, "limits": {"maxPercent": 90},
        }],
    }  # fmt: skip
    return {"apiVersion": GROUP, "kind": "LifecyclePolicy", "metadata": {"name": "old"}, "spec": spec}


def _start(place: Place, name: str, mode: str = "DryRun") -> str:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"policyRef": {"name": "old"}, "mode": mode, "notAfter": soon}
    place.apply({"apiVersion": GROUP, "kind": "LifecycleRun", "metadata": {"name": name}, "spec": spec})
    return name


def _ended(place: Place, name: str) -> Object:
    def ended() -> bool:
        return LABEL_FINISHED in place.stack.api.read(RUNS, place.namespace, name)["metadata"].get("labels", {})

    place.wait(f"{name} has ended", ended, 300)
    return place.status(RUNS, name)


def _approved(place: Place) -> str:
    status: str = place.condition(POLICIES, "old", "Approved").get("status", "")
    return status


def _rows(place: Place) -> set[str]:
    """Every row as JSON."""
    return {row for (row,) in _server(place).sql("SELECT row_to_json(t)::text FROM tickets t", DATABASE)}


def _archived(place: Place, run: str) -> list[Object]:
    """Every row of the archives that a run left, as anybody with zstd would read them."""
    there = list(place.keys())
    parts = [key for key in there if f"/lifecycle/{run}/" in key and ".jsonl.zst" in key and ".kept." not in key]
    assert parts, there
    text = b"".join(zstandard.ZstdDecompressor().stream_reader(place.stack.download(key)).read() for key in parts)
    return [json.loads(line) for line in text.splitlines()]


def _id(row: Object) -> int:
    number: int = row["id"]
    return number
