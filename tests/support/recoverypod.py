"""An agent's pod that restores: a process of its own, of a user that may run a server, beside a volume or a bucket.

`python -m support.recoverypod FOLDER` is what runs in it. It may read everything: the checkout can lie anywhere.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from databosun.agent import main as agent
from databosun.agent.context import Paths
from databosun.agent.stop import Stop
from databosun.api.request import Task
from databosun.api.targets import DatabaseTarget, S3Target
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.postgresql.recovery.feeder import Feeder
from support.agentrun import NAMESPACE, UID, Ran, Workplace, read
from support.pgserver import GID, ROOT, hand_over
from support.pgserver import UID as USER

COMMAND = "BENCH_RESTORE_COMMAND"  # for benchmarks: what a person would have written instead
HALT = "TEST_HALTS_AT"


@dataclass
class RecoveryPod:
    """The pod's files. `storage`, `secrets`: as of `Workplace`."""

    folder: Path
    bin: Path | None = None
    s3: S3Target | None = None
    storage: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    volume: Path | None = None
    restore_command: str | None = None
    engine: EngineName = EngineName.POSTGRESQL
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.place = Workplace(self.folder, s3=self.s3, secrets=self.secrets)
        self.restored = self.folder / "restore"
        self.restored.mkdir(exist_ok=True)

    def start(self, task: Task, *, halt: str = "", **more: Any) -> subprocess.Popen[str]:
        """Start the agent. `halt`: a part of a line of its log, beyond which its task does not go before it is told to
        stop."""
        self.place.storage = self.storage
        self.place.secrets = self.secrets
        database = DatabaseTarget(
            namespace=NAMESPACE, name="orders", uid=UID, engine=self.engine, hosts=["nowhere"], port=1
        )
        self.place.write(self.place.request(task, **{"database": database, **more}))
        self.place.paths.termination.unlink(missing_ok=True)
        if self.volume:
            mount = self.folder / "volume"
            if not mount.is_symlink():
                mount.rmdir()
                mount.symlink_to(self.volume)
            hand_over(self.volume)
        hand_over(self.folder)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}/operator:{ROOT}/tests",
            **({"DATABOSUN_POSTGRESQL_BIN": str(self.bin)} if self.bin else {}),
            **self.environment,
            **({COMMAND: self.restore_command} if self.restore_command else {}),
            **({HALT: halt} if halt else {}),
        }
        return subprocess.Popen(
            [*_as_user(), sys.executable, "-m", "support.recoverypod", str(self.folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
        )

    def run(self, task: Task, **more: Any) -> Ran:
        """Run a task to its end."""
        process = self.start(task, **more)
        output, _ = process.communicate(timeout=580)
        assert self.place.paths.termination.exists(), output
        lines = "".join(line for line in output.splitlines(keepends=True) if line.startswith("{"))
        return read(process.returncode, lines, self.place.paths.termination.read_bytes())


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    who = [f"--reuid={USER}", f"--regid={GID}", "--clear-groups"]
    return ["setpriv", *who, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


class _Halting(io.StringIO):
    """Standard output. Who has written the line of a test waits there, unless the agent was told to stop."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self._moment = moment
        self.told = threading.Event()

    def write(self, text: str) -> int:
        written = sys.stdout.write(text)
        sys.stdout.flush()
        if self._moment in text:
            self.told.wait()
        return written


def _halting(moment: str) -> TextIO:
    out, stop = _Halting(moment), Stop()
    stop.subscribe(lambda _: out.told.set())
    agent.Stop = lambda: stop  # type: ignore[assignment,misc]
    return out


def serve(folder: Path) -> None:
    """Run as `databosun agent` does, with the pod's files in a folder."""
    paths = Paths(
        folder / "request.json",
        folder / "secrets",
        folder / "scratch",
        folder / "termination",
        folder / "volume",
        folder / "restore",
    )
    if command := os.environ.get(COMMAND):
        Feeder.command = property(lambda _: command)  # type: ignore[assignment,method-assign]
    moment = os.environ.get(HALT)
    agent.leave(agent.run(paths, _halting(moment) if moment else sys.stdout))


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
