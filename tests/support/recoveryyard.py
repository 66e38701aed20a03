"""A server, a store with its backups, and pods that read them back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from databosun.api.drill import Check, Level
from databosun.api.restoretasks import BackupRef, DrillTask
from databosun.api.result import DrillResult, Outcome
from databosun.api.targets import DatabaseTarget, S3Target
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.postgresql import ENGINE
from databosun.storage.volume import TEMPORARY
from support.agekeys import AgeKey
from support.agentrun import NAMESPACE, UID, Ran, Workplace
from support.fakeengine import FakeEngine
from support.pgsample import BACKUP_ROLE
from support.pgserver import PASSWORD, Server
from support.recoverypod import RecoveryPod


@dataclass
class Yard:
    """One server, one store, the backups in it, and pods that restore them."""

    server: Server
    folder: Path
    key: AgeKey | None = None
    s3: S3Target | None = None
    s3_secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.place = Workplace(self.folder / "backup", s3=self.s3)
        self.place.secrets["database"] = {"username": BACKUP_ROLE, "password": PASSWORD}
        if self.key:
            self.place.storage["age_recipients"] = [self.key.recipient]
        if self.s3:
            self.place.secrets["storage"] = self.s3_secrets
        self.refs: dict[str, BackupRef] = {}
        self._pods = 0

    def back_up(self, task: Any) -> Ran:
        """Take a backup."""
        database = DatabaseTarget(
            namespace=NAMESPACE, name="orders", uid=UID, engine=EngineName.POSTGRESQL, hosts=["127.0.0.1"],
            port=self.server.port, tls=TLSMode.DISABLE,
        )  # fmt: skip
        ran = self.place.run(task, engine=cast("FakeEngine", ENGINE), database=database)
        assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
        assert ran.result.backup
        self.refs[task.id] = BackupRef(
            id=task.id, database="orders", manifest_sha256=ran.result.backup.checksum, attempt=1
        )
        return ran

    def pod(self, **storage: Any) -> RecoveryPod:
        """A fresh pod that reads this store, with the identity."""
        self._pods += 1
        pod = RecoveryPod(
            self.folder / f"pod{self._pods}", self.server.bin, s3=self.s3, storage={**self.place.storage, **storage}
        )
        if self.s3:
            pod.secrets["storage"] = self.s3_secrets
        else:
            pod.volume = self.place.paths.volume
        if self.key:
            pod.secrets["age-0"] = {"identity": self.key.identity.read_text()}
        return pod

    def drill(self, backup_id: str, *, pod: RecoveryPod | None = None, run: str = "drill-1", **more: Any) -> Ran:
        """Drill one backup."""
        return (pod or self.pod()).run(self.drill_task(backup_id, run=run, **more))

    def drill_task(self, backup_id: str, *, run: str = "drill-1", **more: Any) -> DrillTask:
        """The order for a drill."""
        return DrillTask(**{"id": run, "backup": self.refs[backup_id], "level": Level.DEEP, **more})

    def stored(self, backup_id: str, pattern: str) -> Path:
        """One object of a backup in the volume."""
        (found,) = [path for path in self.place.paths.volume.rglob(pattern) if backup_id in path.parts]
        return found

    def objects(self) -> dict[str, bytes]:
        """Every object of the volume but evidence; what a killed writer was at is none, and a sweep removes it."""
        return {
            str(path): path.read_bytes()
            for path in sorted(self.place.paths.volume.rglob("*"))
            if path.is_file() and path.name not in {"evidence.json", ".databosun-lock"} and TEMPORARY not in path.parts
        }


def drilled(ran: Ran) -> DrillResult:
    """What the drill found."""
    assert ran.result.drill is not None, ran.output[-6000:]
    return ran.result.drill


def flip(path: Path, at: int | None = None) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def check(name: str, kind: str, **more: Any) -> Check:
    """A check of a drill."""
    return Check(name=name, type=kind, **more)  # type: ignore[arg-type]
