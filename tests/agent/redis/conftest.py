"""Servers of both products, filled once, and short ways to back them up and to bring them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.drill import RecoveryPoint
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Captured, Credentials, Plan, Target
from databosun.engines.recovery import RecoveryPlan
from databosun.engines.redis import ENGINE
from support.foldersink import FolderSink, Trap
from support.foldersource import FolderSource
from support.redisserver import PASSWORD, PRODUCTS, USER, Server, fill, program


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both servers, as the runner image has them."""
    monkeypatch.setenv("DATABOSUN_REDIS_BIN", ":".join(str(program(product).parent) for product in ("redis", "valkey")))


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Server]]:
    """A filled server of a product; made on first use, shared by tests that leave its data as it was."""
    made: dict[str, Server] = {}

    def get(product: str) -> Server:
        if product not in made:
            made[product] = Server(product)
            fill(made[product])
        return made[product]

    yield get
    for server in made.values():
        server.remove()


@pytest.fixture(params=PRODUCTS)
def server(request: pytest.FixtureRequest, servers: Callable[[str], Server]) -> Server:
    """One shared server a product."""
    return servers(request.param)


@pytest.fixture
def own_server() -> Iterator[Callable[..., Server]]:
    """A server that a test may break."""
    made: list[Server] = []

    def make(product: str = "redis", **more: Any) -> Server:
        made.append(Server(product, **more))
        return made[-1]

    yield make
    for server in made:
        server.remove()


def target_of(
    server: Server,
    *,
    user: str = USER,
    password: str = PASSWORD,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    tls: TLSMode = TLSMode.DISABLE,
    port: int | None = None,
    database: str | None = None,
    **files: Path | None,
) -> Target:
    """How an agent would be told to reach it."""
    described = DatabaseTarget(
        namespace="shop", name="cache", uid="0", engine=EngineName.REDIS, hosts=list(hosts), port=port or server.port,
        database=database, tls=tls,
    )  # fmt: skip
    return Target(described, Credentials(user, password, **files))


def plan_of(scratch: Path, **more: Any) -> Plan:
    """A plan with an hour's time."""
    given = {
        "type": BackupType.FULL, "method": Method.AUTO, "consistency": "Strict", "parent": None, "scratch": scratch,
        "scratch_bytes": None, "deadline": datetime.now(UTC) + timedelta(hours=1), "label": "cache-1", **more,
    }  # fmt: skip
    return Plan(**given)


@dataclass
class Workshop:
    """Takes backups into one folder, and brings them back."""

    folder: Path

    def back_up(
        self, server: Server, backup_id: str = "cache-1", *, target: Target | None = None, trap: Trap | None = None,
        **plan: Any,
    ) -> tuple[Captured, dict[str, Any]]:  # fmt: skip
        """One backup and the manifest that it would get."""
        sink = FolderSink(self.folder / backup_id, trap)
        captured = ENGINE.backup(target or target_of(server), plan_of(self.folder, **plan), sink)
        return captured, sink.manifest(captured)

    def source(self) -> FolderSource:
        """Where they come back from."""
        return FolderSource(self.folder)

    def plan(self, manifest: dict[str, Any], **more: Any) -> RecoveryPlan:
        """How to bring one back."""
        place = self.folder / "place"
        place.mkdir(exist_ok=True)
        given = {
            "chain": (manifest,), "place": place, "until": RecoveryPoint(), "assumed_at": datetime.now(UTC),
            "deadline": datetime.now(UTC) + timedelta(hours=1), **more,
        }  # fmt: skip
        return RecoveryPlan(**given)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A place for backups."""
    return Workshop(tmp_path)
