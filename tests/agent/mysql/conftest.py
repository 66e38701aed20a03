"""MariaDB servers and short ways to back them up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Captured, Credentials, Plan, Target
from databosun.engines.mysql import ENGINE
from support.foldersink import FolderSink, Trap
from support.mariasample import fill
from support.mariaserver import BACKUP_USER, PASSWORD, MariaServer
from support.mariayard import MariaYard
from support.pgserver import open_folder
from support.waiting import eventually


@pytest.fixture(scope="session")
def maria() -> Iterator[MariaServer]:
    """A filled server, shared by tests that leave its data as it was."""
    server = MariaServer()
    server.init()
    server.start()
    fill(server)
    yield server
    server.remove()


@pytest.fixture
def own_maria() -> Iterator[Callable[..., MariaServer]]:
    """A filled server that a test may break. Each of several is installed in a second of its own: those of one second
    have one identity (dialect.py)."""
    made: list[MariaServer] = []

    def make(**settings: str) -> MariaServer:
        second = int(time.time())
        eventually("the next second begins", lambda: not made or int(time.time()) > second)
        server = MariaServer(settings={name.replace("_", "-"): value for name, value in settings.items()})
        made.append(server)
        server.init()
        server.start()
        fill(server)
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


@pytest.fixture
def yard_of(workplace: Path) -> Callable[[MariaServer], MariaYard]:
    """A store and pods around a server."""
    return lambda server: MariaYard(workplace, server=server)


def target_of(
    server: MariaServer,
    *,
    user: str = BACKUP_USER,
    password: str = PASSWORD,
    database: str | None = None,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    tls: TLSMode = TLSMode.DISABLE,
    ca: Path | None = None,
    engine: EngineName = EngineName.MARIADB,
    mount: Path | None = None,
) -> Target:
    """How an agent would be told to reach it."""
    described = DatabaseTarget(
        namespace="shop",
        name="orders",
        uid="0",
        engine=engine,
        hosts=list(hosts),
        port=server.port,
        database=database,
        tls=tls,
        data_mount=str(mount) if mount else None,
    )
    return Target(described, Credentials(user, password, ca=ca))


def back_up(
    target: Target, folder: Path, backup_id: str = "b", *, trap: Trap | None = None, **more: Any
) -> tuple[Captured, FolderSink]:
    """One backup by the engine alone."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    given = {
        "type": BackupType.FULL,
        "method": Method.LOGICAL,
        "consistency": "Strict",
        "parent": None,
        "scratch": scratch,
        "scratch_bytes": None,
        "deadline": datetime.now(UTC) + timedelta(hours=1),
        "label": backup_id,
        **more,
    }
    sink = FolderSink(folder / backup_id, trap)
    return ENGINE.backup(target, Plan(**given), sink), sink
