"""The hook before an uninstall, run as it runs in its pod: with its own account, its own rights and its variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart.people import BACKUPS, Guarded, Space, as_list
from chart.rendering import CRDS_CHART, ROOT, Helm, Manifest, Rendered, environment
from databosun.domain.plan import FINALIZER_DATA, FINALIZER_RESULT, MANAGED_BY
from support.cluster import Cluster
from support.waiting import eventually

pytestmark = pytest.mark.api

ACCOUNT = "databosun-uninstall"
FOREIGN = "example.org/keep"
NOWHERE = {"nodeSelector": {"example.org/no-node": "has-this"}, "containers": [{"name": "c", "image": "none"}]}


@pytest.fixture
def space(kinds: Cluster, helm: Helm) -> Iterator[Space]:
    """A namespace that is the operator's own and the one that it serves, with what an uninstall leaves behind."""
    guarded = Guarded(kinds, uuid.uuid4().hex[:8])
    guarded.bring(helm.render(CRDS_CHART).manifests)
    with guarded.space(f"uninstall-{guarded.run}") as made:
        made.admin("wait", "--for=create", "--timeout=120s", "serviceaccount/default")  # pods are let in by it
        made.admin("create", "-f", "-", input=_deployment())
        made.admin("create", "-f", "-", input=_pod("agent", MANAGED_BY, [FINALIZER_RESULT]))
        made.admin("create", "-f", "-", input=_pod("theirs", {}, [FINALIZER_RESULT]))
        made.backup("orders-1")
        finalizers = json.dumps({"metadata": {"finalizers": [FINALIZER_DATA, FOREIGN]}})
        made.admin("patch", BACKUPS, "orders-1", "--type=merge", "-p", finalizers)
        try:
            yield made
        finally:
            for what in ("pod/theirs", "pod/agent", f"{BACKUPS}/orders-1"):
                made.admin("patch", what, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


@pytest.fixture
def rendered(helm: Helm, space: Space) -> Rendered:
    """The chart for this namespace alone: in a cluster that others use, nothing of theirs may be touched."""
    return helm.render(release_namespace=space.namespace, watchNamespaces=[space.namespace], clusterId="here")


def finalizers(space: Space, what: str) -> list[str]:
    found: list[str] = json.loads(space.admin("get", what, "-o", "json"))["metadata"].get("finalizers", [])
    return found


def test_the_hook_stops_the_operator_and_takes_only_our_finalizers_off(
    space: Space, rendered: Rendered, tmp_path: Path
) -> None:
    rights = [one for one in rendered.manifests if ACCOUNT in one["metadata"]["name"] and one["kind"] != "Job"]
    space.admin("create", "-f", "-", input=json.loads(as_list(rights)))
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(_as_account(space)))
    listing = ("auth", "can-i", "list", "pods", "--kubeconfig", str(kubeconfig))
    eventually("the account has its rights", lambda: _kubectl(space, *listing) == 0)

    container = rendered.one("Job")["spec"]["template"]["spec"]["containers"][0]
    command = [sys.executable, "-m", *container["command"]]
    variables = {
        **os.environ,
        **environment(container),
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": str(ROOT / "operator"),
    }
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(space.admin("get", "deployment/databosun", "-o", "json"))["spec"]["replicas"] == 0
    assert finalizers(space, "pod/agent") == []
    assert finalizers(space, "pod/theirs") == [FINALIZER_RESULT]
    assert finalizers(space, f"{BACKUPS}/orders-1") == [FOREIGN]
    for refused in (("get", "secrets"), ("delete", BACKUPS), ("delete", "pods"), ("patch", "deployments")):
        assert _kubectl(space, "auth", "can-i", *refused, "--kubeconfig", str(kubeconfig)) != 0, refused


def _kubectl(space: Space, *arguments: str) -> int:
    return space.guarded.cluster.kubectl("--namespace", space.namespace, *arguments, check=False).returncode


def _as_account(space: Space) -> Manifest:
    """A kubeconfig for the hook's own ServiceAccount."""
    config: Manifest = json.loads(space.admin("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"] = [
        {"name": one["name"], "user": {"token": space.admin("create", "token", ACCOUNT).strip()}}
        for one in config["users"]
    ]
    return config


def _pod(name: str, labels: dict[str, str], finalizers: list[str]) -> Manifest:
    metadata = {"name": name, "labels": labels, "finalizers": finalizers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": NOWHERE}


def _deployment() -> Manifest:
    labels = {"app": "operator"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": NOWHERE},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "databosun"}, "spec": spec}
