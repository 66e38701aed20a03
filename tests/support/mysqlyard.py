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

    def write_all_sorts(self) -> None:
        """What a log has in more than one form: compressed, in part, prepared, tagged, of no transactional table."""
        self.its.sql(
            f"CREATE TABLE parts AS SELECT seq AS id, SHA2(seq, 224) AS v FROM {numbers(900)};\n"
            "BEGIN;\nINSERT INTO nothing VALUES (1);\nSAVEPOINT s;\nINSERT INTO nothing VALUES (2);\n"
            "ROLLBACK TO s;\nCOMMIT;\n"
            "CREATE TEMPORARY TABLE tmp AS SELECT 1 AS i;\nINSERT INTO nothing SELECT i + 6 FROM tmp;\n"
            "SET SESSION binlog_transaction_compression = ON;\nUPDATE customers SET name = REPEAT(name, 2);\n"
            "SET SESSION binlog_transaction_compression = OFF, binlog_row_image = 'MINIMAL';\n"
            "CALL pay(3);\nSET SESSION binlog_row_value_options = 'PARTIAL_JSON';\n"
            "UPDATE odd SET doc = JSON_SET(doc, '$.b', 2) WHERE id = 1;\n"
            "XA START 'x';\nINSERT INTO nothing VALUES (3);\nXA END 'x';\nXA PREPARE 'x';\n"
            "INSERT INTO nothing VALUES (8);\nXA COMMIT 'x';\n"
            "XA START 'y';\nINSERT INTO nothing VALUES (4);\nXA END 'y';\nXA COMMIT 'y' ONE PHASE;\n"
            "SET SESSION gtid_next = 'AUTOMATIC:mine';\nINSERT INTO nothing VALUES (5);\n"
            "SET SESSION gtid_next = 'AUTOMATIC', timestamp = 1000;\nINSERT INTO nothing VALUES (6);\n"
            "CREATE TABLE loose (i INT) ENGINE = MyISAM;\nINSERT INTO loose VALUES (1), (2);\nDROP TABLE loose;\n"
            "ALTER TABLE nothing ADD COLUMN more INT DEFAULT 5",
            "shop",
        )

    def pod(self) -> RecoveryPod:
        """With the programs that were brought."""
        return self.fresh_pod(environment={"DATABOSUN_MYSQL_BIN": str(mysql_bin())})
