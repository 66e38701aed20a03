"""One person is handed their rows and is erased from a real MariaDB, in pods; a drill does not bring them back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.clusterapi import Object
from support.stack import ROOT
from support.stackplace import GROUP, LABEL_FINISHED, Place, ask_for_drill, database_of, policy, secret, storage

pytestmark = pytest.mark.e2e

REQUESTS = "erasurerequests"
SUBJECT = "ada.lovelace@example.org"
KEY = "5f2b8c1d9e7a46b0c3d4e5f60718293a5f2b8c1d9e7a46b0c3d4e5f60718293a"
MEMBERS = f"""
CREATE TABLE members (id BIGINT PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE);
CREATE TABLE visits (id BIGINT PRIMARY KEY, member BIGINT NOT NULL,
    FOREIGN KEY (member) REFERENCES members (id) ON DELETE CASCADE);
INSERT INTO members SELECT seq, CONCAT('member', seq, '@example.org') FROM seq_1_to_300;
INSERT INTO members VALUES (1815, '{SUBJECT}');
INSERT INTO visits SELECT seq, 1 + seq % 300 FROM seq_1_to_900;
INSERT INTO visits SELECT 1000 + seq, 1815 FROM seq_1_to_5;
GRANT UPDATE, DELETE ON orders.* TO backup@'%';
GRANT PROCESS ON *.* TO backup@'%';
"""
NOBODY = {
    "name": "nobody", "type": "Query", "database": "orders", "operator": "==", "value": "0",
    "query": "SELECT COUNT(*) FROM members WHERE email LIKE 'ada%'",
}  # fmt: skip
RULE = {"name": "members", "table": "members", "column": "email"}


@pytest.fixture(scope="module")
def club(place: Place) -> Place:
    """Members with a backup, and a storage that erased people can be found by."""
    place.stack.kubectl("apply", "-n", place.namespace, "-f", str(ROOT / "hack/demo/mariadb.yaml"))
    place.stack.kubectl("rollout", "status", "-n", place.namespace, "deployment/mariadb", "--timeout=240s")
    _sql(place, MEMBERS)
    place.apply(
        secret("erasure", key=KEY),
        secret("request-1", subject=SUBJECT),
        storage("backups", place.stack.endpoint, erasure={"keySecretRef": {"name": "erasure", "key": "key"}}),
        database_of("club", f"mariadb.{place.namespace}.svc", engine="MariaDB"),
        policy("club", method="Auto"),
    )
    place.back_up("club-1", "club")
    place.succeeded("club-1")
    return place


def test_a_person_is_handed_their_rows_erased_and_not_brought_back(club: Place) -> None:
    _ask(club, "DataExport", {**RULE, "along": ["visits"]})
    handed = _ended(club, "dataexports")
    assert handed["phase"] == "Succeeded", handed.get("failure")
    assert {one["table"]: one["rows"] for one in handed["files"]} == {"orders.members": 1, "orders.visits": 5}
    _ask(club, "ErasureRequest", {**RULE, "action": {"type": "Delete"}, "allow": {"cascades": ["visits"]}})
    club.wait("the plan waits for consent", lambda: _phase(club) == "AwaitingApproval", 300)
    club.stack.bosun("approve", "request-1", "--erasure", "--yes", "-n", club.namespace)
    found = _ended(club, REQUESTS)
    assert found["phase"] == "Succeeded", found.get("failure")
    assert (found["processed"], found["remains"]["backups"]) == (6, 1)
    assert "DataExports hold the person still: request-1 until" in found["notes"][-1]
    assert _sql(club, "SELECT (SELECT COUNT(*) FROM members), (SELECT COUNT(*) FROM visits)").split() == ["300", "900"]
    ask_for_drill(club, "after", "club", level="Application", checks=[NOBODY])
    after = club.verdict("after")
    assert after["phase"] == "Passed", after
    (again,) = [one for one in after["checks"] if one["name"] == "erasures"]
    assert "1 people found: 1 rows of orders.members, 5 rows of orders.visits; none left" in again["observed"]
    assert SUBJECT not in club.stack.kubectl("get", f"{REQUESTS},dataexports", "-n", club.namespace, "-o", "yaml")


def _sql(place: Place, statements: str) -> str:
    client = ["mariadb", "--no-defaults", "--socket=/data/socket", "--user=root", "--batch", "--skip-column-names"]
    arguments = ["exec", "-i", "-n", place.namespace, "deployment/mariadb", "--", *client, "orders"]
    return place.stack.kubectl(*arguments, input=statements).strip()


def _ask(place: Place, kind: str, rule: Object) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {
        "databaseRef": {"name": "club"}, "database": "orders", "storageRef": {"name": "backups"},
        "subjectSecretRef": {"name": "request-1", "key": "subject"}, "rules": [rule], "notAfter": later,
    }  # fmt: skip
    place.apply({"apiVersion": GROUP, "kind": kind, "metadata": {"name": "request-1"}, "spec": spec})


def _phase(place: Place) -> str:
    phase: str = place.status(REQUESTS, "request-1").get("phase", "")
    return phase


def _ended(place: Place, plural: str) -> Object:
    def ended() -> bool:
        return LABEL_FINISHED in place.stack.api.read(plural, place.namespace, "request-1")["metadata"].get(
            "labels", {}
        )

    place.wait(f"{plural} request-1 has ended", ended, 300)
    return place.status(plural, "request-1")
