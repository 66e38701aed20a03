"""Objects that the API server lets in and that cannot be carried out: each says so, naming the field; others go on."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import UserFault
from databosun.engines import registry
from databosun.kube.errors import Invalid
from databosun.kube.resources import BACKUP_POLICIES, Object
from databosun.runtime.series import database_series
from support.objects import backup, conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, ready

# What a controller may look at one wrong object and its neighbours until all is at rest, many times over.
FEW = 60


def condition(body: Object, kind: str) -> Object:
    found = [one for one in body.get("status", {}).get("conditions", ()) if one["type"] == kind]
    assert found, f"{body['kind']} has no condition {kind}: {body.get('status')}"
    return dict(found[0])


WRONG_POLICIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "cron": (
        {"schedules": [{"name": "full", "type": "Full", "cron": "50-10 * * * *"}]},
        "InvalidSpec",
        "schedules[0].cron",
    ),
    "never": (
        {"schedules": [{"name": "full", "type": "Full", "cron": "0 0 30 2 *"}]},
        "InvalidSpec",
        "schedules[0].cron",
    ),
    "jitter": ({"jitter": "2h", "startingDeadline": "1h"}, "InvalidSpec", "spec.jitter"),
    "absurd": ({"deadline": "999y"}, "InvalidSpec", "spec.deadline"),
    "window": ({"retention": {"recoveryWindow": "999y"}}, "InvalidSpec", "spec.retention.recoveryWindow"),
    "grace": ({"retention": {"keepLast": 1, "grace": "999y"}}, "InvalidSpec", "spec.retention.grace"),
    "storage": ({"storageRef": {"name": "elsewhere"}}, "StorageNotFound", "spec.storageRef.name"),
    "database": ({"databaseRef": {"name": "elsewhere"}}, "DatabaseNotFound", "spec.databaseRef.name"),
}


@pytest.mark.parametrize("name", WRONG_POLICIES)
async def test_a_wrong_policy_names_the_field_and_its_neighbour_goes_on(rig: Rig, name: str) -> None:
    spec, reason, path = WRONG_POLICIES[name]
    await rig.create(storage(), database(), policy("wrong", **spec), policy("good"))
    drive = Driver(rig)
    await drive.idle(5 * MINUTE)
    wrong = await rig.get("BackupPolicy", "wrong")
    assert conditions(wrong)["Ready"] == ("False", reason)
    stalled = condition(wrong, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", reason)
    assert path in stalled["message"]
    assert stalled["observedGeneration"] == wrong["metadata"]["generation"]
    assert conditions(await rig.get("BackupPolicy", "good"))["Ready"] == ("True", "Ready")
    assert conditions(await rig.get("Database", "orders"))["Ready"] == ("True", "Ready")
    assert (await drive.process()).reconciled["BackupPolicy"] <= FEW


async def test_objectives_that_mean_nothing_stop_no_backup_and_are_said(rig: Rig) -> None:
    await rig.create(storage(), database(), policy(cron="0 * * * *"))
    drive = Driver(rig)
    await drive.until(lambda: ready(rig))
    await drive.until(all_done(rig, "Succeeded"), limit=2 * HOUR)
    await rig.edit("Database", "orders", lambda body: body["spec"].update(objectives={"rpo": "500ms"}))
    await drive.until(all_done(rig, "Succeeded", "Succeeded", "Succeeded"), limit=4 * HOUR)
    body = await rig.get("Database", "orders")
    found = conditions(body)
    assert found["Protected"] == ("True", "RecentBackup")
    assert (found["Ready"], found["RPOMet"]) == (("False", "InvalidSpec"), ("Unknown", "InvalidSpec"))
    assert "spec.objectives.rpo" in condition(body, "Stalled")["message"]
    assert "the objectives of tier 3 stand in" in condition(body, "RPOMet")["message"]
    await rig.edit("Database", "orders", lambda body: body["spec"].update(objectives={"rpo": "3h"}))
    await drive.until(lambda: ready(rig))
    assert conditions(await rig.get("Database", "orders"))["RPOMet"] == ("True", "WithinObjective")


async def test_what_cannot_be_looked_at_any_more_is_not_called_protected(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.create(storage(), database(), policy(cron="0 * * * *"))
    drive = Driver(rig)
    await drive.until(lambda: ready(rig))
    await drive.until(all_done(rig, "Succeeded"), limit=2 * HOUR)
    assert conditions(await rig.get("Database", "orders"))["Protected"][0] == "True"

    async def broken(*_: Any, **__: Any) -> None:
        raise UserFault("InvalidSpec", "spec.somewhat is wrong")

    monkeypatch.setattr("databosun.controllers.database.gather_history", broken)
    await rig.edit("Database", "orders", lambda body: body["spec"].update(tier=2))
    await drive.idle(5 * MINUTE)
    body = await rig.get("Database", "orders")
    found = conditions(body)
    assert found["Ready"] == ("False", "InvalidSpec")
    for kind in ("Protected", "RPOMet", "Proven"):
        assert found[kind] == ("Unknown", "InvalidSpec"), kind
    rows = {row.families[0].name: row.values[0] for row in database_series(body)}
    assert rows["databosun_database_protected"] == 0.0


async def test_an_unknown_time_zone_is_refused_by_the_server_and_else_named(rig: Rig) -> None:
    wrong = policy("wrong", timeZone="Mars/Olympus")
    if rig.kube is not rig.memory:
        with pytest.raises(Invalid, match=r"spec\.timeZone"):
            await rig.create(wrong)
        return
    await rig.create(storage(), database(), wrong)
    await Driver(rig).idle(MINUTE)
    assert "spec.timeZone" in condition(await rig.get("BackupPolicy", "wrong"), "Stalled")["message"]


async def test_an_engine_that_is_not_served_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._MODULES, EngineName.MYSQL)
    await rig.create(database("cache", engine="MySQL"), database("orders"), storage(), policy())
    drive = Driver(rig)
    await drive.idle(5 * MINUTE)
    stalled = condition(await rig.get("Database", "cache"), "Stalled")
    assert stalled["reason"] == "UnsupportedEngine"
    assert "spec.engine" in stalled["message"]
    assert conditions(await rig.get("Database", "orders"))["Ready"] == ("True", "Ready")
    assert (await drive.process()).reconciled["Database"] <= FEW


async def test_a_version_without_an_image_says_which_there_are(rig: Rig) -> None:
    await rig.create(database(version="9.6"), storage(), policy())
    drive = Driver(rig)
    await drive.idle(5 * MINUTE)
    stalled = condition(await rig.get("Database", "orders"), "Stalled")
    assert stalled["reason"] == "NoRunnerImage"
    assert "18" in stalled["message"]
    assert (await drive.process()).reconciled["Database"] <= FEW


async def test_a_backup_by_hand_with_a_far_not_after_or_dangling_references_fails_and_says_why(rig: Rig) -> None:
    await rig.create(storage(), database(), policy())
    drive = Driver(rig)
    await drive.until(lambda: ready(rig))
    far = rig.clock.now() + 5000 * MINUTE
    soon = rig.clock.now() + 60 * MINUTE
    lost = backup("lost", soon)
    lost["spec"]["policyRef"] = {"name": "elsewhere"}
    stray = backup("stray", soon)
    stray["spec"]["databaseRef"] = {"name": "elsewhere"}
    await rig.create(backup("late", far), lost, stray)
    await drive.idle(5 * MINUTE)
    reasons = {
        name: (await rig.get("Backup", name))["status"]["failure"]["reason"] for name in ("late", "lost", "stray")
    }
    assert reasons == {"late": "InvalidSpec", "lost": "PolicyNotFound", "stray": "DatabaseNotFound"}
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "backup"]


async def test_a_selector_that_matches_nothing_or_everything_is_no_fault(rig: Rig) -> None:
    nobody = {f"team-{number}": "x" for number in range(16)}
    await rig.create(
        storage(),
        *(database(f"db-{number}", labels={"all": "yes"}) for number in range(5)),
        policy("nobody", databaseSelector={"matchLabels": nobody}),
        policy("everybody", databaseSelector={"matchLabels": {"all": "yes"}}),
    )
    await Driver(rig).idle(5 * MINUTE)
    assert (await rig.get("BackupPolicy", "nobody"))["status"]["databases"]["matched"] == 0
    assert (await rig.get("BackupPolicy", "everybody"))["status"]["databases"]["matched"] == 5


async def test_a_status_that_nobody_understands_is_written_anew() -> None:
    rig = Rig(None)  # a real API server would refuse to write it
    await rig.create(storage(), database(), policy())
    drive = Driver(rig)
    await drive.until(lambda: ready(rig))
    await (await drive.process()).stop()
    body = await rig.get("BackupPolicy", "nightly")
    broken = {"databases": "five", "conditions": [{"type": "Ready"}]}
    version = body["metadata"]["resourceVersion"]
    await rig.kube.patch_status(BACKUP_POLICIES, rig.namespace, "nightly", broken, version)
    again = Driver(rig)
    await again.idle(MINUTE)
    assert conditions(await rig.get("BackupPolicy", "nightly"))["Ready"] == ("True", "Ready")
    await rig.close()
