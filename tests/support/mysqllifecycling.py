"""Lifecycle rules on a real server of MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.lifecycle import Batch
from databosun.engines.mysql.lifecycle.rows import MySQLRows
from support import mysqlsample, rulekeeping
from support.mariaserver import PASSWORD, MariaServer
from support.rulekeeping import DATABASE, ROLE

_TEXT = PASSWORD.replace("\\", "\\\\").replace("'", "''")
ORDERS = """
CREATE TABLE orders (
    id BIGINT PRIMARY KEY, created_at TIMESTAMP(6) NULL, status VARCHAR(20) NOT NULL, customer INT,
    amount DECIMAL(30, 10), weight DOUBLE, small FLOAT, `blob` VARBINARY(16), doc JSON, bits BIT(9),
    kind ENUM('b', 'a'), said TEXT CHARACTER SET latin1, closed BOOLEAN GENERATED ALWAYS AS (status = 'closed') STORED);
INSERT INTO orders (id, created_at, status, customer, amount, weight, small, `blob`, doc, bits, kind, said)
SELECT seq, TIMESTAMP '2026-03-01 12:00:00' - INTERVAL (seq % 200) DAY - INTERVAL 1 HOUR,
    IF(seq % 3 = 0, 'open', 'closed'), seq % 50, seq / 7, seq / 3e0, seq / 3e0, UNHEX(LEFT(SHA2(seq, 256), 32)),
    CONCAT('{"a": ', seq, ',\\n\\t"b": "x\\\\ny"}'), seq % 512, IF(seq % 2, 'a', 'b'), CONCAT('ä''\\\\\\n\\t', seq)
FROM {numbers}
"""
GRANTS = f"""
CREATE OR REPLACE USER {ROLE}@'%' IDENTIFIED BY '{_TEXT}';
GRANT SELECT, UPDATE, DELETE, TRIGGER ON {DATABASE}.* TO {ROLE}@'%';
GRANT PROCESS ON *.* TO {ROLE}@'%';
"""


class MariaKeeper(rulekeeping.Keeper[MariaServer]):
    """Of MariaDB."""

    engine = EngineName.MARIADB
    instant = "DATETIME(6)"
    within = DATABASE

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """As the owner of the table; statements are apart at `;`."""
        return self.server.sql(statement.replace("; ", ";\n"), DATABASE)

    def run_whole(self, statement: str, schema: str = DATABASE) -> None:
        """One statement, in which a `;` may be."""
        connection = self.server.connect(schema)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def load(self, text: bytes, schema: str) -> None:
        """Statements of an archive, as the server's own client is given them."""
        self.server.sql(text.decode(), schema)

    def at(self, instant: str) -> str:
        """An instant in UTC, as SQL."""
        return f"TIMESTAMP '{instant}:00'"

    def cut(self) -> None:
        """End the agent's sessions at the server."""
        for (thread,) in self.sql(f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{ROLE}'"):
            with suppress(pymysql.MySQLError):  # it has ended meanwhile
                self.sql(f"KILL {thread}")

    @contextmanager
    def writing(self) -> Iterator[Callable[[int, int], bool]]:
        """A session of an application that sets the customer of an order, and says whether the order was there."""
        change = "UPDATE orders SET customer = %s WHERE id = %s"
        connection = self.server.connect(DATABASE)
        try:
            with connection.cursor() as cursor:
                yield lambda order, customer: bool(cursor.execute(change, (customer, order)))
        finally:
            connection.close()

    def numbers(self, last: int) -> str:
        """A table with the numbers from 1 on, in its column `seq`."""
        return f"seq_1_to_{last} AS numbers"


class MySQLKeeper(MariaKeeper):
    """Of MySQL."""

    engine = EngineName.MYSQL

    def numbers(self, last: int) -> str:
        """A table with the numbers from 1 on, in its column `seq`."""
        return mysqlsample.numbers(last)


def prepare(server: MariaServer, numbers: str) -> None:
    """A schema with a table of orders, and a login that may do what the documentation says, and no more."""
    server.sql("SET GLOBAL time_zone = '+00:00'")
    server.sql(f"DROP DATABASE IF EXISTS {DATABASE}")
    server.sql(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")
    server.sql(ORDERS.replace("{numbers}", numbers), DATABASE)
    server.sql(f"DROP USER IF EXISTS {ROLE}@'%'")
    server.sql(GRANTS.replace("CREATE OR REPLACE USER", "CREATE USER"))


def after_steps(monkeypatch: pytest.MonkeyPatch, method: str, do: Callable[[int], Any]) -> None:
    """Do something after each committed step."""
    original, count = getattr(MySQLRows, method), [0]

    def stepped(self: MySQLRows, *arguments: Any) -> Batch:
        batch: Batch = original(self, *arguments)
        count[0] += 1
        do(count[0])
        return batch

    monkeypatch.setattr(MySQLRows, method, stepped)
