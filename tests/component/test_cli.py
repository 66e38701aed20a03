"""The command line against a real API server: what it sends is accepted, and it needs no right that it does not say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import Helm, find_helm
from support.cluster import Cluster
from support.waiting import eventually

pytestmark = pytest.mark.api

ROOT = Path(__file__).resolve().parents[2]
HASH = "0123456789abcdef0123456789abcdef"

OBJECTS = """
apiVersion: databosun.io/v1alpha1
kind: Database
metadata: {name: orders}
spec:
  engine: PostgreSQL
  connection: {host: orders.invalid, credentialsSecretRef: {name: orders}}
---
apiVersion: databosun.io/v1alpha1
kind: BackupStorage
metadata: {name: prod}
spec: {s3: {bucket: backups, endpoint: "http://store.invalid"}}
---
apiVersion: databosun.io/v1alpha1
kind: BackupPolicy
metadata: {name: daily}
spec: {databaseRef: {name: orders}, storageRef: {name: prod}, preset: Production, suspend: true}
---
apiVersion: databosun.io/v1alpha1
kind: Backup
metadata: {name: orders-1, labels: {databosun.io/finished: Succeeded}}
spec: {databaseRef: {name: orders}, storageRef: {name: prod}, scheduledFor: "2026-01-01T00:00:00Z"}
"""
FINISHED = {"phase": "Succeeded", "type": "Full", "method": "Physical", "completionTime": "2026-01-01T00:00:10Z"}
STOPPED = {
    "conditions": [{"type": "RetentionHealthy", "status": "False", "reason": "MassDeletion", "message": "1 of 1"}],
    "pendingDeletions": {"names": ["orders-1"], "count": 1, "hash": HASH, "since": "2026-01-01T00:00:00Z"},
}


class Shop:
    """A namespace with a database, a storage, a policy and a finished backup in it, and the program."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def databosun(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        variables = {**self.cluster.environment, "PYTHONPATH": str(ROOT / "operator"), **environment}
        command = [sys.executable, "-m", "databosun", *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, input=input).stdout

    def get(self, *what: str) -> Any:
        """An object, or a list of them."""
        return json.loads(self.kubectl("get", *what, "--output=json"))

    def patch_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Write a status as the operator does."""
        patch = json.dumps({"status": status})
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", f"--patch={patch}")

    def login(self, folder: Path, account: str) -> str:
        """A kubeconfig of a ServiceAccount."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        token = self.kubectl("create", "token", account).strip()
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        path = folder / f"{account}.conf"
        path.write_text(yaml.safe_dump(config))
        return str(path)


@pytest.fixture
def shop(kinds: Cluster, namespace: str) -> Shop:
    made = Shop(kinds, namespace)
    made.kubectl("apply", "-f", "-", input=OBJECTS)
    made.patch_status("bbk", "orders-1", FINISHED)
    return made


def test_status_shows_the_namespace_that_it_is_asked_for(shop: Shop) -> None:
    done = shop.databosun("status", "-n", shop.namespace, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in json.loads(done.stdout)["databases"]] == ["orders"]
    everywhere = shop.databosun("status", "-A", "-o", "json")
    assert shop.namespace in {one["namespace"] for one in json.loads(everywhere.stdout)["databases"]}


def test_a_backup_by_hand_is_accepted(shop: Shop) -> None:
    done = shop.databosun("backup", "orders", "-n", shop.namespace, "--type", "Differential")
    assert done.returncode == 0, done.stderr
    name = done.stdout.removeprefix("backup.databosun.io/").split()[0]
    spec = shop.get("bbk", name)["spec"]
    assert (spec["type"], spec["policyRef"]) == ("Differential", {"name": "daily"})
    assert "notAfter" in spec


