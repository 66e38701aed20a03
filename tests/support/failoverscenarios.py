"""Scenarios of failover tests."""

from __future__ import annotations

from typing import Any

from databosun.api.failover import FailoverStep, FailoverTask
from databosun.api.request import Request
from databosun.kube.resources import Object
from support.objects import (
    approval_of,
    database,
    failover_run,
    failover_test,
    policy,
    storage,
)
from support.operator import Rig
from support.operatordriver import HOUR, Condition, Driver, ready, runs_done
from support.operatorlife import RUNNER
from support.operatorseeds import soon

SENTINEL = {"provider": "Sentinel", "masterName": "mine", "endpoints": ["s1:26379", "s2:26379", "s3:26379"]}


def two_nodes(**spec: Any) -> Object:
    """A Redis with one replica, under Sentinel."""
    redis = {"engine": "Redis", "runner": {"image": RUNNER}, "replication": SENTINEL, "environment": "Staging"}
    return database(**{**redis, **spec})


async def replicated(drive: Driver, environment: str = "Staging", **spec: Any) -> None:
    """A database of two nodes, and a test of its failover."""
    made = two_nodes(environment=environment)
    await drive.rig.create(storage(), made, policy(), failover_test(**spec))
    await drive.until(lambda: ready(drive.rig))


def failover_is(rig: Rig, name: str, phase: str) -> Condition:
    """Until a test stands there."""

    async def so() -> bool:
        found: str = (await rig.get("FailoverTestRun", name)).get("status", {}).get("phase", "")
        return found == phase

    return so


async def failed_over(drive: Driver) -> None:
    """A slot comes: the database fails over, and whoever looks sees it."""
    await replicated(drive, schedule={"cron": soon(drive.rig)})
    await drive.until(runs_done(drive.rig, "FailoverTestRun", "Passed"))
    assert drive.rig.agents.bucket.nodes.moves == 1


async def failed_over_with_consent(drive: Driver) -> None:
    """In production a person agrees to the plan first."""
    rig = drive.rig
    await replicated(drive, "Production")
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(failover_is(rig, "mine", "AwaitingApproval"))
    assert rig.agents.bucket.nodes.moves == 0
    run = await rig.get("FailoverTestRun", "mine")
    await rig.create(approval_of(run, rig.clock.now() + 12 * HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(rig, "FailoverTestRun", "Passed"))
    assert rig.agents.bucket.nodes.moves == 1


async def failover_lost(drive: Driver) -> None:
    """The agent dies in the middle of its switch, and leaves a mess: it is put in order, and never switched again."""
    rig = drive.rig
    nodes = rig.agents.bucket.nodes

    def script(request: Request) -> str | None:
        if not (isinstance(request.job, FailoverTask) and request.job.step is FailoverStep.SWITCH):
            return None
        nodes.move()
        nodes.left_behind = True
        return "crash"

    rig.agents.script = script
    await replicated(drive)
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "FailoverTestRun", "Inconclusive"), limit=4 * HOUR)
    assert (nodes.moves, nodes.left_behind) == (1, False)


async def failover_refused(drive: Driver) -> None:
    """The replica is gone when it comes to the switch: nothing is moved."""
    rig = drive.rig

    def script(request: Request) -> None:
        if isinstance(request.job, FailoverTask):
            rig.agents.bucket.nodes.healthy = request.job.step is FailoverStep.DISCOVER

    rig.agents.script = script
    await replicated(drive)
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "FailoverTestRun", "Refused"))
    assert rig.agents.bucket.nodes.moves == 0
