"""One server of our own: started as a child, watched through what it logs, ended with this process whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg

from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.configuration import PORT, Privacy, write_configuration
from databosun.engines.postgresql.recovery.programs import environment
from databosun.engines.postgresql.tools import tool_of_major
from databosun.engines.program import bound

_LOOK_SECONDS = 0.02
_STOP_SECONDS = 600.0
_QUIT_SECONDS = 7.0  # after five of them the server kills what does not go
_KEPT_LINES = 200
_READY = "database system is ready to accept connections"
_REDO = "redo starts at"
_REDONE = "redo done at"
_STAMP = re.compile(r"(\d+\.\d{3}) ")  # log_line_prefix
_LAST = re.compile(r"last completed transaction was at log time (.+)$")
_ENDED_EARLY = "recovery ended before configured recovery target was reached"
# Nothing that ALTER ROLE or ALTER DATABASE has set may load a library or change what a check sees.
_OPTIONS = "-c session_preload_libraries= -c local_preload_libraries= -c session_replication_role=replica"


class EndedEarly(Exception):
    """The log ended before the target; the state is that of the log's end."""


class PrivateServer:
    """Call `start`, then `connect`; `close` in the end. `replay_seconds`: from the first record to the last."""

    def __init__(self, data: Path, major: int, superuser: str) -> None:
        self.data = data
        self.superuser = superuser
        self.folder = Path(tempfile.mkdtemp(prefix="bosun-"))
        self.replay_seconds = 0.0
        self.last_commit: str | None = None
        self._major = major
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._seen: dict[str, float] = {}
        self._reader: threading.Thread | None = None

    def start(
        self,
        recovery: Mapping[str, str],
        pulse: Callable[[], None],
        *,
        minima: Mapping[str, int] | None = None,
        preload: tuple[str, ...] = (),
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Start and wait until it accepts connections. SafetyStop with its own words; EndedEarly."""
        privacy = Privacy(self.folder, self._major, minima or {}, preload, more or {})
        config = write_configuration(privacy, recovery)
        program, _ = tool_of_major("postgres", self._major)
        argv = [str(program), "-D", str(self.data), "-c", f"config_file={config}"]
        self._seen.clear()
        self._lines.clear()
        self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            bound(argv, "QUIT"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(self.folder),
            cwd=self.folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, name="private server's log", daemon=True)
        self._reader.start()
        while _READY not in self._seen:
            pulse()
            if self._process.poll() is not None:
                raise self._broken()
            time.sleep(_LOOK_SECONDS)
        if _REDO in self._seen:
            # By the server's own clock, in whole milliseconds: this thread may read all lines at once, much later.
            self.replay_seconds = max(0.001, self._seen.get(_REDONE, self._seen[_READY]) - self._seen[_REDO])

    def connect(self, dbname: str, *, read_only: bool = True) -> Connection:
        """A superuser's session over the socket."""
        connection = psycopg.connect(
            host=str(self.folder),
            port=PORT,
            user=self.superuser,
            dbname=dbname,
            options=_OPTIONS,
            autocommit=True,
            connect_timeout=10,
        )
        if read_only:
            connection.execute("SET default_transaction_read_only = on")
        return connection

    @property
    def tool_environment(self) -> dict[str, str]:
        """For client programs of ours."""
        return environment(self.folder, **self._whereabouts(_OPTIONS))

    def program_environment(self, home: Path, dbname: str) -> dict[str, str]:
        """For a program of the user's: read-only by default, with this server's programs on its path, no secret."""
        programs, _ = tool_of_major("psql", self._major)
        where = self._whereabouts(f"{_OPTIONS} -c default_transaction_read_only=on")
        path = f"{programs.parent}:{os.environ.get('PATH', os.defpath)}"
        return environment(home, **where) | {"PATH": path, "PGDATABASE": dbname}

    def _whereabouts(self, options: str) -> dict[str, str]:
        return {"PGHOST": str(self.folder), "PGPORT": str(PORT), "PGUSER": self.superuser, "PGOPTIONS": options}

    def stop(self, pulse: Callable[[], None]) -> None:
        """Stop cleanly, with a checkpoint. SafetyStop where it does not end well."""
        process = self._demand()
        process.send_signal(signal.SIGINT)
        limit = time.monotonic() + _STOP_SECONDS
        while process.poll() is None:
            pulse()
            if time.monotonic() > limit:
                message = f"the copy did not stop within {_STOP_SECONDS:.0f} s: {self.said()}"
                raise WorldFault(Reason.RECOVERY_FAILED, message)
            time.sleep(_LOOK_SECONDS)
        if process.returncode != 0:
            raise self._broken()

    def kill(self) -> None:
        """End all of its processes at once; harmless where none is."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)  # it ends its children, then itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_QUIT_SECONDS)
                return
            for pid in (*_children(process.pid), process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        if self._reader:
            self._reader.join(timeout=5.0)
        if self._process and self._process.stderr:
            self._process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self) -> str:
        """What it last complained about."""
        lines = list(self._lines)
        telling = [line for line in lines if re.match(r"\s*(FATAL|PANIC|ERROR|DETAIL|HINT|WARNING|CONTEXT)\b", line)]
        return " | ".join(line.strip() for line in (telling or lines)[-8:])[:1500]

    def _demand(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the private server was never started"
            raise RuntimeError(msg)
        return self._process

    def _read_log(self) -> None:
        stream, at = self._demand().stderr, 0.0
        for raw in stream or ():
            line = raw.decode("utf-8", "replace").rstrip("\n")
            if stamp := _STAMP.match(line):
                at, line = float(stamp[1]), line[stamp.end() :]
            self._lines.append(line)
            if _REDO in line:
                self._seen[_REDO] = at
            elif _REDONE in line:
                self._seen[_REDONE] = at
            elif _READY in line:
                self._seen[_READY] = at
            elif found := _LAST.search(line):
                self.last_commit = found[1]

    def _broken(self) -> Exception:
        """What its end means."""
        if self._reader:
            self._reader.join(timeout=5.0)
        lines = "\n".join(self._lines)
        if _ENDED_EARLY in lines:
            return EndedEarly(self.said())
        if "No space left on device" in lines:
            message = f"the disk was full while the copy recovered ({self.said()}); raise podTemplate.scratch.size"
            return UserFault(Reason.SCRATCH_TOO_SMALL, message)
        if "Create this directory for the tablespace" in lines:
            message = f"the log creates a tablespace at a path that this pod does not have: {self.said()}"
            return UserFault(Reason.TABLESPACE_CREATED, message)
        return SafetyStop(Reason.RECOVERY_FAILED, f"the copy does not come up: {self.said() or 'it said nothing'}")


def _children(parent: int) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(status[1]) == parent:
                found.append(int(entry.name))
    return found
