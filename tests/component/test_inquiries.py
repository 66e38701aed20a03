"""Inquiries on an API server: answered once, told what they need and no more, and gone a day later."""

from __future__ import annotations

from typing import Any

from databosun.api.request import Request
from databosun.api.restoretasks import InquireTask
from databosun.api.result import Outcome, Result
from databosun.domain.recordpage import unpack
from databosun.kube.resources import Object
from support.objects import conditions, inquiry
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, ready, runs_done
from support.operatorseeds import seeded

COMPARISON = {"databaseRef": {"name": "orders"}, "database": "shop", "tables": ["public.orders"]}


async def prepared(rig: Rig, backups: int = 3) -> Driver:
    drive = Driver(rig)
    await seeded(drive, backups)
    await drive.until(lambda: ready(rig))
    return drive


def asked(rig: Rig) -> list[Request]:
    found: list[Request] = []

    def script(request: Request) -> None:
        if isinstance(request.job, InquireTask):
            found.append(request)

    rig.agents.script = script
    return found


async def test_records_are_handed_over_in_the_status(rig: Rig) -> None:
    requests = asked(rig)
    drive = await prepared(rig)
    await rig.create(inquiry("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "Inquiry", "Succeeded"))
    status = (await rig.get("Inquiry", "mine"))["status"]
    assert conditions({"status": status}) == {"Ready": ("True", "Answered")}
    assert unpack(status["records"]["content"]) == [("file:///evidence.json", b"{}")]
    (request,) = requests
    assert request.database is None
    assert not [use.use for use in request.secrets if use.use.startswith(("database", "signing", "age-"))]


async def test_a_comparison_reads_the_newest_backup_before_the_point_and_logs_in(rig: Rig) -> None:
    requests = asked(rig)
    drive = await prepared(rig)
    taken = (await rig.get("Backup", "seed-1"))["status"]["snapshotTime"]
    await rig.create(inquiry("mine", rig.clock.now() + HOUR, comparison={**COMPARISON, "pointInTime": taken}))
    await drive.until(runs_done(rig, "Inquiry", "Succeeded"))
    status = (await rig.get("Inquiry", "mine"))["status"]
    assert status["backup"]["name"] == "seed-1"
    assert status["comparison"]["counts"] == {"Same": 3}
    (request,) = requests
    assert isinstance(request.job, InquireTask)
    assert request.job.compare is not None
    assert (request.job.compare.database, request.job.compare.tables) == ("shop", ["public.orders"])
    assert request.database is not None
    assert "database" in {use.use for use in request.secrets}
    assert "signing" not in {use.use for use in request.secrets}


async def test_what_can_never_be_answered_is_refused_with_its_reason(rig: Rig) -> None:
    drive = await prepared(rig)
    nowhere = {"storageRef": {"name": "nowhere"}}
    early = {**COMPARISON, "pointInTime": "2001-01-01T00:00:00Z"}
    await rig.create(
        inquiry("late", rig.clock.now() - MINUTE),
        inquiry("far", rig.clock.now() + 48 * HOUR),
        inquiry("lost", rig.clock.now() + HOUR, records=nowhere),
        inquiry("gone", rig.clock.now() + HOUR, comparison={"databaseRef": {"name": "gone"}}),
        inquiry("early", rig.clock.now() + HOUR, comparison=early),
    )
    await drive.until(runs_done(rig, "Inquiry", *["Refused"] * 5))
    found = {body["metadata"]["name"]: body["status"]["failure"]["reason"] for body in await rig.objects("Inquiry")}
    assert found == {
        "late": "NotStarted",
        "far": "InvalidSpec",
        "lost": "StorageNotFound",
        "gone": "DatabaseNotFound",
        "early": "NoBackup",
    }


async def test_an_agent_that_fails_is_tried_again_and_then_said(rig: Rig) -> None:
    failure = Result(outcome=Outcome.FAILED, reason="Unreachable", message="the store is away", retryable=True)
    rig.agents.script = lambda request: failure if request.job.task == "inquire" else None
    drive = await prepared(rig)
    await rig.create(inquiry("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "Inquiry", "Failed"))
    status = (await rig.get("Inquiry", "mine"))["status"]
    assert [one["reason"] for one in status["attempts"]] == ["Unreachable", "Unreachable"]
    assert status["failure"]["reason"] == "Unreachable"


async def test_an_answer_goes_a_day_after_it_was_asked_for(rig: Rig) -> None:
    drive = await prepared(rig)
    await rig.create(inquiry("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "Inquiry", "Succeeded"))

    async def gone() -> bool:
        found: list[Object] = await rig.objects("Inquiry")
        return not found

    await drive.until(gone, limit=26 * HOUR)


async def test_retention_waits_for_a_comparison_that_reads_the_backup(rig: Rig) -> None:
    from databosun.controllers.matching import readers_of

    rig.agents.script = lambda request: "hang" if request.job.task == "inquire" else None
    drive = await prepared(rig)
    await rig.create(inquiry("mine", rig.clock.now() + HOUR, comparison={"databaseRef": {"name": "orders"}}))

    async def running() -> bool:
        status: dict[str, Any] = (await rig.get("Inquiry", "mine")).get("status", {})
        return status.get("phase") == "Running"

    await drive.until(running)
    assert readers_of(rig.lives[-1].wired.context, rig.namespace, ["seed-2"]) == ["Inquiry mine"]
