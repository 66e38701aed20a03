"""MongoDB's stand-in in a pod, its oplog shipped: killed in the midst of writes, and brought back from the bucket."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2e.test_mariadb import damage, restored_volume
from e2e.test_restores import later, verdict
from support.clusterapi import Object
from support.stack import MONGODB_IMAGE
from support.stackfaults import kill
from support.stackplace import GROUP, PATIENCE, Place, ask_for_drill, database_of, policy, secret
from support.stacksource import Shipping
from support.waiting import eventually

pytestmark = pytest.mark.e2e

USER, PASSWORD = "backup", "only-for-the-test"
PRODUCTS = 300  # the stand-in reads all of its oplog at each look
MAX_LAG = timedelta(seconds=5)
ENOUGH = 20
HEALTHY = "ContinuousHealthy"
PYTHON = "/opt/databosun/bin/python"
CLIENT = f"""
import datetime, time
import pymongo
from bson import ObjectId
client = pymongo.MongoClient(
    "mongodb://%2Ftmp%2Fs.sock", username="{USER}", password="{PASSWORD}", directConnection=True)
shop = client.shop
"""
# The stand-in keeps an oplog once the collection is there, and is told by us which set it is. What is done to indexes
# is not in its oplog: this one is made before the Full.
BEGIN = """
client.local.create_collection("oplog.rs", capped=True, size=1 << 26)
client.local["system.replset"].insert_one({"_id": "rs0", "settings": {"replicaSetId": ObjectId()}})
shop.marks.insert_one({"_id": "begun"})
shop.products.create_index("name")
"""
# Ids are texts: the stand-in has an index for no other that is not an ObjectId, and a replay finds each by its id.
FILL = f"""
shop.products.insert_many({{"_id": "product %d" % n, "name": "name %d" % n}} for n in range({PRODUCTS}))
"""
# The instant is that of the second after the documents, as a person would give it; the accident comes after it.
ACCIDENT = """
shop.invoices.insert_one({"_id": "invoice", "paid": True})
print(int(time.time()))
time.sleep(2)
shop.invoices.delete_many({})
shop.products.delete_many({})
"""
# Each line is a write that was acknowledged, with the server's clock behind it.
TICKS = """
for number in range(1, 1 << 30):
    shop.ticks.insert_one({"_id": "%07d" % number})
    print(number, datetime.datetime.now(datetime.timezone.utc).timestamp(), flush=True)
    time.sleep(0.02)
"""
LOOK = """
counts = shop.invoices.count_documents({"paid": True}), shop.products.count_documents({})
print(*counts, len(list(shop.products.list_indexes())))
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A server that was killed. `instant`: just before the accident; `kept`: writes that must be back,
    since the archiver says that all up to then are."""

    place: Place
    full: str
    instant: datetime
    kept: int


@pytest.fixture(scope="module")
def shop(place: Place) -> Iterator[Shop]:
    """A Full that the oplog stands on, documents, an accident, writes until kill -9."""
    with restored_volume(place, MONGODB_IMAGE):
        place.apply(server("source", "/tmp/data"), {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "source"},
            "spec": {"selector": {"app": "source"}, "ports": [{"port": 27017}]},
        })  # fmt: skip
        ready(place, "source")
        run(place, "source", BEGIN)
        full = shipped(place)
        run(place, "source", FILL)
        instant = datetime.fromtimestamp(int(run(place, "source", ACCIDENT)) + 1, UTC)
        over = datetime.now(UTC)
        place.wait("the accident is in the log", lambda: recoverable(place) > over)
        acknowledged = writes_until_killed(place)
        place.stack.kubectl("delete", "-n", place.namespace, "pod", "source", "--now")
        place.wait("its end is seen", lambda: place.condition("databases", "shop", HEALTHY).get("status") == "False")
        kept = claimed_of(acknowledged, recoverable(place))
        assert kept > ENOUGH
        yield Shop(place, full, instant, kept)


def recoverable(place: Place) -> datetime:
    """Up to when all can be had back, in the archiver's own words."""
    return Shipping(place, "shop").claimed()


