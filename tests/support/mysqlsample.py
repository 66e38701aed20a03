"""A small database of MySQL with a bit of everything that dumps get wrong."""

from __future__ import annotations

from support.mariasample import ODD_SCHEMA
from support.mariaserver import BACKUP_USER, PASSWORD
from support.mysqlserver import MySQLServer

_TEXT = PASSWORD.replace("\\", "\\\\").replace("'", "''")
PRIVILEGES = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "RELOAD", "PROCESS", "REPLICATION CLIENT")


def numbers(last: int) -> str:
    """A table with the numbers from 1 on, in its column `seq`."""
    row = f"CONCAT('[0', REPEAT(',0', {last - 1}), ']')"
    return f"JSON_TABLE({row}, '$[*]' COLUMNS (seq FOR ORDINALITY)) AS numbers"


ACCOUNTS = f"""
CREATE USER '{BACKUP_USER}'@'%' IDENTIFIED BY '{_TEXT}';
GRANT {", ".join(PRIVILEGES)}, REPLICATION SLAVE ON *.* TO '{BACKUP_USER}'@'%';
CREATE USER 'limited'@'%' IDENTIFIED BY '{_TEXT}';
CREATE ROLE reader;
CREATE USER 'app'@'127.0.0.1' IDENTIFIED BY 'app secret';
GRANT reader TO 'app'@'127.0.0.1';
ALTER USER 'app'@'127.0.0.1' DEFAULT ROLE reader;
"""

SHOP = f"""
CREATE TABLE customers (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL, born DATE,
  balance DECIMAL(12, 2), seen TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6), KEY (name), KEY up ((UPPER(name))));
INSERT INTO customers (id, name, born, balance, seen)
  SELECT seq, CONCAT('name ', seq), DATE '1970-01-01' + INTERVAL seq DAY, seq / 7, '2026-01-01 00:00:00.123456'
  FROM {numbers(2000)};
CREATE TABLE orders (id INT PRIMARY KEY, customer BIGINT NOT NULL, total DECIMAL(10, 2) CHECK (total >= 0),
  note TEXT CHARACTER SET latin1, twice INT GENERATED ALWAYS AS (id * 2) VIRTUAL,
  kept INT GENERATED ALWAYS AS (id * 3) STORED,
  CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE RESTRICT);
INSERT INTO orders (id, customer, total, note)
  SELECT seq, 1 + seq % 2000, seq, CONCAT('note\\nä ', seq) FROM {numbers(500)};
CREATE TABLESPACE `a room` ADD DATAFILE 'room.ibd';
CREATE TABLE odd (id INT PRIMARY KEY, b BLOB, bits BIT(9), e ENUM('a', 'b'), s SET('x', 'y'), f FLOAT, d DOUBLE,
  place POINT SRID 4326, doc JSON, v VECTOR(3), t TIME(3), y YEAR, blank VARCHAR(9), hidden INT INVISIBLE DEFAULT 4)
  TABLESPACE `a room`;
INSERT INTO odd VALUES (1, x'00ff270d0a5c', b'101', 'a', 'x,y', 0.1, 1e300, ST_SRID(POINT(1, 2), 4326), '{{"a": 1.5}}',
  TO_VECTOR('[1, 2, 0.1]'), '01:02:03.456', 2026, ''), (2, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE events (id INT NOT NULL, at DATETIME NOT NULL, body VARBINARY(99), PRIMARY KEY (id, at))
  PARTITION BY RANGE (YEAR(at)) (PARTITION p25 VALUES LESS THAN (2026), PARTITION p26 VALUES LESS THAN (2027));
INSERT INTO events SELECT seq, TIMESTAMP '2025-12-30 00:00:00' + INTERVAL seq HOUR, HEX(seq) FROM {numbers(100)};
CREATE TABLE nothing (id INT);
CREATE TABLE keyless (v VARCHAR(10));
INSERT INTO keyless VALUES ('a'), ('a'), (NULL), ('');
CREATE VIEW rich AS SELECT id, name FROM customers WHERE balance > 100;
CREATE VIEW richer AS SELECT id FROM rich WHERE id > 1500;
CREATE TRIGGER touched BEFORE UPDATE ON customers FOR EACH ROW SET NEW.name = CONCAT(NEW.name, '');
CREATE PROCEDURE pay(IN who BIGINT) UPDATE customers SET balance = balance - 1 WHERE id = who;
CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC RETURN n * 2;
CREATE EVENT cleanup ON SCHEDULE EVERY 1 SECOND DO DELETE FROM customers;
CREATE TABLE gone (id INT);
GRANT SELECT ON shop.gone TO 'app'@'127.0.0.1';
DROP TABLE gone;
GRANT SELECT ON shop.* TO reader;
"""


def fill(server: MySQLServer) -> None:
    """Accounts and two schemas."""
    server.sql(ACCOUNTS)
    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4")
    server.sql(f"CREATE DATABASE `{ODD_SCHEMA.replace('`', '``')}` CHARACTER SET latin1")
    server.sql(SHOP, "shop")
    server.sql("CREATE TABLE `t ``1` (v TEXT);\nINSERT INTO `t ``1` VALUES ('x')", ODD_SCHEMA)
