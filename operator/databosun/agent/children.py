"""Owns every process the agent starts: list arguments only, own process groups, all exit codes checked, none left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from databosun.agent.reasons import AgentReason
from databosun.agent.redact import Redactor
from databosun.agent.stop import Stop, Stopped
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.lastwords import LastWords


class Child:
    """One running program. What it says on standard error is kept, bounded, and drained so that it never blocks."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, redactor: Redactor) -> None:
        self.process = process
        self.name = name
        self._redactor = redactor
        self._said = LastWords()
        self._drain = threading.Thread(target=self._read_stderr, name=f"{name}-stderr", daemon=True)
        self._drain.start()

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input; only where asked for."""
        return _there(self.process.stdin, self.name)

    @property
    def stdout(self) -> IO[bytes]:
        """Its standard output; only where asked for."""
        return _there(self.process.stdout, self.name)

    @property
    def said(self) -> str:
        """The end of its standard error, redacted."""
        return self._redactor.text(self._said.text).strip()

    def wait(self) -> None:
        """Wait for its end. WorldFault(ToolFailed) with its last words unless it ended with 0."""
        code = self.process.wait()
        self._drain.join()
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
            message = f"{self.name} {how}: {self.said[-1500:] or 'it said nothing'}"
            raise WorldFault(AgentReason.TOOL_FAILED, message)

    def kill(self) -> None:
        """End it and its whole process group, and reap it; harmless when it has ended."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _read_stderr(self) -> None:
        stream = self.process.stderr
        while stream and (data := os.read(stream.fileno(), 4096)):
            self._said.hear(data)


class Children:
    """Starts programs and ends them all when the agent stops."""

    def __init__(self, stop: Stop, redactor: Redactor) -> None:
        self._stop = stop
        self._redactor = redactor
        self._lock = threading.Lock()
        self._running: list[Child] = []
        stop.subscribe(self._stopped)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a program. UserFault(ToolMissing) where the image lacks it; Stopped once the agent stops."""
        self._stop.check()
        name = Path(argv[0]).name
        try:
            process = subprocess.Popen(  # noqa: S603 - a list, never a shell
                list(argv), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=env, bufsize=0, process_group=0
            )
        except FileNotFoundError as error:
            message = f"this image has no program {name}; use the runner image of this release, or add it to your own"
            raise UserFault(AgentReason.TOOL_MISSING, message) from error
        child = Child(process, name, self._redactor)
        with self._lock:
            self._running = [known for known in self._running if known.process.poll() is None]
            self._running.append(child)
        if self._stop.error:
            self.kill_all()
        return child

    def kill_all(self) -> None:
        """End every program started here."""
        with self._lock:
            running, self._running = self._running, []
        for child in running:
            child.kill()

    def _stopped(self, _: Stopped) -> None:
        self.kill_all()


def kill_descendants() -> None:
    """End whatever still descends from this process, an engine's own programs too; for an agent about to exit."""
    for pid in reversed(_descendants(os.getpid())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(root: int) -> list[int]:
    """The process ids below `root`, parents first, read from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):  # it ended while we looked
                stat = (entry / "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _there(stream: IO[bytes] | None, name: str) -> IO[bytes]:
    if stream is None:
        msg = f"{name} was started without that pipe"
        raise AssertionError(msg)
    return stream
