"""After the loss of everything: all databases together from the bucket, in their order, with one verdict.

First with the cluster as it is, then with nothing left of it but the bucket: no record, no server, a foreign owner.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from databosun.agent.verify import Beside, verify
from support.clusterapi import Object
from support.pemkeys import pem_of
from support.stack import ACCESS_KEY, BUCKET, PASSWORD, SECRET_KEY
from support.stackplace import GROUP, LABEL_FINISHED, NEVER, Place, database_of, policy, secret, storage

pytestmark = pytest.mark.e2e

RUNS, PREFIX, NAME = "restoredrillruns", "vault", "disaster"
PRIVATE, PUBLIC = pem_of(Ed25519PrivateKey.generate())
OLD_CLUSTER = "0d9b1a52-6a0f-4a53-9c33-1d5a2f4f9a11"
ROWS = {"name": "customers", "type": "RowCount", "database": "shop", "table": "public.customers", "min": 2000}
SELF_TEST = ["psql", "--set=ON_ERROR_STOP=1", "--command=select 1 / (count(*) / 2000) from customers"]
PROGRAM = {"name": "self-test", "type": "Job", "database": "shop", "exec": SELF_TEST}
# What it is, in which group, and on which server.
DATABASES = {"users": ("identity", 18), "orders": ("services", 15), "reports": ("rest", 18)}


def drill() -> Object:
    """All of them, `users` first, `reports` last."""
    order = [{"databaseSelector": {"matchLabels": {"stage": stage}}} for stage in ("identity", "services")]
    spec = {
        "databaseSelector": {"matchLabels": {"team": "all"}},
        "order": order,
        "schedule": {"cron": NEVER},
        "level": "Application",
        "checks": [ROWS, PROGRAM],
        "deadline": "10m",
    }
    return {"apiVersion": GROUP, "kind": "RestoreDrill", "metadata": {"name": NAME}, "spec": spec}


def vault(place: Place, **spec: Any) -> Object:
    """A storage that signs, so that its records vouch for themselves."""
    signing = {"keySecretRef": {"name": "signing", "key": "key"}, "publicKey": PUBLIC}
    return storage("vault", place.stack.endpoint, s3={"prefix": PREFIX}, signing=signing, **spec)


def furnish(place: Place, *, gone: bool) -> None:
    """What a person applies, in a new cluster too. `gone`: the servers are not there any more."""
    place.apply(
        secret("objects", accessKeyId=ACCESS_KEY, secretAccessKey=SECRET_KEY),
        secret("orders-backup", username="backup", password=PASSWORD),
        secret("signing", key=PRIVATE.decode()),
    )
    for name, (stage, major) in DATABASES.items():
        host = f"{name}.gone.svc" if gone else place.stack.servers[major].host
        body = database_of(name, host)
        body["metadata"]["labels"] = {"team": "all", "stage": stage}
        place.apply(body, policy(name, storageRef={"name": "vault"}, suspend=gone))


def verdict(place: Place, name: str) -> Object:
    """Wait for it; the run's status."""
    found: list[Object] = []

    def ended() -> bool:
        found[:] = [place.stack.api.read(RUNS, place.namespace, name)]
        return LABEL_FINISHED in found[0]["metadata"].get("labels", {})

    place.wait(f"the drill {place.namespace}/{name} has a verdict", ended, 600)
    status: Object = found[0]["status"]
    return status


def evidence(place: Place, status: Object) -> bytes:
    """The record of the whole, after it was checked offline with that of each database."""
    keys = place.stack.keys(f"{PREFIX}/{place.namespace}/")

    def of(*parts: str) -> bytes:
        (key,) = (key for key in keys if key.endswith("/".join((*parts, "evidence.json"))))
        return place.stack.download(key)

    whole = of("_drills", str(status["evidence"]["uri"].split("/")[-2]))
    members = [of(one["database"], "drills", one["run"]) for one in status["members"]]
    right, wrong = verify(whole, public_key=PUBLIC, beside=Beside(members=members))
    assert wrong == []
    assert len(right) == 2 + len(members)
    return whole


def backups(place: Place) -> dict[str, bytes]:
    """Every object of every backup, byte for byte."""
    keys = place.stack.keys(f"{PREFIX}/{place.namespace}/")
    return {key: place.stack.download(key) for key in keys if "/backups/" in key}


def seconds_between(early: str, late: str) -> float:
    return (datetime.fromisoformat(late) - datetime.fromisoformat(early)).total_seconds()


def all_passed(status: Object) -> None:
    """Each in its group, one verdict, and times that add up."""
    assert status["phase"] == "Passed", status
    found = {one["database"]: one for one in status["members"]}
    assert {name: (one["group"], one["phase"]) for name, one in found.items()} == {
        "users": (1, "Passed"),
        "orders": (2, "Passed"),
        "reports": (3, "Passed"),
    }
    spans = [one["milliseconds"] for one in status["groups"]]
    assert status["rto"]["milliseconds"] == sum(spans)
    assert found["reports"]["readyMilliseconds"] == status["rto"]["milliseconds"]
    assert all(one["rto"]["milliseconds"] <= span for one, span in zip(found.values(), spans, strict=True))
    wall = seconds_between(status["startTime"], status["completionTime"])
    assert 0 < status["rto"]["milliseconds"] / 1000 <= wall + 1
    assert status["rto"]["met"] is True


