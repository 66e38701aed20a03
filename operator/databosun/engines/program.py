"""A program that an engine runs: in a session of its own, watched, and gone when it is to be."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess  # every call is a list of arguments, no shell
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.lastwords import LastWords

GRACE_SECONDS = 5.0
_POLL_MILLISECONDS = 1000


def bound(argv: Sequence[str], signal: str = "KILL") -> list[str]:
    """The command, ended by the kernel once this process is gone: also where it is killed and can end nothing itself.

    Containers die as a whole; where `setpriv` is not there, that has to do.
    """
    setpriv = shutil.which("setpriv", path=os.defpath)
    return [setpriv, f"--pdeathsig={signal}", "--", *argv] if setpriv else list(argv)


class Program:
    """One running program in a session of its own. Leaving the block ends the whole group, whatever happened inside.

    `stdin`: a descriptor, or subprocess.PIPE to `write` to it.
    """

    TELLING: tuple[str, ...] = ("error:", "detail:", "hint:", "FATAL")

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        capture: bool = False,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.name = Path(argv[0]).name
        self._tail = LastWords()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
                list(argv),
                stdin=stdin,
                stdout=subprocess.PIPE if capture else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise WorldFault(Reason.TOOL_FAILED, f"{self.name} could not be started: {error}") from error
        self._reader = threading.Thread(target=self._read_stderr, name=f"{self.name} stderr", daemon=True)
        self._reader.start()
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)

    def __enter__(self) -> Self:
        return self

    @property
    def output(self) -> int:
        """Descriptor of what it prints, to be another one's `stdin`; needs `capture`. Then `let_go` of it."""
        if self._process.stdout is None:
            message = f"{self.name} was started without capture"
            raise ValueError(message)
        return self._process.stdout.fileno()

    def let_go(self) -> None:
        """Close our end of its output: it would not notice otherwise that its reader is gone."""
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process, also the group's leader."""
        return self._process.pid

    def read(self, size: int, pulse: Callable[[], None]) -> bytes:
        """The next bytes that it prints, empty at the end; needs `capture`. `pulse` runs each second and may raise."""
        descriptor = self.stdout_descriptor
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while not poll.poll(_POLL_MILLISECONDS):
            pulse()
        return os.read(descriptor, size)

    def write(self, data: bytes | bytearray | memoryview, pulse: Callable[[], None]) -> bool:
        """Have it read these bytes; False where it reads no more. `pulse` runs each second and may raise."""
        stream = self._stdin()
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        left = memoryview(data)
        while len(left):
            if not poll.poll(_POLL_MILLISECONDS):
                pulse()
                continue
            try:
                left = left[os.write(stream.fileno(), left) :]
            except BrokenPipeError:
                return False
        return True

    def close_stdin(self) -> None:
        """Say that there is no more to read."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin().close()

    @property
    def stdout_descriptor(self) -> int:
        """What it prints, for another program to read; needs `capture`."""
        if self._process.stdout is None:
            message = f"{self.name} was started without capture"
            raise ValueError(message)
        return self._process.stdout.fileno()

    def let_go_of_stdout(self) -> None:
        """Leave it to the program that reads it alone: then that one's end is noticed."""
        if self._process.stdout is not None:
            self._process.stdout.close()

    def fault(self, said: str, doing: str) -> DatabosunError:
        """The error for its last words; an engine knows more."""
        return WorldFault(Reason.TOOL_FAILED, f"{doing}: {' '.join(said.split())[:1000]}")

    def ended(self, *, within: float = 0.0) -> bool:
        """Wait at most so many seconds; True where the program has ended."""
        try:
            self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        code = self._process.wait()
        self._reader.join(timeout=GRACE_SECONDS)
        return code

    def require_success(self, doing: str) -> None:
        """Raise what the program's last words mean where it did not exit with 0."""
        code = self.wait()
        if code == 0:
            return
        said = self.stderr_tail()
        if code < 0:
            message = f"{doing}: {self.name} was killed by signal {-code} ({signal.Signals(-code).name}); {said}"
            raise WorldFault(Reason.TOOL_KILLED, message.strip("; "))
        raise self.fault(said or f"{self.name} exited with status {code}", doing)

    def stderr_tail(self) -> str:
        """The last words of the program, without its notices."""
        lines = self._tail.text.splitlines()
        telling = [line for line in lines if any(word in line for word in self.TELLING)]
        return " ".join(telling or lines[-5:])

    def pause(self) -> None:
        """Stop the group until `resume`; the server waits in its send."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Terminate the group, kill what does not go, and reap: a client that is asked to go cancels its queries."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            self.resume()
            if not self.ended(within=GRACE_SECONDS):
                self._signal(signal.SIGKILL)
        # Workers that outlived their leader still belong to the group.
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=GRACE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _stdin(self) -> IO[bytes]:
        if self._process.stdin is None:
            message = f"{self.name} was started without a pipe to write to"
            raise ValueError(message)
        return self._process.stdin

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def _read_stderr(self) -> None:
        stream = self._process.stderr
        while stream is not None and (chunk := os.read(stream.fileno(), 4096)):
            self._tail.hear(chunk)
