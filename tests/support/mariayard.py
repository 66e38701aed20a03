"""MariaDB for the conformance suite."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.drill import Check, CheckType
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName
from support.engineyard import EngineYard
from support.mariasample import content
from support.mariaserver import BACKUP_USER, PASSWORD, MariaServer
from support.pgserver import hand_over, identity
from support.recoverypod import RecoveryPod

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class MariaYard(EngineYard):
    """A filled server of MariaDB."""

    server: MariaServer | None = None
    name = EngineName.MARIADB
    method = Method.LOGICAL
    username = BACKUP_USER
    password = PASSWORD
    incremental = True

    @property
    def server_program(self) -> str:
        """What a copy that is made by hand runs."""
        return self.its.program

    def content_of(self, connection: Connection[Any]) -> object:
        """Rows and definitions, by a session of any server."""
        return content(connection)

    @property
    def its(self) -> MariaServer:
        """The server."""
        assert self.server is not None
        return self.server

    @property
    def port(self) -> int:
        """Of the server."""
        return self.its.port

    def contents(self) -> object:
        """Rows and definitions."""
        return self.contents_of(self.its)

    def contents_of(self, server: MariaServer) -> object:
        """Rows and definitions."""
        connection = server.connect()
        try:
            return self.content_of(connection)
        finally:
            connection.close()

    def change(self) -> None:
        """Rows, a table and a view more."""
        self.its.sql(
            "INSERT INTO customers (name, balance) VALUES ('later', 1);\n"
            "UPDATE orders SET note = 'changed' WHERE id < 20;\n"
            "CREATE OR REPLACE VIEW latest AS SELECT MAX(id) AS id FROM customers;\n"
            "CREATE OR REPLACE TABLE added (id INT PRIMARY KEY);\n"
            "INSERT INTO added SELECT seq FROM seq_1_to_50",
            "shop",
        )

    def write_all_sorts(self) -> None:
        """What a log has in more than one form."""
        self.its.sql(
            "CREATE TABLE parts ENGINE = InnoDB AS SELECT seq AS id, MD5(seq) AS v FROM seq_1_to_3000;\n"
            "BEGIN;\nINSERT INTO nothing VALUES (1);\nSAVEPOINT s;\nINSERT INTO nothing VALUES (2);\n"
            "ROLLBACK TO s;\nCOMMIT;\n"
            "CREATE TEMPORARY TABLE tmp AS SELECT 1 AS i;\nINSERT INTO nothing SELECT i + 6 FROM tmp;\n"
            "CALL pay(3);\nSELECT NEXTVAL(numbers);\nALTER TABLE nothing ADD COLUMN more INT DEFAULT 5",
            "shop",
        )

    def roll(self) -> None:
        """The file is ended."""
        self.its.sql("FLUSH BINARY LOGS;\nINSERT INTO shop.nothing VALUES (77)")

    def sessions(self) -> int:
        """Of the backup's account."""
        query = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{BACKUP_USER}'"
        return int(self.its.sql(query)[0][0])

    def broken_query(self) -> Check:
        """Of rows that are not there."""
        return self.good_query().model_copy(update={"value": "1"})

    def good_query(self) -> Check:
        """Of rows that are."""
        return Check(
            name="customers", type=CheckType.QUERY, database="shop", query="SELECT COUNT(*) FROM odd", value="2"
        )

    @contextmanager
    def served(self, data: Path) -> Iterator[object]:
        """Started as a StatefulSet would, by its own configuration."""
        other = type(self.its)()
        try:
            other.data = data
            other.configure()
            hand_over(data)
            other.start()
            yield self.contents_of(other)
        finally:
            other.remove()

    @contextmanager
    def followed(self, markdown: str, folder: Path) -> Iterator[object]:
        """In one shell, by the user that owns the server."""
        with followed(markdown, folder, self.server_program) as (socket, _):
            connection = pymysql.connect(unix_socket=socket, user="restorer", charset="utf8mb4", ssl_disabled=True)
            try:
                yield self.content_of(connection)
            finally:
                connection.close()

    def pod(self) -> RecoveryPod:
        """With Debian's programs."""
        return self.fresh_pod()


@dataclass
class MariaFilesYard(MariaYard):
    """The same, by copies of its files, for which the account may a little more."""

    method = Method.PHYSICAL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.its.sql(f"GRANT RELOAD, PROCESS ON *.* TO '{BACKUP_USER}'@'%'")

    def database(self, *, port: int | None = None) -> DatabaseTarget:
        """With its data directory at hand."""
        return super().database(port=port).model_copy(update={"data_mount": str(self.its.folder)})


@contextmanager
def followed(markdown: str, folder: Path, program: str = MariaServer.program) -> Iterator[tuple[str, str]]:
    """Follow a RESTORE.md: the copy's socket, and what was printed. The copy is ended in the end."""
    blocks = _BLOCK.findall(markdown)
    assert blocks, "the document has no commands"
    script = folder / "restore.sh"
    script.write_text("\n".join(blocks) + '\nprintf "%s\\n" "$PRIVATE/socket" > done\n')
    folder.chmod(0o755)
    hand_over(folder)
    said = folder / "said"
    try:
        with said.open("w") as file:
            done = subprocess.run(
                ["bash", script.name],
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(folder),
                    "LC_ALL": "C.UTF-8",
                    "MYSQL_BIN": str(Path(program).parent),
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=300,
                check=False,
                **identity(),
            )
        output = said.read_text()
        assert done.returncode == 0, f"following the document failed:\n{output[-6000:]}"
        yield (folder / "done").read_text().strip(), output
    finally:
        _end_servers_below(folder, Path(program).name)


def _end_servers_below(folder: Path, program: str) -> None:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                here = Path(os.readlink(entry / "cwd"))
            except OSError:
                continue
            if program.encode() in command and here.is_relative_to(folder):
                os.kill(int(entry.name), signal.SIGKILL)
