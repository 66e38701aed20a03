"""What every demo does: a cluster, images, an S3 server, the operator, and waiting with a limit.

Every step can be repeated: an interrupted `make demo` goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
PATIENCE = 900.0
BEGAN = datetime.now(UTC).replace(microsecond=0)  # conditions have whole seconds
OLD_NEWS = timedelta(minutes=10)  # by then whatever stalled in an earlier demo has been tried anew


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


def bring_up(name: str) -> Cluster:
    """The cluster of that name."""
    tool = ROOT / "hack/cluster/cluster"
    run([sys.executable, str(tool), "up", "--name", name], shows_progress=True)
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


def load_images(cluster: Cluster, references: Sequence[str]) -> None:
    """Have these images built, and on the cluster."""
    images = catalog.select(catalog.read(), references)
    builder.build(images, {})
    tool = ROOT / "hack/cluster/cluster"
    run(
        [sys.executable, str(tool), "load", "--name", cluster.name, *(image.reference for image in images)],
        shows_progress=True,
    )


def start_services(cluster: Cluster, manifests: Sequence[str], deployments: Sequence[str]) -> None:
    """An S3 server with a bucket, and servers of these manifests."""
    progress(f"starting an S3 server and {', '.join(deployments)}")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", text=json.dumps(namespace))
    for part in ("objects.yaml", *manifests):
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(HERE / part))
    for part in ("objects", *deployments):
        cluster.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{part}", f"--timeout={PATIENCE:.0f}s")
    bucket = "echo 's3.bucket.create -name backups' | weed shell -master=127.0.0.1:9333 >/dev/null 2>&1; true"
    cluster.kubectl("exec", "-n", NAMESPACE, "deployment/objects", "--", "sh", "-c", bucket)


def install_operator(cluster: Cluster, engine: str, *values: str) -> None:
    """The operator, from its chart, with these values. The image of that engine, which is on the cluster, works on
    storage too."""
    progress("installing the operator from its chart")
    helm = (
        Path(run([sys.executable, str(ROOT / "hack/tools/tools"), "get", "helm"], shows_progress=True).strip()) / "helm"
    )
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
    given = ["--values", str(HERE / "values.yaml"), "--set", ",".join([f"runners.forStorage={engine}", *values])]
    run([str(helm), "upgrade", "--install", "databosun", str(ROOT / "charts/databosun"), *given, *common])


def back_up(cluster: Cluster, policy: str, what: str, schedule: str) -> None:
    """Have a schedule of a policy run now; returns once its backup is in storage."""
    token = f"{schedule}/demo-{int(time.time())}"
    before = _names(cluster, "bbk")
    cluster.kubectl("annotate", "--overwrite", "-n", NAMESPACE, f"bpol/{policy}", f"databosun.io/run-now={token}")
    wait(f"{what} is in storage", lambda: _new_backup(cluster, before))


def drill(cluster: Cluster, name: str, what: str) -> None:
    """Have a drill run now; returns once it has passed."""
    before = _names(cluster, "drun")
    token = f"demo-{int(time.time())}"
    cluster.kubectl("annotate", "--overwrite", "-n", NAMESPACE, f"drill/{name}", f"databosun.io/run-now={token}")
    wait(what, lambda: _passed(cluster, before))


def _names(cluster: Cluster, kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in cluster.read(kind, "-n", NAMESPACE)["items"]}


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


def _new_backup(cluster: Cluster, before: set[str]) -> bool:
    fresh = [item for item in cluster.read("bbk", "-n", NAMESPACE)["items"] if item["metadata"]["name"] not in before]
    for item in fresh:
        status = item.get("status", {})
        if status.get("phase") == "Failed":
            raise Failure(f"the backup failed: {status['failure']['reason']}: {status['failure']['message']}")
    return any(item.get("status", {}).get("phase") == "Succeeded" for item in fresh)


def ready(cluster: Cluster, kind: str, name: str) -> bool:
    """Whether it is; a Failure where it is Stalled, and was so before this demo only where that does not pass."""
    for condition in cluster.read(kind, name, "-n", NAMESPACE).get("status", {}).get("conditions", []):
        if condition["type"] == "Stalled" and condition["status"] == "True":
            since = datetime.fromisoformat(condition["lastTransitionTime"])
            if since >= BEGAN or datetime.now(UTC) > BEGAN + OLD_NEWS:
                raise Failure(f"{kind} {name}: {condition['reason']}: {condition['message']}")
        if condition["type"] == "Ready" and condition["status"] == "True":
            return True
    return False


def archiving(cluster: Cluster, database: str) -> bool:
    """Whether its log is shipped, and has a backup to stand on."""
    found = cluster.read("bdb", database, "-n", NAMESPACE).get("status", {}).get("conditions", [])
    return any(one["type"] == "ContinuousHealthy" and one["status"] == "True" for one in found)


def recoverable(cluster: Cluster, database: str) -> str:
    """The newest instant that it can be brought back to."""
    latest: str = cluster.read("bdb", database, "-n", NAMESPACE)["status"]["recovery"]["latest"]
    return latest


def wait(what: str, condition: Callable[[], bool]) -> None:
    """Wait for it, with a limit."""
    progress(f"waiting until {what}")
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise Failure(f"gave up after {PATIENCE:.0f} s: not true that {what}")
        time.sleep(1)


def report(cluster: Cluster, database: str) -> None:
    """Write the auditor's report about a database, and say where it is, and where its evidence."""
    file = Path(cluster.environment["KUBECONFIG"]).parent / f"report-{database}.html"  # goes with the cluster
    argv = [sys.executable, "-m", "databosun", "report", "-n", NAMESPACE, "--database", database, "-o", str(file)]
    run(argv, env=cluster.environment)
    for item in cluster.read("drun", "-n", NAMESPACE)["items"]:
        if "evidence" in item.get("status", {}) and item["metadata"]["name"].startswith(f"{database}-"):
            print(f"Evidence of drill {item['metadata']['name']}: {item['status']['evidence']['uri']}")
    print(f"The report that an auditor wants: {file}")


def shell(cluster: Cluster) -> str:
    """What a shell needs to use the cluster; kubectl finds the plugin `kubectl-bosun` on the PATH."""
    return f'eval "$(hack/cluster/cluster env --name {cluster.name})"; PATH="$PWD/.venv/bin:$PATH"'
