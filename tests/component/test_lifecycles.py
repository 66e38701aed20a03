"""LifecyclePolicies on an API server: dry until approved, then exactly that plan, and never without its conditions."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from databosun.api.lifecycle import LifecycleMode, TriggerFact
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.request import Request
from databosun.api.result import Outcome, Result
from databosun.kube.resources import APPROVALS, Object
from support.lifecyclescenarios import approved, asked_now, ruled
from support.objects import approval_of, conditions, database, drill, lifecycle, lifecycle_run, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, ready, runs_done
from support.operatorseeds import seeded, soon

DAY = timedelta(days=1)


def asked(rig: Rig) -> list[Request]:
    found: list[Request] = []

    def script(request: Request) -> None:
        if isinstance(request.job, LifecycleTask):
            found.append(request)

    rig.agents.script = script
    return found


async def policy_of(rig: Rig) -> Object:
    return await rig.get("LifecyclePolicy", "old-orders")


async def newest(rig: Rig, mode: str) -> Object:
    runs = [one for one in await rig.objects("LifecycleRun") if one["spec"]["mode"] == mode]
    return max(runs, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))


async def enforced(drive: Driver, *phases: str) -> Object:
    await asked_now(drive.rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(drive.rig, "LifecycleRun", *phases))
    return await newest(drive.rig, "Enforce")


async def test_a_dry_run_shows_the_plan_and_changes_nothing(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await ruled(drive, mode="DryRun")
    status = (await policy_of(rig))["status"]
    (rule,) = status["plan"]["rules"]
    assert (rule["table"], rule["eligible"], rule["rows"]) == ("public.orders", 250, 10_000)
    assert status["remaining"] == 250
    assert conditions({"status": status}) == {
        "Ready": ("True", "Ready"),
        "LastRunSucceeded": ("True", "Succeeded"),
        "ScheduleHealthy": ("True", "OnSchedule"),
        "DryRunClean": ("True", "PlanClean"),
    }
    (request,) = requests
    assert isinstance(request.job, LifecycleTask)
    assert (request.job.mode, request.job.approved, request.job.stop_at) == (LifecycleMode.DRY_RUN, None, None)
    assert rig.agents.bucket.old.taken == 0


async def test_only_an_approved_plan_is_carried_out_and_one_approval_carries_many_runs(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await ruled(drive)
    assert conditions(await policy_of(rig))["Approved"] == ("False", "AwaitingApproval")
    await asked_now(rig, "LifecyclePolicy", "old-orders", "again")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"))
    assert rig.agents.bucket.old.taken == 0
    await approved(drive)
    assert conditions(await policy_of(rig))["Approved"] == ("True", "Approved")
    run = await enforced(drive, *["Succeeded"] * 3)
    assert (run["status"]["processed"], run["status"]["remaining"]) == (100, 150)
    plan_hash = (await policy_of(rig))["status"]["plan"]["hash"]
    assert run["status"]["approved"] == plan_hash == run["status"]["plan"]["hash"]
    await asked_now(rig, "LifecyclePolicy", "old-orders", "more")
    await drive.until(runs_done(rig, "LifecycleRun", *["Succeeded"] * 4))
    assert rig.agents.bucket.old.taken == 200
    jobs = [request.job for request in requests if isinstance(request.job, LifecycleTask)]
    assert [job.approved for job in jobs] == [None, None, plan_hash, plan_hash]
    assert jobs[2].previous is None
    assert jobs[3].previous is not None
    assert jobs[3].previous.run == run["metadata"]["name"]
    (rule,) = (await policy_of(rig))["status"]["rules"]
    assert (rule["processed"], rule["remaining"], rule["state"]) == (200, 50, "Limited")


async def test_an_approval_of_another_plan_carries_nothing(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await rig.create(approval_of(await policy_of(rig), rig.clock.now() + 12 * HOUR, "0123456789abcdef"))
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"))
    assert [one["spec"]["mode"] for one in await rig.objects("LifecycleRun")] == ["DryRun", "DryRun"]


async def test_an_approval_ends(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    await drive.idle(13 * HOUR)
    assert conditions(await policy_of(rig))["Approved"] == ("False", "AwaitingApproval")
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"))
    assert rig.agents.bucket.old.taken == 0


async def test_a_rule_that_was_changed_needs_another_look_and_another_approval(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    before = (await policy_of(rig))["status"]["plan"]["hash"]
    await rig.edit(
        "LifecyclePolicy", "old-orders", lambda body: body["spec"]["rules"][0]["match"].update(olderThan="30d")
    )
    await drive.idle(MINUTE)
    assert conditions(await policy_of(rig))["Approved"] == ("False", "NoPlan")
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"))
    policy = await policy_of(rig)
    assert policy["status"]["plan"]["hash"] != before
    assert conditions(policy)["Approved"] == ("False", "AwaitingApproval")
    assert rig.agents.bucket.old.taken == 0


async def elsewhere(rig: Rig, what: str) -> None:
    """Somebody has the Database, or the storage, mean another one."""
    if what == "server":
        await rig.edit("Database", "orders", lambda body: body["spec"]["connection"].update(host="production.db"))
    else:
        await rig.edit("BackupStorage", "prod", lambda body: body["spec"]["volume"].update(path="/other"))


@pytest.mark.parametrize("what", ["server", "store"])
async def test_an_approved_plan_is_for_its_server_and_store_alone(rig: Rig, what: str) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    plan = (await policy_of(rig))["status"]["plan"]
    assert plan["server"] == "orders.db port 5432, system 7300000000000000001"
    assert plan["place"] == "claim backups, folder /"
    await elsewhere(rig, what)
    await drive.idle(MINUTE)
    assert conditions(await policy_of(rig))["Approved"] == ("False", "PlanChanged")
    # Whoever still asks for it is told why, and a slot is answered by a look.
    await rig.create(lifecycle_run("mine", rig.clock.now() + HOUR, mode="Enforce"))
    await drive.idle(MINUTE)
    found = [one for one in (await rig.get("LifecycleRun", "mine"))["status"]["conditions"] if one["type"] == "Ready"]
    assert (plan["server"] if what == "server" else plan["place"]) in found[0]["message"]
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(rig, "LifecycleRun", "Refused", "Succeeded", "Succeeded"), limit=4 * HOUR)
    assert rig.agents.bucket.old.taken == 0
    assert (await policy_of(rig))["status"]["plan"]["hash"] != plan["hash"]


async def test_a_run_is_stopped_when_its_database_means_another_server(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    rig.agents.script = lambda request: "hang" if isinstance(request.job, LifecycleTask) else None
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.idle(5 * MINUTE)
    await elsewhere(rig, "server")
    await drive.until(runs_done(rig, "LifecycleRun", "Failed", "Succeeded"), limit=5 * MINUTE)
    run = await newest(rig, "Enforce")
    assert (run["status"]["failure"]["reason"], rig.agents.bucket.old.taken) == ("PlanChanged", 0)


async def test_a_table_that_changed_since_is_not_touched_and_the_new_plan_is_shown(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    before = (await policy_of(rig))["status"]["plan"]["hash"]
    old = rig.agents.bucket.old
    trigger = TriggerFact(name="audit", table="public.orders", events=["DELETE"], definition_sha256="0" * 64)
    old.table = old.table.model_copy(update={"triggers": [trigger]})
    run = await enforced(drive, "Refused", "Succeeded")
    assert run["status"]["failure"]["reason"] == "PlanChanged"
    assert old.taken == 0
    policy = await policy_of(rig)
    assert policy["status"]["plan"]["hash"] == run["status"]["plan"]["hash"] != before
    assert policy["status"]["plan"]["rules"][0]["refusals"][0].startswith("TriggerNotAllowed: ")
    found = conditions(policy)
    assert (found["DryRunClean"], found["Approved"]) == (("False", "RulesRefused"), ("False", "AwaitingApproval"))


async def test_a_plan_that_grew_beyond_its_ceiling_does_nothing(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    rig.agents.bucket.old.eligible = 5000
    run = await enforced(drive, "Refused", "Succeeded")
    assert run["status"]["rules"][0]["reason"] == "PlanGrew"
    assert rig.agents.bucket.old.taken == 0


async def test_without_a_recent_backup_or_a_proof_nothing_is_enforced(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive, preconditions={"backupWithin": "1h"})
    await approved(drive)
    run = await enforced(drive, "Refused", "Succeeded")
    assert run["status"]["failure"]["reason"] == "BackupTooOld"
    assert rig.agents.bucket.old.taken == 0


async def test_a_database_that_no_drill_has_proven_is_not_touched(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2)
    await drive.until(lambda: ready(rig))
    await rig.create(lifecycle(mode="Enforce"))
    await drive.idle(MINUTE)
    await asked_now(rig, "LifecyclePolicy", "old-orders", "look")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded"))
    await approved(drive)
    run = await enforced(drive, "Refused", "Succeeded")
    assert run["status"]["failure"]["reason"] == "ProofTooOld"
    assert rig.agents.bucket.old.taken == 0


@pytest.mark.parametrize("place", ["spec", "Database", "LifecyclePolicy"])
async def test_a_legal_hold_over_all_stops_everything(rig: Rig, place: str) -> None:
    drive = Driver(rig)
    holds = [{"name": "case-7", "reason": "litigation"}] if place == "spec" else []
    await ruled(drive, holds=holds)
    await approved(drive)
    if place != "spec":
        name = "orders" if place == "Database" else "old-orders"
        await rig.edit(place, name, lambda body: body["metadata"].setdefault("labels", {}).update(
            {"databosun.io/hold": "true"}
        ))  # fmt: skip
    run = await enforced(drive, "Refused", "Succeeded")
    assert run["status"]["failure"]["reason"] == "BlockedByHold"
    assert conditions(await policy_of(rig))["BlockedByHold"] == ("True", "BlockedByHold")
    assert rig.agents.bucket.old.taken == 0


async def test_a_run_made_by_hand_waits_for_its_approval_and_then_goes(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await rig.create(lifecycle_run("mine", rig.clock.now() + 10 * HOUR, mode="Enforce"))
    await drive.idle(HOUR)
    waiting = conditions(await rig.get("LifecycleRun", "mine"))
    assert (waiting["Ready"], waiting["Reconciling"]) == (("False", "AwaitingApproval"), ("True", "AwaitingApproval"))
    await approved(drive)
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"))
    assert (await rig.get("LifecycleRun", "mine"))["status"]["approval"].startswith("old-orders-")
    assert rig.agents.bucket.old.taken == 100


async def test_a_run_made_by_hand_that_nobody_approves_ends(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await rig.create(lifecycle_run("mine", rig.clock.now() + 10 * HOUR, mode="Enforce"))
    await drive.until(runs_done(rig, "LifecycleRun", "Refused", "Succeeded"), limit=12 * HOUR)
    assert (await rig.get("LifecycleRun", "mine"))["status"]["failure"]["reason"] == "NotStarted"
    assert rig.agents.bucket.old.taken == 0


async def test_an_approval_taken_away_between_two_attempts_ends_the_run(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    failed = Result(outcome=Outcome.FAILED, reason="ConnectionLost", message="gone", retryable=True)
    rig.agents.script = lambda request: failed if isinstance(request.job, LifecycleTask) else None
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")

    async def once() -> bool:
        runs = await rig.objects("LifecycleRun")
        tried = [one for run in runs if run["spec"]["mode"] == "Enforce" for one in run["status"].get("attempts", ())]
        return any("endedAt" in one for one in tried)

    await drive.until(once)
    (consent,) = [body async for body in rig.kube.list(APPROVALS, rig.namespace)]
    await rig.kube.delete(APPROVALS, rig.namespace, consent["metadata"]["name"], uid=consent["metadata"]["uid"])
    await drive.idle(2 * HOUR)
    run = await newest(rig, "Enforce")
    assert (run["status"]["phase"], run["status"]["failure"]["reason"]) == ("Failed", "AwaitingApproval")
    assert rig.agents.bucket.old.taken == 0


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("approval", "AwaitingApproval"),
        ("hold on some rows", "AwaitingApproval"),
        ("hold on all", "BlockedByHold"),
        ("label", "BlockedByHold"),
        ("mode", "DryRunOnly"),
        ("unreadable", "Interrupted"),
    ],
)
async def test_what_a_run_stands_on_is_taken_away_and_it_is_stopped(rig: Rig, what: str, reason: str) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    rig.agents.script = lambda request: "hang" if isinstance(request.job, LifecycleTask) else None
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.idle(5 * MINUTE)
    assert conditions(await newest(rig, "Enforce"))["Ready"] == ("False", "Running")
    policy, hold = ("LifecyclePolicy", "old-orders"), {"name": "case-7", "reason": "litigation"}
    if what == "approval":
        (consent,) = [body async for body in rig.kube.list(APPROVALS, rig.namespace)]
        await rig.kube.delete(APPROVALS, rig.namespace, consent["metadata"]["name"], uid=consent["metadata"]["uid"])
    elif what == "label":
        await rig.edit("Database", "orders", lambda body: body["metadata"].setdefault("labels", {}).update(
            {"databosun.io/hold": "true"}
        ))  # fmt: skip
    elif what == "mode":
        await rig.edit(*policy, lambda body: body["spec"].update(mode="DryRun"))
    elif what == "unreadable":
        await rig.edit(*policy, lambda body: body["spec"].update(startingDeadline="500ms"))
    else:
        where = {"table": "public.orders", "where": "customer = 7"} if what == "hold on some rows" else {}
        await rig.edit(*policy, lambda body: body["spec"].update(holds=[{**hold, **where}]))
    changed = rig.clock.now()
    await drive.until(runs_done(rig, "LifecycleRun", "Failed", "Succeeded"), limit=5 * MINUTE)
    run = await newest(rig, "Enforce")
    assert run["status"]["failure"]["reason"] == reason
    assert [one["reason"] for one in run["status"]["attempts"]] == ["Interrupted"]
    assert rig.clock.now() - changed < 2 * MINUTE
    assert rig.agents.bucket.old.taken == 0


async def test_a_run_made_by_hand_is_stopped_when_its_policy_goes(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    rig.agents.script = lambda request: "hang" if isinstance(request.job, LifecycleTask) else None
    await rig.create(lifecycle_run("mine", rig.clock.now() + 10 * HOUR, mode="Enforce"))
    await drive.idle(5 * MINUTE)
    assert conditions(await rig.get("LifecycleRun", "mine"))["Ready"] == ("False", "Running")
    await rig.delete("LifecyclePolicy", "old-orders")
    await drive.idle(5 * MINUTE)
    run = await rig.get("LifecycleRun", "mine")
    assert run["status"]["phase"] == "Failed"
    assert [one["reason"] for one in run["status"]["attempts"]] == ["Interrupted"]


async def test_a_policy_that_went_back_to_dry_runs_carries_nothing_out(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    await rig.edit("LifecyclePolicy", "old-orders", lambda body: body["spec"].update(mode="DryRun"))
    await rig.create(lifecycle_run("mine", rig.clock.now() + 10 * HOUR, mode="Enforce"))
    await drive.until(runs_done(rig, "LifecycleRun", "Refused", "Succeeded"))
    assert (await rig.get("LifecycleRun", "mine"))["status"]["failure"]["reason"] == "DryRunOnly"
    assert rig.agents.bucket.old.taken == 0


async def test_outside_its_windows_an_enforced_run_waits_and_inside_it_stops_at_the_end(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    opens = rig.clock.now() + 6 * HOUR
    window = {"cron": f"{opens.minute} {opens.hour} * * *", "duration": "20m"}
    await ruled(drive, windows=[window])
    await approved(drive)
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.idle(HOUR)
    assert conditions(await newest(rig, "Enforce"))["Ready"] == ("False", "OutsideWindow")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"), limit=8 * HOUR)
    last = requests[-1].job
    assert isinstance(last, LifecycleTask)
    assert last.stop_at is not None
    assert last.stop_at == opens.replace(second=0, microsecond=0) + 20 * MINUTE


async def test_an_attempt_after_the_window_has_closed_is_not_made(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    opens = rig.clock.now() + 6 * HOUR
    await ruled(drive, windows=[{"cron": f"{opens.minute} {opens.hour} * * *", "duration": "20m"}])
    await approved(drive)

    def script(request: Request) -> Result | None:
        if not isinstance(request.job, LifecycleTask) or request.job.mode is LifecycleMode.DRY_RUN:
            return None
        requests.append(request)
        # It went on until the window closed, and was evicted then.
        rig.clock.advance(30 * MINUTE)
        return Result(outcome=Outcome.FAILED, reason="Disrupted", message="evicted", retryable=True)

    rig.agents.script = script
    requests.clear()
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(rig, "LifecycleRun", "Failed", "Succeeded"), limit=12 * HOUR)
    run = await newest(rig, "Enforce")
    assert [one["number"] for one in run["status"]["attempts"]] == [1]
    assert len(requests) == 1


async def test_it_waits_for_a_backup_of_the_same_database_and_a_backup_waits_for_it(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive)
    await approved(drive)
    held: dict[str, str] = {"backup": "hang"}
    rig.agents.script = lambda request: held.get(request.job.task)
    await asked_now(rig, "BackupPolicy", "nightly", "now")
    await drive.idle(MINUTE)
    await asked_now(rig, "LifecyclePolicy", "old-orders", "go")
    await drive.idle(5 * MINUTE)
    assert conditions(await newest(rig, "Enforce"))["Ready"] == ("False", "Waiting")
    assert rig.agents.bucket.old.taken == 0
    held.clear()
    held["lifecycle"] = "hang"
    await drive.idle(10 * MINUTE)
    assert conditions(await newest(rig, "Enforce"))["Ready"] == ("False", "Running")
    await asked_now(rig, "BackupPolicy", "nightly", "later")
    await drive.idle(5 * MINUTE)
    waiting = [conditions(one).get("Ready") for one in await rig.objects("Backup")]
    assert ("False", "Waiting") in waiting
    held.clear()
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded", "Succeeded"))
    assert rig.agents.bucket.old.taken == 100


async def test_a_schedule_carries_on_and_tells_how_the_backlog_fares(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive, schedule={"cron": "*/30 * * * *"})
    await approved(drive)
    await drive.idle(2 * HOUR)
    (rule,) = (await policy_of(rig))["status"]["rules"]
    assert rig.agents.bucket.old.eligible == 0
    assert (rule["remaining"], rule["processed"], rule["state"]) == (0, 250, "Completed")
    assert conditions(await policy_of(rig))["FallingBehind"] == ("False", "KeepingUp")


async def test_a_backlog_that_grows_faster_than_it_drains_is_falling_behind(rig: Rig) -> None:
    drive = Driver(rig)
    rig.agents.bucket.old.inflow = 1000
    await ruled(drive, schedule={"cron": "0 3 * * *"})
    await approved(drive)
    await enforced(drive, "Succeeded", "Succeeded")
    policy = await policy_of(rig)
    (rule,) = policy["status"]["rules"]
    assert (rule["ratePerDay"], rule["inflowPerDay"], rule.get("etaDays")) == (100, 1000, None)
    assert conditions(policy)["FallingBehind"] == ("True", "FallingBehind")


async def test_nobody_hears_an_enforced_run_but_its_record_says_what_it_did(rig: Rig) -> None:
    drive = Driver(rig)
    await ruled(drive, retries=0)
    await approved(drive)
    old = rig.agents.bucket.old

    def script(request: Request) -> str | None:
        if isinstance(request.job, LifecycleTask):
            old.work(request.job, rig.clock.now)
            return "crash"
        return None

    rig.agents.script = script
    run = await enforced(drive, "Succeeded", "Succeeded")
    assert run["status"]["processed"] == old.taken == 100


async def test_old_runs_go_and_the_numbers_stay(rig: Rig) -> None:
    drive = Driver(rig)
    rig.agents.bucket.old.eligible = 900
    await ruled(drive, schedule={"cron": "*/10 * * * *"}, historyLimits={"enforced": 2, "dryRuns": 1})
    await approved(drive)
    await drive.idle(HOUR + 5 * MINUTE)
    runs = await rig.objects("LifecycleRun")
    assert len(runs) <= 3
    (rule,) = (await policy_of(rig))["status"]["rules"]
    assert rule["processed"] == rig.agents.bucket.old.taken >= 500


async def test_what_is_wrong_with_a_policy_is_said_on_it(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(lifecycle())
    await drive.idle(MINUTE)
    assert conditions(await policy_of(rig))["Stalled"] == ("True", "DatabaseNotFound")
    await rig.create(storage(), database(engine="Redis"))
    await drive.idle(MINUTE)
    assert conditions(await policy_of(rig))["Stalled"] == ("True", "ActionUnsupported")


BUCKET = {"s3": {"bucket": "backups", "region": "r", "endpoint": "http://s3:80"}, "volume": None}
COLD = [{"name": "cold", "action": {"type": "StorageTransition"}}]


async def test_objects_move_from_a_bucket_alone_and_only_where_backups_lie_in_it(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(engine="MariaDB"), lifecycle(rules=COLD))
    await drive.idle(MINUTE)
    stalled = await policy_of(rig)
    assert conditions(stalled)["Stalled"] == ("True", "TransitionUnsupported"), stalled
    assert "BackupStorage prod is a volume" in str(stalled["status"]["conditions"])


async def test_a_drill_of_any_age_forbids_the_archive_until_it_is_changed(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    rig.agents.bucket.old.due = ["a: 1 objects, 1.0KiB, to GLACIER"]
    rig.agents.bucket.old.archived_until = rig.clock.now() - 36 * HOUR
    await rig.create(drill("any", selection={"from": "Random"}, suspend=True))
    await ruled(drive, bucket=BUCKET, rules=COLD)
    (rule,) = (await policy_of(rig))["status"]["plan"]["rules"]
    assert (rule["table"], rule["eligible"], rule["moves"]) == ("bucket backups", 1, rig.agents.bucket.old.due)
    assert [one.split(":")[0] for one in rule["refusals"]] == ["TransitionConflict"] * 2
    assert (
        "RestoreDrill any takes backups of any age (selection.from: Random) and must be done in 4h"
        in rule["refusals"][0]
    )
    plan = (await policy_of(rig))["status"]["plan"]["hash"]

    await rig.edit("RestoreDrill", "any", lambda body: body["spec"].update(selection={"from": "Latest"}))
    await approved(drive)
    run = await enforced(drive, "Succeeded", "Succeeded")
    assert (run["status"]["processed"], run["status"]["approved"]) == (1, plan)
    assert run["status"]["rules"][0]["bucketRules"] == ["databosun/x"]
    scope = requests[-1].job.tiering  # type: ignore[union-attr]
    assert scope.conflicts == []
    assert [(one.policy, one.days) for one in scope.kept] == [("nightly", None)]
    assert scope.keep == ["seed-1"]
    await drive.idle(MINUTE)
    recovery = (await rig.get("Database", "orders"))["status"]["recovery"]
    assert recovery["earliest"] < recovery["archivedUntil"] < recovery["earliestAtOnce"] == recovery["latest"]
    await rig.delete("LifecyclePolicy", "old-orders")
    await drive.idle(MINUTE)
    assert (await rig.get("Database", "orders"))["status"]["recovery"] == recovery


async def test_two_policies_on_the_same_backups_are_refused(rig: Rig) -> None:
    requests, drive = asked(rig), Driver(rig)
    await rig.create(lifecycle("other", rules=COLD))
    await ruled(drive, bucket=BUCKET, rules=COLD)
    (conflict,) = requests[-1].job.tiering.conflicts  # type: ignore[union-attr]
    assert conflict.message == "LifecyclePolicy other moves the same backups; one of the two is enough"


async def test_a_slot_is_answered_by_a_dry_run_while_nobody_approves(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2)
    await drive.until(lambda: ready(rig))
    await rig.create(lifecycle(cron=soon(rig), mode="Enforce"))
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded"))
    (run,) = await rig.objects("LifecycleRun")
    assert (run["spec"]["mode"], run["spec"]["schedule"]) == ("DryRun", "lifecycle")
    at = datetime.fromisoformat(run["status"]["at"])
    assert at == datetime.fromisoformat(run["metadata"]["creationTimestamp"])
