"""PostgreSQL for the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from databosun.api.drill import Check, CheckType
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName
from support.engineyard import EngineYard
from support.pgsample import BACKUP_ROLE, ODD_DATABASE, content, contents
from support.pgserver import PASSWORD, Server, hand_over
from support.recoverypod import RecoveryPod
from support.restoredoc import followed


@dataclass
class PostgreSQLYard(EngineYard):
    """A filled server of PostgreSQL."""

    server: Server | None = None
    name = EngineName.POSTGRESQL
    method = Method.PHYSICAL
    username = BACKUP_ROLE
    password = PASSWORD
    incremental = True

    @property
    def its(self) -> Server:
        """The server."""
        assert self.server is not None
        return self.server

    @property
    def port(self) -> int:
        """Of the server."""
        return self.its.port

    def contents(self) -> object:
        """Rows of both databases."""
        return contents(self.its)

    def change(self) -> None:
        """Rows and a table more."""
        self.its.sql(
            "INSERT INTO customers SELECT i, 'later', NULL, NULL, 1 FROM generate_series(5001, 5050) AS i;"
            "UPDATE customers SET name = 'changed' WHERE id < 20;"
            "CREATE TABLE added AS SELECT generate_series(1, 50) AS id",
            "shop",
        )

    def roll(self) -> None:
        """The rest of the segment is left empty."""
        self.its.sql("SELECT pg_switch_wal()")
        self.its.sql("SELECT pg_logical_emit_message(true, 'test', 'in the next segment')")

    def sessions(self) -> int:
        """Of the backup's role."""
        return int(self.its.sql(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{BACKUP_ROLE}'")[0][0])

    def good_query(self) -> Check:
        """Of rows that are there."""
        query = 'SELECT count(*) FROM "Odd schema"."Od\'d ""table"'
        return Check(name="odd", type=CheckType.QUERY, database="shop", query=query, value="300")

    def broken_query(self) -> Check:
        """Of rows that are not."""
        return self.good_query().model_copy(update={"value": "1"})

    @contextmanager
    def served(self, data: Path) -> Iterator[object]:
        """Started as a StatefulSet would, by its own configuration."""
        other = Server(self.its.major)
        try:
            other.data = data
            other.configure()
            hand_over(data)
            other.start()
            yield contents(other)
        finally:
            other.remove()

    @contextmanager
    def followed(self, markdown: str, folder: Path) -> Iterator[object]:
        """In one shell, by the user that owns the server."""
        with followed(markdown, folder, self.its.bin) as copy:
            found = {}
            for dbname in ("shop", ODD_DATABASE):
                with copy.connect(dbname) as connection:
                    found[dbname] = content(connection)
            yield found

    def pod(self) -> RecoveryPod:
        """With the programs of the server's major."""
        return self.fresh_pod(bin_folder=self.its.bin)
