"""Servers of every supported major, filled once, and short ways to back them up."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Captured, Credentials, Parent, Plan, Target
from databosun.engines.postgresql import ENGINE
from support.foldersink import FolderSink, Trap
from support.pgsample import BACKUP_ROLE, add_tablespace, fill
from support.pgserver import PASSWORD, Server, open_folder

MAJORS = (14, 15, 16, 17, 18)
WITH_TABLESPACES = (15, 18)


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], Server]]:
    """A filled server of a major version; made on first use, shared by tests that leave its data as it was."""
    made: dict[int, Server] = {}

    def get(major: int) -> Server:
        if major not in made:
            server = made[major] = Server(major)
            server.init("--wal-segsize=4")
            server.configure()
            server.start()
            fill(server)
            if major in WITH_TABLESPACES:
                add_tablespace(server)
        return made[major]

    yield get
    for server in made.values():
        server.remove()


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def server(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Server:
    """One shared server a major version."""
    return servers(request.param)


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., Server]]:
    """A server that a test may break."""
    made: list[Server] = []

    def make(major: int, programs: Path | None = None, **settings: str) -> Server:
        server = Server(major, settings=settings, programs=programs)
        made.append(server)
        server.init("--wal-segsize=4")
        server.configure()
        server.start()
        return server

    yield make
    for server in made:
        server.remove()


@pytest.fixture
def workplace() -> Iterator[Path]:
    """A folder that the server's user can reach and write."""
    folder = open_folder("work")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def target_of(
    server: Server,
    *,
    user: str = BACKUP_ROLE,
    password: str = PASSWORD,
    database: str | None = None,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    tls: TLSMode = TLSMode.DISABLE,
    ca: Path | None = None,
) -> Target:
    """How an agent would be told to reach it."""
    described = DatabaseTarget(
        namespace="shop",
        name="orders",
        uid="0",
        engine=EngineName.POSTGRESQL,
        hosts=list(hosts),
        port=server.port,
        database=database,
        tls=tls,
    )
    return Target(described, Credentials(user, password, ca=ca))


def plan_of(scratch: Path, method: Method, **more: Any) -> Plan:
    """A plan with an hour's time."""
    scratch.mkdir(exist_ok=True)
    given = {
        "type": BackupType.FULL,
        "consistency": "Strict",
        "parent": None,
        "scratch_bytes": None,
        "deadline": datetime.now(UTC) + timedelta(hours=1),
        "label": "orders-1",
        **more,
    }
    return Plan(method=method, scratch=scratch, **given)


@dataclass
class Workshop:
    """Takes backups of one server into one folder, and remembers them."""

    server: Server
    folder: Path
    tools: pytest.MonkeyPatch
    chain: list[dict[str, Any]] = field(default_factory=list)

    def back_up(
        self, backup_id: str, method: Method, *, target: Target | None = None, trap: Trap | None = None, **plan: Any
    ) -> tuple[Captured, dict[str, Any]]:
        """One backup and the manifest that it would get."""
        self.tools.setenv("DATABOSUN_POSTGRESQL_BIN", str(self.server.bin))
        sink = FolderSink(self.folder / backup_id, trap)
        wanted = plan_of(self.folder / "scratch", method, **{"label": backup_id, **plan})
        captured = ENGINE.backup(target or target_of(self.server), wanted, sink)
        manifest = sink.manifest(captured)
        self.chain.append(manifest)
        return captured, manifest

    def as_parent(self, captured: Captured, manifest: dict[str, Any]) -> Parent:
        """What the agent hands to the next backup of the chain."""
        return Parent(
            id=manifest["id"],
            base=captured.base or manifest["id"],
            chain_length=captured.chain_length,
            engine_manifest=(self.folder / manifest["id"] / "backup_manifest").read_bytes(),
            position=captured.position,
            system_identifier=captured.system_identifier,
            engine_version=captured.engine_version,
        )


@pytest.fixture
def workshop(server: Server, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A place to back up the parametrised server."""
    return Workshop(server, workplace, monkeypatch)


@pytest.fixture
def workshop_of(
    servers: Callable[[int], Server], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int | Server], Workshop]:
    """A place to back up one server, by major or itself."""
    return lambda which: Workshop(which if isinstance(which, Server) else servers(which), workplace, monkeypatch)
