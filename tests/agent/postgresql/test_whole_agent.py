"""The whole way: the agent takes a backup into storage, a person follows its RESTORE.md from first line to last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from databosun.api.result import Outcome
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.postgresql import ENGINE
from support.agekeys import make_age_key
from support.agentrun import NAMESPACE, UID, Ran, Workplace, backup_task, child_of
from support.fakeengine import FakeEngine
from support.pgsample import BACKUP_ROLE, ODD_DATABASE, content, contents
from support.pgserver import PASSWORD, Server, hand_over
from support.restoredoc import followed

pytestmark = pytest.mark.servers


class Pod:
    """An agent's pod beside one server, with a volume for storage."""

    def __init__(self, server: Server, folder: Path, *, encrypted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABOSUN_POSTGRESQL_BIN", str(server.bin))
        self.server = server
        self.key = make_age_key(folder) if encrypted else None
        self.place = Workplace(folder / "pod")
        self.place.secrets["database"] = {"username": BACKUP_ROLE, "password": PASSWORD}
        if self.key:
            self.place.storage["age_recipients"] = [self.key.recipient]
        self.by_hand = folder / "by-hand"
        self.by_hand.mkdir()

    def run(self, task: Any) -> Ran:
        """Run a task and demand its success."""
        database = DatabaseTarget(
            namespace=NAMESPACE,
            name="orders",
            uid=UID,
            engine=EngineName.POSTGRESQL,
            hosts=["127.0.0.1"],
            port=self.server.port,
            tls=TLSMode.DISABLE,
        )
        # The helper is typed for the engine that most tests use; it takes any.
        ran = self.place.run(task, engine=cast("FakeEngine", ENGINE), database=database)
        assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
        assert PASSWORD not in ran.output
        return ran

    def document(self, backup_id: str) -> str:
        """Its RESTORE.md."""
        (found,) = self.place.paths.volume.rglob(f"{backup_id}/RESTORE.md")
        text = found.read_text()
        assert PASSWORD not in text
        return text

    def environment(self) -> dict[str, str]:
        """What a person sets before the first command: where the storage is mounted, and the identity."""
        hand_over(self.place.paths.volume)
        chosen = {"STORAGE": str(self.place.paths.volume)}
        if self.key:
            self.key.identity.chmod(0o644)
            chosen["AGE_IDENTITY"] = str(self.key.identity)
        return chosen


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
@pytest.mark.parametrize("major", [15, 18])
def test_a_full_is_restored_by_hand(
    servers: Callable[[int], Server],
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    major: int,
    method: Method,
    encrypted: bool,
) -> None:
    pod = Pod(servers(major), workplace, encrypted=encrypted, monkeypatch=monkeypatch)
    before = contents(pod.server)
    ran = pod.run(backup_task("orders-1", method=method))
    assert ran.result.backup
    assert ran.result.backup.logical_bytes > 0
    document = pod.document("orders-1")
    with followed(document, pod.by_hand, pod.server.bin, **pod.environment()) as copy:
        restored = {}
        for dbname in ("shop", ODD_DATABASE):
            with copy.connect(dbname) as connection:
                restored[dbname] = content(connection)
    assert restored == before


def test_a_chain_is_restored_by_hand(
    servers: Callable[[int], Server], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = Pod(servers(18), workplace, encrypted=True, monkeypatch=monkeypatch)
    first = pod.run(backup_task("orders-1"))
    pod.server.sql("CREATE TABLE later AS SELECT generate_series(1, 77) AS i", "shop")
    try:
        second = pod.run(child_of(first, "orders-2"))
        assert second.result.backup
        assert second.result.backup.type is BackupType.INCREMENTAL
        before = contents(pod.server)
        third = pod.run(child_of(second, "orders-3"))
        assert third.result.backup
        assert third.result.backup.chain_length == 2
        document = pod.document("orders-3")
        with (
            followed(document, pod.by_hand, pod.server.bin, **pod.environment()) as copy,
            copy.connect("shop") as connection,
        ):
            assert content(connection) == before["shop"]
    finally:
        pod.server.sql("DROP TABLE later", "shop")
