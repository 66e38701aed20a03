"""Triggers that do not fire for a while: these servers have no switch for them, so they are dropped and made again.

For copies of our own alone, which nobody uses before they are whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pymysql.charset import charset_by_name
from pymysql.connections import Connection

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.engines.mysql.connect import Row, quote
from databosun.engines.mysql.lifecycle.statements import literal, run, split, stepping

# In the order in which they fire, which is that in which they are made.
_FIRED = """
SELECT g.TRIGGER_SCHEMA, g.TRIGGER_NAME FROM information_schema.TRIGGERS AS g
WHERE g.EVENT_OBJECT_SCHEMA = {schema} AND g.EVENT_OBJECT_TABLE = {table} AND g.EVENT_MANIPULATION <> 'INSERT'
ORDER BY g.EVENT_MANIPULATION, g.ACTION_TIMING, g.ACTION_ORDER
"""
_CREATED = 6  # the last of what SHOW CREATE TRIGGER says, which is another afterwards


class Quiet:
    """The triggers of one session's copy that are put away."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._away: dict[tuple[str, str], Row] = {}

    def put_away(self, tables: Iterable[str]) -> None:
        """Those that changes and deletes set off, of tables as `schema.table`."""
        for name in dict.fromkeys(tables):
            schema, table = split(name)
            with stepping(f"putting away the triggers of {name}", rows=False):
                for found in run(self._connection, _FIRED.format(schema=literal(schema), table=literal(table))):
                    trigger = str(found[0]), str(found[1])
                    self._away[trigger] = self._shown(trigger)
                    run(self._connection, f"DROP TRIGGER {_quoted(trigger)}")

    def bring_back(self) -> None:
        """All of them, as they were. SafetyStop where one is not."""
        for trigger, shown in self._away.items():
            with stepping(f"making trigger {'.'.join(trigger)} of the copy again", rows=False):
                self._make(trigger, shown)
                if self._shown(trigger) != shown:
                    message = (
                        f"trigger {'.'.join(trigger)} of the copy was put away while people were erased, and is not"
                        " what it was when made again; nothing that was restored is used"
                    )
                    raise SafetyStop(Reason.RECOVERY_FAILED, message)
        self._away.clear()

    def _shown(self, trigger: tuple[str, str]) -> Row:
        return tuple(run(self._connection, f"SHOW CREATE TRIGGER {_quoted(trigger)}")[0][:_CREATED])

    def _make(self, trigger: tuple[str, str], shown: Row) -> None:
        """As the server remembers it: with the mode, the characters and the order of texts of then."""
        connection, (schema, _) = self._connection, trigger
        _, mode, text, charset, order, of_schema = map(str, shown)
        ((kept_mode, kept_charset, kept_order),) = run(
            connection, "SELECT @@sql_mode, @@character_set_client, @@collation_connection"
        )
        ((default, now),) = run(connection, "SELECT DATABASE(), " + _order_of(schema))
        connection.select_db(schema)
        if now != of_schema:
            run(connection, f"ALTER DATABASE {quote(schema)} COLLATE {of_schema}")
        _speak(connection, mode, charset, order)
        connection.query(text.encode(charset_by_name(charset).encoding))
        _speak(connection, str(kept_mode), str(kept_charset), str(kept_order))
        if now != of_schema:
            run(connection, f"ALTER DATABASE {quote(schema)} COLLATE {now}")
        if default is not None:
            connection.select_db(str(default))


def _speak(connection: Connection[Any], mode: str, charset: str, order: str) -> None:
    run(
        connection,
        f"SET SESSION sql_mode = {literal(mode)}, SESSION character_set_client = {charset},"
        f" SESSION collation_connection = {order}",
    )


def _order_of(schema: str) -> str:
    return (
        "(SELECT s.DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA AS s"  # noqa: S608 - a literal
        f" WHERE s.SCHEMA_NAME = {literal(schema)})"
    )


def _quoted(trigger: tuple[str, str]) -> str:
    return f"{quote(trigger[0])}.{quote(trigger[1])}"
