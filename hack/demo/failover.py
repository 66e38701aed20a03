"""The demo of failovers: PostgreSQL under Patroni, made to hand over with consent, and to lose its primary's pod."""

from __future__ import annotations

import sys
from typing import Any

from hack.common import Failure, progress, run
from hack.demo.stage import (
    NAMESPACE,
    PATIENCE,
    ROOT,
    Cluster,
    bring_up,
    install_operator,
    load_images,
    ready,
    shell,
    start_services,
    wait,
)

DATABASE = "payments"
# The newest runner works on storage.
IMAGES = ("operator", "seaweedfs", "runner-postgresql:15-dev", "runner-postgresql:18-dev", "peer-patroni:dev")
TESTS = ("payments-planned", "payments-forced")
FINAL = ("Passed", "Failed", "Refused", "Aborted", "Inconclusive")
NEXT = """
What to try next (first: {env})

  kubectl get bdb,fot,forun -n shop                     what was tested, and how it went
  kubectl describe forun -n shop                        the plan, the timeline, what each client met
  kubectl bosun failover payments-forced -n shop --wait once more; it waits for your consent
  kubectl bosun report -n shop --database payments      what an auditor wants on a page
  make demo-down                                        remove every trace
"""


def up(name: str) -> None:
    """Everything from nothing to the verdicts of a planned and of a forced failover."""
    cluster = bring_up(name)
    load_images(cluster, IMAGES)
    start_services(cluster, ["patroni.yaml"], ["payments-etcd"])
    members = ("rollout", "status", "-n", NAMESPACE, f"statefulset/{DATABASE}", f"--timeout={PATIENCE:.0f}s")
    cluster.kubectl(*members)
    install_operator(cluster, "PostgreSQL", "rbac.deletePods=true")
    progress("applying examples/storage.yaml and examples/failover/")
    folder = ROOT / "examples"
    cluster.kubectl("apply", "-f", str(folder / "storage.yaml"), "-f", str(folder / "failover"))
    wait("the storage is validated", lambda: ready(cluster, "bst", "backups"))
    wait("the database is looked at", lambda: _looked_at(cluster))
    for test in TESTS:
        wait(f"the test {test} is ready", lambda test=test: ready(cluster, "fot", test))  # type: ignore[misc]
    found = [_test(cluster, test) for test in TESTS]
    cluster.kubectl(*members)
    print(cluster.kubectl("get", "bdb,fot,forun", "-n", NAMESPACE))
    for status in found:
        print(_verdict(status))
    print(NEXT.format(env=shell(cluster)))
    bad = [status["plan"]["mode"] for status in found if status["phase"] != "Passed"]
    if bad:
        raise Failure(f"not passed: {', '.join(bad)}")


def _test(cluster: Cluster, test: str) -> dict[str, Any]:
    """One run, from the look to its verdict; its status."""
    before = _runs(cluster)
    _bosun(cluster, "failover", test, "-n", NAMESPACE)
    (name,) = _runs(cluster) - before
    wait(f"{test} has a plan, which waits for consent", lambda: _phase(cluster, name) in ("AwaitingApproval", *FINAL))
    if _phase(cluster, name) == "AwaitingApproval":
        _bosun(cluster, "approve", "-n", NAMESPACE, "--failover", name, "--yes")
    wait(f"{test} has its verdict", lambda: _phase(cluster, name) in FINAL)
    status: dict[str, Any] = cluster.read("forun", name, "-n", NAMESPACE)["status"]
    return status


def _looked_at(cluster: Cluster) -> bool:
    return "engineVersion" in cluster.read("bdb", DATABASE, "-n", NAMESPACE).get("status", {})


def _runs(cluster: Cluster) -> set[str]:
    return {item["metadata"]["name"] for item in cluster.read("forun", "-n", NAMESPACE)["items"]}


def _phase(cluster: Cluster, name: str) -> str:
    phase: str = cluster.read("forun", name, "-n", NAMESPACE).get("status", {}).get("phase", "")
    return phase


def _verdict(status: dict[str, Any]) -> str:
    plan, found = status.get("plan", {}), status.get("result", {})
    head = f"{plan.get('mode')} of {plan.get('primary')}: {status['phase']}"
    if not found:
        failure = status.get("failure", {})
        return f"{head}: {failure.get('reason')}: {failure.get('message')}"
    return (
        f"{head}: no write for {found.get('writeDowntime')}, {found['lost']} of {found['acknowledged']} acknowledged "
        f"writes lost, the old primary back after {_seconds(found.get('rejoinMilliseconds'))}"
    )


def _seconds(milliseconds: int | None) -> str:
    return "an unknown time" if milliseconds is None else f"{milliseconds / 1000:.1f}s"


def _bosun(cluster: Cluster, *words: str) -> None:
    run([sys.executable, "-m", "databosun", *words], env=cluster.environment)
