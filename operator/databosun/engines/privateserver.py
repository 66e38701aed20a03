"""A server of our own, the same for every engine: in a private folder, its last words kept, gone with this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess  # every call is a list of arguments, no shell
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop, WorldFault
from databosun.engines.program import bound

LOOK_SECONDS = 0.05
_KEPT_LINES = 200
_TOLD_LINES = 8


class PrivateProcess:
    """Runs one server. `close` in the end: it kills, and removes the folder."""

    start_seconds = 3600.0
    stop_seconds = 3600.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bosun-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reader: threading.Thread | None = None

    def run(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        answers: Callable[[], bool],
        pulse: Callable[[], None],
        *,
        look: float = LOOK_SECONDS,
    ) -> None:
        """Start and wait until it answers. Raises what `broken` says where it ends, or never does."""
        self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            bound(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=self.folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, name="private server's log", daemon=True)
        self._reader.start()
        limit = time.monotonic() + self.start_seconds
        while not answers():
            pulse()
            if self._process.poll() is not None or time.monotonic() > limit:
                if self._reader:
                    self._reader.join(timeout=5.0)
                raise self.broken(self._process.poll())
            time.sleep(look)

    def stop(self, pulse: Callable[[], None]) -> None:
        """Stop cleanly. SafetyStop where it does not end well."""
        process = self.process
        process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + self.stop_seconds
        while process.poll() is None:
            pulse()
            if time.monotonic() > limit:
                message = f"the copy did not stop within {self.stop_seconds:.0f} s: {self.said()}"
                raise WorldFault(Reason.RECOVERY_FAILED, message)
            time.sleep(LOOK_SECONDS)
        if process.returncode != 0:
            raise self.broken(process.returncode)

    def kill(self) -> None:
        """End it at once; harmless where it does not run."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        if self._reader:
            self._reader.join(timeout=5.0)
        if self._process and self._process.stdout:
            self._process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self) -> str:
        """What it last said, of that what `tells` first."""
        lines = list(self._lines)
        telling = [line for line in lines if self.tells(line)]
        return " | ".join(line.strip() for line in (telling or lines)[-_TOLD_LINES:])[:1500]

    def tells(self, _line: str) -> bool:
        """Whether a line of its log says what is wrong."""
        return True

    def broken(self, code: int | None) -> DatabosunError:
        """What it means that it ended with `code`, or (None) never answered."""
        ended = "does not answer" if code is None else f"does not come up (status {code})"
        return SafetyStop(Reason.RECOVERY_FAILED, f"the copy {ended}: {self.said() or 'it said nothing'}")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """It, once it was started."""
        if self._process is None:
            msg = "the private server was never started"
            raise RuntimeError(msg)
        return self._process

    def _read_log(self) -> None:
        for raw in self.process.stdout or ():
            self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
