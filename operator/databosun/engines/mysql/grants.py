"""Which privileges an account has, and the statement that grants what it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymysql.connections import Connection

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.connect import one, quote, rows
from databosun.engines.mysql.dialect import Dialect

_ALL = "ALL PRIVILEGES"
# On `*.*` or on all of a schema; what is granted on single tables or columns is not enough for a dump.
_GRANT = re.compile(r"GRANT (.+?) ON (?:(\*)|`((?:[^`]|``)+)`)\.\* TO ")
_TABLE_GRANT = re.compile(r"GRANT (.+?) ON (?:TABLE )?`((?:[^`]|``)+)`\.`((?:[^`]|``)+)` TO ")
_COLUMN = re.compile(r"`((?:[^`]|``)+)`")
_ON_COLUMNS = re.compile(r"([A-Z][A-Z ]*?) \(([^)]*)\)")
# What an account has on `*.*`, but not on that schema (partial_revokes).
_REVOKE = re.compile(r"REVOKE (.+?) ON `((?:[^`]|``)+)`\.\* FROM ")


@dataclass(frozen=True, slots=True)
class Grants:
    """`everywhere`: privileges on `*.*`, but on the schemas that are `revoked`. `schemas`: those on patterns of schema
    names, as they were granted. `tables`: by schema and table; `columns`: by those and the privilege."""

    everywhere: frozenset[str]
    schemas: Mapping[str, frozenset[str]]
    revoked: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tables: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    columns: Mapping[tuple[str, str, str], frozenset[str]] = field(default_factory=dict)

    def has(self, privilege: str, schema: str | None = None) -> bool:
        """Whether it holds everywhere, or in that schema."""
        wanted = {privilege, _ALL}
        if wanted & self.everywhere:
            names = self.revoked if schema is None else [schema]
            return not any(wanted & self.revoked.get(name, frozenset()) for name in names)
        return schema is not None and any(
            wanted & found for pattern, found in self.schemas.items() if _plain(pattern) == schema
        )

    def has_on(self, privilege: str, schema: str, table: str, column: str | None = None) -> bool:
        """Whether it holds on that table, or on that column of it."""
        if self.has(privilege, schema) or {privilege, _ALL} & self.tables.get((schema, table), frozenset()):
            return True
        return column is not None and column in self.columns.get((schema, table, privilege), frozenset())


def read_grants(connection: Connection[Any], dialect: Dialect) -> Grants:
    """The account's own, and those of the roles that are in force, with the roles granted to them."""
    if dialect.engine is EngineName.MYSQL:  # shows all of that at once, and gives no role a name here
        return parse_grants(str(row[0]) for row in rows(connection, "SHOW GRANTS"))
    said = [str(row[0]) for row in rows(connection, "SHOW GRANTS FOR CURRENT_USER")]
    (role,) = one(connection, "SELECT CURRENT_ROLE()")
    if role is not None:
        said += [str(row[0]) for row in rows(connection, "SHOW GRANTS FOR CURRENT_ROLE")]
    return parse_grants(said)


def parse_grants(statements: Iterable[str]) -> Grants:
    """From what SHOW GRANTS prints."""
    everywhere: set[str] = set()
    schemas: dict[str, set[str]] = {}
    revoked: dict[str, set[str]] = {}
    tables: dict[tuple[str, str], set[str]] = {}
    columns: dict[tuple[str, str, str], set[str]] = {}
    for statement in statements:
        if taken := _REVOKE.match(statement):
            revoked.setdefault(taken[2].replace("``", "`"), set()).update(_names(taken[1]))
        if one := _TABLE_GRANT.match(statement):
            where = one[2].replace("``", "`"), one[3].replace("``", "`")
            for privilege, names in _ON_COLUMNS.findall(one[1]):
                found_columns = {name.replace("``", "`") for name in _COLUMN.findall(names)}
                columns.setdefault((*where, privilege), set()).update(found_columns)
            tables.setdefault(where, set()).update(_names(_ON_COLUMNS.sub("", one[1])) - {""})
        found = _GRANT.match(statement)
        if found is None:
            continue
        into = everywhere if found[2] else schemas.setdefault(found[3].replace("``", "`"), set())
        into |= _names(found[1])
    return Grants(
        frozenset(everywhere),
        _frozen(schemas),
        _frozen(revoked),
        {where: frozenset(held) for where, held in tables.items()},
        {where: frozenset(held) for where, held in columns.items()},
    )


def grant_statement(privileges: Sequence[str], user: str, schema: str | None = None, table: str | None = None) -> str:
    """The statement to run. `user` as CURRENT_USER() gives it."""
    name, _, host = user.rpartition("@")
    on = f"{quote(schema)}.{quote(table) if table else '*'}" if schema else "*.*"
    account = f"{_text(name)}@{_text(host)}"
    return f"GRANT {', '.join(privileges)} ON {on} TO {account};"


def _names(privileges: str) -> set[str]:
    return {name.strip() for name in privileges.split(",")}


def _frozen(found: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(held) for name, held in found.items()}


def _plain(pattern: str) -> str:
    return pattern.replace("\\_", "_").replace("\\%", "%")


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
