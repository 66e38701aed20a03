"""From the agent's request to evidence in the store: backup, drill and restore of a real server, encrypted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from databosun.agent.context import Paths
from databosun.api.drill import Check, CheckOutcome, Level, Verdict
from databosun.api.request import Task
from databosun.api.restoretasks import BackupRef, DrillTask, RestoreTask
from databosun.api.result import Outcome
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.registry import load
from support.agekeys import make_age_key
from support.agentrun import NAMESPACE, UID, Ran, Workplace, backup_task
from support.fakeengine import FakeEngine
from support.redisserver import PASSWORD, USER, Server, content, served

pytestmark = pytest.mark.servers


class Restoring(Workplace):
    """A pod with a volume to restore into."""

    @property
    def paths(self) -> Paths:
        """Where the agent finds it."""
        (self.root / "restore").mkdir(exist_ok=True)
        return replace(super().paths, restore=self.root / "restore")


@pytest.fixture
def place(tmp_path: Path) -> Restoring:
    """A pod that may do all of it, with an identity."""
    key = make_age_key(tmp_path)
    place = Restoring(tmp_path / "pod", secrets={"database": {"username": USER, "password": PASSWORD}})
    place.secrets["age-0"] = {"identity": key.identity.read_text()}
    place.storage["age_recipients"] = [key.recipient]
    return place


def run(place: Workplace, server: Server, task: Task) -> Ran:
    """One task of the agent."""
    database = DatabaseTarget(
        namespace=NAMESPACE, name="cache", uid=UID, engine=EngineName.REDIS, hosts=["127.0.0.1"], port=server.port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip
    return place.run(task, engine=cast("FakeEngine", load(EngineName.REDIS)), database=database)


def backed_up(place: Workplace, server: Server) -> BackupRef:
    """A backup in the store."""
    ran = run(place, server, backup_task("cache-1", method=Method.AUTO))
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    assert ran.result.backup
    assert PASSWORD not in ran.output
    return BackupRef(id="cache-1", database="cache", manifest_sha256=ran.result.backup.checksum)


def test_a_drill_proves_a_backup_and_leaves_evidence(server: Server, place: Restoring) -> None:
    ref = backed_up(place, server)
    checks = [
        Check(name="canary", type="Canary", query="GET plain", value="value"),  # type: ignore[arg-type]
        Check(name="users", type="RowCount", table="user:*", min=2000),  # type: ignore[arg-type]
    ]
    task = DrillTask(
        id="drill-1", backup=ref, level=Level.APPLICATION, checks=checks, rto_seconds=120, rpo_seconds=3600,
        negative_control=True,
    )  # fmt: skip
    ran = run(place, server, task)
    found = ran.result.drill
    assert found, ran.output[-3000:]
    assert (found.verdict, found.proven, found.level_reached) == (Verdict.PASSED, True, Level.APPLICATION), found
    assert {one.name for one in found.checks} >= {"keys", "names", "structure", "canary", "users", "negative-control"}
    assert {one.outcome for one in found.checks} == {CheckOutcome.PASSED}
    assert found.rto
    assert found.rto.met
    assert found.rto.start > 0
    assert found.rpo
    assert found.rpo.met
    (evidence,) = place.paths.volume.rglob("evidence.json")
    assert json.loads(evidence.read_bytes())["verdict"] == "Passed"
    assert list(place.paths.scratch.iterdir()) == []


@pytest.mark.parametrize("level", [Level.ARTIFACT, Level.RESTORE])
def test_a_damaged_artefact_fails_the_drill(servers: Callable[[str], Server], place: Restoring, level: Level) -> None:
    server = servers("redis")
    ref = backed_up(place, server)
    (stored,) = [path for path in place.paths.volume.rglob("dump.rdb.zst.age*")]
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(bytes(data))
    found = run(place, server, DrillTask(id="drill-1", backup=ref, level=level)).result.drill
    assert found
    assert (found.verdict, found.proven) == (Verdict.FAILED, False)


def test_a_restore_leaves_a_folder_that_a_server_starts_from(server: Server, place: Restoring, tmp_path: Path) -> None:
    with server.connect() as wire:
        before = content(wire)
    ref = backed_up(place, server)
    ran = run(place, server, RestoreTask(id="restore-1", candidates=[ref], level=Level.DEEP))
    assert ran.result.restore, ran.output[-3000:]
    assert any("StatefulSet" in step for step in ran.result.restore.hand_over)
    volume = place.paths.restore
    assert sorted(path.name for path in volume.iterdir()) == ["data"]
    in_parts = server.product != "redis6"
    assert sorted(path.name for path in (volume / "data").iterdir()) == ["appendonlydir"] * in_parts + ["dump.rdb"]
    assert before == served(server.product, volume / "data", tmp_path, f"appendonly {'yes' if in_parts else 'no'}")