def server(name: str, data: str, *, volume: Object | None = None) -> Object:
    """A pod with a server, which is never started again."""
    argv = f"ferretdb -tcp 0.0.0.0:27017 -unix /tmp/s.sock -data {data} -replset rs0 -user {USER}"
    container: dict[str, Any] = {
        "name": "mongodb", "image": MONGODB_IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", f"mkdir -p {data} && exec {argv}"],
        "env": [{"name": "FERRETDB_PASSWORD", "value": PASSWORD}],
        "readinessProbe": {"tcpSocket": {"port": 27017}, "periodSeconds": 1},
        "volumeMounts": [{"name": "restore", "mountPath": "/restore"}] if volume else [],
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [volume] if volume else [],
        "securityContext": {"runAsUser": 65532},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def ready(place: Place, name: str) -> None:
    place.stack.kubectl("wait", "-n", place.namespace, f"pod/{name}", "--for=condition=Ready", "--timeout=120s")


def run(place: Place, name: str, script: str) -> str:
    """Lines of Python in a server's pod, with `client` and `shop` at hand; what they print."""
    arguments = ["exec", "-i", "-n", place.namespace, f"pod/{name}", "--", PYTHON, "-"]
    return place.stack.kubectl(*arguments, input=CLIENT + script).strip()


def shipped(place: Place) -> str:
    """Have the oplog shipped; the full backup that was taken at once for it to stand on."""
    database = database_of("shop", "unused", engine="MongoDB", version="7.0")
    database["spec"]["connection"] = {
        "hosts": [f"source.{place.namespace}.svc"],
        "credentialsSecretRef": {"name": "shop-backup"},
        "tls": {"mode": "Disable"},
    }
    continuous = {"enabled": True, "maxLag": f"{MAX_LAG.seconds}s"}
    login = secret("shop-backup", username=USER, password=PASSWORD)
    place.apply(login, database, policy("shop", method="Auto", continuous=continuous))
    place.ready("databases", "shop")
    place.wait("the log is shipped", lambda: place.condition("databases", "shop", HEALTHY).get("status") == "True")
    (full,) = (one["metadata"]["name"] for one in place.backups("shop"))
    status = place.succeeded(full)
    assert (status["engine"], status["method"]) == ("MongoDB", "Logical")
    assert status["position"]["startLsn"]
    return full


def writes_until_killed(place: Place) -> list[datetime]:
    """Write until the archiver claims some of it, and kill the server in the midst of it: when each write was
    acknowledged."""
    pod = place.stack.api.read("pods", place.namespace, "source")
    argv = ["kubectl", "exec", "-n", place.namespace, "source", "--", PYTHON, "-c", CLIENT + TICKS]
    acknowledged: list[datetime] = []
    killed, look, limit = False, time.monotonic(), time.monotonic() + PATIENCE
    with subprocess.Popen(argv, env=place.stack.cluster.environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            number, at = line.split()
            acknowledged.append(datetime.fromtimestamp(float(at), UTC))
            assert int(number) == len(acknowledged)
            if killed or len(acknowledged) < 2 * ENOUGH or time.monotonic() < look:
                continue
            assert time.monotonic() < limit, "none of it is claimed"
            if claimed_of(acknowledged, recoverable(place)) > ENOUGH:
                killed = True
                kill(pod, "ferretdb")
            look = time.monotonic() + 1
        client.kill()
    assert killed, "the client ended by itself"
    return acknowledged


def claimed_of(acknowledged: list[datetime], until: datetime) -> int:
    """How many of the writes."""
    return sum(at <= until for at in acknowledged)


def test_the_log_is_whole(shop: Shop) -> None:
    recovery = shop.place.status("databases", "shop")["recovery"]
    assert recovery["continuous"] is True
    assert recovery.get("gaps", []) == []


def test_every_write_that_was_claimed_is_back_from_the_bucket(shop: Shop) -> None:
    place = shop.place
    count = {"name": "ticks", "type": "RowCount", "database": "shop", "table": "ticks", "min": shop.kept}
    gone = {"name": "emptied", "type": "Query", "database": "shop", "query": '{"count": "products"}', "value": "0"}
    ask_for_drill(place, "newest", "shop", level="Deep", checks=[count, gone], selection={"pointInTime": "Latest"})
    status = place.verdict("newest")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"], status["proven"]) == (shop.full, "Deep", True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]


def test_all_of_just_before_the_accident_and_all_behind_it_is_back_in_a_server(shop: Shop) -> None:
    place = shop.place
    restore(place, "back", pointInTime=f"{shop.instant:%Y-%m-%dT%H:%M:%SZ}")
    assert run(place, "restored", LOOK) == f"1 {PRODUCTS} 2"
    place.stack.kubectl("delete", "-n", place.namespace, "pod", "restored", "--now")
    restore(place, "newest", until="Latest")
    ids = run(place, "restored", 'print(*sorted(one["_id"] for one in shop.ticks.find()))').split()
    assert ids == [f"{number:07}" for number in range(1, len(ids) + 1)]
    assert len(ids) >= shop.kept


def restore(place: Place, name: str, **point: str) -> None:
    """Into the claim, and a server on it."""
    spec = {
        "from": {"databaseRef": {"name": "shop"}},
        **point,
        "target": {"volume": {"claimName": "restored"}},
        "overwrite": "Replace",
        "confirm": "restored",
        "notAfter": later(1),
    }
    place.apply({"apiVersion": GROUP, "kind": "Restore", "metadata": {"name": name}, "spec": spec})
    status = verdict(place, name)
    assert status["phase"] == "Succeeded", status
    volume = {"name": "restore", "persistentVolumeClaim": {"claimName": "restored"}}
    place.apply(server("restored", "/restore/data", volume=volume))
    ready(place, "restored")
    eventually("it answers", lambda: run(place, "restored", 'print(client.admin.command("ping")["ok"])') == "1.0")


def test_a_damaged_piece_of_the_log_fails_the_drill(shop: Shop) -> None:
    keys = shop.place.stack.keys(f"{shop.place.namespace}/")
    damage(shop.place, max(one for one in keys if "/_log/" in one and one.endswith(".zst")))
    ask_for_drill(shop.place, "damaged", "shop", level="Restore", selection={"pointInTime": "Latest"})
    status = shop.place.verdict("damaged")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "LogCorrupt"), status
