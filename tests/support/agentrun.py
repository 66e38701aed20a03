"""Runs the agent inside the test as a Job would run it, and reads what it leaves behind as the operator would."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databosun.agent.context import Paths
from databosun.agent.main import run
from databosun.api.backuptasks import BackupTask, ParentBackup
from databosun.api.request import Request, Task
from databosun.api.result import Result, Summary
from databosun.api.targets import DatabaseTarget, S3Target, SecretUse, StorageTarget
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName
from support.fakeengine import FakeEngine

UID = "0d9b1a52-6a0f-4a53-9c33-1d5a2f4f9a11"
PASSWORD = 'Tr0ub4dor&3 "quoted"/plus+'
NAMESPACE = "shop"
CLUSTER = "cluster-one"


@dataclass(frozen=True, slots=True)
class Ran:
    """What is left of one run."""

    code: int
    summary: Summary
    result: Result
    output: str
    termination: bytes

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log."""
        return [json.loads(line) for line in self.output.splitlines()]


@dataclass
class Workplace:
    """A pod's files. `storage` is a volume unless a bucket is given; `secrets` is use -> file -> value."""

    root: Path
    s3: S3Target | None = None
    secrets: dict[str, dict[str, str]] = field(
        default_factory=lambda: {"database": {"username": "backup", "password": PASSWORD}}
    )
    storage: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in ("secrets", "scratch", "volume"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    @property
    def paths(self) -> Paths:
        """Where the agent finds them."""
        here = self.root
        return Paths(
            request=here / "request.json", secrets=here / "secrets", scratch=here / "scratch",
            termination=here / "termination", volume=here / "volume", answer=here / "answer.json",
        )  # fmt: skip

    def request(self, job: Task, *, attempt: int = 1, **more: Any) -> Request:
        """A request for a task."""
        target = StorageTarget(
            **{
                "namespace": NAMESPACE,
                "name": "prod",
                "cluster_id": CLUSTER,
                "prefix": "prod" if self.s3 else "",
                "s3": self.s3,
                "volume_path": None if self.s3 else "/",
                **self.storage,
            }
        )
        values: dict[str, Any] = {
            "run": "orders",
            "attempt": attempt,
            "deadline": datetime.now(UTC) + timedelta(minutes=10),
            "database": DatabaseTarget(
                namespace=NAMESPACE, name="orders", uid=UID, engine=EngineName.POSTGRESQL, hosts=["db"], port=5432
            ),
            "storage": target,
            "secrets": [
                SecretUse(use=use, secret=f"secret-{use}", keys={file: file for file in files})
                for use, files in self.secrets.items()
            ],
            "image": "runner:17",
            "job": job,
        }
        return Request(**{**values, **more})

    def write(self, request: Request) -> None:
        """Lay the pod's files out."""
        self.paths.request.write_text(request.model_dump_json(by_alias=True))
        for use, files in self.secrets.items():
            folder = self.paths.secrets / use
            folder.mkdir(exist_ok=True)
            for name, value in files.items():
                (folder / name).write_text(value)

    def run(
        self, job: Task, *, engine: FakeEngine | None = None, grace: float = 15.0, out: io.StringIO | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC), **more: Any,
    ) -> Ran:  # fmt: skip
        """Run one task. `out`: where its log goes."""
        self.write(self.request(job, **more))
        out = out or io.StringIO()
        code = run(self.paths, out, load_engine=lambda _: engine or FakeEngine(), clock=clock, grace=grace)
        return read(code, out.getvalue(), self.paths.termination.read_bytes())


def read(code: int, output: str, termination: bytes) -> Ran:
    """Put the result together as the operator does: numbered lines, digest compared."""
    summary = Summary.model_validate_json(termination)
    pieces = [line for line in map(json.loads, output.splitlines()) if line["event"] == "result"]
    assert [(one["n"], one["of"]) for one in pieces] == [(at + 1, len(pieces)) for at in range(len(pieces))]
    text = "".join(one["data"] for one in pieces)
    assert summary.result_lines == len(pieces)
    assert summary.result_bytes == len(text.encode())
    assert summary.result_sha256 == hashlib.sha256(text.encode()).hexdigest()
    return Ran(code, summary, Result.model_validate_json(text), output, termination)


def backup_task(backup_id: str = "orders-2603010300-a1b2c", **more: Any) -> BackupTask:
    """A full physical backup."""
    values: dict[str, Any] = {
        "id": backup_id,
        "database_uid": UID,
        "policy": "critical",
        "policy_uid": "p-1",
        "type": BackupType.FULL,
        "method": Method.PHYSICAL,
    }
    return BackupTask(**{**values, **more})


def child_of(ran: Ran, backup_id: str) -> BackupTask:
    """An incremental on a backup that was taken."""
    done = ran.result.backup
    assert done is not None
    parent = ParentBackup(
        id=done.id,
        attempt=done.attempt,
        manifest_sha256=done.checksum,
        chain_length=done.chain_length,
        base=done.base or done.id,
    )
    return backup_task(backup_id, type=BackupType.INCREMENTAL, parent=parent)
