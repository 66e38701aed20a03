"""What the catalogue says of a table: the facts that a plan's hash covers, and the shape that its rows are walked in.

Foreign keys are read from InnoDB's own dictionary: `information_schema` hides those of tables that the login has no
grant on, whose rows the server would delete all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import ColumnFact, ReferenceFact, TableFact, TriggerFact
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.connect import Row
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.lifecycle.bounds import partitioning_of
from databosun.engines.mysql.lifecycle.shapes import KEYABLE, TIMES, Column, Shape
from databosun.engines.mysql.lifecycle.statements import literal, no_table, number, run, split

MOST_TABLES = 64
_KINDS = {"VIEW": "View", "SYSTEM VIEW": "View", "SEQUENCE": "Sequence", "SYSTEM VERSIONED": "SystemVersioned"}

_TABLE = """
SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.TABLE_TYPE, t.ENGINE, t.CREATE_OPTIONS FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA = {schema} AND t.TABLE_NAME = {name}
"""
_COLUMNS = """
SELECT c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE, c.IS_NULLABLE, c.EXTRA, c.GENERATION_EXPRESSION,
       c.CHARACTER_SET_NAME, c.COLLATION_NAME
FROM information_schema.COLUMNS AS c WHERE c.TABLE_SCHEMA = {schema} AND c.TABLE_NAME = {name}
ORDER BY c.ORDINAL_POSITION
"""
_INDEXES = """
SELECT s.INDEX_NAME, s.NON_UNIQUE, s.COLUMN_NAME, s.SUB_PART, s.INDEX_TYPE, s.COLLATION, s.{hidden}
FROM information_schema.STATISTICS AS s WHERE s.TABLE_SCHEMA = {schema} AND s.TABLE_NAME = {name}
ORDER BY s.INDEX_NAME, s.SEQ_IN_INDEX
"""
_TRIGGERS = """
SELECT g.TRIGGER_SCHEMA, g.TRIGGER_NAME, g.EVENT_MANIPULATION, g.ACTION_TIMING, g.ACTION_ORDER, g.ACTION_STATEMENT,
       g.DEFINER, g.SQL_MODE
FROM information_schema.TRIGGERS AS g
WHERE g.EVENT_OBJECT_SCHEMA = {schema} AND g.EVENT_OBJECT_TABLE = {name} ORDER BY g.TRIGGER_NAME
"""
_FOREIGN: Mapping[EngineName, str] = {
    # There names are written as those of files are.
    EngineName.MARIADB: """
SELECT CAST(f.ID AS CHAR), {decoded}, f.TYPE, c.FOR_COL_NAME, c.REF_COL_NAME
FROM information_schema.INNODB_SYS_FOREIGN AS f JOIN information_schema.INNODB_SYS_FOREIGN_COLS AS c ON c.ID = f.ID
WHERE CAST(f.{side} AS BINARY) = CONCAT(CAST(CONVERT({schema} USING filename) AS BINARY), '/',
                                        CAST(CONVERT({name} USING filename) AS BINARY))
ORDER BY 1, c.POS
""",
    EngineName.MYSQL: """
