"""Serves the copy's `restore_command` from this process: no program is started for a segment but the shell itself.

The command asks through one named pipe and reads the answer from another, with nothing but what is built into `sh`; so
a segment costs less than `cp` would, and the log can be fetched ahead. Answers are exit codes: 0 the file is in its
place, 1 the log has none such, 126 recovery must end at once.
"""

from __future__ import annotations

import os
import select
import shutil
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from databosun.engines.recovery import LogSupply

_THERE, _NONE, _ABORT = b"0\n", b"1\n", b"126\n"
_LOOK_MILLISECONDS = 1000


class Feeder:
    """Runs while the block does. `fault`: why recovery was made to end; `served`: segments handed over."""

    def __init__(self, folder: Path, data: Path, log: LogSupply | None) -> None:
        self.fault: BaseException | None = None
        self.served = 0
        self._data = data
        self._log = log
        self._ask, self._answer = folder / "ask", folder / "answer"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="restore_command", daemon=True)

    @property
    def command(self) -> str:
        """For `restore_command`."""
        if self._log is None:
            return "exit 1"
        # A server whose agent is gone is ended by the kernel, and takes a shell that waits here with it.
        return f"echo '%f %p' >'{self._ask}' && read -r code <'{self._answer}' && exit $code || exit 126"

    def __enter__(self) -> Self:
        if self._log is not None:
            for pipe in (self._ask, self._answer):
                os.mkfifo(pipe, 0o600)
            # Both held open for reading and writing: neither side waits for the other to open its end.
            self._in = os.open(self._ask, os.O_RDWR | os.O_CLOEXEC)
            self._out = os.open(self._answer, os.O_RDWR | os.O_CLOEXEC)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._log is not None:
            self._ended.set()
            os.write(self._in, b"\n")  # wakes the thread
            self._thread.join()
            os.close(self._in)
            os.close(self._out)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        pending = b""
        while not self._ended.is_set():
            if not poll.poll(_LOOK_MILLISECONDS):
                continue
            pending += os.read(self._in, 4096)
            while b"\n" in pending and not self._ended.is_set():
                line, _, pending = pending.partition(b"\n")
                if line:
                    os.write(self._out, self._answer_to(line.decode()))

    def _answer_to(self, line: str) -> bytes:
        """Put the file in its place. What goes wrong ends the recovery, and is kept for whoever waits for it."""
        name, _, place = line.partition(" ")
        try:
            found = self._log.take(name) if self._log else None
            if found is None:
                return _NONE
            shutil.move(found, self._data / place)
            self.served += 1
            return _THERE
        except BaseException as error:
            self.fault = error
            return _ABORT
