"""One person is erased from a real server, in pods; no drill and no restore brings them back."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
import zstandard

from support.clusterapi import Object
from support.pgsample import BACKUP_ROLE
from support.stack import AUDITOR, PASSWORD, Postgres
from support.stackplace import GROUP, LABEL_FINISHED, Place, ask_for_drill, secret, storage

pytestmark = pytest.mark.e2e

REQUESTS = "erasurerequests"
DATABASE = "club"
SUBJECT = "ada.lovelace@example.org"
KEY = "5f2b8c1d9e7a46b0c3d4e5f60718293a5f2b8c1d9e7a46b0c3d4e5f60718293a"
MEMBERS = f"""
CREATE TABLE members (id bigint PRIMARY KEY, email text NOT NULL UNIQUE);
CREATE TABLE visits (id bigint PRIMARY KEY, member bigint NOT NULL REFERENCES members ON DELETE CASCADE);
INSERT INTO members SELECT i, 'member' || i || '@example.org' FROM generate_series(1, 300) i;
INSERT INTO members VALUES (1815, '{SUBJECT}');
INSERT INTO visits SELECT i, 1 + i % 300 FROM generate_series(1, 900) i;
INSERT INTO visits SELECT 1000 + i, 1815 FROM generate_series(1, 5) i;
GRANT SELECT, UPDATE, DELETE ON members, visits TO {BACKUP_ROLE};
"""
NOBODY = {
    "name": "nobody", "type": "Query", "database": DATABASE, "operator": "==", "value": "0",
    "query": "SELECT count(*) FROM members WHERE email LIKE 'ada%'",
}  # fmt: skip


@pytest.fixture(scope="module")
def club(place: Place) -> Place:
    """Members with a backup, and a storage that erased people can be found by."""
    server = _server(place)
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    server.sql(f"CREATE DATABASE {DATABASE}")
    server.sql(MEMBERS, DATABASE)
    place.apply(
        secret("erasure", key=KEY),
        secret("request-1", subject=SUBJECT),
        secret("restorer", username=AUDITOR, password=PASSWORD),
        storage("backups", place.stack.endpoint, erasure={"keySecretRef": {"name": "erasure", "key": "key"}}),
    )
    place.offer("server")
    place.back_up("server-1", "server")
    place.succeeded("server-1")
    return place


def test_an_export_hands_over_the_persons_rows_and_nobody_elses(club: Place) -> None:
    spec = {
        "databaseRef": {"name": "server"}, "database": DATABASE, "storageRef": {"name": "backups"},
        "subjectSecretRef": {"name": "request-1", "key": "subject"}, "notAfter": _later(),
        "rules": [{"name": "members", "table": "public.members", "column": "email", "along": ["visits"]}],
    }  # fmt: skip
    club.apply({"apiVersion": GROUP, "kind": "DataExport", "metadata": {"name": "export-1"}, "spec": spec})
    found = _ended(club, "dataexports", "export-1")
    assert found["phase"] == "Succeeded", found.get("failure")
    assert {one["table"]: one["rows"] for one in found["files"]} == {"public.members": 1, "public.visits": 5}
    rows, there = [], list(club.keys())
    for one in sorted(key for key in there if "/exports/export-1/a1/" in key):
        unzip = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        rows += [json.loads(line) for line in unzip.decompress(club.stack.download(one)).splitlines()]
    assert rows[0] == {"id": 1815, "email": SUBJECT}
    assert [row["member"] for row in rows[1:]] == [1815] * 5
    receipt = next(key for key in there if key.endswith("/exports/export-1/result.json"))
    assert hashlib.sha256(club.stack.download(receipt)).hexdigest() == found["receipt"]["sha256"]
    assert SUBJECT not in club.stack.kubectl("get", "dataexports", "-n", club.namespace, "-o", "yaml")
    assert _counts(club) == (301, 905, 1)


def test_a_look_shows_the_plan_and_its_approval_erases_the_person(club: Place) -> None:
    club.apply(_request())
    club.wait("the plan waits for consent", lambda: _phase(club) == "AwaitingApproval", 300)
    plan = club.status(REQUESTS, "request-1")["plan"]
    assert [(one["table"], one["eligible"], one["children"][0]["rows"]) for one in plan["rules"]] == [
        ("public.members", 1, 5)
    ]
    assert _counts(club) == (301, 905, 1)
    club.stack.bosun("approve", "request-1", "--erasure", "--yes", "-n", club.namespace)
    found = _ended(club, REQUESTS, "request-1")
    assert found["phase"] == "Succeeded", found.get("failure")
    assert _counts(club) == (300, 900, 0)
    assert (found["processed"], found["remains"]["backups"]) == (6, 1)
    there = list(club.keys())
    receipt = next(key for key in there if key.endswith("/erasures/request-1/result.json"))
    assert json.loads(club.stack.download(receipt))["result"]["subject"] == found["subject"]
    assert SUBJECT not in club.stack.kubectl("get", REQUESTS, "-n", club.namespace, "-o", "yaml")


def test_the_store_is_looked_through_and_has_nothing_that_no_object_stands_for(club: Place) -> None:
    remains = _searched(club, "request-1")
    (store,) = remains["stores"]
    assert (store["storage"], store["known"], store["copies"], store["leftovers"]) == ("backups", 1, 0, 0)
    assert (remains["backups"], remains["unrecorded"]) == (1, 0)


def test_a_drill_of_the_backup_from_before_does_not_bring_the_person_back(club: Place) -> None:
    ask_for_drill(club, "after", "server", level="Application", checks=[NOBODY])
    found = club.verdict("after")
    assert found["phase"] == "Passed", found
    (again,) = [one for one in found["checks"] if one["name"] == "erasures"]
    assert "1 people found: 1 rows of public.members, 5 rows of public.visits; none left" in again["observed"]


def test_a_restore_of_it_into_the_server_does_not_either(club: Place) -> None:
    _restore(club, "again")
    found = _ended(club, "restores", "again")
    assert found["phase"] == "Succeeded", found.get("failure")
    assert "erasures" in {one["name"] for one in found["checks"]}
    assert _counts(club) == (300, 900, 0)


def test_without_the_key_a_restore_is_refused(club: Place) -> None:
    club.stack.kubectl("delete", "secret", "erasure", "-n", club.namespace)
    _restore(club, "keyless")
    found = _ended(club, "restores", "keyless")
    assert (found["phase"], found["failure"]["reason"]) == ("Refused", "ErasureKeyMissing"), found
    assert _counts(club) == (300, 900, 0)


def test_a_backup_whose_data_stayed_when_its_object_went_holds_cleared_back(club: Place) -> None:
    club.apply(secret("erasure", key=KEY))
    club.stack.kubectl("delete", "backups.databosun.io", "server-1", "-n", club.namespace)
    club.apply(_request("request-2"))
    club.wait("the plan waits for consent", lambda: _phase(club, "request-2") == "AwaitingApproval", 300)
    club.stack.bosun("approve", "request-2", "--erasure", "--yes", "-n", club.namespace)
    found = _ended(club, REQUESTS, "request-2")
    assert (found["phase"], found["processed"]) == ("Succeeded", 0), found.get("failure")
    remains = _searched(club, "request-2")
    assert (remains["backups"], remains["unrecorded"], remains["clearedAfter"]) == (0, 1, "Never")
    assert "(server/server-1)" in remains["lasting"][0]


def _searched(place: Place, name: str) -> Object:
    """What remains, once the stores were looked through."""

    def searched() -> bool:
        conditions = place.status(REQUESTS, name)["conditions"]
        return {"StoresSearched": "True"}.items() <= {one["type"]: one["status"] for one in conditions}.items()

    place.wait(f"the stores were looked through for {name}", searched, 300)
    remains: Object = place.status(REQUESTS, name)["remains"]
    return remains


def _server(place: Place) -> Postgres:
    return place.stack.servers[18]


def _later() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _request(name: str = "request-1") -> Object:
    rule = {
        "name": "members", "table": "public.members", "column": "email", "action": {"type": "Delete"},
        "allow": {"cascades": ["visits"]},
    }  # fmt: skip
    spec = {
        "databaseRef": {"name": "server"}, "database": DATABASE, "storageRef": {"name": "backups"},
        "subjectSecretRef": {"name": "request-1", "key": "subject"}, "rules": [rule], "notAfter": _later(),
    }  # fmt: skip
    return {"apiVersion": GROUP, "kind": "ErasureRequest", "metadata": {"name": name}, "spec": spec}


def _restore(place: Place, name: str) -> None:
    target = {"databaseRef": {"name": "server"}, "credentialsSecretRef": {"name": "restorer"}}
    spec = {
        "from": {"databaseRef": {"name": "server"}}, "until": "EndOfBackup", "target": target,
        "selection": {"databases": [DATABASE]}, "overwrite": "Replace", "confirm": "server", "notAfter": _later(),
    }  # fmt: skip
    place.apply({"apiVersion": GROUP, "kind": "Restore", "metadata": {"name": name}, "spec": spec})


def _phase(place: Place, name: str = "request-1") -> str:
    phase: str = place.status(REQUESTS, name).get("phase", "")
    return phase


def _ended(place: Place, plural: str, name: str) -> Object:
    def ended() -> bool:
        return LABEL_FINISHED in place.stack.api.read(plural, place.namespace, name)["metadata"].get("labels", {})

    place.wait(f"{name} has ended", ended, 300)
    return place.status(plural, name)


def _counts(place: Place) -> tuple[int, int, int]:
    """Members, visits, and rows of the person."""
    query = (
        "SELECT (SELECT count(*) FROM members), (SELECT count(*) FROM visits),"
        f" (SELECT count(*) FROM members WHERE email = '{SUBJECT}')"
    )
    ((members, visits, hers),) = _server(place).sql(query, DATABASE)
    return members, visits, hers
