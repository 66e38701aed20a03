"""One server of our own: reachable over one socket in a private folder, acting for nobody, ended with this process."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import TLSMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault, WorldFault
from databosun.engines.base import Credentials, Target
from databosun.engines.mysql.connect import Endpoint, Session, open_sql, quote
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.recovery.facts import plugin_file
from databosun.engines.mysql.tools import environment_of, find_tool, run_tool, server_program
from databosun.engines.privateserver import PrivateProcess

_MIB = 1024**2
# A plug-in of the original's that checks passwords asks for one that nobody needs on a socket of ours.
_UNCHECKED = "SET GLOBAL strict_password_validation = 0;"


class PrivateServer(PrivateProcess):
    """Call `install`, `start`, then `connect`; `close` in the end."""

    def __init__(
        self,
        data: Path,
        dialect: Dialect,
        series: tuple[int, int],
        settings: Mapping[str, str],
        plugins: Sequence[str],
    ) -> None:
        super().__init__()
        self.dialect = dialect
        self.data = data
        self.socket = self.folder / "socket"
        self.temporary = data.parent / "tmp"  # as large as the largest index that is built
        self.admin = f"databosun-{secrets.token_hex(8)}"
        self.series = series
        self._probe_as = "root"
        self._settings = settings
        self._plugins = plugins

    def prepare(self) -> None:
        """For files that are there already: this server is told who its administrator is when it starts, and sees no
        plug-in but those that it is to load, whatever the files name."""
        self._write_configuration()
        with guarded(f"writing {self.folder}"):
            plugins = self.folder / "plugins"
            plugins.mkdir(mode=0o700)
            for name in self._plugins:
                if (path := plugin_file(self.dialect, name)) is not None:
                    (plugins / name).symlink_to(path)
            (self.folder / "init.sql").write_text("\n".join([_UNCHECKED, *(f"{one};" for one in self._taking_over())]))
            with self._configuration().open("a") as file:
                file.write(f"plugin-dir = {plugins}\ninit-file = {self.folder / 'init.sql'}\n")
        self._probe_as = self.admin

    def install(self, pulse: Callable[[], None]) -> None:
        """Make a new, empty data directory."""
        self._write_configuration()
        argv = [
            str(find_tool(self.dialect.installer, self.dialect)),
            f"--defaults-file={self._configuration()}",
            f"--datadir={self.data}",
            *self.dialect.install,
        ]
        try:
            run_tool(argv, self.folder, self.dialect, pulse, doing="making a new server")
        except WorldFault as fault:
            raise SafetyStop(Reason.RECOVERY_FAILED, fault.message) from fault

    def start(self, pulse: Callable[[], None]) -> None:
        """Start and wait until it answers. SafetyStop with its own words."""
        program, _ = server_program(self.dialect, self.series)
        argv = [str(program), f"--defaults-file={self._configuration()}"]
        self.run(argv, environment_of(self.folder, self.dialect), self._answers, pulse)

    def take_over(self, tablespaces: Mapping[str, int]) -> None:
        """Have an administrator of our own: the accounts of the backup replace the others, with passwords.

        No dump makes the tablespaces that its tables name.
        """
        connection = open_sql(self._session("root"), read_only=False)
        try:
            with guarded("preparing the copy"), connection.cursor() as cursor:
                for statement in (*self._taking_over(), *tablespace_statements(tablespaces)):
                    cursor.execute(statement)
        finally:
            connection.close()

    def _taking_over(self) -> tuple[str, ...]:
        whom = f"'{self.admin}'@'localhost'"
        rights = ("ALL PRIVILEGES ON *.*", f"PROXY ON {self.dialect.everyone}")
        return (f"CREATE USER {whom}", *(f"GRANT {what} TO {whom} WITH GRANT OPTION" for what in rights))

    def connect(self, *, read_only: bool = True) -> Connection[Any]:
        """The administrator's session over the socket."""
        return open_sql(self._session(self.admin), read_only=read_only)

    @property
    def client_arguments(self) -> list[str]:
        """For the server's own client."""
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

    def _write_configuration(self) -> None:
        with guarded(f"writing {self.folder}"):
            self.temporary.mkdir(mode=0o700)
            (self.folder / "files").mkdir(mode=0o700)
            self._configuration().write_text(self._written())

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
        lines += [*self.dialect.mine, *(f"plugin-load-add = {name}" for name in self._plugins)]
        return "\n".join([f"[{self.dialect.server}]", *lines]) + "\n"

    def _session(self, user: str) -> Session:
        where = DatabaseTarget(
            namespace="",
            name="copy",
            uid="",
            engine=self.dialect.engine,
            hosts=[str(self.socket)],
            port=0,
            tls=TLSMode.DISABLE,
        )
        return Session(Target(where, Credentials(user, "")), Endpoint(str(self.socket), 0))

    def _answers(self) -> bool:
        try:
            open_sql(self._session(self._probe_as)).close()
        except DatabosunError:
            return False
        return True


def tablespace_statements(tablespaces: Mapping[str, int]) -> list[str]:
    """To make them, each with a file that no name can lead out of the data directory; of 0 the block is the page."""
    return [
        f"CREATE TABLESPACE {quote(name)} ADD DATAFILE 'tablespace{number}.ibd'"
        + (f" FILE_BLOCK_SIZE = {block}" if block else "")
        for number, (name, block) in enumerate(tablespaces.items())
    ]
