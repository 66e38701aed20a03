"""A forced failover under Patroni: the operator ends the primary's pod on its agent's word, once, if all holds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from databosun.api.request import ANSWER_ANNOTATION
from databosun.domain.plan import ANNOTATION_ENDS
from support.agentrun import NAMESPACE
from support.chaoskube import Fault, Mode
from support.failoveracts import AGENT, RUN, annotations, answer, begin, member, members, told
from support.operator import Rig
from support.operatordriver import HOUR, Driver, runs_done


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = Rig(None)
    yield Driver(rig)
    await rig.close()


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
