"""People in a server of MariaDB or MySQL, and the pod beside it that erases one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import ActionType, ForeignKeys, MaskMethod, MaskOrder, RuleOrder
from databosun.api.targets import DatabaseTarget
from databosun.engines.mysql import ENGINE
from support.erasing import ERASER, PEOPLE, SUBJECT, Forgetter, rule
from support.mariaserver import BACKUP_USER, PASSWORD, MariaServer

_TEXT = PASSWORD.replace("\\", "\\\\").replace("'", "''")
# As those of PostgreSQL: rows that follow by a key, rows that let go of one, rows that only repeat the address.
TABLES = f"""
CREATE TABLE customers (id BIGINT PRIMARY KEY, email VARCHAR(200) NOT NULL UNIQUE, name TEXT);
CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT NOT NULL, note TEXT,
    FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE);
CREATE TABLE `lines` (id BIGINT PRIMARY KEY, `order` BIGINT NOT NULL, what TEXT,
    FOREIGN KEY (`order`) REFERENCES orders (id));
CREATE TABLE visits (id BIGINT PRIMARY KEY, customer BIGINT, at TIMESTAMP NOT NULL DEFAULT '2024-01-01 00:00:00'
    ON UPDATE CURRENT_TIMESTAMP, FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE SET NULL);
CREATE TABLE letters (id BIGINT, sent DATE, email VARCHAR(200) CHARACTER SET latin1, body TEXT, PRIMARY KEY (id, sent))
    PARTITION BY RANGE COLUMNS (sent) (PARTITION old VALUES LESS THAN ('2025-01-01'),
    PARTITION new VALUES LESS THAN MAXVALUE);
CREATE TABLE told (email VARCHAR(200));
INSERT INTO customers SELECT seq, CONCAT('person', seq, '@example.org'), CONCAT('Person ', seq) FROM {{numbers(500)}};
INSERT INTO customers VALUES (1815, '{SUBJECT}', 'Ada');
INSERT INTO orders SELECT seq, 1 + seq % 500, 'n' FROM {{numbers(900)}};
INSERT INTO orders SELECT 10000 + seq, 1815, 'hers' FROM {{numbers(7)}};
INSERT INTO `lines` SELECT seq, seq, 'w' FROM {{numbers(900)}};
INSERT INTO `lines` SELECT 10000 + seq, 10000 + seq, 'hers' FROM {{numbers(7)}};
INSERT INTO visits (id, customer) SELECT seq, 1 + seq % 500 FROM {{numbers(300)}};
INSERT INTO visits (id, customer) VALUES (1815, 1815), (1816, NULL);
INSERT INTO letters SELECT seq, DATE '2024-06-01' + INTERVAL seq DAY, CONCAT('person', seq, '@example.org'), 'b'
    FROM {{numbers(400)}};
INSERT INTO letters VALUES (1815, '2024-01-01', '{SUBJECT}', 'dear Ada'), (1816, '2026-01-01', '{SUBJECT}', 'dear Ada'),
    (1817, '2026-01-01', NULL, 'to nobody')
