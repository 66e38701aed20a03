"""Real MariaDB servers for tests: on loopback and a Unix socket in a folder of their own, never as root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from support.pgserver import free_port, hand_over, identity, open_folder
from support.waiting import eventually

PASSWORD = "it's: a \\ secret"
BACKUP_USER = "backup"
_SETTINGS = {
    "bind-address": "127.0.0.1",
    "innodb-buffer-pool-size": "64M",
    "innodb-log-file-size": "64M",
    "innodb-flush-log-at-trx-commit": "0",
    "performance-schema": "OFF",
    "log-bin": "bin",
    "server-id": "7",
    "binlog-format": "ROW",
    "skip-name-resolve": "ON",
}


class MariaServer:
    """One server. `stop` it in the end; `remove` deletes its folder. `origin`: one that was never started, whose data
    directory is copied, which takes no time."""

    program = "/usr/sbin/mariadbd"
    installer: tuple[str, ...] = ("mariadb-install-db", "--auth-root-authentication-method=normal", "--skip-test-db")
    defaults: Mapping[str, str] = _SETTINGS

    def __init__(self, *, settings: Mapping[str, str] | None = None, origin: MariaServer | None = None) -> None:
        self.origin = origin
        self.folder = open_folder("maria")
        self.data = self.folder / "data"
        self.port = free_port()
        self.socket = self.folder / "socket"
        self.settings = {**self.defaults, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def init(self) -> None:
        """Make the data directory."""
        self.configure()
        if self.origin is not None:
            shutil.copytree(self.origin.data, self.data)
            hand_over(self.folder)
            return
        program, *more = self.installer
        argv = [program, f"--defaults-file={self._file}", f"--datadir={self.data}", *more]
        done = subprocess.run(argv, capture_output=True, text=True, env=_environment(self.folder), timeout=120,
                              cwd=self.folder, **identity())  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def configure(self, **more: str) -> None:
        """Write the configuration; `more` overrides for good."""
        self.settings |= {name.replace("_", "-"): value for name, value in more.items()}
        settings = {
            "datadir": str(self.data),
            "socket": str(self.socket),
            "port": str(self.port),
            "pid-file": str(self.folder / "pid"),
            "tmpdir": str(self.folder / "tmp"),  # each removes what it finds in its own at its start
            **self.settings,
        }
        (self.folder / "tmp").mkdir(exist_ok=True)
        lines = [f"{name} = {value}" if value else name for name, value in settings.items()]
        self._file.write_text("\n".join([f"[{Path(self.program).name}]", *lines]) + "\n")
        hand_over(self.folder)

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, f"--defaults-file={self._file}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(self.folder),
                cwd=self.folder,
                start_new_session=True,
                **identity(),
            )
        process = self._process

        def answers() -> bool:
            assert process.poll() is None, (self.folder / "log").read_text()[-4000:]
            try:
                self.connect().close()
            except pymysql.MySQLError:
                return False
            return True

        eventually("the server answers", answers, 240)

    def stop(self) -> None:
        """Stop cleanly; harmless where it does not run."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=60)

    def kill(self) -> None:
        """End it without warning, as a lost node does."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def runs(self) -> bool:
        """Whether its process does."""
        return self._process is not None and self._process.poll() is None

    def remove(self) -> None:
        """Kill and delete."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, schema: str | None = None, **more: Any) -> Connection[Any]:
        """A session of root over the Unix socket."""
        given = {"unix_socket": str(self.socket), "user": "root", "database": schema, "charset": "utf8mb4", **more}
        return pymysql.connect(autocommit=True, ssl_disabled=True, **given)

    def sql(self, statements: str, schema: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements, apart at lines that end with `;`; the rows of the last one."""
        connection = self.connect(schema)
        rows: list[tuple[Any, ...]] = []
        try:
            with connection.cursor() as cursor:
                for statement in statements.split(";\n"):
                    if statement.strip(" ;\n"):
                        cursor.execute(statement.strip().rstrip(";"))
                        rows = list(cursor.fetchall())
        finally:
            connection.close()
        return rows

    def position(self) -> tuple[str, int]:
        """File and position of the binary log."""
        ((file, position, *_),) = self.sql("SHOW MASTER STATUS")
        return str(file), int(position)

    def transaction(self) -> str:
        """The newest one's name."""
        ((newest,),) = self.sql("SELECT @@gtid_binlog_pos")
        return str(newest)

    def begin_log_anew(self) -> None:
        """Forget the log and its transactions."""
        self.sql("RESET MASTER")

    def replica(self, *, port: int, **settings: str) -> MariaServer:
        """A replica of this server, started, that has all it wrote. It is made from its log, so that must be whole."""
        other = MariaServer(
            settings={**self.settings, "server-id": "8", "read-only": "ON", "log-slave-updates": "ON", **settings},
            origin=self.origin,
        )
        other.port = port
        other.init()
        other.start()
        self.sql("CREATE OR REPLACE USER repl@'127.0.0.1' IDENTIFIED BY 'r'")
        self.sql("GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'")
        other.sql(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={self.port}, MASTER_USER='repl', "
            "MASTER_PASSWORD='r', MASTER_USE_GTID=slave_pos"
        )
        other.sql("START SLAVE")
        self.wait_for(other)
        return other

    def wait_for(self, other: MariaServer) -> None:
        """Until a replica has all that this server wrote."""
        ((wanted,),) = self.sql("SELECT @@gtid_binlog_pos")
        eventually(
            "the replica has it all", lambda: other.sql(f"SELECT MASTER_GTID_WAIT('{wanted}', 1)") == [(0,)], 240
        )

    @property
    def _file(self) -> Path:
        return self.folder / "my.cnf"


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def wait_a_second() -> None:
    """Let the server's clock, which counts binary logs in whole seconds, go on."""
    now = int(time.time())
    eventually("a second has passed", lambda: int(time.time()) > now)
