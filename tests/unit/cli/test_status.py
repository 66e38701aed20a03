"""The status screen tells the truth about every database, and who must act."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import yaml

from databosun.cli.options import Output
from databosun.cli.overview import DatabaseLine, gather
from databosun.cli.status import show
from databosun.domain.errors import UserFault
from databosun.kube.errors import Unavailable, Unreachable
from databosun.kube.resources import DATABASES
from support.applied import backup, condition, database, policy, storage
from support.terminal import Terminal


async def status(terminal: Terminal, output: Output = Output.TABLE, *, exit_code: bool = False) -> int:
    return await show(terminal.session, output, watch=False, exit_code=exit_code)


async def test_a_healthy_database_is_one_line(terminal: Terminal) -> None:
    database(terminal.kube)
    policy(terminal.kube)
    storage(terminal.kube)
    assert await status(terminal, exit_code=True) == 0
    header, line, *rest = terminal.said.splitlines()
    assert header == "DATABASE TIER PROTECTED RPO PROVEN RTO LAST BACKUP SIZE NEXT RUN POLICIES"
    assert line == "orders 2 True 12m of 1h never ? of 1h 12m ago 3.0GiB in 90m daily"
    assert rest == ["", "Nothing needs a human."]


async def test_the_rpo_is_live(terminal: Terminal) -> None:
    database(terminal.kube)
    terminal.clock.jump(timedelta(hours=5))
    await status(terminal)
    assert "5h12m of 1h" in terminal.said


@pytest.mark.parametrize(
    ("minutes", "health"), [(0, "good"), (47, "good"), (48, "close"), (59, "close"), (60, "bad"), (600, "bad")]
)
async def test_colours_warn_before_the_objective_is_missed(terminal: Terminal, minutes: int, health: str) -> None:
    database(terminal.kube, recovery={"latest": "2026-03-01T12:00:00Z"})
    terminal.clock.jump(timedelta(minutes=minutes))
    overview = await gather(terminal.session)
    assert overview.databases[0].health == health


async def test_a_database_without_a_backup_is_never_green(terminal: Terminal) -> None:
    database(terminal.kube, "new", recovery={}, lastBackup=None, policies=[])
    line: DatabaseLine = (await gather(terminal.session)).databases[0]
    assert line.health == "bad"
    assert replace(line, rpo=timedelta(0), protected="False").health == "bad"
    await status(terminal)
    assert "new 2 True none of 1h never ? of 1h - - - -" in terminal.said


async def test_all_namespaces_are_told_apart(terminal: Terminal) -> None:
    terminal.scope = None
    database(terminal.kube)
    terminal.kube.put(
        DATABASES,
        {
            **terminal.kube.one(DATABASES, "orders"),
            "metadata": {"name": "orders", "namespace": "bank", "creationTimestamp": "2026-02-01T00:00:00Z"},
        },
    )
    await status(terminal)
    assert [line.split()[:2] for line in terminal.said.splitlines()[1:3]] == [["bank", "orders"], ["shop", "orders"]]


async def test_only_the_own_namespace_is_shown(terminal: Terminal) -> None:
    database(terminal.kube)
    terminal.scope = "bank"
    await status(terminal)
    assert "No Databases in this namespace" in terminal.said


async def test_an_unprotected_database_needs_a_human(terminal: Terminal) -> None:
    why = "no BackupPolicy covers this database"
    database(terminal.kube, "orders", condition("Ready", True), condition("Protected", False, "NoPolicy", why))
    assert await status(terminal, exit_code=True) == 1
    assert f"Database shop/orders NoPolicy: {why}" in terminal.said
    assert "Apply a BackupPolicy that names this Database" in terminal.said


async def test_what_follows_from_something_else_is_not_said_twice(terminal: Terminal) -> None:
    database(
        terminal.kube,
        "orders",
        condition("Ready", False, "AuthenticationFailed", "wrong password"),
        condition("Stalled", True, "AuthenticationFailed", "wrong password"),
        condition("Reachable", False, "AuthenticationFailed", "wrong password"),
        condition("Protected", False, "NoBackup", "none yet"),
        condition("RPOMet", False, "NoBackup", "nothing could be restored"),
    )
    found = (await gather(terminal.session)).findings
    assert [one.reason for one in found] == ["AuthenticationFailed", "NoBackup"]


async def test_a_log_that_is_not_shipped_needs_a_human(terminal: Terminal) -> None:
    slot = condition("ContinuousHealthy", False, "SlotUnbounded", "max_slot_wal_keep_size is -1")
    database(terminal.kube, "orders", condition("Ready", True), condition("Protected", True, "RecentBackup"), slot)
    assert await status(terminal, exit_code=True) == 1
    assert "Database shop/orders SlotUnbounded: max_slot_wal_keep_size is -1" in terminal.said


async def test_failing_runs_are_told_with_the_newest_failure(terminal: Terminal) -> None:
    cursor = {"name": "daily", "uid": "u", "consecutiveFailures": 3, "lastRun": "orders-2603011100-abcde"}
    database(terminal.kube, policies=[cursor])
    failure = {"reason": "StorageFull", "message": "the bucket is full"}
    backup(terminal.kube, "orders-2603011100-abcde", phase="Failed", failure=failure)
    await status(terminal)
    expected = "StorageFull: the newest 3 runs of policy daily failed; orders-2603011100-abcde: the bucket is full"
    assert expected in terminal.said
    assert "Make room in the store or raise its quota." in terminal.said


async def test_failing_runs_whose_record_is_gone_are_still_told(terminal: Terminal) -> None:
    cursor = {"name": "daily", "uid": "u", "consecutiveFailures": 1, "lastRun": "orders-2603011100-abcde"}
    database(terminal.kube, policies=[cursor])
    await status(terminal)
    assert "the newest run of policy daily failed" in terminal.said


async def test_a_tripped_breaker_names_the_command(terminal: Terminal) -> None:
    policy(
        terminal.kube,
        "daily",
        condition("Ready", True),
        condition("RetentionHealthy", False, "MassDeletion", "9 of 10"),
    )
    await status(terminal)
    assert "BackupPolicy shop/daily MassDeletion: 9 of 10" in terminal.said
    assert "kubectl bosun approve daily -n shop" in terminal.said


async def test_a_policys_sum_over_databases_is_not_said_beside_them(terminal: Terminal) -> None:
    policy(
        terminal.kube, "daily", condition("Ready", True), condition("ScheduleHealthy", False, "RunsFailing", "orders")
    )
    assert (await gather(terminal.session)).findings == ()


async def test_a_storage_that_does_not_answer_needs_a_human(terminal: Terminal) -> None:
    storage(
        terminal.kube, "prod", condition("Ready", False), condition("Reachable", False, "NoSuchBucket", "no backups")
    )
    await status(terminal)
    assert "BackupStorage shop/prod NoSuchBucket: no backups" in terminal.said


async def test_objects_that_nobody_looks_at_are_said_after_a_while(terminal: Terminal) -> None:
    body = database(terminal.kube)
    terminal.kube.put(DATABASES, {**body, "metadata": {"name": "orders"}, "status": {}})
    assert (await gather(terminal.session)).findings == ()
    terminal.clock.jump(timedelta(minutes=3))
    found = (await gather(terminal.session)).findings
    assert [one.reason for one in found] == ["NotObserved"]
    assert "doctor" in found[0].what_to_do


async def test_an_object_of_another_release_does_not_hide_the_others(terminal: Terminal) -> None:
    database(terminal.kube)
    terminal.kube.put(DATABASES, {"metadata": {"name": "strange"}, "spec": {"engine": "Oracle"}, "status": {}})
    await status(terminal)
    assert "orders 2 True" in terminal.said
    assert "Database shop/strange InvalidSpec" in terminal.said


async def test_running_backups_show_how_far_they_are(terminal: Terminal) -> None:
    database(terminal.kube)
    progress = {"stage": "base backup", "bytes": 512 * 1024**2, "totalBytes": 1024**3, "percent": 50}
    backup(
        terminal.kube,
        "orders-2603011150-x",
        finished=False,
        phase="Running",
        progress=progress,
        startTime="2026-03-01T11:58:30Z",
    )
    await status(terminal)
    assert "shop/orders-2603011150-x Running since 90s base backup 512MiB 50%" in terminal.said


@pytest.mark.parametrize(("output", "load"), [(Output.JSON, json.loads), (Output.YAML, yaml.safe_load)])
async def test_programs_get_the_same_in_numbers(terminal: Terminal, output: Output, load: Callable[[str], Any]) -> None:
    database(terminal.kube, "orders", condition("Protected", False, "Overdue", "too old"))
    assert await status(terminal, output) == 0
    found = load(terminal.out.getvalue())
    assert found["databases"][0]["rpoSeconds"] == 720
    assert found["databases"][0]["lastBackup"]["bytes"] == 3 * 1024**3
    assert found["databases"][0]["nextRun"] == "2026-03-01T13:30:00Z"
    assert found["needsHuman"][0]["reason"] == "Overdue"


async def test_wide_shows_more(terminal: Terminal) -> None:
    database(terminal.kube)
    await status(terminal, Output.WIDE)
    assert "PostgreSQL 15.4 True orders-2603011148-abcde" in terminal.said


async def test_a_watch_goes_on_while_the_api_server_is_away(terminal: Terminal) -> None:
    database(terminal.kube)

    class Enough(Exception):
        """The watcher goes home."""

    def events() -> Iterator[None]:
        terminal.kube.broken["databases"] = Unreachable("list databases: no answer")
        yield
        terminal.kube.broken["databases"] = Unavailable("list databases: HTTP 503")
        yield
        terminal.kube.broken.clear()
        database(terminal.kube, "later")
        yield
        raise Enough

    terminal.clock.events = events()
    with pytest.raises(Enough):
        await show(terminal.session, Output.TABLE, watch=True, exit_code=False)
    assert "later" in terminal.said


async def test_a_watch_is_for_people(terminal: Terminal) -> None:
    with pytest.raises(UserFault, match="--watch"):
        await show(terminal.session, Output.JSON, watch=True, exit_code=False)


async def test_what_drills_proved_stands_beside_its_objective(terminal: Terminal) -> None:
    proven = {"run": "r", "at": "2026-03-01T09:00:00Z", "level": "Deep", "rto": "9m12s", "passed": True}
    met = [condition("Proven", True), condition("RTOMet", True)]
    database(terminal.kube, lastProven=proven, conditions=met)
    await status(terminal)
    assert "3h ago 9m12s of 1h" in terminal.said
    line = (await gather(terminal.session)).databases[0]
    assert (line.proven, line.rto, line.rto_met) == ("True", "9m12s", "True")


async def test_a_failed_drill_needs_a_human_and_one_that_was_never_asked_for_does_not(terminal: Terminal) -> None:
    database(terminal.kube, conditions=[condition("Proven", False, "NeverProven", "none has passed yet")])
    assert (await gather(terminal.session)).findings == ()
    database(terminal.kube, "bad", conditions=[condition("Proven", False, "DrillFailed", "drill r failed")])
    await status(terminal)
    assert "Database shop/bad DrillFailed: drill r failed" in terminal.said
    assert "Act now" in terminal.said