@pytest.fixture(scope="module")
def backed_up(place: Place) -> Place:
    """Three databases on two servers, each with a backup in a storage that signs."""
    furnish(place, gone=False)
    place.apply(vault(place))
    place.ready("backupstorages", "vault")
    for name in DATABASES:
        place.back_up(f"{name}-1", name)
    for name in DATABASES:
        place.succeeded(f"{name}-1")
    return place


def test_all_databases_are_drilled_together_and_nothing_but_evidence_is_left(backed_up: Place) -> None:
    place, before = backed_up, backups(backed_up)
    place.apply(drill())
    place.ready("restoredrills", NAME)
    asked = {"metadata": {"annotations": {"databosun.io/run-now": "once"}}}
    place.stack.api.merge("restoredrills", place.namespace, NAME, asked)
    found: list[str] = []

    def answered() -> bool:
        runs = place.stack.api.list(RUNS, place.namespace)
        found[:] = [one["metadata"]["name"] for one in runs if "databaseRef" not in one["spec"]]
        return bool(found)

    place.wait("run-now of the drill is answered", answered)
    status = verdict(place, found[0])
    all_passed(status)
    starts = [place.status(RUNS, one["run"]) for one in status["members"]]
    for earlier, later in pairwise(starts):
        assert seconds_between(earlier["completionTime"], later["startTime"]) >= 0
    assert {check["result"] for one in starts for check in one["checks"]} == {"Passed"}
    assert json.loads(evidence(place, status))["drill"] == NAME
    for name in DATABASES:
        where = f"Database {name} is proven"
        place.wait(where, lambda name=name: place.condition("databases", name, "Proven").get("status") == "True")
    counted = {"backupsTotal": 3, "backupsDrilled": 3}
    place.wait("every backup is drilled", lambda: place.status("restoredrills", NAME).get("coverage") == counted)
    place.wait("it has a trend", lambda: place.status("restoredrills", NAME).get("trend", {}).get("runs") == 1)
    place.wait("no pod of a drill is left", lambda: not place.stack.api.list("pods", place.namespace))
    assert place.stack.api.list("jobs", place.namespace) == []
    assert backups(place) == before


def test_an_empty_cluster_the_bucket_alone_and_all_databases_are_back(backed_up: Place) -> None:
    place, before = backed_up, backups(backed_up)
    lose_everything(place)

    furnish(place, gone=True)
    place.apply(vault(place))

    def refused() -> bool:
        return place.condition("backupstorages", "vault", "Ready").get("reason") == "StorageOwnedByAnother"

    place.wait("the storage is another cluster's", refused)
    assert OLD_CLUSTER in place.condition("backupstorages", "vault", "Ready")["message"]
    place.apply(vault(place, adoptFrom=OLD_CLUSTER))
    place.ready("backupstorages", "vault")

    ask = {"metadata": {"annotations": {"databosun.io/rebuild-catalog": "lost"}}}
    place.stack.api.merge("backupstorages", place.namespace, "vault", ask)
    names = [f"{name}-1" for name in DATABASES]
    place.wait("every record is back", lambda: _records(place) == sorted(names), 300)
    for name in names:
        conditions = {one["type"] for one in place.status("backups", name)["conditions"]}
        assert "Unverified" not in conditions
        assert place.status("backups", name)["proven"]["level"] == "Application", "its signed evidence says so"
    # No server of them is there: what is drilled comes from the bucket alone.
    assert {place.condition("databases", name, "Reachable").get("status") for name in DATABASES} == {"False"}

    place.apply(drill())
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"drillRef": {"name": NAME}, "notAfter": soon}
    place.apply({"apiVersion": GROUP, "kind": "RestoreDrillRun", "metadata": {"name": "all-back"}, "spec": spec})
    status = verdict(place, "all-back")
    all_passed(status)
    assert json.loads(evidence(place, status))["run"] == "all-back"
    for name in names:
        assert place.status("backups", name)["proven"]["level"] == "Application"
    assert backups(place) == before


def _records(place: Place) -> list[str]:
    return sorted(
        one["metadata"]["name"] for one in place.backups() if one.get("status", {}).get("phase") == "Succeeded"
    )


def lose_everything(place: Place) -> None:
    """The namespace with all objects, and the cluster: what is in the bucket bears the mark of one that is gone."""
    place.stack.kubectl("delete", "namespace", place.namespace, "--timeout=180s")
    key = f"{PREFIX}/{place.namespace}/databosun.json"
    mark = place.stack.download(key).decode()
    cluster = json.loads(mark)["clusterId"]
    body = mark.replace(cluster, OLD_CLUSTER).encode()
    place.stack.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    place.stack.make_namespace(place.namespace)
