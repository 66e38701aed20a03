"""CloudNativePG: the operator tells its Cluster who is to lead, on its agent's word, once, if all holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from databosun.api.failover import FailoverStep, FailoverTask
from databosun.api.request import Request
from databosun.domain.failovercnpg import CNPG_GROUP, CNPG_VERSION
from databosun.kube.resources import CNPG_CLUSTERS, Object
from support.agentrun import NAMESPACE
from support.chaoskube import Fault, Mode
from support.failoveracts import RUN, answer, asks, begin_cnpg, failed
from support.objects import approval_of
from support.operator import Rig
from support.operatordriver import HOUR, Driver, runs_done


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = served()
    yield Driver(rig)
    await rig.close()


def served() -> Rig:
    rig = Rig(None)
    rig.memory.served[CNPG_GROUP, CNPG_VERSION] = frozenset({"clusters"})
    return rig


def _note(request: Request, steps: list[FailoverStep]) -> None:
    if isinstance(request.job, FailoverTask):
        steps.append(request.job.step)


async def found(drive: Driver) -> Object:
    body = await drive.rig.kube.get(CNPG_CLUSTERS, NAMESPACE, "pay")
    assert body is not None
    status: Object = body["status"]
    return status


async def test_the_cluster_is_told_whom_the_plan_names_and_the_agent_where_its_instances_are(drive: Driver) -> None:
    asked: list[FailoverTask] = []

    def script(request: Request) -> str | None:
        if isinstance(request.job, FailoverTask):
            asked.append(request.job)
        return asks(drive, request)

    await begin_cnpg(drive)
    drive.rig.agents.script = script
    said = await answer(drive)
    assert said["done"] is True
    status = await found(drive)
    assert (status["targetPrimary"], status["currentPrimary"]) == ("n2", "n1")
    assert (status["phase"], status["readyInstances"]) == ("Switchover in progress", 2)
    assert [(one.name, one.host) for one in asked[-1].provider.members] == [("n1", "10.0.0.1")]
    guards = (await drive.rig.get(RUN, "mine"))["status"]["guards"]
    assert {"clusterHealthy", "primarySettled", "notHeld"} <= {one["name"] for one in guards}
    drive.rig.agents.script = lambda _: None
    await drive.until(runs_done(drive.rig, RUN, "Passed"))


@pytest.mark.parametrize(
    ("status", "words"),
    [({"phase": "Failing over"}, "clusterHealthy"), ({"targetPrimary": "n2"}, "primarySettled")],
)
async def test_one_that_is_not_at_rest_is_not_told(drive: Driver, status: dict[str, Any], words: str) -> None:
    await begin_cnpg(drive, **status)
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert words in (await failed(drive))["message"]
    assert (await found(drive))["phase"] == status.get("phase", "Cluster in healthy state")


async def test_one_that_is_busy_by_the_time_of_the_consent_is_not_even_looked_at_again(drive: Driver) -> None:
    asked: list[FailoverStep] = []
    await begin_cnpg(drive, approval={"required": True})
    rig = drive.rig
    rig.agents.script = lambda request: _note(request, asked)

    async def waits() -> bool:
        return (await rig.get(RUN, "mine"))["status"].get("phase") == "AwaitingApproval"

    await drive.until(waits)
    body = await rig.kube.get(CNPG_CLUSTERS, NAMESPACE, "pay")
    assert body is not None
    busy = {"phase": "Upgrading cluster"}
    await rig.kube.patch_status(CNPG_CLUSTERS, NAMESPACE, "pay", busy, body["metadata"]["resourceVersion"])
    run = await rig.get(RUN, "mine")
    await rig.create(approval_of(run, rig.clock.now() + HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(rig, RUN, "Refused"))
    assert "clusterHealthy: found Upgrading cluster" in (await failed(drive))["message"]
    assert asked == [FailoverStep.DISCOVER]


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("served", "is not served"),
        (("get", "clusters"), "may not read clusters.postgresql.cnpg.io there: set rbac.cloudNativePG"),
    ],
)
async def test_without_the_kind_or_the_right_it_is_refused_and_says_why(
    drive: Driver, without: Any, words: str
) -> None:
    if without == "served":
        drive.rig.memory.served.clear()
    else:
        drive.rig.memory.forbidden.add(without)
    await begin_cnpg(drive)
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert words in (await failed(drive))["message"]
    assert (await found(drive))["targetPrimary"] == "n1"


async def test_who_may_only_read_it_is_told_nothing_by(drive: Driver) -> None:
    drive.rig.memory.forbidden.add(("patch", "clusters"))
    await begin_cnpg(drive)
    said = await answer(drive)
    assert said["done"] is False
    assert "may not change the status of clusters.postgresql.cnpg.io" in said["message"]
    assert (await found(drive))["targetPrimary"] == "n1"


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("away", [-1, 0, 1])
async def test_an_operator_that_dies_around_the_word_tells_the_same(drive: Driver, away: int, mode: Mode) -> None:
    await begin_cnpg(drive)
    await answer(drive)
    word = next(number for number, write in enumerate(drive.writes, start=1) if "Cluster pay" in str(write))
    rig = served()
    killed = Driver(rig, fault=Fault(word + away, mode))
    try:
        await begin_cnpg(killed)
        assert (await answer(killed))["done"] is True
        assert (await found(killed))["targetPrimary"] == "n2"
        await killed.idle(HOUR / 12)
        assert (await found(killed))["currentPrimary"] == "n1"  # that is for its own operator to say
    finally:
        await rig.close()
