"""MongoDB's stand-in in a pod: backed up by pods of the runner image, killed, proven by drills; damage fails one."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.test_drills import SCHEDULES
from support.clusterapi import Object
from support.stack import ROOT
from support.stackplace import Place, ask_for_drill, database_of, policy

pytestmark = pytest.mark.e2e

PRODUCTS, MORE = 5000, 100
PASSWORD = "only-for-the-demo"
COUNT = {"name": "products", "type": "RowCount", "database": "catalogue", "table": "products"}
CANARY = {
    "name": "canary", "type": "Canary", "database": "catalogue", "value": "yes",
    "query": '{"find": "marks", "filter": {"_id": "canary"}, "projection": {"still": 1}}',
}  # fmt: skip
SCRIPT = f"""
import os, pymongo
from urllib.parse import quote_plus
where = "mongodb://" + quote_plus("/data/s.sock")
client = pymongo.MongoClient(where, username="backup", password="{PASSWORD}", directConnection=True)
"""
FILL = f"""
client.local.create_collection("oplog.rs", capped=True, size=1 << 26)
client.catalogue.marks.insert_one({{"_id": "canary", "still": "yes"}})
client.catalogue.products.insert_many({{"_id": n, "name": "product %d" % n}} for n in range({PRODUCTS}))
client.catalogue.products.create_index("name")
"""
GROW = f"""
client.catalogue.products.insert_many({{"_id": n}} for n in range({PRODUCTS}, {PRODUCTS + MORE}))
client.catalogue.products.delete_many({{"_id": {{"$lt": 10}}}})
"""


def run(place: Place, script: str) -> str:
    """Run lines of Python in the server's pod, with `client` at hand."""
    arguments = ["exec", "-i", "-n", place.namespace, "deployment/mongodb", "--", "/opt/databosun/bin/python", "-"]
    return place.stack.kubectl(*arguments, input=SCRIPT + script)


@pytest.fixture(scope="module")
def catalogue(place: Place) -> Place:
    """A server with documents, a Full of it, other documents, and an Incremental."""
    place.stack.kubectl("apply", "-n", place.namespace, "-f", str(ROOT / "hack/demo/mongodb.yaml"))
    place.stack.kubectl("rollout", "status", "-n", place.namespace, "deployment/mongodb", "--timeout=120s")
    run(place, FILL)
    login = {"credentialsSecretRef": {"name": "catalogue-backup"}}
    host = f"mongodb.{place.namespace}.svc"
    database: Object = database_of("catalogue", host, engine="MongoDB", version="7.0", connection=login)
    place.apply(database, policy("catalogue", method="Auto", schedules=SCHEDULES))
    place.ready("databases", "catalogue")
    place.back_up("catalogue-1", "catalogue", method="Auto")
    full = place.succeeded("catalogue-1")
    assert (full["engine"], full["method"]) == ("MongoDB", "Logical")
    assert {one["name"]: one["rows"] for one in full["objects"]}["catalogue.products"] == PRODUCTS
    assert ":" in full["position"]["optime"]
    run(place, GROW)
    place.back_up("catalogue-2", "catalogue", type="Incremental", method="Auto")
    assert place.succeeded("catalogue-2")["parent"] == "catalogue-1"
    return place


def test_the_database_is_known(catalogue: Place) -> None:
    status: dict[str, Any] = catalogue.status("databases", "catalogue")
    assert status["engineVersion"].startswith("7.0.")
    assert PASSWORD not in str(catalogue.manifest("catalogue-1"))


def test_a_chain_is_proven_after_its_source_is_gone(catalogue: Place) -> None:
    """Every write that was acknowledged before the Incremental is back."""
    catalogue.stack.kubectl("delete", "-n", catalogue.namespace, "deployment", "mongodb", "--wait=true")
    now = PRODUCTS + MORE - 10
    ask_for_drill(catalogue, "chain", "catalogue", level="Deep", checks=[{**COUNT, "min": now, "max": now}, CANARY])
    status = catalogue.verdict("chain")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"], status["proven"]) == ("catalogue-2", "Deep", True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]


def test_the_full_is_compared_document_for_document(catalogue: Place) -> None:
    ask_for_drill(catalogue, "full", "catalogue", level="Deep", backupRef={"name": "catalogue-1"}, checks=[CANARY])
    status = catalogue.verdict("full")
    assert status["phase"] == "Passed", status
    assert {"definitions", "documents", "structure"} <= {check["name"] for check in status["checks"]}


def test_a_damaged_backup_fails_its_drill(catalogue: Place) -> None:
    keys = catalogue.stack.keys(f"{catalogue.namespace}/")
    (key,) = (one for one in keys if "/catalogue-1/" in one and "products.bson.zst" in one)
    body = bytearray(catalogue.stack.download(key))
    body[len(body) // 2] ^= 1
    catalogue.stack.s3.put_object(Bucket="backups", Key=key, Body=bytes(body))
    ask_for_drill(catalogue, "damaged", "catalogue", level="Restore", backupRef={"name": "catalogue-1"})
    status = catalogue.verdict("damaged")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "ArtefactCorrupt"), status
