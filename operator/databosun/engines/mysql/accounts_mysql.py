"""Accounts, roles and privileges of MySQL, by what the server itself says of each."""

from __future__ import annotations

import re
from typing import Any

from pymysql.connections import Connection

from databosun.engines.mysql.connect import Row, quote, rows

_OWN = ("mysql.infoschema", "mysql.session", "mysql.sys")
_ACCOUNTS = "SELECT u.User, u.Host FROM mysql.user AS u WHERE u.User NOT IN %s ORDER BY 1, 2"
_DEFAULTS = (
    "SELECT d.USER, d.HOST, d.DEFAULT_ROLE_USER, d.DEFAULT_ROLE_HOST FROM mysql.default_roles AS d ORDER BY 1, 2"
)
# A role is one's own by default only once it was granted, which is later.
_DEFAULT_ROLES = re.compile(r" DEFAULT ROLE (?:`(?:[^`]|``)*`@`(?:[^`]|``)*`,?)+(?= REQUIRE )")
_OBJECT = re.compile(
    r"(?:GRANT|REVOKE) .+? ON (?:(PROCEDURE|FUNCTION) )?`((?:[^`]|``)+)`\.`((?:[^`]|``)+)` (?:TO|FROM) "
)
_THINGS = """
SELECT '', t.TABLE_SCHEMA, t.TABLE_NAME FROM information_schema.TABLES AS t
UNION ALL SELECT r.ROUTINE_TYPE, r.ROUTINE_SCHEMA, r.ROUTINE_NAME FROM information_schema.ROUTINES AS r
"""


def mysql_statements(connection: Connection[Any]) -> tuple[list[str], tuple[str, ...]]:
    """Statements that replace all accounts but the server's own, and what is granted on things that are gone."""
    creates: list[str] = []
    grants: list[str] = []
    left: list[str] = []
    with connection.cursor() as cursor:
        # The salt of a password's hash is made of any bytes.
        cursor.execute("SET SESSION print_identified_with_as_hex = ON")
    there = {(str(kind), str(schema), str(name).lower()) for kind, schema, name in rows(connection, _THINGS)}
    for user, host in rows(connection, _ACCOUNTS, (_OWN,)):
        account = _account(user, host)
        (said,) = rows(connection, f"SHOW CREATE USER {account}")[0]
        creates += [f"DROP USER IF EXISTS {account}", _DEFAULT_ROLES.sub("", str(said), count=1)]
        for (grant,) in rows(connection, f"SHOW GRANTS FOR {account}"):
            if _stands(str(grant), there):
                grants.append(str(grant))
            else:
                left.append(f"{user}@{host} ({grant})")
    return [*creates, *grants, *_defaults(rows(connection, _DEFAULTS))], tuple(left)


def _defaults(found: list[Row]) -> list[str]:
    roles: dict[str, list[str]] = {}
    for user, host, role, role_host in found:
        roles.setdefault(_account(user, host), []).append(_account(role, role_host))
    return [f"ALTER USER {account} DEFAULT ROLE {', '.join(theirs)}" for account, theirs in roles.items()]


def _stands(grant: str, there: set[tuple[str, str, str]]) -> bool:
    """Privileges outlive the table that they are on, and nothing can be granted on one that is not there."""
    found = _OBJECT.match(grant)
    if found is None:
        return True
    return (found[1] or "", found[2].replace("``", "`"), found[3].replace("``", "`").lower()) in there


def _account(user: object, host: object) -> str:
    return f"{quote(str(user))}@{quote(str(host))}"
