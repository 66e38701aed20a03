"""A filled stand-in of mongod, scripted members, and short ways to back them up and to bring them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.drill import RecoveryPoint
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Captured, Credentials, Parent, Plan, Target
from databosun.engines.mongodb import ENGINE
from databosun.engines.mongodb.positions import BASE_FILE
from databosun.engines.recovery import RecoveryPlan
from support.foldersink import FolderSink, Trap
from support.foldersource import FolderSource
from support.mongopeer import MongoPeer
from support.mongosample import fill
from support.mongoserver import BACKUP_USER, PASSWORD, MongoServer, programs


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server, as the peer image has it."""
    monkeypatch.setenv("DATABOSUN_MONGODB_BIN", str(programs()))


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    """A filled server, shared by tests that leave its data as it was."""
    made = MongoServer()
    fill(made)
    yield made
    made.remove()


@pytest.fixture
def own_server() -> Iterator[Callable[..., MongoServer]]:
    """A server of a test's own; empty."""
    made: list[MongoServer] = []

    def make(**more: Any) -> MongoServer:
        made.append(MongoServer(**more))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def members() -> Iterator[Callable[..., MongoPeer]]:
    """Scripted members."""
    made: list[MongoPeer] = []

    def make(**more: Any) -> MongoPeer:
        made.append(MongoPeer(**more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def target_of(
    server: MongoServer | MongoPeer, *, user: str | None = None, password: str = PASSWORD, database: str | None = None,
    tls: TLSMode = TLSMode.DISABLE, host: str = "127.0.0.1", **files: Path | None,
) -> Target:  # fmt: skip
    """How an agent would be told to reach it; scripted members demand no login."""
    known = "" if isinstance(server, MongoPeer) else BACKUP_USER
    described = DatabaseTarget(
        namespace="shop", name="orders", uid="0", engine=EngineName.MONGODB, hosts=[host], port=server.port,
        database=database, tls=tls,
    )  # fmt: skip
    return Target(described, Credentials(known if user is None else user, password, **files))


def plan_of(scratch: Path, **more: Any) -> Plan:
    """A plan with an hour's time."""
    given = {
        "type": BackupType.FULL, "method": Method.AUTO, "consistency": "Strict", "parent": None, "scratch": scratch,
        "scratch_bytes": None, "deadline": datetime.now(UTC) + timedelta(hours=1), "label": "orders-1", **more,
    }  # fmt: skip
    return Plan(**given)


@dataclass
class Workshop:
    """Takes backups into one folder, and brings them back."""

    folder: Path

    def back_up(
        self, server: MongoServer | MongoPeer, backup_id: str = "orders-1", *, on: dict[str, Any] | None = None,
        target: Target | None = None, trap: Trap | None = None, **plan: Any,
    ) -> tuple[Captured, dict[str, Any]]:  # fmt: skip
        """One backup and the manifest that it would get; `on`: as an Incremental on that one."""
        if on:
            plan |= {"type": BackupType.INCREMENTAL, "parent": self.parent(on)}
        sink = FolderSink(self.folder / backup_id, trap)
        captured = ENGINE.backup(target or target_of(server), plan_of(self.folder, **plan), sink)
        return captured, {**sink.manifest(captured), "schemaHash": captured.schema_hash}

    def parent(self, manifest: dict[str, Any]) -> Parent:
        """A backup to stand on."""
        return Parent(
            id=manifest["id"], base=manifest["id"], chain_length=0, position=Position(), engine_version="7.0.42",
            engine_manifest=(self.folder / manifest["id"] / BASE_FILE).read_bytes(),
            system_identifier=manifest.get("system"),
        )  # fmt: skip

    def source(self) -> FolderSource:
        """Where they come back from."""
        return FolderSource(self.folder)

    def plan(self, *chain: dict[str, Any], **more: Any) -> RecoveryPlan:
        """How to bring a chain back, base first."""
        place = self.folder / f"place{len(list(self.folder.glob('place*')))}"
        place.mkdir()
        given = {
            "chain": chain, "place": place, "until": RecoveryPoint(), "assumed_at": datetime.now(UTC),
            "deadline": datetime.now(UTC) + timedelta(hours=1), **more,
        }  # fmt: skip
        return RecoveryPlan(**given)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A place for backups."""
    return Workshop(tmp_path)
