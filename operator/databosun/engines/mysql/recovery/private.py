"""One server of our own: reachable over one socket in a private folder, acting for nobody, ended with this process."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.request import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault, WorldFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mysql.connect import Endpoint, Session, open_sql
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.tools import environment_of, find_tool, run_tool, server_program
from databosun.engines.program import bound

_LOOK_SECONDS = 0.05
_START_SECONDS = 3600.0
_STOP_SECONDS = 3600.0
_KEPT_LINES = 200
_MIB = 1024**2

# Reachable over its socket, acting for nobody.
_ALONE = (
    "skip-networking",
    "skip-log-bin",
    "skip-slave-start",
    "skip-ssl",
    "event-scheduler = OFF",
    "performance-schema = OFF",
    "local-infile = OFF",
    "symbolic-links = OFF",
    "max-connections = 40",
    "max-allowed-packet = 1G",
    "innodb-strict-mode = OFF",
    "lc-messages = en_US",
)
# Nothing of the copy outlives a crash of its pod; what shall last is flushed in the end, and that is counted.
_THROWN_AWAY = (
    "innodb-flush-log-at-trx-commit = 0",
    "innodb-doublewrite = OFF",
    "innodb-log-file-size = 256M",
    "innodb-fast-shutdown = 1",
    "sync-frm = OFF",
)


class PrivateServer:
    """Call `install`, `start`, then `connect`; `close` in the end."""

    def __init__(
        self, data: Path, series: tuple[int, int], settings: Mapping[str, str], plugins: Sequence[str]
    ) -> None:
        self.data = data
        self.folder = Path(tempfile.mkdtemp(prefix="bosun-"))
        self.socket = self.folder / "socket"
        self.temporary = data.parent / "tmp"  # as large as the largest index that is built
        self.admin = f"databosun-{secrets.token_hex(8)}"
        self._series = series
        self._settings = settings
        self._plugins = plugins
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reader: threading.Thread | None = None

    def install(self, pulse: Callable[[], None]) -> None:
        """Make a new, empty data directory."""
        with guarded(f"writing {self.folder}"):
            self.temporary.mkdir(mode=0o700)
            (self.folder / "files").mkdir(mode=0o700)
            self._configuration().write_text(self._written())
        argv = [
            str(find_tool("mariadb-install-db")),
            f"--defaults-file={self._configuration()}",
            f"--datadir={self.data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        try:
            run_tool(argv, self.folder, pulse, doing="making a new server")
        except WorldFault as fault:
            raise SafetyStop(Reason.RECOVERY_FAILED, fault.message) from fault

    def start(self, pulse: Callable[[], None]) -> None:
        """Start and wait until it answers. SafetyStop with its own words."""
        program, _ = server_program(self._series)
        argv = [str(program), f"--defaults-file={self._configuration()}"]
        self._process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            bound(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment_of(self.folder),
            cwd=self.folder,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, name="private server's log", daemon=True)
        self._reader.start()
        limit = time.monotonic() + _START_SECONDS
        while not self._answers():
            pulse()
            if self._process.poll() is not None or time.monotonic() > limit:
                raise self._broken()
            time.sleep(_LOOK_SECONDS)

    def take_over(self) -> None:
        """Have an administrator of our own: the accounts of the backup replace the others, with passwords."""
        connection = open_sql(self._session("root"), read_only=False)
        try:
            with guarded("preparing the copy"), connection.cursor() as cursor:
                cursor.execute(f"CREATE USER '{self.admin}'@'localhost'")
                for what in ("ALL PRIVILEGES ON *.*", "PROXY ON ''@'%'"):
                    cursor.execute(f"GRANT {what} TO '{self.admin}'@'localhost' WITH GRANT OPTION")
        finally:
            connection.close()

    def connect(self, *, read_only: bool = True) -> Connection[Any]:
        """The administrator's session over the socket."""
        return open_sql(self._session(self.admin), read_only=read_only)

    @property
    def client_arguments(self) -> list[str]:
        """For the `mariadb` client."""
        return ["--no-defaults", "--protocol=socket", f"--socket={self.socket}", f"--user={self.admin}"]

    def stop(self, pulse: Callable[[], None]) -> None:
        """Stop cleanly, everything written back. SafetyStop where it does not end well."""
        process = self._demand()
        process.send_signal(signal.SIGTERM)
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
        if self._process and self._process.stderr:
            self._process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def said(self) -> str:
        """What it last complained about."""
        lines = list(self._lines)
        telling = [line for line in lines if "[ERROR]" in line or "[Warning]" in line]
        return " | ".join(line.strip() for line in (telling or lines)[-8:])[:1500]

    def _configuration(self) -> Path:
        return self.folder / "my.cnf"

    def _written(self) -> str:
        """The whole configuration: nothing of the original's counts but what its files or names depend on."""
        settings = {
            "datadir": str(self.data),
            "socket": str(self.socket),
            "pid-file": str(self.folder / "pid"),
            "tmpdir": str(self.temporary),
            "secure-file-priv": str(self.folder / "files"),
            "innodb-buffer-pool-size": str(256 * _MIB),
            **self._settings,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        lines += [*_ALONE, *_THROWN_AWAY, *(f"plugin-load-add = {name}" for name in self._plugins)]
        return "\n".join(["[mariadbd]", *lines]) + "\n"

    def _session(self, user: str) -> Session:
        where = DatabaseTarget(
            namespace="",
            name="copy",
            uid="",
            engine=EngineName.MARIADB,
            hosts=[str(self.socket)],
            port=0,
            tls=TLSMode.DISABLE,
        )
        return Session(Target(where, Credentials(user, "")), Endpoint(str(self.socket), 0))

    def _answers(self) -> bool:
        try:
            open_sql(self._session("root")).close()
        except DatabosunError:
            return False
        return True

    def _demand(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "the private server was never started"
            raise RuntimeError(msg)
        return self._process

    def _read_log(self) -> None:
        for raw in self._demand().stderr or ():
            self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))

    def _broken(self) -> DatabosunError:
        """What its end means."""
        if self._reader:
            self._reader.join(timeout=5.0)
        if any("No space left on device" in line or "errno: 28" in line for line in self._lines):
            message = f"the disk was full while the copy recovered ({self.said()}); raise podTemplate.scratch.size"
            return UserFault(Reason.SCRATCH_TOO_SMALL, message)
        return SafetyStop(Reason.RECOVERY_FAILED, f"the copy does not come up: {self.said() or 'it said nothing'}")
