"""A small database with a bit of everything that dumps get wrong, and a way to compare two of them."""

from __future__ import annotations

import hashlib
from typing import Any

from pymysql.connections import Connection

from support.mariaserver import BACKUP_USER, PASSWORD, MariaServer

ODD_SCHEMA = "Od'd `one` = x"
_TEXT = PASSWORD.replace("\\", "\\\\").replace("'", "''")
GRANTS = "SELECT, SHOW VIEW, TRIGGER, EVENT, REPLICATION SLAVE, BINLOG MONITOR"

ACCOUNTS = f"""
CREATE USER '{BACKUP_USER}'@'%' IDENTIFIED BY '{_TEXT}';
GRANT {GRANTS} ON *.* TO '{BACKUP_USER}'@'%';
CREATE USER 'limited'@'%' IDENTIFIED BY '{_TEXT}';
CREATE USER 'app'@'10.%' IDENTIFIED BY 'app secret';
CREATE ROLE reader;
GRANT reader TO 'app'@'10.%';
"""

SHOP = """
CREATE TABLE customers (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL, born DATE,
  balance DECIMAL(12, 2), seen TIMESTAMP(6) NULL, KEY (name));
INSERT INTO customers (id, name, born, balance, seen)
  SELECT seq, CONCAT('name ', seq), DATE '1970-01-01' + INTERVAL seq DAY, seq / 7, '2026-01-01 00:00:00.123456'
  FROM seq_1_to_2000;
CREATE TABLE orders (id INT PRIMARY KEY, customer BIGINT NOT NULL, total DECIMAL(10, 2) CHECK (total >= 0),
  note TEXT CHARACTER SET latin1, twice INT GENERATED ALWAYS AS (id * 2) VIRTUAL,
  CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE RESTRICT);
INSERT INTO orders (id, customer, total, note)
  SELECT seq, 1 + seq % 2000, seq, CONCAT('note\\nä ', seq) FROM seq_1_to_500;
CREATE TABLE odd (id INT PRIMARY KEY, b BLOB, bits BIT(9), e ENUM('a', 'b'), s SET('x', 'y'), f FLOAT, d DOUBLE,
  place POINT, doc JSON, u UUID, i6 INET6, t TIME(3), y YEAR, empty VARCHAR(9), hidden INT INVISIBLE DEFAULT 4)
  ROW_FORMAT = COMPRESSED;
INSERT INTO odd VALUES (1, x'00ff270d0a5c', b'101', 'a', 'x,y', 0.1, 1e300, POINT(1, 2), '{"a": 1}',
  'f840ca44-eb5d-11f1-a73f-02fc00000001', '::1', '01:02:03.456', 2026, ''), (2, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE events (id INT NOT NULL, at DATETIME NOT NULL, body VARBINARY(99), PRIMARY KEY (id, at))
  PARTITION BY RANGE (YEAR(at)) (PARTITION p25 VALUES LESS THAN (2026), PARTITION p26 VALUES LESS THAN (2027));
INSERT INTO events SELECT seq, TIMESTAMP '2025-12-30 00:00:00' + INTERVAL seq HOUR, MD5(seq) FROM seq_1_to_100;
CREATE TABLE nothing (id INT);
CREATE TABLE keyless (v VARCHAR(10));
INSERT INTO keyless VALUES ('a'), ('a'), (NULL), ('');
CREATE SEQUENCE numbers START WITH 10;
SELECT NEXTVAL(numbers);
CREATE VIEW rich AS SELECT id, name FROM customers WHERE balance > 100;
CREATE VIEW richer AS SELECT id FROM rich WHERE id > 1500;
CREATE TRIGGER touched BEFORE UPDATE ON customers FOR EACH ROW SET NEW.name = CONCAT(NEW.name, '');
CREATE PROCEDURE pay(IN who BIGINT) UPDATE customers SET balance = balance - 1 WHERE id = who;
CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
CREATE EVENT cleanup ON SCHEDULE EVERY 1 SECOND DO DELETE FROM customers;
"""

_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') AND TABLE_TYPE = 'BASE TABLE'
ORDER BY 1, 2
"""
# Of a vector the driver makes text, which it is not.
_COLUMNS = """
SELECT REPLACE(COLUMN_NAME, '`', '``'), DATA_TYPE FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
_THINGS = """
SELECT 'view', TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS
  WHERE TABLE_SCHEMA = 'shop'
UNION ALL SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS
  WHERE TRIGGER_SCHEMA = 'shop'
UNION ALL SELECT 'routine', ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES
  WHERE ROUTINE_SCHEMA = 'shop'
UNION ALL SELECT 'event', EVENT_NAME, EVENT_DEFINITION FROM information_schema.EVENTS
  WHERE EVENT_SCHEMA = 'shop'
ORDER BY 1, 2
"""


def fill(server: MariaServer) -> None:
    """Accounts and two schemas."""
    server.sql(ACCOUNTS)
    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4")
    server.sql(f"CREATE DATABASE `{ODD_SCHEMA.replace('`', '``')}` CHARACTER SET latin1")
    server.sql(SHOP, "shop")
    server.sql("CREATE TABLE `t ``1` (v TEXT);\nINSERT INTO `t ``1` VALUES ('x')", ODD_SCHEMA)


def content(connection: Connection[Any]) -> dict[str, Any]:
    """Rows of each table and what else there is, by the plainest means: independent of the engine's fingerprints."""
    found = plain_content(connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT NEXT_NOT_CACHED_VALUE FROM shop.numbers")
        found["sequence"] = list(cursor.fetchall())
    return found


def plain_content(connection: Connection[Any]) -> dict[str, Any]:
    """What MySQL has as well."""
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute(_TABLES)
        for schema, table in list(cursor.fetchall()):
            name = f"`{schema.replace('`', '``')}`.`{table.replace('`', '``')}`"
            cursor.execute(_COLUMNS, (schema, table))
            columns = ", ".join(f"HEX(`{one}`)" if kind == "vector" else f"`{one}`" for one, kind in cursor.fetchall())
            cursor.execute(f"SELECT {columns} FROM {name}")
            rows = sorted(repr(row) for row in cursor.fetchall())
            found[f"{schema}.{table}"] = (len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest())
        cursor.execute(_THINGS)
        found["things"] = list(cursor.fetchall())
    return found


def contents(server: MariaServer) -> dict[str, Any]:
    """`content` of a server."""
    connection = server.connect()
    try:
        return content(connection)
    finally:
        connection.close()
