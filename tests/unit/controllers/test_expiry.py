"""What retention reads before it lets go of anything: the API server's memory does to look with, never to delete by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from databosun.domain.plan import LABEL_HOLD
from databosun.kube.resources import BACKUPS, Object
from support.chaoskube import ChaosKube
from support.operator import Rig
from support.operatordriver import HOUR, Driver, phases
from support.operatorseeds import seeded


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    """Four backups of a database."""
    rig = Rig(None)
    yield Driver(rig)
    await rig.close()


def hold(body: Object) -> None:
    """What a person who wants to keep a backup does."""
    body["metadata"].setdefault("labels", {})[LABEL_HOLD] = "true"


async def test_a_hold_that_the_memory_does_not_show_yet_keeps_its_backup(
    drive: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hold comes at the very look that would delete: after what is remembered was read, before the live list."""
    real, held = ChaosKube.list_remembered, []

    async def list_and_hold(self: ChaosKube, *args: Any, **more: Any) -> AsyncIterator[Object]:
        bodies = [body async for body in real(self, *args, **more)]
        (policy,) = await drive.rig.objects("BackupPolicy")
        shown = policy.get("status", {}).get("pendingDeletions")
        if shown and not held and drive.rig.clock.now() >= datetime.fromisoformat(shown["since"]) + HOUR:
            held.append(shown["names"][0])
            await drive.rig.edit("Backup", held[0], hold)
        for body in bodies:
            yield body

    await seeded(drive, 4, retention={"keepLast": 2, "grace": "1h"})
    monkeypatch.setattr(ChaosKube, "list_remembered", list_and_hold)
    await drive.idle(4 * HOUR)
    assert held
    kept = [one["metadata"]["name"] for one in await drive.rig.objects("Backup")]
    assert held[0] in kept
    assert len(kept) == 3


async def test_a_look_that_lets_nothing_go_reads_no_live_list(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = ChaosKube.list, []

    def listen(self: ChaosKube, *args: Any, **more: Any) -> Any:
        asked.append((args[0], more.get("label_selector", "")))
        return real(self, *args, **more)

    monkeypatch.setattr(ChaosKube, "list", listen)
    await seeded(drive, 4, retention={"keepLast": 9})
    await drive.idle(HOUR)
    assert await phases(drive.rig) == ["Succeeded"] * 4
    (policy,) = await drive.rig.objects("BackupPolicy")
    assert policy["status"]["backups"]["total"] == 4
    assert [one for one in asked if one[0] == BACKUPS and "policy-uid" in one[1]] == []
