"""A LifecyclePolicy of the demo: have it run, and give consent to its plan, as a person would."""

from __future__ import annotations

import sys
import time
from typing import Any

from hack.common import run
from hack.demo.stage import NAMESPACE, Cluster, wait

_FINAL = ("Succeeded", "Failed", "Refused")


def run_now(cluster: Cluster, policy: str, what: str) -> dict[str, Any]:
    """Have it run; the status of the run that this comes to."""
    before = {item["metadata"]["name"] for item in cluster.read("lcrun", "-n", NAMESPACE)["items"]}
    token = f"demo-{int(time.time())}"
    cluster.kubectl("annotate", "--overwrite", "-n", NAMESPACE, f"lcp/{policy}", f"databosun.io/run-now={token}")
    found: dict[str, Any] = {}

    def ended() -> bool:
        for item in cluster.read("lcrun", "-n", NAMESPACE)["items"]:
            ours = item["spec"]["policyRef"]["name"] == policy and item["metadata"]["name"] not in before
            if ours and item.get("status", {}).get("phase") in _FINAL:
                found.update(item["status"])
        return bool(found)

    wait(what, ended)
    return found


def enforce(cluster: Cluster, policy: str) -> None:
    """Ask for more than a dry run, and approve the very plan that the last one showed."""
    cluster.kubectl("patch", "lcp", policy, "-n", NAMESPACE, "--type=merge", "-p", '{"spec":{"mode":"Enforce"}}')
    wait("the plan waits for consent, or has it", lambda: _approved(cluster, policy) in ("False", "True"))
    plan = cluster.read("lcp", policy, "-n", NAMESPACE)["status"]["plan"]["hash"]
    argv = ["approve", policy, "--lifecycle", "-n", NAMESPACE, "--yes", "--plan", plan]
    print(run([sys.executable, "-m", "databosun", *argv], env=cluster.environment))
    wait("the plan is approved", lambda: _approved(cluster, policy) == "True")


def _approved(cluster: Cluster, policy: str) -> str:
    status = cluster.read("lcp", policy, "-n", NAMESPACE).get("status", {})
    return next((one["status"] for one in status.get("conditions", []) if one["type"] == "Approved"), "")