SELECT CAST(f.ID AS CHAR), {decoded}, f.TYPE, c.FOR_COL_NAME, c.REF_COL_NAME
FROM information_schema.INNODB_FOREIGN AS f JOIN information_schema.INNODB_FOREIGN_COLS AS c ON c.ID = f.ID
WHERE CAST(f.{side} AS BINARY) = CONCAT(CAST({schema} AS BINARY), '/', CAST({name} AS BINARY))
ORDER BY 1, c.POS
""",
}
_DECODED: Mapping[EngineName, str] = {
    EngineName.MARIADB: "CONVERT(CAST(CAST(SUBSTRING_INDEX(f.FOR_NAME, '/', {half}) AS BINARY) AS CHAR"
    " CHARACTER SET filename) USING utf8mb4)",
    EngineName.MYSQL: "CAST(SUBSTRING_INDEX(f.FOR_NAME, '/', {half}) AS CHAR)",
}
_HIDDEN: Mapping[EngineName, tuple[str, str]] = {
    EngineName.MARIADB: ("IGNORED", "YES"),
    EngineName.MYSQL: ("IS_VISIBLE", "NO"),
}
# Bits of TYPE: storage/innobase/include/dict0mem.h, DICT_FOREIGN_ON_...
_ON_DELETE = ((1, "Cascade"), (2, "SetNull"), (16, "NoAction"))
_ON_UPDATE = ((4, "Cascade"), (8, "SetNull"), (32, "NoAction"))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Of one session. `schema`: of names without one. `folds`: names of tables are the same in any case of letters.
    `sees_keys`: else foreign keys are hidden from the login, and a plan refuses for the grant that it lacks."""

    connection: Connection[Any]
    dialect: Dialect
    schema: str
    folds: bool
    sees_keys: bool

    def tables(self, name: str) -> list[TableFact]:
        """The table, and after it all that refer to it, and to those; empty where there is none."""
        found: dict[str, TableFact] = {}
        waiting = [".".join(split(name, self.schema))]
        while waiting and len(found) < MOST_TABLES:
            table = self.table(waiting.pop(0))
            if table is None or table.name in found:
                continue
            found[table.name] = table
            # A name with more dots cannot be told apart: such a table is known by its name alone, and refused.
            waiting += [one.table for one in table.references if one.table.count(".") == 1]
        return list(found.values())

    def table(self, name: str) -> TableFact | None:
        """One table, `schema.table`."""
        row = self._found(name)
        if row is None:
            return None
        schema, table = str(row[0]), str(row[1])
        columns = self._columns(schema, table)
        indexes = list(self._indexes(schema, table))
        key = _key(columns, indexes)
        partitioned = "partitioned" in str(row[4] or "")
        partitioning = partitioning_of(self.connection, f"{schema}.{table}") if partitioned else None
        return TableFact(
            name=f"{schema}.{table}",
            kind=_kind(str(row[2]), row[3], partitioned=partitioning is not None),
            columns=[
                ColumnFact(
                    name=one.name,
                    type=one.type,
                    not_null=one.not_null,
                    generated=one.generated,
                    time=one.kind in TIMES,
                )
                for one in columns
            ],
            primary_key=list(key.columns) if key is not None else [],
            unique=sorted(list(one.columns) for one in indexes if one.unique and one is not key),
            foreign_key_columns=self._foreign_columns(schema, table),
            references=self._references(schema, table),
            triggers=self._triggers(schema, table),
            partitioning=partitioning,
        )

    def is_table(self, name: str) -> bool:
        """Whether there is a table of a name as people write it; one without a schema may be of any."""
        schema, table = split(name)
        within = f"t.TABLE_SCHEMA = {literal(schema)} AND " if schema else ""
        query = (
            f"SELECT t.TABLE_SCHEMA, t.TABLE_NAME FROM information_schema.TABLES AS t WHERE {within}"  # noqa: S608
            f"t.TABLE_NAME = {literal(table)} AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
        )
        return any(
            self._alike(str(found), table) and (not schema or self._alike(str(where), schema))
            for where, found in run(self.connection, query)
        )

    def shape(self, name: str, age: str | None) -> Shape:
        """As rows are walked: by age, where an index begins with it, else by key. UserFault(NoSuchTable)."""
        row = self._found(name) or no_table(name)
        schema, table = str(row[0]), str(row[1])
        columns, indexes = self._columns(schema, table), list(self._indexes(schema, table))
        unique = _key(columns, indexes) or no_table(name)  # the plan was refused without one
        known = {one.name: one for one in columns}
        key = tuple(known[one] for one in unique.columns)
        walk, index = key, unique.name
        led = next((one for one in indexes if age is not None and one.leads(age)), None)
        if led is not None and age not in unique.columns:
            walk, index = (next(one for one in columns if one.name == age), *key), led.name
        return Shape(f"{schema}.{table}", tuple(columns), key, walk, index, unique.name)

    def columns(self, name: str) -> list[Column]:
        """Of a table, `schema.table`, as the server names it."""
        return self._columns(*split(name))

    def _found(self, name: str) -> Row | None:
        schema, table = split(name, self.schema)
        found = self._ask(_TABLE, schema, table)
        return next(
            (row for row in found if self._alike(str(row[0]), schema) and self._alike(str(row[1]), table)), None
        )

    def _alike(self, one: str, other: str) -> bool:
        return one.lower() == other.lower() if self.folds else one == other

    def _ask(self, query: str, schema: str, name: str, **more: str) -> list[Row]:
        return run(self.connection, query.format(schema=literal(schema), name=literal(name), **more))

    def _columns(self, schema: str, table: str) -> list[Column]:
        return [_column(row) for row in self._ask(_COLUMNS, schema, table)]

    def _indexes(self, schema: str, table: str) -> Iterator[_Index]:
        hidden, when = _HIDDEN[self.dialect.engine]
        parts: dict[str, list[Row]] = {}
        for row in self._ask(_INDEXES, schema, table, hidden=hidden):
            parts.setdefault(str(row[0]), []).append(row)
        for name, found in parts.items():
            usable = all(
                row[2] is not None and row[3] is None and row[4] == "BTREE" and row[5] == "A" and row[6] != when
                for row in found
            )
            yield _Index(name, tuple(str(row[2]) for row in found), unique=not int(found[0][1]), usable=usable)

    def _triggers(self, schema: str, table: str) -> list[TriggerFact]:
        return [
            TriggerFact(
                name=str(row[1]),
                table=f"{schema}.{table}",
                events=[str(row[2])],
                definition_sha256=hashlib.sha256("\x1f".join(map(str, row[2:])).encode()).hexdigest(),
            )
            for row in self._ask(_TRIGGERS, schema, table)
            if row[2] in ("DELETE", "UPDATE")
        ]

    def bodies(self, tables: Sequence[TableFact]) -> list[str]:
        """What the triggers on tables do."""
        found = []
        for table in tables:
            if table.triggers:
                found += [str(row[5]) for row in self._ask(_TRIGGERS, *split(table.name)) if row[2] != "INSERT"]
        return found

    def _references(self, schema: str, table: str) -> list[ReferenceFact]:
        found: dict[str, ReferenceFact] = {}
        for identity, child_schema, child, bits, own, other in self._foreign(schema, table, "REF_NAME"):
            one = found.setdefault(
                str(identity),
                ReferenceFact(
                    name=str(identity).rpartition("/")[2],
                    table=f"{child_schema}.{child}",
                    columns=[],
                    target_columns=[],
                    on_delete=_action(number(bits), _ON_DELETE),
                    on_update=_action(number(bits), _ON_UPDATE),
                ),
            )
            one.columns.append(str(own))
            one.target_columns.append(str(other))
        return list(found.values())

    def _foreign_columns(self, schema: str, table: str) -> list[str]:
        return sorted({str(row[4]) for row in self._foreign(schema, table, "FOR_NAME")})

    def _foreign(self, schema: str, table: str, side: str) -> list[Row]:
        if not self.sees_keys:
            return []
        pattern = _DECODED[self.dialect.engine]
        decoded = f"{pattern.format(half=1)}, {pattern.format(half=-1)}"
        return self._ask(_FOREIGN[self.dialect.engine], schema, table, side=side, decoded=decoded)


