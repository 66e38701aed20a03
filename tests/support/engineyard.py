"""What the conformance suite asks of an engine's tests: one database, one store, and pods that read its backups back.

An engine brings a subclass of `EngineYard` (`tests/engines/conftest.py` lists them); the rest is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from databosun.api.backuptasks import BackupTask
from databosun.api.drill import Check, Level
from databosun.api.restoretasks import BackupRef, DrillTask, RestoreTask
from databosun.api.result import Outcome
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines import registry
from databosun.engines.base import Credentials, Engine, Target
from databosun.storage.volume import TEMPORARY
from support.agekeys import AgeKey
from support.agentrun import NAMESPACE, UID, Ran, Workplace, backup_task, child_of
from support.archiving import Pod
from support.fakeengine import FakeEngine
from support.recoverypod import RecoveryPod
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed


@dataclass
class EngineYard(ABC):
    """One server, one store, the backups in it. `folder`: one that the user of `pgserver.identity` can reach.

    `weed`: its store is a bucket of that server; a folder where there is none.
    """

    folder: Path
    key: AgeKey | None = None
    weed: Seaweed | None = None
    refs: dict[str, BackupRef] = field(default_factory=dict)

    name: EngineName = field(init=False)
    method: Method = field(init=False)
    username: str = field(init=False)
    password: str = field(init=False)
    # Whether an Incremental is one, or becomes a Full and says so.
    incremental: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.bucket = self.weed.bucket() if self.weed else ""
        self.place = Workplace(self.folder / "backup", s3=self.weed.target(self.bucket) if self.weed else None)
        self.place.secrets["database"] = {"username": self.username, "password": self.password}
        self.place.secrets |= self._store_secrets()
        if self.key:
            self.place.storage["age_recipients"] = [self.key.recipient]
        self._pods = 0

    # --- what an engine's own yard says

    @property
    @abstractmethod
    def port(self) -> int:
        """Where the server listens, on 127.0.0.1."""

    @abstractmethod
    def contents(self) -> object:
        """All that the server holds, read by the plainest means, so that two of them compare."""

    @abstractmethod
    def change(self) -> None:
        """Write something that `contents` shows."""

    def roll(self) -> None:
        """Have the log go on in its next file, and write there; of an engine whose log is shipped."""
        raise NotImplementedError

    @abstractmethod
    def sessions(self) -> int:
        """How many sessions the backup's account has at the server."""

    @abstractmethod
    def broken_query(self) -> Check:
        """A check of type Query whose value is not what the sample holds."""

    @abstractmethod
    def good_query(self) -> Check:
        """A check of type Query that passes on the sample."""

    @abstractmethod
    def served(self, data: Path) -> AbstractContextManager[object]:
        """`contents` of a server that is started from a restored data directory."""

    @abstractmethod
    def followed(self, markdown: str, folder: Path) -> AbstractContextManager[object]:
        """`contents` of the copy that the commands of a RESTORE.md make, artefacts lying in `folder`."""

    @abstractmethod
    def pod(self) -> RecoveryPod:
        """A fresh pod with the server's programs, reading this store."""

    # --- the same for all

    @property
    def engine(self) -> Engine:
        """The engine itself."""
        return registry.load(self.name)

    def target(self, *, password: str | None = None, port: int | None = None) -> Target:
        """How an agent would be told to reach the server."""
        return Target(self.database(port=port), Credentials(self.username, password or self.password))

    def database(self, *, port: int | None = None) -> DatabaseTarget:
        """The server as a request names it."""
        return DatabaseTarget(
            namespace=NAMESPACE,
            name="orders",
            uid=UID,
            engine=self.name,
            hosts=["127.0.0.1"],
            port=port or self.port,
            tls=TLSMode.DISABLE,
        )

    def run(self, task: BackupTask, **more: Any) -> Ran:
        """Run a backup to its end, whatever that is."""
        given = {"database": self.database(), **more}
        return self.place.run(task, engine=cast("FakeEngine", self.engine), **given)

    def back_up(self, backup_id: str = "orders-1", *, on: Ran | None = None, **more: Any) -> Ran:
        """Take one that succeeds; `on`: as an Incremental on that one."""
        task = child_of(on, backup_id) if on else backup_task(backup_id)
        ran = self.run(task.model_copy(update={"method": self.method, **more}))
        assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
        assert ran.result.backup
        self.refs[backup_id] = BackupRef(
            id=backup_id, database="orders", manifest_sha256=ran.result.backup.checksum, attempt=1
        )
        return ran

    def fresh_pod(self, *, bin_folder: Path | None = None, environment: dict[str, str] | None = None) -> RecoveryPod:
        """What `pod` of a subclass returns."""
        self._pods += 1
        pod = RecoveryPod(
            self.folder / f"pod{self._pods}",
            bin_folder,
            s3=self.place.s3,
            storage=dict(self.place.storage),
            volume=None if self.weed else self.place.paths.volume,
            engine=self.name,
            environment=environment or {},
            secrets=self._store_secrets(),
        )
        if self.key:
            pod.secrets["age-0"] = {"identity": self.key.identity.read_text()}
        return pod

    def _store_secrets(self) -> dict[str, dict[str, str]]:
        return {"storage": {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}} if self.weed else {}

    def archiver(self, *, endpoint: str | None = None, **task: Any) -> Pod:
        """A pod that ships the server's log into this store; `endpoint`: past a proxy in front of it."""
        place = Workplace(self.folder / "archiver")
        mount = place.root / "volume"
        if not mount.is_symlink():
            mount.rmdir()
            mount.symlink_to(self.place.paths.volume)
        return Pod(
            place,
            self.weed,
            self.bucket,
            ["127.0.0.1"],
            self.port,
            key=self.key,
            endpoint=endpoint,
            task={"max_lag_seconds": 0.5, **task},
            prefix="prod" if self.weed else "",
            engine=self.name,
            user=self.username,
            password=self.password,
        )

    def drill(self, backup_id: str = "orders-1", *, pod: RecoveryPod | None = None, **more: Any) -> Ran:
        """Drill one backup."""
        given = {"id": "drill-1", "backup": self.refs[backup_id], "level": Level.DEEP, **more}
        return (pod or self.pod()).run(DrillTask(**given))

    def restore(self, backup_id: str = "orders-1", *, pod: RecoveryPod | None = None, **more: Any) -> Ran:
        """Restore one backup into the pod's volume."""
        task = RestoreTask(**{"id": "restore-1", "candidates": [self.refs[backup_id]], **more})
        return (pod or self.pod()).run(task)

    def stored(self, backup_id: str) -> list[Path]:
        """The objects of a backup's artefacts."""
        return sorted(
            path
            for path in self.place.paths.volume.rglob("*")
            if path.is_file() and {backup_id, "a1"} <= set(path.parts)
        )

    def objects(self) -> dict[str, bytes]:
        """Every object of the store but evidence; what a killed writer was at is none, and a sweep removes it."""
        return {
            str(path): path.read_bytes()
            for path in sorted(self.place.paths.volume.rglob("*"))
            if path.is_file() and path.name not in {"evidence.json", ".databosun-lock"} and TEMPORARY not in path.parts
        }