def test_the_catalog_is_listed(shop: Shop) -> None:
    done = shop.databosun("catalog", "list", "-n", shop.namespace, "--database", "orders", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert "orders-1" in {one["name"] for one in json.loads(done.stdout)["backups"]}
    assert json.loads(
        shop.databosun("catalog", "list", "-n", shop.namespace, "--database", "x", "-o", "json").stdout
    ) == {"backups": []}


def test_a_rebuild_is_asked_for_by_an_annotation(shop: Shop) -> None:
    done = shop.databosun("catalog", "rebuild", "--storage", "prod", "--no-wait", "-n", shop.namespace)
    assert done.returncode == 0, done.stderr
    annotations = shop.get("bst", "prod")["metadata"]["annotations"]
    assert annotations["databosun.io/rebuild-catalog"] in done.stderr


def test_an_approval_is_given_under_ones_own_name(shop: Shop) -> None:
    def approved() -> bool:
        # An operator at work in the cluster would write the policy's true status again; then once more.
        shop.patch_status("bpol", "daily", STOPPED)
        done = shop.databosun("approve", "daily", "--yes", "--plan", HASH, "-n", shop.namespace)
        assert done.returncode == 0 or "the plan is not the one expected" in done.stderr, done.stderr
        return bool(shop.get("approvals")["items"])

    eventually("an Approval is there", approved, seconds=180)
    spec = shop.get("approvals")["items"][0]["spec"]
    whoami = json.loads(shop.kubectl("auth", "whoami", "--output=json"))["status"]["userInfo"]["username"]
    assert (spec["planHash"], spec["approvedBy"]) == (HASH, whoami)


def test_the_doctor_looks_at_the_cluster(shop: Shop) -> None:
    done = shop.databosun("doctor", "-n", shop.namespace, "-o", "json")
    found = {one["subject"]: one for one in json.loads(done.stdout)["checks"]}
    assert found["Kubernetes"]["level"] == "ok"
    assert f"Database {shop.namespace}/orders" in found
    assert done.returncode == int(any(one["level"] == "fail" for one in found.values()))


def test_who_has_no_rights_is_told_which_in_one_line(shop: Shop, tmp_path: Path) -> None:
    shop.kubectl("create", "serviceaccount", "nobody")
    kubeconfig = shop.login(tmp_path, "nobody")
    done = shop.databosun("status", "-n", shop.namespace, "--kubeconfig", kubeconfig)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f'"system:serviceaccount:{shop.namespace}:nobody" cannot list resource' in line
    assert "databosun-view" in line


def test_a_context_that_is_not_there_is_one_line(shop: Shop) -> None:
    done = shop.databosun("status", "--context", "elsewhere")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "elsewhere" in done.stderr


def test_names_are_completed_from_the_cluster(shop: Shop) -> None:
    words = f"databosun backup -n {shop.namespace} o"
    environment = {"COMP_WORDS": words, "COMP_CWORD": "4", "_DATABOSUN_COMPLETE": "complete_bash"}
    program = Path(sys.executable).parent / "databosun"
    variables = {**shop.cluster.environment, **environment}
    done = subprocess.run([program], env=variables, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["orders"], done.stderr


def test_it_is_a_plugin_of_kubectl(shop: Shop) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{shop.cluster.environment['PATH']}"
    done = subprocess.run(
        ["kubectl", "bosun", "status", "-n", shop.namespace],
        env={**shop.cluster.environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "orders" in done.stdout


def test_the_clean_up_needs_no_right_but_those_of_its_hook(shop: Shop, tmp_path: Path) -> None:
    """The chart's own hook, as it is rendered: its account, its roles, its variables."""
    rendered = Helm(find_helm()).render(
        release_namespace=shop.namespace, watchNamespaces=[shop.namespace], clusterId="tests"
    )
    hook = [one for one in rendered.manifests if one["metadata"]["name"].endswith("-uninstall")]
    rights = [one for one in hook if one["kind"] in ("ServiceAccount", "Role", "RoleBinding")]
    assert len(rights) == 5
    [job] = [one for one in hook if one["kind"] == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: str(one.get("value", "")) for one in container["env"]}
    shop.kubectl(
        "apply", "-f", "-", input=yaml.safe_dump_all([*rights, *_hanging(environment["DATABOSUN_DEPLOYMENT"])])
    )
    account = job["spec"]["template"]["spec"]["serviceAccountName"]
    kubeconfig = shop.login(tmp_path, account)
    for _ in range(2):
        done = shop.databosun(*container["command"][1:], KUBECONFIG=kubeconfig, **environment)
        assert done.returncode == 0, done.stderr
    assert shop.get("pod", "agent")["metadata"]["finalizers"] == ["example.com/mine"]
    assert "finalizers" not in shop.get("bbk", "orders-2")["metadata"]
    assert shop.get("deployment", environment["DATABOSUN_DEPLOYMENT"])["spec"]["replicas"] == 0
    shop.kubectl("patch", "pod", "agent", "--type=merge", '--patch={"metadata":{"finalizers":null}}')


def _hanging(deployment: str) -> list[dict[str, Any]]:
    """What would hang: a pod and a Backup with our finalizers; and an operator that no scheduler places."""
    pod = {"schedulerName": "nobody", "containers": [{"name": "agent", "image": "localhost/none"}]}
    labels = {"app": "operator"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "agent",
                "labels": {"app.kubernetes.io/managed-by": "databosun"},
                "finalizers": ["databosun.io/result", "example.com/mine"],
            },
            "spec": pod,
        },
        {
            "apiVersion": "databosun.io/v1alpha1",
            "kind": "Backup",
            "metadata": {
                "name": "orders-2",
                "labels": {"databosun.io/finished": "Succeeded"},
                "finalizers": ["databosun.io/data"],
            },
            "spec": {
                "databaseRef": {"name": "orders"},
                "storageRef": {"name": "prod"},
                "scheduledFor": "2026-01-01T00:00:00Z",
                "deletionPolicy": "Delete",
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": deployment},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
