"""One cluster, as the tests use it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HACK = Path(__file__).resolve().parents[2] / "hack"
BASE_IMAGE = "localhost/debian:bookworm"
LIMIT = 600.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster, used as a person does: by the command."""

    name: str

    def command(self, *arguments: str) -> list[str]:
        verb, *rest = arguments
        return [str(HACK / "cluster" / "cluster"), verb, "--provider=bare", f"--name={self.name}", *rest]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=LIMIT)
        assert not check or done.returncode == 0, f"cluster {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done

    def killed_at(self, line: str) -> None:
        """Start ``up`` and kill it with all it has not let go of, as soon as it says ``line``."""
        process = subprocess.Popen(self.command("up"), stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr
        said = []
        for text in process.stderr:
            said.append(text)
            if line in text:
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert line in said[-1], f"never said {line!r}:\n{''.join(said)}"

    def env(self) -> dict[str, str]:
        """Return the environment that the printed line makes in a shell."""
        script = f"{self.run('env').stdout}\nexec env -0"
        output = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        return dict(pair.split("=", 1) for pair in output.split("\0") if pair)

    @property
    def home(self) -> Path:
        return Path(self.env()["KUBECONFIG"]).parent

    def kubectl(self, *arguments: str, manifest: dict[str, Any] | None = None, check: bool = True) -> str:
        text = None if manifest is None else json.dumps(manifest)
        done = subprocess.run(
            ["kubectl", *arguments], env=self.env(), input=text, capture_output=True, text=True, timeout=LIMIT
        )
        assert not check or done.returncode == 0, f"kubectl {shlex.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output=json"))
        return found

    def processes(self) -> dict[int, str]:
        """Return the command lines of all processes in the cluster's cgroup by their pids."""
        found = {}
        for file in Path("/sys/fs/cgroup").glob(f"**/databosun-{self.name}/**/cgroup.procs"):
            for pid in file.read_text().split():
                line = Path(f"/proc/{pid}/cmdline")
                found[int(pid)] = line.read_bytes().replace(b"\0", b" ").decode() if line.exists() else ""
        return found


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds; the limit is for broken cases only."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.2)
