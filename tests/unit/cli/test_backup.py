"""A backup by hand: created once, bounded in time, followed to its verdict."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.backup import BackupSpec
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.cli import backup
from databosun.domain.errors import UserFault
from databosun.kube.errors import Unreachable
from databosun.kube.resources import BACKUPS
from support.applied import condition, database, policy
from support.terminal import Terminal


def wish(policy: str | None = None, type: BackupType = BackupType.FULL) -> backup.Wish:
    return backup.Wish("orders", policy, type, timedelta(hours=1))


async def create(terminal: Terminal) -> str:
    database(terminal.kube)
    policy(terminal.kube)
    return (await backup.start(terminal.session, wish())).meta.name


async def test_it_names_its_policy_and_cannot_start_later(terminal: Terminal) -> None:
    name = await create(terminal)
    body = terminal.kube.one(BACKUPS, name)
    spec = BackupSpec.model_validate(body["spec"])
    assert name.startswith("orders-260301-1200-")
    assert spec.policy_ref is not None
    assert spec.policy_ref.name == "daily"
    assert body["spec"]["notAfter"] == "2026-03-01T13:00:00Z"
    assert "finalizers" not in body["metadata"]


async def test_names_differ_and_fit(terminal: Terminal) -> None:
    long = "d" * 40
    database(terminal.kube, long)
    policy(terminal.kube, databaseRef={"name": long})
    names = {
        (await backup.start(terminal.session, backup.Wish(long, None, BackupType.FULL, timedelta(hours=1)))).meta.name
        for _ in range(20)
    }
    assert len(names) == 20
    assert all(len(name) <= 57 for name in names)


async def test_its_data_go_with_it_where_the_policy_says_so(terminal: Terminal) -> None:
    database(terminal.kube)
    policy(terminal.kube, deletionPolicy="Delete", method="Logical")
    seen = await backup.start(terminal.session, wish(type=BackupType.DIFFERENTIAL))
    body = terminal.kube.one(BACKUPS, seen.meta.name)
    assert body["metadata"]["finalizers"] == ["databosun.io/data"]
    assert body["spec"] | {"notAfter": ""} == {
        "databaseRef": {"name": "orders"},
        "policyRef": {"name": "daily"},
        "type": "Differential",
        "method": "Logical",
        "deletionPolicy": "Delete",
        "notAfter": "",
    }


async def test_without_a_policy_nobody_knows_where_to(terminal: Terminal) -> None:
    database(terminal.kube)
    policy(terminal.kube, databaseRef={"name": "payments"})
    with pytest.raises(UserFault, match="no BackupPolicy covers"):
        await backup.start(terminal.session, wish())


async def test_of_several_policies_one_must_be_named(terminal: Terminal) -> None:
    database(terminal.kube)
    policy(terminal.kube, "daily")
    policy(terminal.kube, "by-team", databaseRef=None, databaseSelector={"matchLabels": {"team": "shop"}})
    with pytest.raises(UserFault, match="by-team, daily"):
        await backup.start(terminal.session, wish())
    seen = await backup.start(terminal.session, wish("by-team"))
    assert terminal.kube.one(BACKUPS, seen.meta.name)["spec"]["policyRef"] == {"name": "by-team"}


async def test_a_policy_of_another_database_is_refused(terminal: Terminal) -> None:
    database(terminal.kube)
    policy(terminal.kube, "other", databaseRef={"name": "payments"})
    with pytest.raises(UserFault, match="does not cover"):
        await backup.start(terminal.session, wish("other"))
    assert terminal.kube.all(BACKUPS) == []


async def test_a_database_that_is_not_there_is_said(terminal: Terminal) -> None:
    with pytest.raises(UserFault, match="Database orders is not in namespace shop"):
        await backup.start(terminal.session, wish())


def play(terminal: Terminal, name: str, *statuses: Any) -> None:
    """One status after each second; an exception is raised by each read until the next one."""

    def events() -> Iterator[None]:
        for status in statuses:
            terminal.kube.broken.clear()
            if isinstance(status, Exception):
                terminal.kube.broken["backups"] = status
            elif status == "gone":
                terminal.kube.objects.clear()
            else:
                terminal.kube.amend(BACKUPS, name, status=status)
            yield

    terminal.clock.events = events()


SUCCEEDED = {
    "phase": "Succeeded",
    "type": "Full",
    "method": "Physical",
    "duration": "4m12s",
    "size": {"logical": 9, "stored": 1024, "human": "1.0KiB"},
    "location": "s3://backups/x",
    "notes": ["AutoMethod: Physical was chosen"],
}


async def test_the_verdict_is_the_exit_code(terminal: Terminal) -> None:
    name = await create(terminal)
    running = {"phase": "Running", "progress": {"stage": "base backup", "bytes": 1024, "percent": 50}}
    play(terminal, name, {"phase": "Pending"}, running, SUCCEEDED)
    assert await backup.RUN.follow(terminal.session, name, None) == 0
    assert terminal.noted.splitlines() == ["Pending", "base backup: 1.0KiB (50%)"]
    assert f"Backup shop/{name} succeeded: Full Physical, 1.0KiB stored in 4m12s, s3://backups/x" in terminal.said
    assert "AutoMethod: Physical was chosen" in terminal.said


async def test_a_failure_says_why_and_what_to_do(terminal: Terminal) -> None:
    name = await create(terminal)
    failure = {"reason": "StorageFull", "message": "no room", "logTail": "one\ntwo"}
    play(terminal, name, {"phase": "Failed", "failure": failure})
    assert await backup.RUN.follow(terminal.session, name, None) == 1
    assert "failed: StorageFull: no room" in terminal.noted
    assert "Make room in the store" in terminal.noted
    assert "  two\n" in terminal.noted


async def test_what_it_waits_for_is_said(terminal: Terminal) -> None:
    name = await create(terminal)
    waiting = condition("Ready", False, "Waiting", "another run holds the database")
    play(terminal, name, {"phase": "Pending", "conditions": [waiting]}, SUCCEEDED)
    await backup.RUN.follow(terminal.session, name, None)
    assert "Pending: another run holds the database" in terminal.noted


async def test_it_goes_on_when_the_patience_ends(terminal: Terminal) -> None:
    name = await create(terminal)
    play(terminal, name, *[{"phase": "Running"}] * 9)
    assert await backup.RUN.follow(terminal.session, name, timedelta(seconds=5)) == 124
    assert f"kubectl get bbk -n shop {name}" in terminal.noted


async def test_an_api_server_that_is_away_for_a_moment_ends_nothing(terminal: Terminal) -> None:
    name = await create(terminal)
    play(terminal, name, Unreachable("no answer"), SUCCEEDED)
    assert await backup.RUN.follow(terminal.session, name, None) == 0
    assert "no answer; trying again" in terminal.noted


async def test_an_operator_that_does_not_answer_is_noticed(terminal: Terminal) -> None:
    name = await create(terminal)
    play(terminal, name, *[{}] * 40, SUCCEEDED)
    assert await backup.RUN.follow(terminal.session, name, None) == 0
    assert terminal.noted.count("has not picked it up yet") == 1


async def test_a_backup_that_is_deleted_ends_the_waiting(terminal: Terminal) -> None:
    name = await create(terminal)
    play(terminal, name, "gone")
    with pytest.raises(UserFault, match="was deleted"):
        await backup.RUN.follow(terminal.session, name, None)


async def test_on_a_terminal_a_bar_is_drawn() -> None:
    terminal = Terminal(tty=True)
    name = await create(terminal)
    running = {
        "phase": "Running",
        "progress": {"stage": "base backup", "bytes": 1024, "totalBytes": 4096, "percent": 25},
    }
    play(terminal, name, {"phase": "Pending"}, running, SUCCEEDED)
    assert await backup.RUN.follow(terminal.session, name, None) == 0
    assert "base backup" in terminal.noted
    assert "25%" in terminal.noted
    assert "1.0KiB of 4.0KiB" in terminal.noted


async def test_a_bar_is_never_full_before_the_end() -> None:
    terminal = Terminal(tty=True)
    name = await create(terminal)
    running = {"phase": "Running", "progress": {"stage": "upload", "bytes": 9999, "totalBytes": 4096, "percent": 100}}
    play(terminal, name, running, SUCCEEDED)
    await backup.RUN.follow(terminal.session, name, None)
    assert "100%" not in terminal.noted
