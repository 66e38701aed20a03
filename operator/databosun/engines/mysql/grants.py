"""Which privileges an account has, and the statement that grants what it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import one, quote, rows

_ALL = "ALL PRIVILEGES"
# On `*.*` or on all of a schema; what is granted on single tables or columns is not enough for a dump.
_GRANT = re.compile(r"GRANT (.+?) ON (?:(\*)|`((?:[^`]|``)+)`)\.\* TO ")


@dataclass(frozen=True, slots=True)
class Grants:
    """`everywhere`: privileges on `*.*`. `schemas`: those on patterns of schema names, as they were granted."""

    everywhere: frozenset[str]
    schemas: Mapping[str, frozenset[str]]

    def has(self, privilege: str, schema: str | None = None) -> bool:
        """Whether it holds everywhere, or in that schema."""
        wanted = {privilege, _ALL}
        if wanted & self.everywhere:
            return True
        return schema is not None and any(
            wanted & found for pattern, found in self.schemas.items() if _plain(pattern) == schema
        )


def read_grants(connection: Connection[Any]) -> Grants:
    """The account's own, and those of the role that is in force, with the roles granted to it."""
    said = [str(row[0]) for row in rows(connection, "SHOW GRANTS FOR CURRENT_USER")]
    (role,) = one(connection, "SELECT CURRENT_ROLE()")
    if role is not None:
        said += [str(row[0]) for row in rows(connection, "SHOW GRANTS FOR CURRENT_ROLE")]
    return parse_grants(said)


def parse_grants(statements: Iterable[str]) -> Grants:
    """From what SHOW GRANTS prints."""
    everywhere: set[str] = set()
    schemas: dict[str, set[str]] = {}
    for statement in statements:
        found = _GRANT.match(statement)
        if found is None:
            continue
        privileges = {name.strip() for name in found[1].split(",")}
        into = everywhere if found[2] else schemas.setdefault(found[3].replace("``", "`"), set())
        into |= privileges
    return Grants(frozenset(everywhere), {name: frozenset(held) for name, held in schemas.items()})


def grant_statement(privileges: Sequence[str], user: str, schema: str | None = None) -> str:
    """The statement to run. `user` as CURRENT_USER() gives it."""
    name, _, host = user.rpartition("@")
    on = f"{quote(schema)}.*" if schema else "*.*"
    account = f"{_text(name)}@{_text(host)}"
    return f"GRANT {', '.join(privileges)} ON {on} TO {account};"


def _plain(pattern: str) -> str:
    return pattern.replace("\\_", "_").replace("\\%", "%")


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
