"""Failover tests on an API server in memory: each guard has a test that would have moved a primary without it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from databosun.api.backuptasks import BackupTask
from databosun.api.failover import FailoverStep, FailoverTask
from databosun.api.request import ProbeTask, Request
from databosun.domain.plan import ANNOTATION_RUN_NOW
from databosun.kube.resources import Object
from support.failoverscenarios import SENTINEL, failover_is, replicated, two_nodes
from support.failoversim import Nodes
from support.objects import approval_of, backup, conditions, database, failover_run, failover_test, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, phases, ready, runs_done
from support.operatorseeds import soon

RUN = "FailoverTestRun"


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    rig = Rig(None)
    yield Driver(rig)
    await rig.close()


def nodes(drive: Driver) -> Nodes:
    return drive.rig.agents.bucket.nodes


def step_of(request: Request) -> FailoverStep | None:
    return request.job.step if isinstance(request.job, FailoverTask) else None


async def ask(drive: Driver, name: str = "mine") -> None:
    await drive.rig.create(failover_run(name, drive.rig.clock.now() + 12 * HOUR))


async def status_of(drive: Driver, name: str = "mine") -> dict[str, Any]:
    found: dict[str, Any] = (await drive.rig.get(RUN, name))["status"]
    return found


async def test_a_passed_one_says_what_was_measured_and_its_test_says_so(drive: Driver) -> None:
    await replicated(drive)
    await ask(drive)
    await drive.until(runs_done(drive.rig, RUN, "Passed"))
    status = await status_of(drive)
    assert (status["plan"]["primary"], status["plan"]["candidate"], nodes(drive).primary) == ("n1", "n2", "n2")
    assert (status["result"]["writeDowntime"], status["result"]["lost"]) == ("2.6s", 0)
    assert status["result"]["writeDowntimeMilliseconds"] == 2600
    assert status["evidence"]["storage"] == "prod"
    assert [one["reason"] for one in status["attempts"]] == ["FailoverPlanned", "Succeeded"]
    assert conditions({"status": status})["Ready"] == ("True", "Passed")
    test = await drive.rig.get("FailoverTest", "monthly")
    assert test["status"]["lastRun"]["phase"] == "Passed"
    assert conditions(test)["LastRunSucceeded"] == ("True", "FailoverPassed")
    assert drive.rig.told.reasons("mine") == ["FailoverPlanned", "FailoverPassed"]


async def test_the_database_remembers_the_newest_test_that_moved_its_primary(drive: Driver) -> None:
    await replicated(drive, cooldown="0s")
    await ask(drive)

    async def said() -> bool:
        return "lastFailover" in (await drive.rig.get("Database", "orders"))["status"]

    await drive.until(said)
    first = (await drive.rig.get("Database", "orders"))["status"]["lastFailover"]
    assert first.pop("at")
    assert first == {
        "run": "mine",
        "mode": "PlannedSwitchover",
        "phase": "Passed",
        "primary": "n2",
        "writeDowntimeMilliseconds": 2600,
        "writeDowntime": "2.6s",
        "lost": 0,
    }
    await drive.rig.delete(RUN, "mine")  # as the history lets go of it
    nodes(drive).healthy = False
    await ask(drive, "refused")
    await drive.idle(10 * MINUTE)
    assert (await drive.rig.get("Database", "orders"))["status"]["lastFailover"]["run"] == "mine"


async def test_production_never_moves_without_an_approval_of_that_very_plan(drive: Driver) -> None:
    await replicated(drive, "Production", waitFor="6h", approval={"required": False})
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "AwaitingApproval"))
    run = await drive.rig.get(RUN, "mine")
    await drive.rig.create(approval_of(run, drive.rig.clock.now() + 12 * HOUR, "0123456789abcdef"))
    expired = approval_of(run, drive.rig.clock.now() - MINUTE, run["status"]["plan"]["hash"])
    await drive.rig.create(expired)
    await drive.idle(4 * HOUR)
    assert await failover_is(drive.rig, "mine", "AwaitingApproval")()
    await drive.until(runs_done(drive.rig, RUN, "Refused"), limit=8 * HOUR)
    assert (await status_of(drive))["failure"]["reason"] == "NotApproved"
    assert nodes(drive).moves == 0


async def test_an_approval_that_was_taken_back_counts_no_more(drive: Driver) -> None:
    await replicated(drive, "Production", windows=[{"cron": "0 4 * * *", "duration": "1h"}])
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "AwaitingApproval"))
    run = await drive.rig.get(RUN, "mine")
    given = approval_of(run, drive.rig.clock.now() + 12 * HOUR, run["status"]["plan"]["hash"])
    await drive.rig.create(given)
    await drive.until(failover_is(drive.rig, "mine", "Pending"))
    assert conditions(await drive.rig.get(RUN, "mine"))["Ready"][1] == "OutsideWindow"
    await drive.rig.delete("Approval", given["metadata"]["name"])
    await drive.idle(6 * HOUR)
    assert nodes(drive).moves == 0
    assert await failover_is(drive.rig, "mine", "AwaitingApproval")()


async def test_an_approval_moves_one_primary_once(drive: Driver) -> None:
    await replicated(drive, "Production", cooldown="0s")
    for name in ("mine", "second"):
        await ask(drive, name)
        await drive.until(failover_is(drive.rig, name, "AwaitingApproval"))
        if name == "mine":
            run = await drive.rig.get(RUN, name)
            await drive.rig.create(approval_of(run, drive.rig.clock.now() + 9 * HOUR, run["status"]["plan"]["hash"]))
            await drive.until(failover_is(drive.rig, name, "Passed"))
    await drive.idle(2 * HOUR)
    assert nodes(drive).moves == 1


async def test_outside_of_its_windows_nothing_is_moved(drive: Driver) -> None:
    await replicated(drive, windows=[{"cron": "0 4 * * *", "duration": "1h"}])
    await ask(drive)
    await drive.idle(2 * HOUR)
    assert nodes(drive).moves == 0
    await drive.until(runs_done(drive.rig, RUN, "Passed"), limit=5 * HOUR)
    moved = (await status_of(drive))["movedAt"]
    assert moved.startswith("2026-03-01T04:0")


async def test_a_window_that_does_not_open_in_time_refuses(drive: Driver) -> None:
    await replicated(drive, windows=[{"cron": "0 4 1 6 *", "duration": "1h"}], waitFor="1h")
    await ask(drive)
    await drive.until(runs_done(drive.rig, RUN, "Refused"), limit=4 * HOUR)
    assert (await status_of(drive))["failure"]["reason"] == "OutsideWindow"
    assert nodes(drive).moves == 0


async def test_the_agent_is_told_when_its_window_is_over(drive: Driver) -> None:
    asked: list[Request] = []
    drive.rig.agents.script = lambda request: asked.append(request) if step_of(request) else None
    await replicated(drive, windows=[{"cron": "0 4 * * *", "duration": "30m"}])
    await ask(drive)
    await drive.until(runs_done(drive.rig, RUN, "Passed"), limit=6 * HOUR)
    look, switch = asked
    assert look.not_after is not None
    assert switch.not_after is not None
    assert switch.not_after.isoformat() == "2026-03-01T04:30:00+00:00"


async def test_soon_after_one_test_another_waits(drive: Driver) -> None:
    await replicated(drive, cooldown="5h")
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "Passed"))
    await ask(drive, "second")
    await drive.idle(3 * HOUR)
    assert nodes(drive).moves == 1
    assert conditions(await drive.rig.get(RUN, "second"))["Ready"][1] == "Cooldown"
    await drive.until(failover_is(drive.rig, "second", "Passed"), limit=4 * HOUR)
    assert nodes(drive).moves == 2


async def test_a_backup_under_way_is_waited_for_and_a_new_one_waits(drive: Driver) -> None:
    rig = drive.rig
    held: set[str] = {"hang"}
    rig.agents.script = lambda request: "hang" if isinstance(request.job, BackupTask) and held else None
    await replicated(drive)
    await rig.create(backup("first", rig.clock.now() + 12 * HOUR))
    await drive.idle(MINUTE)
    await ask(drive)
    await drive.idle(10 * MINUTE)
    assert nodes(drive).moves == 0
    assert conditions(await rig.get(RUN, "mine"))["Ready"][1] == "Waiting"
    held.clear()
    await drive.until(runs_done(rig, RUN, "Passed"))
    assert nodes(drive).moves == 1


async def test_while_a_primary_moves_no_backup_starts(drive: Driver) -> None:
    rig = drive.rig
    held: set[str] = {"hang"}
    rig.agents.script = lambda request: "hang" if step_of(request) is FailoverStep.SWITCH and held else None
    await replicated(drive)
    await ask(drive)
    await drive.idle(2 * MINUTE)
    await rig.create(backup("first", rig.clock.now() + 12 * HOUR))
    await drive.idle(5 * MINUTE)
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "backup"]
    held.clear()
    await drive.until(all_done(rig, "Succeeded"))


async def test_backups_do_not_wait_for_a_person(drive: Driver) -> None:
    await replicated(drive, "Production")
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "AwaitingApproval"))
    await drive.rig.create(backup("first", drive.rig.clock.now() + 12 * HOUR))

    async def taken() -> bool:
        return await phases(drive.rig) == ["Succeeded"]

    await drive.until(taken)


@pytest.mark.parametrize("guard", ["requireRecentBackup", "requireProvenBackup"])
async def test_without_a_backup_that_could_be_restored_nothing_is_moved(drive: Driver, guard: str) -> None:
    guards = {"requireRecentBackup": "0s", "requireProvenBackup": "0s", guard: "24h"}
    await replicated(drive, guards=guards)
    await ask(drive)
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    failure = (await status_of(drive))["failure"]
    assert (failure["reason"], nodes(drive).moves) == ("GuardFailed", 0)
    assert f"{guard}: found none, expected at most 1d old" in failure["message"]


async def test_a_backup_that_grew_old_while_the_plan_waited_refuses(drive: Driver) -> None:
    rig = drive.rig
    guards = {"requireRecentBackup": "4h", "requireProvenBackup": "0s"}
    await rig.create(storage(), two_nodes(), policy(cron=soon(rig)))
    await drive.until(all_done(rig, "Succeeded"))
    await rig.create(failover_test(guards=guards, windows=[{"cron": "0 8 * * *", "duration": "1h"}]))
    await drive.until(lambda: ready(rig))
    await ask(drive)
    await drive.until(failover_is(rig, "mine", "Pending"))
    assert {one["name"]: one["ok"] for one in (await status_of(drive))["guards"]}["requireRecentBackup"]
    await drive.until(runs_done(rig, RUN, "Refused"), limit=10 * HOUR)
    assert (await status_of(drive))["failure"]["reason"] == "GuardFailed"
    assert nodes(drive).moves == 0


async def test_a_guard_that_the_agent_finds_broken_refuses_at_once(drive: Driver) -> None:
    await replicated(drive)
    nodes(drive).healthy = False
    await ask(drive)
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    status = await status_of(drive)
    assert status["failure"]["reason"] == "GuardFailed"
    assert "minHealthyReplicas: found 0, expected at least 1; start it" in status["failure"]["message"]
    assert "step" not in status
    assert conditions({"status": status})["Stalled"] == ("True", "GuardFailed")


async def test_a_primary_that_moved_meanwhile_is_not_moved_again(drive: Driver) -> None:
    await replicated(drive, "Production")
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "AwaitingApproval"))
    nodes(drive).primary = "n2"
    run = await drive.rig.get(RUN, "mine")
    await drive.rig.create(approval_of(run, drive.rig.clock.now() + 9 * HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert (await status_of(drive))["failure"]["reason"] == "PlanChanged"
    assert nodes(drive).moves == 0


async def test_another_mode_than_was_planned_is_not_carried_out(drive: Driver) -> None:
    await replicated(drive, "Production")
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "AwaitingApproval"))
    run = await drive.rig.get(RUN, "mine")
    await drive.rig.edit("FailoverTest", "monthly", lambda body: body["spec"].update(mode="ForcedFailover"))
    await drive.rig.create(approval_of(run, drive.rig.clock.now() + 9 * HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert (await status_of(drive))["failure"]["reason"] == "PlanChanged"
    assert nodes(drive).moves == 0


async def test_a_failback_that_was_asked_for_later_is_none_that_was_consented_to(drive: Driver) -> None:
    await replicated(drive, "Production")
    await ask(drive)
    await drive.until(failover_is(drive.rig, "mine", "AwaitingApproval"))
    run = await drive.rig.get(RUN, "mine")
    assert run["status"]["plan"].get("failback", "Never") == "Never"
    await drive.rig.edit("FailoverTest", "monthly", lambda body: body["spec"].update(failback="WhenRejoined"))
    await drive.rig.create(approval_of(run, drive.rig.clock.now() + 9 * HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert (await status_of(drive))["failure"]["reason"] == "PlanChanged"
    assert nodes(drive).moves == 0


async def test_a_lost_switch_whose_evidence_is_there_needs_no_putting_in_order(drive: Driver) -> None:
    rig = drive.rig

    def script(request: Request) -> str | None:
        if step_of(request) is not FailoverStep.SWITCH:
            return None
        rig.agents.work(request)
        return "crash"

    rig.agents.script = script
    await replicated(drive)
    await ask(drive)
    await drive.until(runs_done(rig, RUN, "Passed"))
    assert (nodes(drive).moves, nodes(drive).settles) == (1, 0)


async def test_where_nobody_can_put_it_in_order_a_person_is_called(drive: Driver) -> None:
    rig = drive.rig
    lost = (FailoverStep.SWITCH, FailoverStep.SETTLE)
    rig.agents.script = lambda request: "crash" if step_of(request) in lost else None
    await replicated(drive)
    await ask(drive)
    await drive.until(runs_done(rig, RUN, "Inconclusive"), limit=4 * HOUR)
    status = await status_of(drive)
    assert status["failure"]["reason"] == "NotSettled"
    assert "look at the database now" in status["failure"]["message"]
    assert "movedAt" in status  # it may have been, so its cooldown holds
    assert len([one for one in rig.agents.bucket.agents if one[0] == "failover"]) == 2 + 3
    assert "FailoverInconclusive" in rig.told.reasons("mine")


async def test_what_came_back_with_a_clusters_backup_starts_nothing(drive: Driver) -> None:
    await replicated(drive)
    await drive.rig.create(failover_run("mine", drive.rig.clock.now() - HOUR))
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert (await status_of(drive))["failure"]["reason"] == "NotStarted"
    assert not [agent for agent in drive.rig.agents.bucket.agents if agent[0] == "failover"]


@pytest.mark.parametrize(
    ("replication", "reason"),
    [(None, "NoProvider"), ({"provider": "GroupReplication"}, "ProviderUnsupported")],
)
async def test_what_cannot_be_made_to_fail_over_is_said_at_the_test_and_at_a_run(
    drive: Driver, replication: Object | None, reason: str
) -> None:
    more = {"replication": replication} if replication else {}
    made = database(environment="Staging", **more)
    await drive.rig.create(storage(), made, policy(), failover_test())
    await drive.until(lambda: ready(drive.rig))
    assert conditions(await drive.rig.get("FailoverTest", "monthly"))["Stalled"] == ("True", reason)
    await ask(drive)
    await drive.until(runs_done(drive.rig, RUN, "Refused"))
    assert (await status_of(drive))["failure"]["reason"] == reason


async def test_a_token_starts_one_run_and_old_runs_go_but_the_newest_stay(drive: Driver) -> None:
    rig = drive.rig
    await replicated(drive, cooldown="0s", historyLimits={"passed": 2, "others": 1})
    for number in range(4):

        def touch(body: Object, token: str = str(number)) -> None:
            body["metadata"].setdefault("annotations", {})[ANNOTATION_RUN_NOW] = token

        await rig.edit("FailoverTest", "monthly", touch)
        await drive.idle(10 * MINUTE)
    await drive.until(runs_done(rig, RUN, "Passed", "Passed"))
    assert nodes(drive).moves == 4
    assert (await rig.get("FailoverTest", "monthly"))["status"]["runs"]["passed"] == 2


@pytest.mark.parametrize(("said", "series"), [("7.0.15", "7"), (None, "18")])
async def test_it_runs_in_the_image_of_the_version_that_is_said_else_of_the_one_that_is_found(
    drive: Driver, said: str | None, series: str
) -> None:
    rig, held = drive.rig, {"hang"}
    rig.agents.script = lambda request: "hang" if isinstance(request.job, ProbeTask) and held else None
    made = database(engine="Redis", replication=SENTINEL, environment="Staging", **({"version": said} if said else {}))
    await rig.create(storage(), made, policy(), failover_test())
    await ask(drive)
    await drive.idle(2 * MINUTE)
    if said is None:
        assert conditions(await rig.get(RUN, "mine"))["Ready"][1] == "DatabaseNotProbed"
        assert not rig.agents.bucket.agents["failover", "mine", 1]
        held.clear()
    await drive.until(failover_is(rig, "mine", "Passed"))
    assert (await status_of(drive))["image"] == f"localhost/redis:{series}"


async def test_a_suspended_test_starts_nothing(drive: Driver) -> None:
    await replicated(drive, schedule={"cron": soon(drive.rig)}, suspend=True)
    await drive.idle(HOUR)
    assert not await drive.rig.objects(RUN)
