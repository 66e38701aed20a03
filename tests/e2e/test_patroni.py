"""PostgreSQL under Patroni, three members in pods: handed over with consent, and its primary's pod ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from support.clusterapi import Object
from support.stack import ROOT
from support.stackplace import LABEL_FINISHED, Place

pytestmark = pytest.mark.e2e

RUNS = "failovertestruns"
MEMBERS = ("payments-0", "payments-1", "payments-2")


@pytest.fixture(scope="module")
def payments(place: Place) -> Place:
    """The cluster of the demo, and the objects of `examples/failover`, in a namespace of the test's own."""
    place.stack.kubectl("apply", "-n", place.namespace, "-f", str(ROOT / "hack/demo/patroni.yaml"))
    for kind in ("deployment/payments-etcd", "statefulset/payments"):
        place.stack.kubectl("rollout", "status", "-n", place.namespace, kind, "--timeout=300s")
    for file in ("database.yaml", "planned.yaml", "forced.yaml"):
        text = (ROOT / "examples/failover" / file).read_text().replace(".shop.svc", f".{place.namespace}.svc")
        body = yaml.safe_load(text)
        del body["metadata"]["namespace"]
        place.apply(body)
    place.ready("failovertests", "payments-planned")
    return place


def test_with_consent_to_the_plan_it_is_handed_over_and_nothing_is_lost(payments: Place) -> None:
    name = _start(payments, "payments-planned")
    payments.wait("the plan waits for consent", lambda: _status(payments, name).get("phase") == "AwaitingApproval", 300)
    plan = _status(payments, name)["plan"]
    assert _writable(payments) == [plan["primary"]], "it was moved without consent"
    payments.stack.bosun("approve", "--failover", name, "--yes", "-n", payments.namespace)
    found = _ended(payments, name)
    assert found["phase"] == "Passed", found
    assert (found["result"]["lost"], found["result"]["rejoinLost"], found["result"].get("splitBrain", [])) == (0, 0, [])
    assert found["result"]["acknowledged"] > 80
    assert _writable(payments) == [plan["candidate"]]
    assert _left(payments) == ""


def test_the_pod_of_the_primary_is_ended_and_another_member_takes_over(payments: Place) -> None:
    name = _start(payments, "payments-forced")
    payments.wait("the plan waits for consent", lambda: _status(payments, name).get("phase") == "AwaitingApproval", 300)
    primary = _status(payments, name)["plan"]["primary"]
    before = _uids(payments)
    payments.stack.bosun("approve", "--failover", name, "--yes", "-n", payments.namespace)
    found = _ended(payments, name)
    assert found["phase"] == "Passed", found
    after = _uids(payments)
    assert {member for member in MEMBERS if before[member] != after[member]} == {primary}
    assert found["result"]["lost"] == 0
    assert found["result"]["writeDowntimeMilliseconds"] > 0
    assert found["result"]["rejoinMilliseconds"] > 0
    (leader,) = _writable(payments)
    assert leader != primary
    assert _left(payments) == ""


def _start(place: Place, test: str) -> str:
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"testRef": {"name": test}, "databaseRef": {"name": "payments"}, "notAfter": soon}
    body = {"apiVersion": "databosun.io/v1alpha1", "kind": "FailoverTestRun", "metadata": {"name": test}, "spec": spec}
    place.apply(body)
    return test


def _status(place: Place, name: str) -> Object:
    status: Object = place.stack.api.read(RUNS, place.namespace, name).get("status", {})
    return status


def _ended(place: Place, name: str) -> Object:
    def ended() -> bool:
        body = place.stack.api.read(RUNS, place.namespace, name)
        return LABEL_FINISHED in body["metadata"].get("labels", {})

    place.wait(f"{name} has a verdict", ended, 600)
    return _status(place, name)


def _uids(place: Place) -> dict[str, Any]:
    pods = place.stack.api.list("pods", place.namespace, "app=payments")
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def _sql(place: Place, member: str, statement: str) -> str:
    argv = ["psql", "-h", "/data", "-U", "postgres", "-At", "-c", statement]
    return place.stack.kubectl("exec", "-n", place.namespace, member, "--", *argv).strip()


def _writable(place: Place) -> list[str]:
    return [member for member in MEMBERS if _sql(place, member, "SELECT pg_is_in_recovery()") == "f"]


def _left(place: Place) -> str:
    (leader,) = _writable(place)
    return _sql(place, leader, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'databosun_probe%'")
