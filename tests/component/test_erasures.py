"""ErasureRequests on an API server: a look, a person's consent to it, the erasure, and what holds the person still."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databosun.api.backuptasks import BackupTask
from databosun.api.lifecycletasks import EraseTask
from databosun.api.remains import RemainsTask
from databosun.api.request import Request
from databosun.api.restoretasks import BridgeTask, DrillTask, RestoreTask
from databosun.api.result import Outcome, Result
from databosun.controllers.reckoning import AT_ONCE
from databosun.kube.resources import BACKUPS, ERASURE_REQUESTS, Object
from support.agentsim import no_script
from support.chaoskube import Fault, Mode
from support.objects import approval_of, backup, conditions, drill_run, erasure, lifecycle, restore, storage
from support.operator import Rig
from support.operatordriver import HOUR, Driver, ready, runs_done
from support.operatorseeds import seeded

DAY = timedelta(days=1)
KEYED: dict[str, Any] = {"erasure": {"keySecretRef": {"name": "erasure-key", "key": "key"}}}


def asked(rig: Rig) -> list[Request]:
    found: list[Request] = []

    def script(request: Request) -> None:
        if isinstance(request.job, EraseTask | RestoreTask | BridgeTask | DrillTask):
            found.append(request)

    rig.agents.script = script
    return found


async def begun(drive: Driver, *, backups: int = 2, keyed: bool = True) -> None:
    """A database with daily backups in a storage that erased people can be found by."""
    rig = drive.rig
    await seeded(drive, backups, retention={"daily": 30})
    if keyed:
        await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    await drive.until(lambda: ready(rig))


async def request_of(rig: Rig, name: str = "erase-ada") -> Object:
    return await rig.get("ErasureRequest", name)


async def waits(rig: Rig, name: str = "erase-ada") -> bool:
    return (await request_of(rig, name)).get("status", {}).get("phase") == "AwaitingApproval"


async def approve(rig: Rig, name: str = "erase-ada") -> None:
    body = await request_of(rig, name)
    await rig.create(approval_of(body, rig.clock.now() + 12 * HOUR, body["status"]["plan"]["hash"]))


async def planned(drive: Driver, **spec: Any) -> Object:
    """A request that waits for consent."""
    await drive.rig.create(erasure("erase-ada", drive.rig.clock.now() + 12 * HOUR, **spec))
    await drive.until(lambda: waits(drive.rig))
    return await request_of(drive.rig)


async def test_nothing_is_erased_before_a_person_has_seen_the_plan_and_consented(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive)
    body = await planned(drive)
    status = body["status"]
    assert conditions(body)["Ready"] == ("False", "AwaitingApproval")
    (rule,) = status["plan"]["rules"]
    assert (rule["table"], rule["eligible"], status["plan"]["rows"]) == ("public.customers", 3, 3)
    assert rig.agents.bucket.people.erased == 0
    await drive.idle(HOUR)
    assert len(requests) == 1
    await approve(rig)
    await drive.until(runs_done(rig, "ErasureRequest", "Succeeded"))
    body = await request_of(rig)
    assert conditions(body)["Ready"] == ("True", "Erased")
    assert rig.agents.bucket.people.erased == 3
    status = body["status"]
    assert (status["processed"], status["approved"]) == (3, status["plan"]["hash"])
    assert status["receipt"]["uri"].endswith("/erasures/erase-ada/result.json")
    assert "verifiedTime" in status
    jobs = [one.job for one in requests if isinstance(one.job, EraseTask)]
    assert [job.approved for job in jobs] == [None, status["plan"]["hash"]]


async def test_the_subjects_key_is_mounted_and_stands_in_no_object(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive)
    await planned(drive)
    await approve(rig)
    await drive.until(runs_done(rig, "ErasureRequest", "Succeeded"))
    uses = {one.use: (one.secret, one.keys) for one in requests[0].secrets}
    assert uses["subject"] == ("erase-ada", {"subject": "subject"})
    assert uses["erasure"] == ("erasure-key", {"key": "key"})
    everything = str(await rig.everything())
    assert rig.agents.bucket.people.subject not in everything
    assert (await request_of(rig))["status"]["subject"] in everything


async def test_an_approval_of_another_plan_and_no_approval_in_time_erase_nobody(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    body = await planned(drive, approveWithin="2h")
    await rig.create(approval_of(body, rig.clock.now() + 12 * HOUR, "0123456789abcdef0123456789abcdef"))
    await drive.idle(HOUR)
    assert await waits(rig)
    await drive.idle(2 * HOUR)
    await drive.until(runs_done(rig, "ErasureRequest", "Refused"))
    body = await request_of(rig)
    assert body["status"]["failure"]["reason"] == "NotApproved"
    assert rig.agents.bucket.people.erased == 0


async def test_what_was_there_at_the_end_fails_the_request_and_is_tried_again(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await planned(drive)
    rig.agents.bucket.people.left = 1
    await approve(rig)
    await drive.until(runs_done(rig, "ErasureRequest", "Failed"))
    body = await request_of(rig)
    assert body["status"]["failure"]["reason"] == "SubjectLeft"
    assert "verifiedTime" not in body["status"]
    assert len(body["status"]["attempts"]) == 1 + 3
    rules = body["status"]["rules"]
    assert [one["deleted"] for one in rules] == [1]


async def test_a_request_is_refused_for_want_of_a_key_under_a_hold_and_where_backups_lie_elsewhere(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive, keyed=False)

    async def refused(name: str) -> Object:
        await rig.create(erasure(name, rig.clock.now() + 12 * HOUR))
        await drive.until(lambda: over(rig, name))
        body = await request_of(rig, name)
        assert body["status"]["phase"] == "Refused"
        failure: Object = body["status"]["failure"]
        return failure

    assert (await refused("no-key"))["reason"] == "ErasureKeyMissing"
    await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    held = lifecycle(holds=[{"name": "case-7", "reason": "case 7"}])
    await rig.create(held)
    failure = await refused("held")
    assert (failure["reason"], "case 7" in failure["message"]) == ("BlockedByHold", True)
    await rig.delete("LifecyclePolicy", "old-orders")
    await rig.create(storage("other", **KEYED))
    await drive.until(lambda: ready(rig))
    await rig.create(erasure("elsewhere", rig.clock.now() + 12 * HOUR, storageRef={"name": "other"}))
    await drive.until(lambda: over(rig, "elsewhere"))
    failure = (await request_of(rig, "elsewhere"))["status"]["failure"]
    assert (failure["reason"], "seed-0 in prod" in failure["message"]) == ("BackupsElsewhere", True)
    assert rig.agents.bucket.people.erased == 0


async def over(rig: Rig, name: str) -> bool:
    return "completionTime" in (await request_of(rig, name)).get("status", {})


async def test_restores_and_drills_get_the_key_and_one_that_leaves_erasures_out_does_not(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive)
    await rig.create(drill_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    await rig.create(restore("again", rig.clock.now() + 12 * HOUR))
    await drive.until(lambda: ended_as(rig, "Restore", "again", "Succeeded"))
    await rig.create(
        restore("all-of-it", rig.clock.now() + 12 * HOUR, target={"volume": {"claimName": "newer"}}, erasures="Skip")
    )
    await drive.until(lambda: ended_as(rig, "Restore", "all-of-it", "Succeeded"))
    keyed = {one.run: "erasure" in {use.use for use in one.secrets} for one in requests}
    assert keyed == {"mine": True, "again": True, "all-of-it": False}
    wanted = {one.run: one.job.erasures for one in requests if isinstance(one.job, RestoreTask)}
    assert wanted == {"again": True, "all-of-it": False}


async def test_restores_and_drills_are_told_which_erasures_the_ledger_must_have(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await begun(drive)
    await planned(drive)
    await approve(rig)
    await drive.until(runs_done(rig, "ErasureRequest", "Succeeded"))
    await rig.create(erasure("not-approved", rig.clock.now() + 12 * HOUR))
    await drive.until(lambda: waits(rig, "not-approved"))
    await rig.create(drill_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(lambda: ended_as(rig, "RestoreDrillRun", "mine", "Passed"))
    await rig.create(restore("again", rig.clock.now() + 12 * HOUR))
    await drive.until(lambda: ended_as(rig, "Restore", "again", "Succeeded"))
    told = {one.run: one.job.erased for one in requests if isinstance(one.job, RestoreTask | DrillTask)}
    assert {name: [one.id for one in known] for name, known in told.items()} == {
        "mine": ["erase-ada"],
        "again": ["erase-ada"],
    }
    assert told["mine"][0].verified_at is not None


async def ended_as(rig: Rig, kind: str, name: str, phase: str) -> bool:
    return bool((await rig.get(kind, name)).get("status", {}).get("phase") == phase)


async def erased(drive: Driver) -> None:
    """Ada is erased, and all stores were looked through."""
    await planned(drive)
    await approve(drive.rig)
    await drive.until(runs_done(drive.rig, "ErasureRequest", "Succeeded"))
    await drive.until(lambda: looked_through(drive.rig))


async def remains_of(rig: Rig) -> Object:
    found: Object = (await request_of(rig))["status"]["remains"]
    return found


async def looked_through(rig: Rig) -> bool:
    stores = (await remains_of(rig)).get("stores", ())
    return bool(stores) and all("at" in one and not one["underWay"] for one in stores)


def searches(rig: Rig) -> list[Request]:
    """What agents are told from now on that look through a store."""
    found: list[Request] = []

    def script(request: Request) -> None:
        if isinstance(request.job, RemainsTask):
            found.append(request)

    rig.agents.script = script
    return found


async def delete_all(rig: Rig, *names: str) -> None:
    for name in names:
        await rig.delete("Backup", name)


async def test_the_status_says_until_when_backups_hold_the_person_and_when_none_does(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    remains = await remains_of(rig)
    assert (remains["backups"], remains["unrecorded"]) == (2, 0)
    newest = max(await rig.objects("Backup"), key=lambda one: one["status"]["completionTime"])
    assert remains["clearedAfter"] in ("Unknown", newest["status"].get("expiresAt"))
    assert conditions(await request_of(rig))["StoresSearched"] == ("True", "StoresSearched")
    await rig.edit(
        "Backup", "seed-0", lambda body: body["metadata"].setdefault("labels", {}).update({"databosun.io/hold": "true"})
    )
    await drive.idle(DAY)
    remains = await remains_of(rig)
    assert remains["clearedAfter"] == "Never"
    assert any("seed-0: under a legal hold" in one for one in remains["lasting"])
    rig.agents.bucket.backups.clear()
    await delete_all(rig, "seed-0", "seed-1")
    await drive.idle(DAY)
    assert (await remains_of(rig))["clearedAfter"] == "Cleared"
    assert not await rig.objects("Job")


async def test_backups_whose_data_stayed_without_an_object_hold_cleared_back_until_they_are_gone(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    told = searches(rig)
    await delete_all(rig, "seed-0", "seed-1")  # deletionPolicy: Retain
    await drive.idle(DAY)
    remains = await remains_of(rig)
    assert (remains["backups"], remains["unrecorded"], remains["clearedAfter"]) == (0, 2, "Never")
    assert "2 backups that no Backup object stands for (orders/seed-0, orders/seed-1)" in remains["lasting"][0]
    await drive.idle(5 * DAY)
    assert 5 <= len(told) <= 7, "once when no object was left, then daily"
    await rig.create(backup("later", rig.clock.now() + HOUR))
    await drive.until(lambda: ended_as(rig, "Backup", "later", "Succeeded"))
    rig.agents.bucket.backups.pop(("orders", "seed-0"))
    await drive.idle(2 * DAY)
    assert (await remains_of(rig))["unrecorded"] == 1
    rig.agents.bucket.backups.pop(("orders", "seed-1"))
    await drive.idle(2 * DAY)
    assert (await remains_of(rig))["clearedAfter"] == "Cleared"
    number = len(told)
    await drive.idle(5 * DAY)
    assert len(told) == number, "nothing is looked for any more once it is proven"


async def test_while_objects_hold_the_person_a_store_is_looked_through_once(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    told = searches(rig)
    await erased(drive)
    await drive.idle(5 * DAY)
    (request,) = told
    assert isinstance(request.job, RemainsTask)
    assert len(request.job.marks) == 2
    assert {use.use for use in request.secrets} <= {"storage", "storage-ca", "signing"}


async def test_a_store_that_cannot_be_looked_through_holds_cleared_back_and_says_who_must_act(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    refused = Result(outcome=Outcome.FAILED, reason="AccessDenied", message="the key may not list bucket backups")
    told = []

    def script(request: Request) -> Result | None:
        told.append(request) if isinstance(request.job, RemainsTask) else None
        return refused if isinstance(request.job, RemainsTask) else None

    rig.agents.script = script
    rig.agents.bucket.backups.clear()
    await delete_all(rig, "seed-0", "seed-1")
    await drive.idle(5 * DAY)
    body = await request_of(rig)
    assert body["status"]["remains"]["clearedAfter"] == "Unknown"
    assert conditions(body)["StoresSearched"] == ("False", "StoreNotSearched")
    (said,) = [one["message"] for one in body["status"]["conditions"] if one["type"] == "StoresSearched"]
    assert "BackupStorage prod" in said
    assert "AccessDenied: the key may not list bucket backups" in said
    assert len(told) <= 10, "the pauses between tries grow to a day"
    assert conditions(body)["Ready"] == ("True", "Erased")
    rig.agents.script = no_script
    await drive.idle(2 * DAY)
    assert (await remains_of(rig))["clearedAfter"] == "Cleared"


async def test_an_empty_second_storage_is_looked_through_and_one_that_went_with_its_copies_holds_back(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await rig.create(storage("other", volume={"claimName": "other"}))
    await drive.until(lambda: ready(rig))
    await erased(drive)
    assert [one["storage"] for one in (await remains_of(rig))["stores"]] == ["other", "prod"]
    await rig.delete("BackupStorage", "other")
    await delete_all(rig, "seed-0", "seed-1")
    await drive.idle(DAY)
    assert [one["copies"] for one in (await remains_of(rig))["stores"]] == [2], "nothing lay in the one that went"
    await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(volume={"claimName": "new"}))
    rig.agents.bucket.backups.clear()
    await drive.idle(2 * DAY)
    body = await request_of(rig)
    assert body["status"]["remains"]["clearedAfter"] == "Never"
    assert conditions(body)["StoresSearched"] == ("False", "StoreGone")


async def test_a_backup_that_is_being_taken_since_before_the_erasure_holds_the_person(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    rig.agents.script = lambda request: "hang" if isinstance(request.job, BackupTask) else None
    await rig.create(backup("over-it", rig.clock.now() + 12 * HOUR))
    await drive.until(lambda: ended_as(rig, "Backup", "over-it", "Running"))

    body = await rig.get("Backup", "over-it")
    version = body["metadata"]["resourceVersion"]
    began = {"startTime": "2020-01-01T00:00:00Z"}
    await rig.kube.patch_status(BACKUPS, rig.namespace, "over-it", began, version)
    rig.agents.bucket.backups.clear()
    await delete_all(rig, "seed-0", "seed-1")
    await rig.edit("ErasureRequest", "erase-ada", lambda one: one["metadata"].update({"annotations": {"look": "now"}}))
    await drive.idle(HOUR)
    remains = await remains_of(rig)
    assert (remains["backups"], remains["clearedAfter"]) == (1, "Unknown")
    assert remains["lasting"] == ["over-it: it is being taken since before the erasure"]


async def test_a_backup_that_was_begun_before_and_shows_a_later_instant_holds_the_person(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    body = await rig.get("Backup", "seed-1")
    later = (rig.clock.now() + 10 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = {"snapshotTime": later, "completionTime": later}
    await rig.kube.patch_status(BACKUPS, rig.namespace, "seed-1", shown, body["metadata"]["resourceVersion"])
    await erased(drive)
    assert (await remains_of(rig))["backups"] == 2


async def test_few_look_through_a_store_at_once_and_all_come_to_their_turn(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    body = await request_of(rig)
    old = {**body["status"], "remains": {"at": body["status"]["verifiedTime"], "clearedAfter": "Cleared", "backups": 0}}
    rig.agents.script = lambda request: "hang" if isinstance(request.job, RemainsTask) else None
    names = [f"older-{number}" for number in range(AT_ONCE + 3)]
    for name in names:
        made = erasure(name, rig.clock.now() + 12 * HOUR)
        made["metadata"]["labels"] = body["metadata"]["labels"]
        created = await rig.kube.create(ERASURE_REQUESTS, rig.namespace, made)
        await rig.kube.patch_status(ERASURE_REQUESTS, rig.namespace, name, old, created["metadata"]["resourceVersion"])
    await drive.idle(HOUR / 4)
    jobs = [job for job in await rig.objects("Job") if job["metadata"]["name"].startswith("remains-")]
    assert len(jobs) == AT_ONCE
    rig.agents.script = no_script
    await drive.idle(HOUR)
    for name in names:
        (store,) = (await request_of(rig, name))["status"]["remains"]["stores"]
        assert "at" in store
    assert not await rig.objects("Job")


async def test_a_log_that_reaches_back_is_of_no_known_date(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    rig.agents.bucket.backups.clear()
    rig.agents.bucket.old_logs.append("the log in _log/postgresql/7 reaches back to 2026-01-01T00:00:00Z")
    await delete_all(rig, "seed-0", "seed-1")
    await drive.idle(DAY)
    remains = await remains_of(rig)
    assert remains["clearedAfter"] == "Unknown"
    assert any("_log/postgresql/7 reaches back" in one for one in remains["lasting"])
    rig.agents.bucket.old_logs.clear()
    await drive.idle(2 * DAY)
    assert (await remains_of(rig))["clearedAfter"] == "Cleared"


async def test_what_an_older_release_called_cleared_by_objects_alone_is_looked_at_again(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    await delete_all(rig, "seed-0", "seed-1")
    body = await request_of(rig)
    old = {"at": body["status"]["verifiedTime"], "clearedAfter": "Cleared", "backups": 0, "stores": None}
    await rig.kube.patch_status(
        ERASURE_REQUESTS, rig.namespace, "erase-ada", {"remains": old}, body["metadata"]["resourceVersion"]
    )
    await drive.idle(DAY)
    assert (await remains_of(rig))["clearedAfter"] == "Never"


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8])
async def test_an_operator_that_dies_after_any_write_of_a_search_goes_on_with_it(rig: Rig, number: int) -> None:
    drive = Driver(rig)
    await begun(drive)
    await erased(drive)
    await (await drive.process()).stop()
    await delete_all(rig, "seed-0", "seed-1")
    again = Driver(rig, Fault(number, Mode.KILL_AFTER))
    await again.idle(DAY)
    remains = await remains_of(rig)
    assert (remains["unrecorded"], remains["clearedAfter"]) == (2, "Never")
    assert not await rig.objects("Job")


async def test_an_approval_that_is_taken_back_in_the_middle_stops_it(rig: Rig) -> None:
    drive = Driver(rig)
    await begun(drive)
    await planned(drive)
    rig.agents.script = lambda request: "hang" if isinstance(request.job, EraseTask) else None
    await approve(rig)

    async def runs() -> bool:
        return bool((await request_of(rig))["status"]["phase"] == "Running")

    await drive.until(runs)
    (given,) = await rig.objects("Approval")
    await rig.delete("Approval", given["metadata"]["name"])
    await drive.until(lambda: over(rig, "erase-ada"))
    body = await request_of(rig)
    assert body["status"]["phase"] in ("Failed", "Refused")
    assert rig.agents.bucket.people.erased == 0