@dataclass(frozen=True, slots=True)
class _Index:
    """`usable`: whole columns, sorted from the least, and the server may use it."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    usable: bool

    def leads(self, column: str) -> bool:
        """Whether it is sorted by that column first."""
        return self.usable and self.columns[0] == column


def _key(columns: Sequence[Column], indexes: Sequence[_Index]) -> _Index | None:
    """The primary key, or else the first unique one of columns that are never empty."""
    known = {one.name: one for one in columns}
    able = [
        one
        for one in indexes
        if one.unique
        and one.usable
        and all(known[name].not_null and known[name].kind in KEYABLE for name in one.columns)
    ]
    return next((one for one in able if one.name == "PRIMARY"), able[0] if able else None)


def _kind(kind: str, engine: object, *, partitioned: bool) -> str:
    if kind != "BASE TABLE":
        return _KINDS.get(kind, kind.title())
    if engine != "InnoDB":
        return f"table of {engine}"
    return "Partitioned" if partitioned else "Table"


def _column(row: Row) -> Column:
    extra, expression = str(row[4] or "").upper(), row[5]
    return Column(
        name=str(row[0]),
        kind=str(row[1]).lower(),
        type=f"{row[2]} AS ({expression})" if expression else str(row[2]),
        generated=bool(expression),
        not_null=row[3] == "NO",
        charset=row[6],
        collation=row[7],
        stamped="ON UPDATE" in extra,
    )


def _action(bits: int, names: Sequence[tuple[int, str]]) -> str:
    return next((name for bit, name in names if bits & bit), "Restrict")
