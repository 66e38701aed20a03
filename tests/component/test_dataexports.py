"""DataExports on an API server: what their Jobs are told, what their status says, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.lifecycletasks import ExportTask
from databosun.api.request import Request
from databosun.kube.resources import Object
from support.lifecyclescenarios import KEYED
from support.objects import conditions, dataexport
from support.operator import Rig
from support.operatordriver import HOUR, Driver, ready, runs_done
from support.operatorseeds import seeded

SUBJECT = "ada@example.org"


def asked(rig: Rig) -> list[Request]:
    found: list[Request] = []

    def script(request: Request) -> None:
        if isinstance(request.job, ExportTask):
            found.append(request)

    rig.agents.script = script
    return found


async def begun(drive: Driver, *, keyed: bool = True, **database: Any) -> None:
    await seeded(drive, 1)
    if keyed:
        await drive.rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    if database:
        await drive.rig.edit("Database", "orders", lambda body: body["spec"].update(database))
    await drive.until(lambda: ready(drive.rig))


async def ended(drive: Driver, phase: str, **spec: Any) -> Object:
    await drive.rig.create(dataexport("export-ada", drive.rig.clock.now() + 12 * HOUR, **spec))
    await drive.until(runs_done(drive.rig, "DataExport", phase))
    return await drive.rig.get("DataExport", "export-ada")


async def test_a_persons_rows_are_exported_and_the_status_says_where_and_until_when(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive)
    body = await ended(drive, "Succeeded", expiresAfter="10d")
    status = body["status"]
    assert conditions(body) == {"Ready": ("True", "Exported")}
    (file,) = status["files"]
    assert (file["table"], file["rows"], status["rows"]) == ("public.customers", 3, 3)
    assert status["folder"].endswith("/exports/export-ada/a1")
    assert status["receipt"]["uri"].endswith("/exports/export-ada/result.json")
    assert "public.visits" in status["notes"][0]
    (request,) = requests
    assert isinstance(request.job, ExportTask)
    assert request.job.expires_seconds == 10 * 86400
    assert request.job.rules[0].along == ["orders"]
    uses = {one.use: (one.secret, one.keys) for one in request.secrets}
    assert uses["subject"] == ("export-ada", {"subject": "subject"})
    assert uses["erasure"] == ("erasure-key", {"key": "key"})
    assert SUBJECT not in str(await rig.everything())


@pytest.mark.parametrize(
    ("spec", "keyed", "reason", "words"),
    [
        ({}, False, "ErasureKeyMissing", "BackupStorage prod names no spec.erasure.keySecretRef"),
        ({"expiresAfter": "9y"}, True, "InvalidSpec", "spec.expiresAfter"),
        ({"databaseRef": {"name": "other"}}, True, "DatabaseNotFound", "other"),
        ({"storageRef": {"name": "other"}}, True, "StorageNotFound", "other"),
    ],
)
async def test_what_cannot_be_exported_is_refused_and_no_job_begins(
    rig: Rig, spec: dict[str, Any], keyed: bool, reason: str, words: str
) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive, keyed=keyed)
    failure = (await ended(drive, "Refused", **spec))["status"]["failure"]
    assert (failure["reason"], words in failure["message"]) == (reason, True)
    assert requests == []


async def test_a_table_of_an_engine_that_has_keys_is_refused(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive, engine="Redis")
    failure = (await ended(drive, "Refused"))["status"]["failure"]
    assert (failure["reason"], requests) == ("ActionUnsupported", [])
    assert "say keyPattern in its place" in failure["message"]


async def test_one_that_comes_back_after_its_time_exports_nothing(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive)
    await rig.create(dataexport("export-ada", rig.clock.now() - HOUR))
    await drive.until(runs_done(rig, "DataExport", "Refused"))
    assert requests == []


async def test_a_name_that_was_used_before_exports_nothing(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await ended(drive, "Succeeded")
    await rig.delete("DataExport", "export-ada")
    failure = (await ended(drive, "Refused"))["status"]["failure"]
    assert failure["reason"] == "NameTaken"
