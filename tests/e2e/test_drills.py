"""Drills of real backups in pods of their own: what restores is proven, what does not is named, and nothing is left."""

from __future__ import annotations

import json

import pytest

from databosun.domain.sealing import digest_of
from support.stack import BUCKET
from support.stackplace import DRILL_RUNS, GROUP, NEVER, Place, ask_for_drill

pytestmark = pytest.mark.e2e

CUSTOMERS = {"name": "customers", "type": "RowCount", "database": "shop", "table": "public.customers", "min": 2000}
SCHEDULES = [
    {"name": "full", "type": "Full", "cron": NEVER},
    {"name": "incr", "type": "Incremental", "cron": NEVER},
]


@pytest.fixture(scope="module")
def proved(place: Place) -> Place:
    """A database with a chain of two backups."""
    place.offer("proved", schedules=SCHEDULES)
    place.back_up("proved-1", "proved")
    place.succeeded("proved-1")
    place.back_up("proved-2", "proved", type="Incremental")
    assert place.succeeded("proved-2")["parent"] == "proved-1"
    return place


def test_a_chain_is_proven_and_nothing_but_evidence_is_left(proved: Place) -> None:
    before = _backups(proved)
    ask_for_drill(proved, "deep", "proved", level="Deep", checks=[CUSTOMERS])
    status = proved.verdict("deep")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"], status["proven"]) == ("proved-2", "Deep", True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]
    assert 0 < status["rto"]["seconds"] < 300
    assert status["rto"]["met"] is True
    evidence = json.loads(proved.stack.download(_evidence(proved, "deep")))
    assert evidence["verdict"] == "Passed"
    assert proved.status("backups", "proved-2")["proven"]["level"] == "Deep"
    proven = "the Database says that its backups are proven"
    proved.wait(proven, lambda: proved.status("databases", "proved").get("lastProven", {}).get("run") == "deep")
    _nothing_is_left(proved)
    assert _backups(proved) == before


def test_a_drill_of_a_schedule_answers_when_it_is_asked_to(proved: Place) -> None:
    spec = {"databaseRef": {"name": "proved"}, "schedule": {"cron": NEVER}, "level": "Restore"}
    proved.apply({"apiVersion": GROUP, "kind": "RestoreDrill", "metadata": {"name": "weekly"}, "spec": spec})
    proved.ready("restoredrills", "weekly")
    asked = {"metadata": {"annotations": {"databosun.io/run-now": "once"}}}
    proved.stack.api.merge("restoredrills", proved.namespace, "weekly", asked)
    found: list[str] = []

    def answered() -> bool:
        runs = proved.stack.api.list(DRILL_RUNS, proved.namespace)
        found[:] = [one["metadata"]["name"] for one in runs if one["spec"].get("drillRef") == {"name": "weekly"}]
        return bool(found)

    proved.wait("run-now of the drill is answered", answered)
    assert len(found) == 1
    assert proved.verdict(found[0])["phase"] == "Passed"
    condition = proved.condition
    proved.wait("Proven is True", lambda: condition("databases", "proved", "Proven").get("status") == "True")


def test_a_flipped_bit_fails_the_drill_and_is_named(proved: Place) -> None:
    proved.offer("spoiled")
    proved.back_up("spoiled-1", "spoiled")
    proved.succeeded("spoiled-1")
    key = next(key for key in _backups(proved) if "/spoiled-1/a1/base.tar.zst" in key)
    data = bytearray(proved.stack.download(key))
    data[len(data) // 2] ^= 1
    proved.stack.s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(data))
    ask_for_drill(proved, "flipped", "spoiled")
    status = proved.verdict("flipped")
    assert status["phase"] == "Failed", status
    assert status["failure"]["reason"] == "ArtefactCorrupt", status["failure"]
    assert "base.tar.zst" in status["failure"]["message"]
    assert status["proven"] is False
    assert "proven" not in proved.status("backups", "spoiled-1")
    conditions = {one["type"]: one["status"] for one in status["conditions"]}
    assert (conditions["Ready"], conditions["Stalled"]) == ("False", "True")
    assert json.loads(proved.stack.download(_evidence(proved, "flipped")))["verdict"] == "Failed"
    _nothing_is_left(proved)


def _backups(place: Place) -> dict[str, bytes]:
    """Every object of every backup, byte for byte."""
    keys = place.stack.keys(f"{place.namespace}/")
    return {key: place.stack.download(key) for key in keys if "/backups/" in key}


def _evidence(place: Place, run: str) -> str:
    keys = place.stack.keys(f"{place.namespace}/")
    (key,) = (key for key in keys if key.endswith(f"/drills/{run}/evidence.json"))
    stored = place.status(DRILL_RUNS, run)["evidence"]
    assert stored["uri"].endswith(key)
    assert digest_of(place.stack.download(key)).endswith(stored["sha256"].removeprefix("sha256:"))
    return key


def _nothing_is_left(place: Place) -> None:
    place.wait("no pod of a drill is left", lambda: not place.stack.api.list("pods", place.namespace))
    assert place.stack.api.list("jobs", place.namespace) == []
