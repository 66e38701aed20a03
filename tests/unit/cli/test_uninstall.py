"""The clean-up before an uninstall: everything that would hang is let go of, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from databosun.cli.uninstall import clean_up
from databosun.kube.errors import Conflict, ResourceAbsent, Unavailable
from databosun.kube.resources import BACKUPS, DATABASES, DEPLOYMENTS, LEASES, PODS
from databosun.runtime.settings import Settings, load_settings
from support.terminal import Terminal

OURS = {"app.kubernetes.io/managed-by": "databosun"}
ENVIRONMENT = {
    "DATABOSUN_LEASE_NAMESPACE": "databosun-system",
    "DATABOSUN_LEASE_NAME": "databosun",
    "DATABOSUN_DEPLOYMENT": "databosun",
}
SCALE = DEPLOYMENTS.path("databosun-system", "databosun", "scale")


def settings(**more: str) -> Settings:
    return load_settings({**ENVIRONMENT, **more})


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal(scope=None)
    made.kube.answers[("PATCH", SCALE)] = {}
    pod(made, "agent-1", ["databosun.io/result", "example.com/mine"])
    pod(made, "agent-2", ["databosun.io/result"], namespace="bank")
    pod(made, "somebody", ["databosun.io/result"], labels={})
    held = {"name": "orders-1", "finalizers": ["databosun.io/data", "example.com/mine"], "labels": {"a": "b"}}
    made.kube.put(BACKUPS, {"metadata": held, "spec": {"type": "Full"}, "status": {"phase": "Succeeded"}})
    slot = {"name": "orders", "finalizers": ["databosun.io/slot", "example.com/mine"]}
    made.kube.put(DATABASES, {"metadata": slot, "spec": {"engine": "PostgreSQL"}})
    return made


def pod(terminal: Terminal, name: str, finalizers: list[str], namespace: str = "shop", labels: Any = None) -> None:
    metadata = {
        "name": name,
        "namespace": namespace,
        "finalizers": finalizers,
        "labels": OURS if labels is None else labels,
    }
    terminal.kube.put(PODS, {"metadata": metadata})


def finalizers(terminal: Terminal) -> dict[str, list[str]]:
    bodies = (*terminal.kube.all(PODS), *terminal.kube.all(BACKUPS), *terminal.kube.all(DATABASES))
    return {body["metadata"]["name"]: body["metadata"]["finalizers"] for body in bodies}


async def test_our_finalizers_go_and_others_stay(terminal: Terminal) -> None:
    before = terminal.kube.one(BACKUPS, "orders-1")
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 0
    assert finalizers(terminal) == {
        "agent-1": ["example.com/mine"],
        "agent-2": [],
        "somebody": ["databosun.io/result"],
        "orders-1": ["example.com/mine"],
        "orders": ["example.com/mine"],
    }
    after = terminal.kube.one(BACKUPS, "orders-1")
    assert (after["spec"], after["status"], after["metadata"]["labels"]) == (
        before["spec"],
        before["status"],
        before["metadata"]["labels"],
    )


async def test_the_operator_is_stopped_before_anything_is_taken_off(terminal: Terminal) -> None:
    await clean_up(terminal.session, settings(), ENVIRONMENT)
    assert terminal.kube.writes[0] == f"patch {SCALE} {json.dumps({'spec': {'replicas': 0}})}"
    assert terminal.kube.writes[1] == "create leases/databosun"
    assert terminal.kube.writes[-1] == "replace leases/databosun"
    assert terminal.kube.one(LEASES, "databosun", "databosun-system")["spec"]["holderIdentity"] == ""


async def test_it_waits_until_the_operator_has_given_its_lease_back(terminal: Terminal) -> None:
    spec: dict[str, Any] = {"holderIdentity": "operator", "leaseDurationSeconds": 15, "leaseTransitions": 0}
    lease = {"metadata": {"name": "databosun", "namespace": "databosun-system"}, "spec": spec}
    terminal.kube.put(LEASES, lease)

    def events() -> Iterator[None]:
        for second in range(10):
            assert finalizers(terminal)["agent-2"] == ["databosun.io/result"]
            beat = {"renewTime": f"2026-03-01T12:00:{second:02d}.000000Z"}
            terminal.kube.amend(LEASES, "databosun", "databosun-system", spec=beat)
            yield
        terminal.kube.amend(LEASES, "databosun", "databosun-system", spec={"holderIdentity": ""})

    terminal.clock.events = events()
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 0
    assert finalizers(terminal)["agent-2"] == []


async def test_a_second_time_changes_nothing(terminal: Terminal) -> None:
    await clean_up(terminal.session, settings(), ENVIRONMENT)
    before = finalizers(terminal)
    terminal.kube.writes.clear()
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 0
    assert finalizers(terminal) == before
    assert not any("pods/" in what or "backups/" in what for what in terminal.kube.writes)


async def test_a_deployment_that_is_gone_is_no_obstacle(terminal: Terminal) -> None:
    terminal.kube.answers.clear()
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 0
    assert finalizers(terminal)["agent-2"] == []


async def test_only_the_served_namespaces_are_touched(terminal: Terminal) -> None:
    served = settings(DATABOSUN_NAMESPACES="shop", DATABOSUN_CLUSTER_ID="c")
    assert await clean_up(terminal.session, served, ENVIRONMENT) == 0
    assert finalizers(terminal)["agent-1"] == ["example.com/mine"]
    assert finalizers(terminal)["agent-2"] == ["databosun.io/result"]


async def test_crds_that_are_gone_are_no_obstacle(terminal: Terminal) -> None:
    terminal.kube.broken["backups"] = ResourceAbsent("no such kind")
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 0
    assert finalizers(terminal)["agent-2"] == []


async def test_an_object_that_changes_meanwhile_is_tried_again(terminal: Terminal) -> None:
    faults = iter([Conflict("changed"), Unavailable("HTTP 503")])

    def before_write(what: str) -> None:
        if what.startswith("patch pods/agent-2") and (fault := next(faults, None)):
            raise fault

    terminal.kube.before_write = before_write
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 0
    assert finalizers(terminal)["agent-2"] == []


async def test_what_cannot_be_taken_off_is_said_and_the_end_comes_all_the_same(terminal: Terminal) -> None:
    def before_write(what: str) -> None:
        if what.startswith("patch pods/agent-2"):
            raise Unavailable("HTTP 503")

    terminal.kube.before_write = before_write
    assert await clean_up(terminal.session, settings(), ENVIRONMENT) == 1
    assert "Pod bank/agent-2: HTTP 503" in terminal.noted
    assert "1 finalizers are left" in terminal.noted
    assert finalizers(terminal)["agent-1"] == ["example.com/mine"]
