"""A Redis and its replica in pods: backed up from the replica, killed, proven by a drill; damage fails one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.clusterapi import Object
from support.stack import REDIS_IMAGE
from support.stackplace import GROUP, LABEL_FINISHED, Place, database_of, policy, secret
from support.waiting import eventually

pytestmark = pytest.mark.e2e


PASSWORD = "only-for-the-test"
KEYS = 3000
ACL = "+psync +replconf +info +ping +pubsub|numsub"


@pytest.fixture(scope="module")
def cache(place: Place) -> Place:
    """A master with keys, a replica that follows it, and a Database that lists both."""
    place.apply(
        *_server(place, "cache-0"), *_server(place, "cache-1", "--replicaof", f"cache-0.{place.namespace}.svc", "6379"),
        secret("cache-backup", username="backup", password=PASSWORD),
    )  # fmt: skip
    for name in ("cache-0", "cache-1"):
        place.stack.kubectl("rollout", "status", "-n", place.namespace, f"deployment/{name}", "--timeout=120s")
    fill = (
        f"for n in $(seq {KEYS}); do echo SET user:$n name-$n; done | redis-cli > /dev/null; redis-cli SET canary yes"
    )
    _run(place, "cache-0", "sh", "-c", fill)
    _run(place, "cache-0", "redis-cli", "SETEX", "soon-gone", "2", "x")
    for name in ("cache-0", "cache-1"):
        _run(place, name, "redis-cli", "ACL", "SETUSER", "backup", "on", f">{PASSWORD}", "-@all", *ACL.split())
    hosts = [f"cache-{number}.{place.namespace}.svc" for number in (0, 1)]
    database = database_of("cache", "unused", engine="Redis", version="7")
    database["spec"]["connection"] = {
        "hosts": hosts, "credentialsSecretRef": {"name": "cache-backup"}, "tls": {"mode": "Disable"},
    }  # fmt: skip
    eventually("the replica has it all", lambda: int(_run(place, "cache-1", "redis-cli", "DBSIZE")) > KEYS)
    place.apply(database, policy("cache", method="Auto"))
    return place


def test_a_backup_of_the_replica_is_proven_after_its_source_is_gone(cache: Place) -> None:
    cache.ready("databases", "cache")
    cache.back_up("cache-1", "cache")
    status = cache.succeeded("cache-1")
    assert (status["type"], status["method"]) == ("Full", "Physical")
    assert status["engineVersion"].startswith("7.")
    assert {one["name"]: one["rows"] for one in status["objects"]}["db0"] >= KEYS + 1
    assert ":" in status["position"]["offset"]
    assert PASSWORD not in str(cache.manifest("cache-1"))
    assert "role:slave" in _run(cache, "cache-1", "redis-cli", "INFO", "replication")
    assert "sync_full:1" in _run(cache, "cache-0", "redis-cli", "INFO", "stats"), "the master served its replica alone"

    for name in ("cache-0", "cache-1"):
        cache.stack.kubectl("delete", "-n", cache.namespace, "deployment", name, "--wait=true")
    checks = [
        {"name": "canary", "type": "Canary", "query": "GET canary", "value": "yes"},
        {"name": "users", "type": "RowCount", "table": "user:*", "min": KEYS, "max": KEYS},
    ]
    _ask(cache, "RestoreDrillRun", "proof", databaseRef={"name": "cache"}, level="Deep", checks=checks)
    found = _ended(cache, "restoredrillruns", "proof")
    assert found["phase"] == "Passed", found
    assert {one["result"] for one in found["checks"]} == {"Passed"}, found["checks"]
    assert cache.status("backups", "cache-1")["proven"]["level"] == "Deep"


def test_a_damaged_backup_fails_its_drill(cache: Place) -> None:
    (key,) = (key for key in list(cache.keys()) if "/backups/cache-1/" in key and "dump.rdb.zst" in key)
    good = cache.stack.download(key)
    damaged = bytearray(good)
    damaged[len(damaged) // 2] ^= 1
    bucket = {"Bucket": "backups", "Key": key}
    cache.stack.s3.put_object(**bucket, Body=bytes(damaged))  # type: ignore[arg-type]
    try:
        _ask(cache, "RestoreDrillRun", "damaged", databaseRef={"name": "cache"}, level="Restore")
        assert _ended(cache, "restoredrillruns", "damaged")["phase"] == "Failed"
    finally:
        cache.stack.s3.put_object(**bucket, Body=good)  # type: ignore[arg-type]


def _server(place: Place, name: str, *arguments: str) -> list[Object]:
    """A server without a volume, and its Service."""
    argv = ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "/tmp", *arguments]
    container: dict[str, Any] = {
        "name": "redis", "image": REDIS_IMAGE, "imagePullPolicy": "Never", "command": argv,
        "readinessProbe": {"exec": {"command": ["redis-cli", "PING"]}, "periodSeconds": 1},
    }  # fmt: skip
    labels = {"app": name}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    service = {"selector": labels, "ports": [{"port": 6379}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    ]


def _run(place: Place, name: str, *argv: str) -> str:
    return place.stack.kubectl("exec", "-n", place.namespace, f"deployment/{name}", "--", *argv)


def _ask(place: Place, kind: str, name: str, **spec: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    place.apply({"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "spec": {"notAfter": soon, **spec}})


def _ended(place: Place, plural: str, name: str) -> Object:
    found: list[Object] = []

    def ended() -> bool:
        found[:] = [place.stack.api.read(plural, place.namespace, name)]
        return LABEL_FINISHED in found[0]["metadata"].get("labels", {})

    place.wait(f"{plural} {name} has a verdict", ended, 300)
    status: Object = found[0]["status"]
    return status
