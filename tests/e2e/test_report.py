"""What the command line tells of the cluster and of the records in the bucket: a report, and what could be had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.clusterapi import Object
from support.stack import BUCKET
from support.stackplace import Place, ask_for_drill

pytestmark = pytest.mark.e2e
TABLES = """
CREATE TABLE kept (id integer PRIMARY KEY, word text);
INSERT INTO kept SELECT i, 'word ' || i FROM generate_series(1, 50) AS i;
CREATE TABLE lost AS SELECT * FROM kept; CREATE TABLE same AS SELECT * FROM kept;
"""


@pytest.fixture(scope="module")
def asked(place: Place) -> Iterator[Place]:
    """A database that was backed up, and drilled."""
    server = place.stack.servers[18]
    server.sql("DROP DATABASE IF EXISTS whatif WITH (FORCE)")
    server.sql("CREATE DATABASE whatif")
    server.sql(TABLES, "whatif")
    place.offer("asked", database={})
    place.back_up("asked-1", "asked")
    place.succeeded("asked-1")
    ask_for_drill(place, "asked-drill", "asked")
    assert place.verdict("asked-drill")["phase"] == "Passed"
    yield place
    server.sql("DROP DATABASE whatif WITH (FORCE)")


def test_the_report_vouches_for_the_record_in_the_bucket(asked: Place, tmp_path: Path) -> None:
    report = json.loads(asked.stack.bosun("report", "-n", asked.namespace, "--database", "asked", "--format", "json"))
    (found,) = report["databases"]
    (drill,) = found["drills"]
    assert (drill["run"], drill["verdict"], drill["record"]["trust"]) == ("asked-drill", "Passed", "Unsigned"), drill
    assert drill["manifest"] == "Matches"
    assert report["totals"]["broken"] == 0
    for form, begin in (("html", b"<!doctype html"), ("pdf", b"%PDF-")):
        file = tmp_path / f"report.{form}"
        asked.stack.bosun("report", "-n", asked.namespace, "--database", "asked", "-o", str(file))
        assert file.read_bytes().startswith(begin)
    assert _inquiries(asked) == []


def test_a_record_that_was_changed_in_the_bucket_is_said_and_proves_nothing(asked: Place) -> None:
    place_keys = asked.keys()
    (key,) = [key for key in place_keys if key.endswith("/asked-drill/evidence.json")]
    whole = asked.stack.download(key)
    try:
        forged = whole.replace(b'"Passed"', b'"passed"', 1)
        assert forged != whole
        asked.stack.s3.put_object(Bucket=BUCKET, Key=key, Body=forged)
        said = asked.stack.bosun("report", "-n", asked.namespace, "--database", "asked", "--format", "json", code=1)
        report = json.loads(said)
        assert report["totals"]["broken"] == 1
        assert report["databases"][0]["drills"][0]["record"]["trust"] == "Broken"
    finally:
        asked.stack.s3.put_object(Bucket=BUCKET, Key=key, Body=whole)


def test_what_is_lost_is_named_with_its_rows(asked: Place) -> None:
    server = asked.stack.servers[18]
    server.sql(
        "DELETE FROM kept WHERE id <= 7; UPDATE kept SET word = 'other' WHERE id = 50; DROP TABLE lost", "whatif"
    )
    server.sql("CREATE TABLE fresh (id integer)", "whatif")
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    argv = ("assess", "asked", "-n", asked.namespace, "--before", before, "-o", "json")
    found = json.loads(asked.stack.bosun(*argv, "--compare", "--in", "whatif"))
    assert (found["backup"]["name"], found["until"]) == ("asked-1", "EndOfBackup")
    assert found["restoreSeconds"] is not None
    assert found["command"].startswith("kubectl bosun restore asked")
    tables = {one["table"]: one for one in found["comparison"]["tables"]}
    assert {name: one["state"] for name, one in tables.items()} == {
        "whatif.public.kept": "Differs",
        "whatif.public.lost": "Lost",
        "whatif.public.fresh": "New",
        "whatif.public.same": "Same",
    }
    kept = tables["whatif.public.kept"]
    assert (kept["lost"], kept["changed"], kept.get("added", 0)) == (7, 1, 0)
    assert tables["whatif.public.lost"]["copyRows"] == 50
    assert _inquiries(asked) == []
    said = asked.stack.bosun("assess", "asked", "-n", asked.namespace, "--before", "2020-01-01T00:00:00Z", code=1)
    assert "NOTHING can be restored" in said


def _inquiries(place: Place) -> list[Object]:
    return place.stack.api.list("inquiries", place.namespace)
