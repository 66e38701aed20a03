"""MySQL for the conformance suite: as MariaDB, without what this release does not do for it."""

from __future__ import annotations

from dataclasses import dataclass

from pymysql.connections import Connection

from databosun.api.v1alpha1.database import EngineName
from support.mariasample import plain_content
from support.mariayard import MariaYard
from support.mysqlsample import numbers
from support.mysqlserver import mysql_bin
from support.recoverypod import RecoveryPod


@dataclass
class MySQLYard(MariaYard):
    """A filled server of MySQL."""

    name = EngineName.MYSQL

    def content_of(self, connection: Connection[object]) -> object:
        """Rows and definitions, by a session of any server."""
        return plain_content(connection)

    def change(self) -> None:
        """Rows, a table and a view more."""
        self.its.sql(
            "INSERT INTO customers (name, balance) VALUES ('later', 1);\n"
            "UPDATE orders SET note = 'changed' WHERE id < 20;\n"
            "CREATE VIEW latest AS SELECT MAX(id) AS id FROM customers;\n"
            "CREATE TABLE added (id INT PRIMARY KEY);\n"
            f"INSERT INTO added SELECT seq FROM {numbers(50)}",
            "shop",
        )

    def pod(self) -> RecoveryPod:
        """With the programs that were brought."""
        return self.fresh_pod(environment={"DATABOSUN_MYSQL_BIN": str(mysql_bin())})
