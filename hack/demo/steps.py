"""The demo, step by step. Every step can be repeated: an interrupted `make demo` goes on where it stopped."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    """Everything from nothing to two backups, a drill that proves them, and a table of all."""
    cluster = _cluster(name)
    _images(cluster)
    _services(cluster)
    _operator(cluster)
    _data(cluster, scale)
    _examples(cluster)
    _backups(cluster)
    _drill(cluster)
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


def _data(cluster: Cluster, scale: int) -> None:
    def psql(sql: str, database: str = "orders") -> str:
        return cluster.kubectl(
            "exec",
            "-n",
            NAMESPACE,
            "deployment/orders",
            "--",
            "psql",
            "-qAtX",
            "-h",
            "/data",
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            sql,
        ).strip()

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
    print(cluster.kubectl("get", "bdb,bpol,bbk,drill,drun", "-n", NAMESPACE))
    # kubectl finds the plugin `kubectl-bosun` on the PATH.
    env = f'eval "$(hack/cluster/cluster env --name {cluster.name})"; PATH="$PWD/.venv/bin:$PATH"'
    print(NEXT.format(env=env))
