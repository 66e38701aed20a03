"""A Redis and its replica in pods, their commands shipped: both killed in the midst of writes, and brought back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from e2e.test_mariadb import damage, restored_volume
from e2e.test_restores import later, verdict
from support.clusterapi import Object
from support.stack import REDIS_IMAGE
from support.stackfaults import kill
from support.stackplace import GROUP, PATIENCE, Place, ask_for_drill, database_of, policy, secret
from support.stacksource import Shipping
from support.waiting import eventually

pytestmark = pytest.mark.e2e

PASSWORD = "only-for-the-test"
ACL = "+psync +replconf +info +ping +pubsub|numsub"
MASTER, REPLICA = "log-0", "log-1"
KEYS = 3000
MAX_LAG, ENOUGH = "5s", 20
FILL = f"for n in $(seq {KEYS}); do echo SET user:$n name-$n; done | redis-cli > /dev/null"
# The instant is that of the second after the keys, as a person would give it; the flush comes after it.
ACCIDENT = "redis-cli SET invoice paid > /dev/null; date +%s; sleep 2; redis-cli FLUSHALL > /dev/null"
# Each line is a write of two keys that was acknowledged, with the server's clock in the midst of it.
TICK = (
    "redis.call('SET', 'tick:' .. ARGV[1], 1); redis.call('INCR', 'ticks'); local t = redis.call('TIME'); "
    "return ARGV[1] .. ' ' .. t[1] .. '.' .. string.format('%06d', t[2])"
)
TICKS = f"""
i=0
while i=$((i + 1)); do
  echo "EVAL \\"{TICK}\\" 0 $i"
  sleep 0.02
done | redis-cli
"""
NO_HOLE = "EVAL_RO \"return #redis.call('KEYS', 'tick:*') == tonumber(redis.call('GET', 'ticks')) and 1 or 0\" 0"


@dataclass(frozen=True, slots=True)
class Cache:
    """Servers that were killed. `instant`: just before all was flushed away; `kept`: writes that must be back,
    since the archiver said that all up to then are."""

    place: Place
    full: str
    instant: datetime
    kept: int


@pytest.fixture(scope="module")
def cache(place: Place) -> Iterator[Cache]:
    """A Full that the log stands on, keys, a flush, writes until kill -9."""
    with restored_volume(place, REDIS_IMAGE):
        servers(place)
        full = shipped(place)
        run(place, MASTER, "sh", "-c", FILL)
        said = run(place, MASTER, "sh", "-c", ACCIDENT)
        instant = datetime.fromtimestamp(int(said) + 1, UTC)
        kept = writes_until_killed(place)
        place.stack.kubectl("delete", "-n", place.namespace, "pod", MASTER, REPLICA, "--now")
        yield Cache(place, full, instant, kept)


def servers(place: Place) -> None:
    """A master and its replica, each with a user who may take backups; what is killed stays dead."""
    for name, arguments in ((MASTER, []), (REPLICA, ["--replicaof", f"{MASTER}.{place.namespace}.svc", "6379"])):
        argv = ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "/tmp", *arguments]
        place.apply(server(name, argv), {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 6379}]},
        })  # fmt: skip
    for name in (MASTER, REPLICA):
        place.stack.kubectl("wait", "-n", place.namespace, f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
        run(place, name, "redis-cli", "ACL", "SETUSER", "backup", "on", f">{PASSWORD}", "-@all", *ACL.split())
    linked = "master_link_status:up"
    eventually("the replica follows", lambda: linked in run(place, REPLICA, "redis-cli", "INFO", "replication"))


def server(name: str, argv: list[str], *, volume: Object | None = None) -> Object:
    """A pod with a server, which is never started again."""
    container: dict[str, Any] = {
        "name": "redis", "image": REDIS_IMAGE, "imagePullPolicy": "IfNotPresent", "command": argv,
        "readinessProbe": {"exec": {"command": ["redis-cli", "PING"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": "restore", "mountPath": "/restore"}] if volume else [],
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [volume] if volume else [],
        "securityContext": {"runAsUser": 65532},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def shipped(place: Place) -> str:
    """Have the log shipped; the full backup that was taken at once for it to stand on."""
    database = database_of("cache", "unused", engine="Redis", version="7")
    database["spec"]["connection"] = {
        "hosts": [f"{name}.{place.namespace}.svc" for name in (MASTER, REPLICA)],
        "credentialsSecretRef": {"name": "cache-backup"},
        "tls": {"mode": "Disable"},
    }
    continuous = {"enabled": True, "maxLag": MAX_LAG}
    login = secret("cache-backup", username="backup", password=PASSWORD)
    place.apply(login, database, policy("cache", method="Auto", continuous=continuous))
    place.ready("databases", "cache")
    healthy = "ContinuousHealthy"
    place.wait("the log is shipped", lambda: place.condition("databases", "cache", healthy).get("status") == "True")
    (full,) = (one["metadata"]["name"] for one in place.backups("cache"))
    status = place.succeeded(full)
    assert (status["engine"], status["method"]) == ("Redis", "Physical")
    assert status["position"]["startLsn"]
    connected = run(place, MASTER, "redis-cli", "INFO", "replication")
    assert "connected_slaves:1" in connected, "the archiver is no replica of the master's"
    return full


def run(place: Place, name: str, *argv: str) -> str:
    """A command in a server's pod; what it prints."""
    return place.stack.kubectl("exec", "-n", place.namespace, f"pod/{name}", "--", *argv).strip()


