"""Restores into a running server of a real cluster: a table that was dropped; a database, staged and consented to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.clusterapi import Object
from support.stack import AUDITOR, PASSWORD
from support.stackplace import GROUP, LABEL_FINISHED, NEVER, Place, secret

pytestmark = pytest.mark.e2e
SCHEDULES = [{"name": "full", "type": "Full", "cron": NEVER}]
MAJOR = 18


def later(hours: int) -> str:
    """An instant as specs have it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def restore(place: Place, name: str, **spec: Any) -> None:
    """Ask for a restore into the server that the backup is of, as a role that may."""
    target = {"databaseRef": {"name": "lost"}, "credentialsSecretRef": {"name": "restorer"}}
    given = {"from": {"databaseRef": {"name": "lost"}}, "target": target, "notAfter": later(1), **spec}
    place.apply({"apiVersion": GROUP, "kind": "Restore", "metadata": {"name": name}, "spec": given})


def verdict(place: Place, name: str) -> Object:
    """Wait for it; the run's status."""
    found: list[Object] = []

    def ended() -> bool:
        found[:] = [place.stack.api.read("restores", place.namespace, name)]
        return LABEL_FINISHED in found[0]["metadata"].get("labels", {})

    place.wait(f"the restore {place.namespace}/{name} has a verdict", ended, 300)
    status: Object = found[0]["status"]
    return status


@pytest.fixture(scope="module")
def lost(place: Place) -> Place:
    """A database with a backup of a table that its server lost since."""
    server = place.stack.servers[MAJOR]
    server.sql("CREATE DATABASE ledger")
    server.sql("CREATE TABLE entries (id int PRIMARY KEY, v text)", "ledger")
    server.sql("INSERT INTO entries SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i", "ledger")
    server.sql("CREATE TABLE other AS SELECT 1 AS i", "ledger")
    place.apply(secret("restorer", username=AUDITOR, password=PASSWORD))
    place.offer("lost", major=MAJOR, schedules=SCHEDULES)
    place.back_up("lost-1", "lost")
    place.succeeded("lost-1")
    server.sql("DROP TABLE entries; INSERT INTO other VALUES (2)", "ledger")
    return place


def test_a_table_comes_back_into_the_running_server(lost: Place) -> None:
    restore(lost, "one-table", selection={"databases": ["ledger"], "tables": ["public.entries"]})
    status = verdict(lost, "one-table")
    assert status["phase"] == "Succeeded", status
    assert [(one["table"], one["rows"]) for one in status["placed"]] == [("public.entries", 5000)]
    server = lost.stack.servers[MAJOR]
    assert server.sql("SELECT count(*), bool_and(v = md5(id::text)) FROM entries", "ledger") == [(5000, True)]
    assert server.sql("SELECT count(*) FROM other", "ledger") == [(2,)]


def test_a_database_waits_for_consent_and_then_takes_its_place(lost: Place) -> None:
    server = lost.stack.servers[MAJOR]
    chosen = {"selection": {"databases": ["ledger"]}, "overwrite": "Replace", "confirm": "lost", "stageFirst": True}
    restore(lost, "whole", **chosen)
    lost.wait("it is staged", lambda: lost.status("restores", "whole").get("phase") == "Staged", 300)
    staged = lost.status("restores", "whole")["staged"]
    assert server.sql("SELECT count(*) FROM other", "ledger") == [(2,)]
    # Who the API server says one is: the person whose kubeconfig this is.
    user = lost.stack.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").strip()
    spec = {
        "ref": {"kind": "Restore", "name": "whole"},
        "planHash": staged["planHash"],
        "approvedBy": user,
        "notAfter": later(1),
    }
    lost.apply({"apiVersion": GROUP, "kind": "Approval", "metadata": {"name": "yes"}, "spec": spec})
    status = verdict(lost, "whole")
    assert (status["phase"], status["staged"]["approval"]) == ("Succeeded", "yes"), status
    assert server.sql("SELECT count(*) FROM other", "ledger") == [(1,)]
    (placed,) = status["placed"]
    assert server.sql("SELECT count(*) FROM other", placed["before"]) == [(2,)]
