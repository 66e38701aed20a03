"""A Redis of two nodes under three Sentinels, all in pods: made to fail over with consent, plainly, and with its agent
killed on the way."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.engines.redis.failover.guards import MOVER_GRANTS
from databosun.engines.redis.failover.probe import GRANTS
from support.clusterapi import Object
from support.failoverruns import PATIENT, FailoverRuns
from support.stack import REDIS_IMAGE
from support.stackplace import GROUP, Place, database_of, secret

pytestmark = pytest.mark.e2e

PASSWORD = "only-for-the-test"
NODES, WATCH = ("node-0", "node-1"), "sentinels"
SENTINELS = (26379, 26380, 26381)
TABLE = "databosun_probe"


@pytest.fixture(scope="module")
def cache(place: Place) -> Place:
    """A master, a replica and their Sentinels, which know them by address, and a Database."""
    for name in NODES:
        place.apply(*_pods(name, [_redis(name, 6379, "--protected-mode", "no", "--save", "", "--dir", "/tmp")], 6379))
    for name in NODES:
        _rolled_out(place, name)
    at = _address(place, NODES[0])
    _cli(place, NODES[1], "REPLICAOF", at, "6379")
    for name in NODES:
        grants = GRANTS.format(table=TABLE).split()
        _cli(place, name, "ACL", "SETUSER", "probe", "on", f">{PASSWORD}", "-@all", *grants)
        _cli(place, name, "ACL", "SETUSER", "mover", "on", f">{PASSWORD}", "~*", "&*", "-@all", *MOVER_GRANTS.split())
    place.apply(*_pods(WATCH, [_sentinel(port, at) for port in SENTINELS], *SENTINELS))
    _rolled_out(place, WATCH)
    place.wait("the Sentinels know the replica and each other", lambda: _sentinels_know(place), 120)
    place.apply(secret("cache-probe", username="probe", password=PASSWORD))
    place.apply(secret("cache-mover", username="mover", password=PASSWORD))
    place.apply(_database(place, "Production"))
    return place


def test_with_consent_to_the_plan_it_fails_over_and_loses_nothing(cache: Place) -> None:
    _test(cache, "planned")
    runs, name = FailoverRuns(cache, "cache"), "cache-planned"
    before = runs.plan("planned", name)
    assert (before["primary"], before["approvalNeeded"]) == (f"{_address(cache, NODES[0])}:6379", True)
    assert _role(cache, NODES[0]) == "master", "it was moved without consent"
    runs.consent(name)
    found = runs.ended(name)
    assert found["phase"] == "Passed", found
    assert (found["result"]["lost"], found["result"]["rejoinLost"], found["result"].get("splitBrain", [])) == (0, 0, [])
    assert found["result"]["acknowledged"] > 0  # few where a server answers slowly
    assert (_role(cache, NODES[0]), _role(cache, NODES[1])) == ("slave", "master")
    assert _left(cache) == ""
    (key,) = (key for key in list(cache.keys()) if key.endswith(f"/failovers/{name}/evidence.json"))
    assert b'"Passed"' in cache.stack.download(key)


def test_the_plain_command_loses_writes_and_the_test_says_how_many(cache: Place) -> None:
    cache.apply(_database(cache, "Staging"))
    _test(cache, "forced", mode="ForcedFailover")
    runs = FailoverRuns(cache, "cache")
    runs.begin("forced", "cache-forced")
    found = runs.ended("cache-forced")
    assert (found["phase"], found["failure"]["reason"]) == ("Failed", "WritesLost"), found
    assert found["result"]["lost"] > 0
    assert (_role(cache, NODES[0]), _role(cache, NODES[1])) == ("master", "slave")


def test_an_agent_that_is_killed_in_the_middle_leaves_nothing_behind(cache: Place) -> None:
    cache.apply(_database(cache, "Staging"))
    _test(cache, "killed")
    runs = FailoverRuns(cache, "cache")
    runs.begin("killed", "cache-killed")
    cache.wait("it writes", lambda: bool(_left(cache)), 300)
    pods = cache.stack.api.list("pods", cache.namespace, "databosun.io/task=failover")
    (pod,) = [one for one in pods if one["status"].get("phase") == "Running"]
    cache.stack.kubectl("delete", "pod", "-n", cache.namespace, pod["metadata"]["name"], "--grace-period=0", "--force")
    found = runs.ended("cache-killed")
    assert found["phase"] in ("Inconclusive", "Aborted"), found
    masters = [one for one in NODES if _role(cache, one) == "master"]
    assert len(masters) == 1
    assert _cli(cache, masters[0], "SET", "after", "it") == "OK"
    assert _left(cache) == ""


def _test(place: Place, name: str, **spec: Any) -> None:
    wish = {
        "databaseRef": {"name": "cache"}, "evidence": {"storageRef": {"name": "backups"}}, "cooldown": "0s",
        "objectives": {"writeDowntime": PATIENT},
        "credentialsSecretRef": {"name": "cache-mover"},
        "probe": {"credentialsSecretRef": {"name": "cache-probe"}, "table": TABLE},
        "guards": {"requireRecentBackup": "0s", "requireProvenBackup": "0s"}, **spec,
    }  # fmt: skip
    place.apply({"apiVersion": GROUP, "kind": "FailoverTest", "metadata": {"name": name}, "spec": wish})


def _database(place: Place, environment: str) -> Object:
    database = database_of("cache", "unused", engine="Redis", environment=environment, runner={"image": REDIS_IMAGE})
    database["spec"]["connection"] = {
        "hosts": [f"{name}.{place.namespace}.svc" for name in NODES],
        "credentialsSecretRef": {"name": "cache-probe"}, "tls": {"mode": "Disable"},
    }  # fmt: skip
    endpoints = [f"{WATCH}.{place.namespace}.svc:{port}" for port in SENTINELS]
    database["spec"]["replication"] = {"provider": "Sentinel", "masterName": "mine", "endpoints": endpoints}
    return database


def _redis(name: str, port: int, *arguments: str) -> Object:
    return {
        "name": name, "image": REDIS_IMAGE, "imagePullPolicy": "Never",
        "command": ["redis-server", "--port", str(port), *arguments],
        "readinessProbe": {"exec": {"command": ["redis-cli", "-p", str(port), "PING"]}, "periodSeconds": 1},
    }  # fmt: skip


def _sentinel(port: int, master: str) -> Object:
    """It writes its settings anew, so it needs a file of its own."""
    lines = (
        f"port {port}", "protected-mode no", "dir /tmp", f"sentinel monitor mine {master} 6379 2",
        "sentinel down-after-milliseconds mine 5000", "sentinel failover-timeout mine 20000",
    )  # fmt: skip
    file = f"/tmp/sentinel-{port}.conf"
    script = f"printf '%s\\n' {' '.join(repr(line) for line in lines)} > {file}; exec redis-server {file} --sentinel"
    return _redis(f"sentinel-{port}", port) | {"command": ["sh", "-c", script]}


def _pods(name: str, containers: list[Object], *ports: int) -> list[Object]:
    labels = {"app": name}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    }
    service = {"selector": labels, "ports": [{"name": f"p{port}", "port": port} for port in ports]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    ]


def _rolled_out(place: Place, name: str) -> None:
    place.stack.kubectl("rollout", "status", "-n", place.namespace, f"deployment/{name}", "--timeout=180s")


def _address(place: Place, name: str) -> str:
    path = "jsonpath={.items[0].status.podIP}"
    return place.stack.kubectl("get", "pods", "-n", place.namespace, "-l", f"app={name}", "-o", path)


def _cli(place: Place, name: str, *words: str, port: int = 6379, container: str | None = None) -> str:
    argv = ["-c", container or name, f"deployment/{name}", "--", "redis-cli", "-p", str(port), *words]
    return place.stack.kubectl("exec", "-n", place.namespace, *argv).strip()


def _role(place: Place, name: str) -> str:
    return _cli(place, name, "ROLE").splitlines()[0]


def _left(place: Place) -> str:
    """The probe's keys, on whatever node."""
    return "".join(_cli(place, name, "KEYS", f"{TABLE}:*") for name in NODES)


def _sentinels_know(place: Place) -> bool:
    for port in SENTINELS:
        said = _cli(place, WATCH, "SENTINEL", "MASTER", "mine", port=port, container=f"sentinel-{port}").splitlines()
        known = dict(zip(said[::2], said[1::2], strict=False))
        if (known.get("num-slaves"), known.get("num-other-sentinels")) != ("1", "2"):
            return False
    return True
