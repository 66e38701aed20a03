"""A Database that is another server by now: what is known of the one before protects and proves nothing of it."""

from __future__ import annotations

from support.objects import conditions, drill_run
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, ready, runs_done
from support.operatorseeds import seeded


async def test_backups_and_proofs_of_another_server_count_no_more(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    await drive.idle(MINUTE)
    before = await rig.get("Database", "orders")
    assert (conditions(before)["Protected"][0], conditions(before)["Proven"][0]) == ("True", "True")
    assert before["status"]["lastProven"]["systemIdentifier"] == before["status"]["systemIdentifier"]
    rig.agents.archivers.source.system = "7300000000000000002"
    await rig.edit("Database", "orders", lambda body: body["spec"]["connection"].update(host="production.db"))
    await drive.idle(5 * MINUTE)
    body = await rig.get("Database", "orders")
    assert body["status"]["systemIdentifier"] == "7300000000000000002"
    found = conditions(body)
    assert (found["Protected"][0], found["Proven"][0]) == ("False", "False")
    assert "lastProven" not in body["status"]
    assert "lastBackup" not in body["status"]
    await rig.edit("BackupPolicy", "nightly", lambda one: one["metadata"].setdefault("annotations", {}).update(
        {"databosun.io/run-now": "now"}
    ))  # fmt: skip
    await drive.until(all_done(rig, "Succeeded", "Succeeded", "Succeeded"))
    await drive.idle(MINUTE)
    assert conditions(await rig.get("Database", "orders"))["Protected"][0] == "True"
