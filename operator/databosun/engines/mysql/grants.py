"""Which privileges an account has, and the statement that grants what it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import quote, rows

# Roles that are in force count; what was granted to the account itself always is.
_GLOBAL = """
SELECT p.PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES AS p
WHERE p.GRANTEE IN (SELECT CONCAT('''', REPLACE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''', ''''''), '''@''',
                                  SUBSTRING_INDEX(CURRENT_USER(), '@', -1), ''''))
   OR p.GRANTEE IN (SELECT CONCAT('''', r.ROLE_NAME, '''@''''') FROM information_schema.ENABLED_ROLES AS r
                    WHERE r.ROLE_NAME IS NOT NULL)
   OR p.GRANTEE IN (SELECT CONCAT('''', r.ROLE_NAME, '''') FROM information_schema.ENABLED_ROLES AS r
                    WHERE r.ROLE_NAME IS NOT NULL)
"""
_SCHEMA = _GLOBAL.replace("SELECT p.PRIVILEGE_TYPE", "SELECT p.TABLE_SCHEMA, p.PRIVILEGE_TYPE").replace(
    "USER_PRIVILEGES", "SCHEMA_PRIVILEGES"
)


@dataclass(frozen=True, slots=True)
class Grants:
    """`everywhere`: privileges on `*.*`. `schemas`: those on patterns of schema names, as they were granted."""

    everywhere: frozenset[str]
    schemas: Mapping[str, frozenset[str]]

    def has(self, privilege: str, schema: str | None = None) -> bool:
        """Whether it holds everywhere, or in that schema."""
        if privilege in self.everywhere:
            return True
        return schema is not None and any(
            privilege in found for pattern, found in self.schemas.items() if _plain(pattern) == schema
        )


def read_grants(connection: Connection[Any]) -> Grants:
    """The account's own, and those of the roles in force."""
    everywhere = frozenset(str(name) for (name,) in rows(connection, _GLOBAL))
    schemas: dict[str, set[str]] = {}
    for schema, privilege in rows(connection, _SCHEMA):
        schemas.setdefault(str(schema), set()).add(str(privilege))
    return Grants(everywhere, {name: frozenset(found) for name, found in schemas.items()})


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
