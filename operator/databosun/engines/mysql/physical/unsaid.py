"""Statements on tables that follow no transactions, of which mariadb-backup's stream says nothing: they are counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from glob import glob
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mysql.connect import rows

_TRUNCATES, _ALTERS = "Com_truncate", "Com_alter_table"
_COUNTS = "SHOW GLOBAL STATUS WHERE Variable_name IN %s"
# A statement is counted when it begins. A TRUNCATE that waits for its lock may do its work while files are copied; a
# backup does not begin while an ALTER waits (both seen on 10.11.19).
_AT_WORK = (
    "SELECT LEFT(INFO, 1000) FROM information_schema.PROCESSLIST WHERE INFO IS NOT NULL AND ID <> CONNECTION_ID()"
)
_TRUNCATE = re.compile(r"(?:\s+|/\*.*?\*/|(?:--|#)[^\n]*\n)*TRUNCATE\b", re.IGNORECASE | re.DOTALL)
# Of a partition of an Aria table: `orders#P#p2024.MAI`. What an ALTER only builds begins with `#sql`.
_PARTITIONS = "*/[!#]*#[Pp]#*.MAI"
_PARTITION = re.compile("#P#", re.IGNORECASE)
_MOST_NAMES = 3


class Unsaid:
    """What was begun between the moment that this is made, before the copy, and its instant."""

    def __init__(self, connection: Connection[Any], data: Path) -> None:
        self._connection = connection
        self._data = data
        self._parted = _parted(data)
        self._before = self._count()
        waiting = sum(bool(_TRUNCATE.match(str(statement))) for (statement,) in rows(connection, _AT_WORK))
        self._before[_TRUNCATES] -= waiting
        self._at = self._before

    def look(self) -> None:
        """This is the instant."""
        self._at = self._count()

    def demand_none(self, without_transactions: Callable[[], list[str]]) -> None:
        """WorldFault(SchemaChanged) where the copy may show what was before such a statement."""
        if self._happened(_TRUNCATES) and (names := without_transactions()):
            self._refuse(
                f"a table was emptied (TRUNCATE). If it was one of {_some(names)}, which follow no transactions, "
                "mariadb-backup may have kept its rows"
            )
        if self._happened(_ALTERS) and (parted := self._parted | _parted(self._data)):
            self._refuse(
                f"a table was altered (ALTER TABLE). If it exchanged a partition of {_some(parted)} (Aria), or made a "
                "table of one, mariadb-backup may have left rows out, or kept those from before"
            )

    def _happened(self, name: str) -> bool:
        return self._before[name] != self._at[name]

    def _count(self) -> dict[str, int]:
        found = rows(self._connection, _COUNTS, ((_TRUNCATES, _ALTERS),))
        return {str(name): int(count) for name, count in found}

    def _refuse(self, what: str) -> None:
        message = (
            f"while files were copied, {what}; the next attempt starts anew; where this goes on, make them InnoDB "
            "tables, or set `method: Logical`"
        )
        raise WorldFault(Reason.SCHEMA_CHANGED, message)


def _parted(data: Path) -> set[str]:
    """Aria tables that have partitions, by their files."""
    return {_PARTITION.split(name)[0] for name in glob(_PARTITIONS, root_dir=data)}


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:_MOST_NAMES])