"""
GRANTS = f"""
CREATE USER {ERASER}@'%' IDENTIFIED BY '{_TEXT}';
GRANT SELECT, UPDATE, DELETE, TRIGGER ON {PEOPLE}.* TO {ERASER}@'%';
GRANT PROCESS ON *.* TO {ERASER}@'%';
GRANT SELECT, SHOW VIEW ON *.* TO {ERASER}@'%'
"""
# What would tell of a deleted row, or keep a changed one as it was, in texts of another mode and of other characters.
TRIGGERS = (
    "SET sql_mode = 'ANSI_QUOTES', NAMES latin1",
    'CREATE TRIGGER telling BEFORE DELETE ON customers FOR EACH ROW INSERT INTO "told" VALUES (OLD.email)',
    "CREATE TRIGGER refusing AFTER DELETE ON orders FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'n\u00f6'",
    "CREATE TRIGGER keeping BEFORE UPDATE ON letters FOR EACH ROW SET NEW.email = OLD.email",
    "CREATE TRIGGER keeping_too BEFORE UPDATE ON letters FOR EACH ROW FOLLOWS keeping SET NEW.body = OLD.body",
)
LEFT = {
    "customers": 500, "orders": 900, "lines": 900, "visits": 302, "letters": 403, "hers": 0, "lost": 0, "told": 0,
}  # fmt: skip


def populate(server: MariaServer, numbers: Any) -> None:
    """The schema anew, and the logins that erase and back up, which may do what the documentation says, and no more."""
    server.sql(f"DROP DATABASE IF EXISTS {PEOPLE};\nCREATE DATABASE {PEOPLE} CHARACTER SET utf8mb4")
    text = TABLES
    for last in (500, 900, 7, 300, 400):
        text = text.replace(f"{{numbers({last})}}", numbers(last))
    server.sql(text, PEOPLE)
    server.sql(f"DROP USER IF EXISTS {ERASER}@'%'")
    server.sql(GRANTS)
    if not server.sql(f"SELECT 1 FROM mysql.user WHERE user = '{BACKUP_USER}'"):
        server.sql(
            f"CREATE USER '{BACKUP_USER}'@'%' IDENTIFIED BY '{_TEXT}';\n"
            f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, RELOAD, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO"
            f" '{BACKUP_USER}'@'%'"
        )


def tell(server: MariaServer) -> None:
    """Make the triggers that would defeat an erasure."""
    connection = server.connect(PEOPLE, charset="latin1")
    try:
        with connection.cursor() as cursor:
            for one in TRIGGERS:
                cursor.execute(one)
    finally:
        connection.close()


def triggers(connection: Connection[Any]) -> list[tuple[Any, ...]]:
    """All that the server remembers of them, but when each was made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER FROM information_schema.TRIGGERS"
            f" WHERE TRIGGER_SCHEMA = '{PEOPLE}' ORDER BY 1"
        )
        found = list(cursor.fetchall())
        for at, one in enumerate(found):
            cursor.execute(f"SHOW CREATE TRIGGER {PEOPLE}.{one[0]}")
            shown: tuple[Any, ...] = cursor.fetchall()[0]
            found[at] = (*one, *shown[:6])
    return found


@dataclass
class SqlForgetter(Forgetter):
    """Of MariaDB or MySQL."""

    engine = ENGINE  # type: ignore[assignment]

    @property
    def server(self) -> MariaServer:
        """The one that people are in."""
        found: MariaServer = self.yard.its
        return found

    @property
    def database(self) -> DatabaseTarget:
        """How the agent reaches it."""
        found: DatabaseTarget = self.yard.database()
        return found.model_copy(update={"database": PEOPLE})

    def everywhere(self) -> list[RuleOrder]:
        """All of the tables."""
        masks = [
            MaskOrder(column="email", method=MaskMethod.FIXED, value="erased@example.invalid"),
            MaskOrder(column="body", method=MaskMethod.NULL),
        ]
        return [
            rule("customers", f"{PEOPLE}.customers", "email", cascades=["orders", "lines", "visits"],
                 foreign_keys=ForeignKeys.CHILDREN_FIRST),
            rule("letters", "letters", "email", action=ActionType.ANONYMIZE, masks=masks),
        ]  # fmt: skip

    def counts(self, server: Any = None, dbname: str = PEOPLE) -> dict[str, int]:
        """Rows of every table, and those with the person."""
        connection = (server or self.server).connect(dbname)
        try:
            return counts(connection)
        finally:
            connection.close()


def counts(connection: Connection[Any]) -> dict[str, int]:
    """Rows of every table, of those with the person (`hers`), references to nobody (`lost`), and what was told."""
    queries = {name: f"SELECT COUNT(*) FROM `{name}`" for name in ("customers", "orders", "lines", "visits", "letters")}
    queries["hers"] = (
        f"SELECT (SELECT COUNT(*) FROM customers WHERE email = '{SUBJECT}') +"
        f" (SELECT COUNT(*) FROM letters WHERE email = '{SUBJECT}' OR body LIKE '%Ada%') +"
        " (SELECT COUNT(*) FROM orders WHERE note = 'hers') + (SELECT COUNT(*) FROM `lines` WHERE what = 'hers')"
    )
    queries["lost"] = (
        "SELECT (SELECT COUNT(*) FROM orders WHERE customer NOT IN (SELECT id FROM customers)) +"
        " (SELECT COUNT(*) FROM `lines` WHERE `order` NOT IN (SELECT id FROM orders)) +"
        " (SELECT COUNT(*) FROM visits WHERE customer NOT IN (SELECT id FROM customers))"
    )
    queries["told"] = "SELECT COUNT(*) FROM told"
    found = {}
    with connection.cursor() as cursor:
        for name, query in queries.items():
            cursor.execute(query)
            ((value,),) = cursor.fetchall()
            found[name] = int(value)
    return found
