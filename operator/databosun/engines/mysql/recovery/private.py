"""One server of our own: reachable over one socket in a private folder, acting for nobody, ended with this process."""

from __future__ import annotations

import secrets
import shutil
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
from databosun.engines.privateserver import PrivateProcess

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


class PrivateServer(PrivateProcess):
    """Call `install`, `start`, then `connect`; `close` in the end."""

    def __init__(
        self, data: Path, series: tuple[int, int], settings: Mapping[str, str], plugins: Sequence[str]
    ) -> None:
        super().__init__()
        self.data = data
        self.socket = self.folder / "socket"
        self.temporary = data.parent / "tmp"  # as large as the largest index that is built
        self.admin = f"databosun-{secrets.token_hex(8)}"
        self._series = series
        self._settings = settings
        self._plugins = plugins

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
        self.run(argv, environment_of(self.folder), self._answers, pulse)

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

    def close(self) -> None:
        """Kill it and remove its folders."""
        super().close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def tells(self, line: str) -> bool:
        """Errors and warnings."""
        return "[ERROR]" in line or "[Warning]" in line

    def broken(self, code: int | None) -> DatabosunError:
        """What its end means."""
        if any("No space left on device" in line or "errno: 28" in line for line in self._lines):
            message = f"the disk was full while the copy recovered ({self.said()}); raise podTemplate.scratch.size"
            return UserFault(Reason.SCRATCH_TOO_SMALL, message)
        return super().broken(code)

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
