"""The demo, step by step. Every step can be repeated: an interrupted `make demo` goes on where it stopped."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hack.common import Failure, progress, run
from hack.images import builder, catalog

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
NAMESPACE = "shop"
SYSTEM = "databosun"
IMAGES = ("operator", "runner-postgresql:18-dev", "seaweedfs")
PATIENCE = 900.0

NEXT = """
What to try next (first: {env})

  kubectl get bdb,bpol,bbk -n shop              what is protected, since when, until when
  kubectl get drill,drun -n shop                what was proven, and how long a restore took
  kubectl bosun status -n shop                  one screen: what needs a human
  kubectl describe bbk -n shop                  one backup: position, size, how it was taken
  kubectl bosun backup orders -n shop --wait    a backup by hand, with progress
  kubectl bosun drill orders -n shop --wait     restore the newest one in a pod of its own, and check it
  kubectl edit bpol orders -n shop              change the schedule or the retention
  make demo-down                                remove every trace
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster and the environment that reaches it."""

    name: str
    environment: Mapping[str, str]

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it printed."""
        return run(["kubectl", *arguments], env=self.environment, input_text=text, check=check)

    def read(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list of them."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found


def up(name: str, scale: int) -> None:
    """Everything from nothing to two backups and a log, a drill that proves them, a table that comes back."""
    cluster = _cluster(name)
    _images(cluster)
    _services(cluster)
    _operator(cluster)
    _data(cluster, scale)
    _examples(cluster)
    _backups(cluster)
    _log(cluster)
    _drill(cluster)
    _accident(cluster)
    _show(cluster)


def _cluster(name: str) -> Cluster:
    tool = ROOT / "hack/cluster/cluster"
    run([sys.executable, str(tool), "up", "--name", name])
    lines = run([sys.executable, str(tool), "env", "--name", name])
    return Cluster(name, {**os.environ, **parse_environment(lines)})


def parse_environment(line: str) -> dict[str, str]:
    """Read `export A=b C=d:"$PATH"` as printed by the cluster command."""
    found = {}
    for word in line.split():
        key, equals, value = word.partition("=")
        if equals:
            found[key] = value.strip('"').replace('"$PATH"', os.environ["PATH"]).replace("$PATH", os.environ["PATH"])
    return found


def _images(cluster: Cluster) -> None:
    images = catalog.select(catalog.read(), IMAGES)
    builder.build(images, {})
    tool = ROOT / "hack/cluster/cluster"
    run([sys.executable, str(tool), "load", "--name", cluster.name, *(image.reference for image in images)])


def _services(cluster: Cluster) -> None:
    progress("starting an S3 server and a PostgreSQL server")
    cluster.kubectl(
        "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    )
    for part in ("objects.yaml", "orders.yaml"):
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(HERE / part))
    for part in ("objects", "orders"):
        cluster.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{part}", f"--timeout={PATIENCE:.0f}s")
    cluster.kubectl(
        "exec",
        "-n",
        NAMESPACE,
        "deployment/objects",
        "--",
        "sh",
        "-c",
        "echo 's3.bucket.create -name backups' | weed shell -master=127.0.0.1:9333 >/dev/null 2>&1; true",
    )


def _operator(cluster: Cluster) -> None:
    progress("installing the operator from its chart")
    helm = Path(run([sys.executable, str(ROOT / "hack/tools/tools"), "get", "helm"]).strip()) / "helm"
    common = [
        "--kubeconfig",
        cluster.environment["KUBECONFIG"],
        "--namespace",
        SYSTEM,
        "--create-namespace",
        "--wait",
        "--timeout",
        "10m",
    ]
    run([str(helm), "upgrade", "--install", "databosun-crds", str(ROOT / "charts/databosun-crds"), *common])
    values = ["--values", str(HERE / "values.yaml")]
    run([str(helm), "upgrade", "--install", "databosun", str(ROOT / "charts/databosun"), *values, *common])


def _psql(cluster: Cluster, sql: str, server: str = "deployment/orders", socket: str = "/data") -> str:
    psql = ["psql", "-qAtX", "-h", socket, "-U", "postgres", "-d", "orders"]
    return cluster.kubectl("exec", "-n", NAMESPACE, server, "--", *psql, "-c", sql).strip()


def _data(cluster: Cluster, scale: int) -> None:
    def psql(sql: str) -> str:
        return _psql(cluster, sql)

    if psql("select to_regclass('pgbench_history') is not null") != "t":
        progress(f"filling the database (pgbench scale {scale}, about {scale * 15} MB)")
        cluster.kubectl(
            "exec",
            "-n",
            NAMESPACE,
            "deployment/orders",
            "--",
            "pgbench",
            "-i",
            "-q",
            "-s",
            str(scale),
            "-h",
            "/data",
            "-U",
            "postgres",
            "orders",
        )
    progress(f"the database has {psql('select pg_size_pretty(pg_database_size(current_database()))')}")


def _examples(cluster: Cluster) -> None:
    progress("applying examples/")
    cluster.kubectl("apply", "-f", str(ROOT / "examples"))
    _wait("the storage is validated", lambda: _ready(cluster, "bst", "backups"))
    _wait("the database is looked at", lambda: _ready(cluster, "bdb", "orders"))
    _wait("the drill is ready", lambda: _ready(cluster, "drill", "orders"))


def _backups(cluster: Cluster) -> None:
    for kind, schedule in (("a full backup", "full"), ("an incremental backup", "hourly")):
        token = f"{schedule}/demo-{int(time.time())}"
        before = {item["metadata"]["name"] for item in cluster.read("bbk", "-n", NAMESPACE)["items"]}
        cluster.kubectl("annotate", "--overwrite", "-n", NAMESPACE, "bpol/orders", f"databosun.io/run-now={token}")
        _wait(f"{kind} is in storage", lambda before=before: _new_backup(cluster, before))  # type: ignore[misc]


def _log(cluster: Cluster) -> None:
    """The archiver of the server, which the policy's `continuous` asks for."""
    _wait("the log is shipped, and has a backup to stand on", lambda: _archiving(cluster))
    status = cluster.read("bdb", "orders", "-n", NAMESPACE)["status"]
    progress(f"recoverable to any instant up to {status['recovery']['latest']}")


def _archiving(cluster: Cluster) -> bool:
    found = cluster.read("bdb", "orders", "-n", NAMESPACE).get("status", {}).get("conditions", [])
    return any(one["type"] == "ContinuousHealthy" and one["status"] == "True" for one in found)


def _accident(cluster: Cluster) -> None:
    """Drop a table, and bring it back as it was a moment before."""
    make = (
        "drop table if exists invoices; create table invoices as select i, md5(i::text) from generate_series(1, 5000) i"
    )
    _psql(cluster, make)
    digest = "select count(*) || ' ' || md5(string_agg(i || md5, ',' order by i)) from invoices"
    before = _psql(cluster, digest)
    # A point in time has whole seconds: the next one, and the accident after it.
    instant = _psql(
        cluster, "select to_char(clock_timestamp() at time zone 'UTC' + '1s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    _psql(cluster, "select pg_sleep(2)")
    _psql(cluster, "drop table invoices")
    progress(f"somebody dropped the table invoices; it was there at {instant}")
    _wait(f"{instant} is recoverable", lambda: _recoverable(cluster) >= instant)
    _volume(cluster)
    cluster.kubectl("delete", "pod", "orders-restored", "-n", NAMESPACE, "--ignore-not-found")  # of an earlier demo
    _restore(cluster, instant)
    cluster.kubectl("apply", "-f", str(HERE / "server.yaml"))
    cluster.kubectl("wait", "-n", NAMESPACE, "pod/orders-restored", "--for=condition=Ready", "--timeout=180s")
    after = _psql(cluster, digest, "pod/orders-restored", "/tmp")  # noqa: S108 (in the pod)
    if after != before:
        raise Failure(f"the restored table differs: {before} before, {after} after")
    progress(f"the table is back in pod/orders-restored, row for row: {after}")


def _recoverable(cluster: Cluster) -> str:
    latest: str = cluster.read("bdb", "orders", "-n", NAMESPACE)["status"]["recovery"]["latest"]
    return latest


def _volume(cluster: Cluster) -> None:
    place = Path(cluster.environment["KUBECONFIG"]).parent / "volumes/orders-restored"
    text = (HERE / "restored.yaml").read_text().replace("VOLUME", str(place))
    cluster.kubectl("apply", "-f", "-", text=text)
    done = ("--for=condition=Complete", "--timeout=180s")
    cluster.kubectl("wait", "-n", NAMESPACE, "job/orders-restored-owner", *done)


def _restore(cluster: Cluster, instant: str) -> None:
    """The example, with its two times and its name changed as a user would."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    name = f"orders-back-{int(time.time())}"
    text = (ROOT / "examples/point-in-time/restore.yaml").read_text()
    for old, new in (
        ("2026-03-01T10:15:00Z", instant),
        ("2026-03-01T12:00:00Z", f"{soon:%Y-%m-%dT%H:%M:%SZ}"),
        ("name: orders-back", f"name: {name}"),
    ):
        text = text.replace(old, new)
    cluster.kubectl("apply", "-f", "-", text=text)
    _wait(f"Restore {name} has brought the database back to {instant}", lambda: _restored(cluster, name))


def _restored(cluster: Cluster, name: str) -> bool:
    status = cluster.read("brs", name, "-n", NAMESPACE).get("status", {})
    if status.get("phase") in ("Failed", "Refused", "Error"):
        failure = status.get("failure", {})
        raise Failure(f"the restore ended {status['phase']}: {failure.get('reason')}: {failure.get('message')}")
    return status.get("phase") == "Succeeded"


def _drill(cluster: Cluster) -> None:
    before = {item["metadata"]["name"] for item in cluster.read("drun", "-n", NAMESPACE)["items"]}
    token = f"demo-{int(time.time())}"
    cluster.kubectl("annotate", "--overwrite", "-n", NAMESPACE, "drill/orders", f"databosun.io/run-now={token}")
    _wait("a drill has restored the newest backup and checked it", lambda: _passed(cluster, before))


def _passed(cluster: Cluster, before: set[str]) -> bool:
    for item in cluster.read("drun", "-n", NAMESPACE)["items"]:
        status = item.get("status", {})
        phase = status.get("phase")
        if item["metadata"]["name"] in before or phase in (None, "Pending", "Running"):
            continue
        if phase != "Passed":
            failure = status.get("failure", {})
            raise Failure(f"the drill ended {phase}: {failure.get('reason')}: {failure.get('message')}")
        return True
    return False


def _ready(cluster: Cluster, kind: str, name: str) -> bool:
    for condition in cluster.read(kind, name, "-n", NAMESPACE).get("status", {}).get("conditions", []):
        if condition["type"] == "Stalled" and condition["status"] == "True":
            raise Failure(f"{kind} {name}: {condition['reason']}: {condition['message']}")
        if condition["type"] == "Ready" and condition["status"] == "True":
            return True
    return False


def _new_backup(cluster: Cluster, before: set[str]) -> bool:
    fresh = [item for item in cluster.read("bbk", "-n", NAMESPACE)["items"] if item["metadata"]["name"] not in before]
    for item in fresh:
        status = item.get("status", {})
        if status.get("phase") == "Failed":
            raise Failure(f"the backup failed: {status['failure']['reason']}: {status['failure']['message']}")
    return any(item.get("status", {}).get("phase") == "Succeeded" for item in fresh)


def _wait(what: str, condition: Callable[[], bool]) -> None:
    progress(f"waiting until {what}")
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise Failure(f"gave up after {PATIENCE:.0f} s: not true that {what}")
        time.sleep(1)


def _show(cluster: Cluster) -> None:
    print(cluster.kubectl("get", "bdb,bpol,bbk,drill,drun,brs", "-n", NAMESPACE))
    status = cluster.read("bdb", "orders", "-n", NAMESPACE)["status"]
    print(f"A disaster now would cost what was written since {status['recovery']['latest']} (RPO, above as an age).")
    # kubectl finds the plugin `kubectl-bosun` on the PATH.
    env = f'eval "$(hack/cluster/cluster env --name {cluster.name})"; PATH="$PWD/.venv/bin:$PATH"'
    print(NEXT.format(env=env))
