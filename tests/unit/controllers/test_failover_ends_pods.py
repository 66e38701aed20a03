"""A forced failover under Patroni: the operator ends the primary's pod on its agent's word, once, if all holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from databosun.api.failover import ActAsked, FailoverStep, FailoverTask
from databosun.api.request import ANSWER_ANNOTATION, Request
from databosun.domain.names import attempt_job_name
from databosun.domain.plan import ANNOTATION_ENDS
from databosun.kube.resources import Object
from support.agentrun import NAMESPACE
from support.chaoskube import Fault, Mode
from support.operator import Rig, database, failover_run, failover_test, policy, storage
from support.operator_scenarios import HOUR, Driver, ready, runs_done

RUN = "FailoverTestRun"
PATRONI = {"provider": "Patroni", "endpoints": ["http://n1:8008", "http://n2:8008"]}
AGENT = f"{attempt_job_name('mine', 2)}-pod"


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = Rig(None)
    yield Driver(rig)
    await rig.close()


async def begin(drive: Driver, **spec: Any) -> None:
    """A cluster of two pods, and an agent that asks for the end of the first, and waits."""
    rig = drive.rig
    rig.agents.script = lambda request: asks(drive, request)
    test = failover_test(mode="ForcedFailover", **spec)
    await rig.create(storage(), database(environment="Staging", replication=PATRONI), policy(), test, member("n1"))
    await drive.until(lambda: ready(rig))
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))


def asks(drive: Driver, request: Request) -> str | None:
    task = request.job
    if not isinstance(task, FailoverTask) or task.step is not FailoverStep.SWITCH or task.plan is None:
        return None
    until = drive.rig.clock.now() + HOUR
    asked = ActAsked(plan_hash=task.plan.hash, member="n1", host="n1.orders", not_after=until)
    line = {"ts": "now", "level": "info", "event": "act", **asked.dump()}
    drive.rig.agents.logs.setdefault((NAMESPACE, AGENT), json.dumps(line).encode())
    return "hang"


def member(name: str) -> Object:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders", "uid": "s-1", "controller": True}
    metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]}
    spec = {"containers": [{"name": "postgresql", "image": "x"}], "hostname": name, "subdomain": "orders"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def annotations(drive: Driver) -> dict[str, str]:
    found: dict[str, str] = (await drive.rig.get("Pod", AGENT))["metadata"]["annotations"]
    return found


async def answer(drive: Driver) -> dict[str, Any]:
    """Once there is one."""

    async def answered() -> bool:
        pods = {one["metadata"]["name"]: one for one in await drive.rig.objects("Pod")}
        return AGENT in pods and ANSWER_ANNOTATION in pods[AGENT]["metadata"]["annotations"]

    await drive.until(answered)
    found: dict[str, Any] = json.loads((await annotations(drive))[ANSWER_ANNOTATION])
    return found


def told(drive: Driver) -> list[str]:
    """Of the end of a primary, to whoever looks at the run."""
    return [text for about, reason, text in drive.rig.told.events if (about, reason) == ("mine", "PrimaryEnded")]


async def members(drive: Driver) -> list[str]:
    return [one["metadata"]["uid"] for one in await drive.rig.objects("Pod") if one["metadata"]["name"] in ("n1", "n2")]


async def test_the_pod_is_deleted_and_the_agent_told_and_the_run_goes_on(drive: Driver) -> None:
    await begin(drive)
    (uid,) = await members(drive) or [""]
    said = await answer(drive)
    assert said["done"] is True
    assert (await annotations(drive))[ANNOTATION_ENDS] == uid
    assert await members(drive) == []
    assert told(drive) == [f"the pod n1 was deleted, as plan {said['planHash']} has it"]
    (request, *_) = (await drive.rig.get("Pod", AGENT))["spec"]["volumes"]
    files = request["projected"]["sources"][0]["downwardAPI"]["items"]
    read = {"path": "answer.json", "fieldRef": {"fieldPath": f"metadata.annotations['{ANSWER_ANNOTATION}']"}}
    assert read in files  # where the agent looks for it
    drive.rig.agents.script = lambda _: None
    await drive.until(runs_done(drive.rig, RUN, "Passed"))
    assert drive.rig.agents.bucket.nodes.moves == 1


async def test_it_is_deleted_once_also_where_another_one_has_come_in_its_place(drive: Driver) -> None:
    await begin(drive)
    await answer(drive)
    await drive.rig.create(member("n1"))  # as its StatefulSet does
    before = await members(drive)
    await drive.idle(HOUR / 4)
    assert await members(drive) == before


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("away", [-1, 0, 1])
async def test_an_operator_that_dies_around_the_deletion_ends_no_second_one(
    drive: Driver, away: int, mode: Mode
) -> None:
    """At the word that is written down before, at the deletion, at the answer."""
    await begin(drive)
    await answer(drive)
    deletion = [str(write) for write in drive.writes].index("delete Pod n1") + 1
    rig = Rig(None)
    killed = Driver(rig, fault=Fault(deletion + away, mode))
    try:
        await begin(killed)
        assert (await answer(killed))["done"] is True
        assert killed.kills == (0 if mode is Mode.LOSE_ANSWER else 1)
        assert told(killed)
        await rig.create(member("n1"))
        before = await members(killed)
        await killed.idle(HOUR / 12)
        assert await members(killed) == before
    finally:
        await rig.close()


async def test_what_does_not_hold_any_more_is_answered_so_and_nothing_is_deleted(drive: Driver) -> None:
    await begin(drive)
    await drive.rig.edit("Pod", "n1", lambda body: body["metadata"].pop("ownerReferences"))
    said = await answer(drive)
    assert said["done"] is False
    assert "nothing would bring it back" in said["message"]
    assert len(await members(drive)) == 1
    assert told(drive) == []


async def test_a_line_that_is_not_understood_is_no_question_and_the_run_goes_on(drive: Driver) -> None:
    drive.rig.agents.logs[NAMESPACE, AGENT] = json.dumps({"event": "act", "member": "n1"}).encode()
    await begin(drive)
    await drive.idle(HOUR / 12)
    assert ANSWER_ANNOTATION not in await annotations(drive)
    assert len(await members(drive)) == 1
    drive.rig.agents.script = lambda _: None
    await drive.until(runs_done(drive.rig, RUN, "Passed"))
