"""The list of backups, and asking for their records to be made anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from databosun.cli.catalog import rebuild, show
from databosun.cli.options import Output
from databosun.domain.errors import UserFault
from databosun.kube.resources import BACKUP_STORAGES, BACKUPS
from support.applied import backup, condition, storage
from support.terminal import Terminal


def three(terminal: Terminal) -> None:
    backup(terminal.kube, "orders-1", condition("Ready", True), condition("Unverified", True), hold={"reason": "x"})
    backup(terminal.kube, "orders-2", completionTime="2026-03-01T11:59:00Z", position={"lsn": "0/5000028"})
    backup(terminal.kube, "pay-1", completionTime="2026-02-01T11:59:00Z")
    terminal.kube.amend(BACKUPS, "pay-1", spec={"databaseRef": {"name": "pay"}, "storageRef": {"name": "other"}})


async def test_the_newest_backup_comes_first(terminal: Terminal) -> None:
    three(terminal)
    assert await show(terminal.session, Output.TABLE, None, None) == 0
    lines = terminal.said.splitlines()
    assert lines[1:] == [
        "orders-2 orders Full Physical Succeeded 60s 1.0GiB no -",
        "orders-1 orders Full Physical Succeeded 12m 1.0GiB no unverified, held",
        "pay-1 pay Full Physical Succeeded 28d 1.0GiB no -",
    ]


async def test_it_can_be_narrowed(terminal: Terminal) -> None:
    three(terminal)
    await show(terminal.session, Output.JSON, "pay", None)
    assert [one["name"] for one in json.loads(terminal.out.getvalue())["backups"]] == ["pay-1"]
    terminal.out.truncate(0)
    terminal.out.seek(0)
    await show(terminal.session, Output.JSON, None, "prod")
    assert [one["name"] for one in json.loads(terminal.out.getvalue())["backups"]] == ["orders-2", "orders-1"]


async def test_wide_says_where_it_ends_and_lies(terminal: Terminal) -> None:
    three(terminal)
    await show(terminal.session, Output.WIDE, None, None)
    assert "orders-2 orders Full Physical Succeeded 60s 1.0GiB no - prod daily 0/5000028 - -" in terminal.said


async def test_where_there_is_none_the_rebuild_is_named(terminal: Terminal) -> None:
    assert await show(terminal.session, Output.TABLE, None, None) == 0
    assert terminal.said == ""
    assert "catalog rebuild" in terminal.noted


def play(terminal: Terminal, *statuses: dict[str, Any] | None) -> None:
    """What the operator writes after each second; None: somebody else asks, too."""

    def events() -> Iterator[None]:
        for status in statuses:
            token = asked(terminal)
            if status is None:
                other = {"annotations": {"databosun.io/rebuild-catalog": "another"}}
                terminal.kube.amend(BACKUP_STORAGES, "prod", metadata=other)
            elif status:
                done = {"catalogToken": token} if "at" in status else {}
                terminal.kube.amend(BACKUP_STORAGES, "prod", status={**done, "catalog": {"token": token, **status}})
            yield

    terminal.clock.events = events()


def asked(terminal: Terminal) -> str:
    annotations = terminal.kube.one(BACKUP_STORAGES, "prod")["metadata"]["annotations"]
    return str(annotations["databosun.io/rebuild-catalog"])


async def test_the_operator_is_asked_by_a_token_and_followed_to_the_end(terminal: Terminal) -> None:
    storage(terminal.kube, catalogToken="of-last-year", catalog={"token": "of-last-year", "found": 1})
    play(
        terminal,
        {"found": 0, "error": "waiting for the first look at Database orders"},
        {"found": 200, "created": 150, "error": None},
        {"found": 210, "created": 152, "skipped": 1, "at": "2026-03-01T12:00:09Z"},
    )
    assert await rebuild(terminal.session, "prod", wait=True, limit=None) == 0
    assert asked(terminal).startswith("20260301T120000Z-")
    assert "waiting for the first look at Database orders" in terminal.noted
    assert "200 backups found, 150 records created so far" in terminal.noted
    assert terminal.said == "BackupStorage prod: 210 backups found, 152 records created, 1 skipped"


async def test_a_rebuild_that_fails_says_why(terminal: Terminal) -> None:
    storage(terminal.kube)
    play(terminal, {"error": "SecretMissing: no Secret s3", "at": "2026-03-01T12:00:09Z"})
    assert await rebuild(terminal.session, "prod", wait=True, limit=None) == 1
    assert "could not be rebuilt: SecretMissing: no Secret s3" in terminal.noted


async def test_without_waiting_it_is_only_asked_for(terminal: Terminal) -> None:
    storage(terminal.kube)
    assert await rebuild(terminal.session, "prod", wait=False, limit=None) == 0
    assert asked(terminal)


async def test_patience_ends_and_the_rebuild_goes_on(terminal: Terminal) -> None:
    storage(terminal.kube)
    play(terminal, *[{}] * 90)
    assert await rebuild(terminal.session, "prod", wait=True, limit=timedelta(seconds=60)) == 124
    assert "kubectl bosun doctor" in terminal.noted


async def test_one_asks_after_another(terminal: Terminal) -> None:
    storage(terminal.kube)
    play(terminal, None)
    with pytest.raises(UserFault, match="another rebuild was asked for"):
        await rebuild(terminal.session, "prod", wait=True, limit=None)


async def test_a_storage_that_is_not_there_is_said(terminal: Terminal) -> None:
    with pytest.raises(UserFault, match="BackupStorage prod is not in namespace shop"):
        await rebuild(terminal.session, "prod", wait=True, limit=None)
