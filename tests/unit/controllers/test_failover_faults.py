"""A fault of a failover test: done by the operator or by Chaos Mesh, to the pod of the plan, once, by consent to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from databosun.domain.failoverchaos import CHAOS_GROUP, CHAOS_VERSION
from databosun.kube.resources import NETWORK_CHAOS, POD_CHAOS, Object
from support.agentrun import NAMESPACE
from support.chaoskube import Fault, Mode
from support.failoveracts import RUN, answer, begin, member, members, told
from support.objects import approval_of
from support.operator import Rig
from support.operatordriver import HOUR, Driver, runs_done

MODE = "FaultInjection"
STATEFUL: Object = {"provider": "StatefulSet", "endpoints": ["n1.orders:5432", "n2.orders:5432"]}
END, CUT = {"kind": "PodDelete"}, {"kind": "NetworkPartition", "duration": "30s"}


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = Rig(None)
    rig.memory.served[CHAOS_GROUP, CHAOS_VERSION] = frozenset({"networkchaos", "podchaos"})
    yield Driver(rig)
    await rig.close()


async def injections(drive: Driver) -> list[Object]:
    return [one async for one in drive.rig.kube.list(NETWORK_CHAOS, NAMESPACE)]


async def done(drive: Driver) -> None:
    """What Chaos Mesh says once it has done it."""
    (body,) = await injections(drive)
    record = {"id": "x", "selectorKey": ".", "phase": "Injected", "injectedCount": 1, "recoveredCount": 0}
    status = {"experiment": {"desiredPhase": "Run", "containerRecords": [record]}}
    await drive.rig.kube.replace(NETWORK_CHAOS, NAMESPACE, body["metadata"]["name"], body | {"status": status})


async def ordered(drive: Driver) -> None:
    async def made() -> bool:
        return bool(await injections(drive))

    await drive.until(made)


async def test_the_pod_is_deleted_whatever_the_mode_is_called(drive: Driver) -> None:
    await begin(drive, mode=MODE, fault=END)
    assert (await answer(drive))["done"] is True
    assert await members(drive) == []
    assert "the pod n1 was deleted" in told(drive, "FaultDone")[0]


async def test_a_partition_is_ordered_of_one_pod_and_answered_when_it_is_done(drive: Driver) -> None:
    await begin(drive, mode=MODE, fault=CUT)
    await ordered(drive)
    (body,) = await injections(drive)
    run = await drive.rig.get(RUN, "mine")
    assert body["metadata"]["name"] == f"databosun-{run['status']['plan']['hash']}"
    assert [one["uid"] for one in body["metadata"]["ownerReferences"]] == [run["metadata"]["uid"]]
    assert body["spec"]["selector"]["pods"] == {NAMESPACE: ["n1"]}
    assert told(drive, "FaultDone") == []  # it is not done yet
    await done(drive)
    assert (await answer(drive))["done"] is True
    assert len(await members(drive)) == 1
    assert told(drive, "FaultDone")
    drive.rig.agents.script = lambda _: None
    await drive.until(runs_done(drive.rig, RUN, "Passed"))


async def test_what_chaos_mesh_does_not_say_it_did_is_taken_back_and_may_have_been_done(drive: Driver) -> None:
    await begin(drive, mode=MODE, fault=CUT)
    said = await answer(drive)
    assert (said["done"], said["uncertain"]) == (False, True)
    assert "Chaos Mesh had not said by" in said["message"]
    assert await injections(drive) == []
    assert told(drive, "FaultDone")[0].startswith("it may have been done")


@pytest.mark.parametrize(
    ("fault", "without", "words"),
    [
        (CUT, "served", "networkchaos.chaos-mesh.org is not served"),
        (CUT, "networkchaos", "set rbac.chaosMesh"),
        ({"kind": "ContainerKill"}, "podchaos", "set rbac.chaosMesh"),
        (END, "pods", "set rbac.deletePods"),
    ],
)
async def test_what_is_not_there_or_not_allowed_is_said(
    drive: Driver, fault: dict[str, Any], without: str, words: str
) -> None:
    if without == "served":
        drive.rig.memory.served.clear()
    else:
        drive.rig.memory.forbidden |= {("create", without), ("delete", without)}
    await begin(drive, mode=MODE, fault=fault)
    said = await answer(drive)
    assert said["done"] is False
    assert words in said["message"]
    assert len(await members(drive)) == 1
    assert await injections(drive) == []


@pytest.mark.parametrize("fault", [END, {"kind": "ContainerKill"}], ids=lambda one: str(one["kind"]))
async def test_what_would_take_the_data_with_it_is_not_done_and_the_guard_is_told(
    drive: Driver, fault: dict[str, Any]
) -> None:
    pod = member("n1")
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    await begin(drive, pod, STATEFUL, mode=MODE, fault=fault)
    said = await answer(drive)
    assert (said["done"], said["guard"]["name"], said["guard"]["ok"]) == (False, "dataOnClaim", False)
    assert len(await members(drive)) == 1
    assert [one async for one in drive.rig.kube.list(POD_CHAOS, NAMESPACE)] == []


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("away", [-1, 0, 1])
async def test_an_operator_that_dies_around_the_order_orders_it_once(drive: Driver, away: int, mode: Mode) -> None:
    await begin(drive, mode=MODE, fault=CUT)
    await ordered(drive)
    order = next(number for number, write in enumerate(drive.writes, start=1) if "NetworkChaos" in str(write))
    rig = Rig(None)
    rig.memory.served = drive.rig.memory.served
    killed = Driver(rig, fault=Fault(order + away, mode))
    try:
        await begin(killed, mode=MODE, fault=CUT)
        await ordered(killed)
        await done(killed)
        assert (await answer(killed))["done"] is True
        assert len(await injections(killed)) == 1
    finally:
        await rig.close()


async def test_who_consented_to_a_deletion_has_not_consented_to_another_fault(drive: Driver) -> None:
    """The hash of the plan covers the fault, and a test that was edited is another plan."""
    rig = drive.rig
    await begin(drive, mode=MODE, fault=END, approval={"required": True})

    async def waits() -> bool:
        return (await rig.get(RUN, "mine"))["status"].get("phase") == "AwaitingApproval"

    await drive.until(waits)
    run = await rig.get(RUN, "mine")
    assert run["status"]["plan"]["fault"] == END
    await rig.edit("FailoverTest", "monthly", lambda body: body["spec"].update(fault=CUT))
    await rig.create(approval_of(run, rig.clock.now() + HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(rig, RUN, "Refused"))
    failure = (await rig.get(RUN, "mine"))["status"]["failure"]
    assert failure["reason"] == "PlanChanged"
    assert "FaultInjection (PodDelete)" in failure["message"]
    assert len(await members(drive)) == 1