def writes_until_killed(place: Place) -> int:
    """Write until the archiver claims some of it, and kill both servers in the midst of it: how many it claims."""
    pods = [place.stack.api.read("pods", place.namespace, name) for name in (MASTER, REPLICA)]
    argv = ["kubectl", "exec", "-n", place.namespace, MASTER, "--", "sh", "-c", TICKS]
    acknowledged: list[datetime] = []
    kept, look, limit = 0, time.monotonic(), time.monotonic() + PATIENCE
    with subprocess.Popen(argv, env=place.stack.cluster.environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            if kept and len(line.split()) != 2:
                break  # the client's own complaint
            number, at = line.split()
            acknowledged.append(datetime.fromtimestamp(float(at), UTC))
            assert int(number) == len(acknowledged)
            if kept or time.monotonic() < look:
                continue
            assert time.monotonic() < limit, "none of it is claimed"
            until = Shipping(place, "cache").claimed()
            if sum(at <= until for at in acknowledged) > ENOUGH:
                kept = sum(at <= until for at in acknowledged)
                for pod in pods:
                    kill(pod, "redis-server")
            look = time.monotonic() + 1
        client.kill()
    assert kept, "the client ended by itself"
    return kept


def test_the_log_is_whole(cache: Cache) -> None:
    recovery = cache.place.status("databases", "cache")["recovery"]
    assert recovery["continuous"] is True
    assert recovery.get("gaps", []) == []


def test_every_write_that_was_claimed_is_back_from_the_bucket(cache: Cache) -> None:
    checks = [
        {"name": "ticks", "type": "RowCount", "table": "tick:*", "min": cache.kept},
        {"name": "no-hole", "type": "Query", "query": NO_HOLE, "value": "1"},
        {"name": "flushed", "type": "Query", "query": "EXISTS invoice", "value": "0"},
    ]
    ask_for_drill(cache.place, "newest", "cache", level="Deep", checks=checks, selection={"pointInTime": "Latest"})
    status = cache.place.verdict("newest")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"], status["proven"]) == (cache.full, "Deep", True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]


def test_everything_is_back_from_just_before_it_was_flushed_away(cache: Cache) -> None:
    place = cache.place
    spec = {
        "from": {"databaseRef": {"name": "cache"}},
        "pointInTime": f"{cache.instant:%Y-%m-%dT%H:%M:%SZ}",
        "target": {"volume": {"claimName": "restored"}},
        "overwrite": "Replace",
        "confirm": "restored",
        "notAfter": later(1),
    }
    place.apply({"apiVersion": GROUP, "kind": "Restore", "metadata": {"name": "back"}, "spec": spec})
    status = verdict(place, "back")
    assert status["phase"] == "Succeeded", status
    volume = {"name": "restore", "persistentVolumeClaim": {"claimName": "restored"}}
    argv = ["redis-server", "--appendonly", "yes", "--dir", "/restore/data"]
    place.apply(server("restored", argv, volume=volume))
    place.stack.kubectl("wait", "-n", place.namespace, "pod/restored", "--for=condition=Ready", "--timeout=120s")
    assert run(place, "restored", "redis-cli", "GET", "invoice") == "paid"
    assert run(place, "restored", "redis-cli", "DBSIZE") == str(KEYS + 1)


def test_a_damaged_piece_of_the_log_fails_the_drill(cache: Cache) -> None:
    keys = cache.place.stack.keys(f"{cache.place.namespace}/")
    damage(cache.place, max(one for one in keys if "/_log/" in one and one.endswith(".zst")))
    ask_for_drill(cache.place, "damaged", "cache", level="Restore", selection={"pointInTime": "Latest"})
    status = cache.place.verdict("damaged")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "LogCorrupt"), status
