"""Accounts, roles and their privileges as a script that replaces what is there.

`mariadb-dump --system=users` does not do: it fails on an account whose host the server does not look at
(skip-name-resolve), and its script fails on a new server, where root exists already. `mysqldump` has nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.accounts_mysql import mysql_statements
from databosun.engines.mysql.connect import quote, rows
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import number_of

ENDING = "-- Dump completed"
_LOADER = "databosun_loader"
_ACCOUNTS = """
SELECT u.User, u.Host, COALESCE(JSON_VALUE(u.Priv, '$.is_role'), 0) IN ('1', 'true') FROM mysql.global_priv AS u
ORDER BY 1, 2
"""
_PUBLIC = "PUBLIC"
# No such account in memory: the server was started so that it does not look at it, and nobody can log in to it.
_NOT_IN_FORCE = frozenset({1133, 1141, 1269})


def accounts_script(connection: Connection[Any], dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The script, and what could not be had of it: accounts that are not in force, privileges on what is gone."""
    read = mysql_statements if dialect.engine is EngineName.MYSQL else _statements
    statements, left = read(connection)
    return _script(statements), left


def _statements(connection: Connection[Any]) -> tuple[list[str], tuple[str, ...]]:
    creates: list[str] = []
    grants: list[str] = []
    left: list[str] = []
    roles = False
    for user, host, is_role in rows(connection, _ACCOUNTS):
        name = quote(str(user)) if is_role else f"{quote(str(user))}@{quote(str(host))}"
        public = user == _PUBLIC
        try:
            if not is_role and not public:
                creates += [_replacing(one) for one in _said(connection, f"SHOW CREATE USER {name}")]
            grants += _said(connection, f"SHOW GRANTS FOR {_PUBLIC if public else name}")
        except pymysql.MySQLError as error:
            if number_of(error) not in _NOT_IN_FORCE:
                raise
            left.append(f"{user}@{host}")
            continue
        if is_role and not public:
            roles = True
            creates.append(f"CREATE OR REPLACE ROLE {name} WITH ADMIN {quote(_LOADER)}")
    if roles:
        # Whoever makes a role has it from then on; a role that goes again takes that with it.
        creates = [f"CREATE OR REPLACE ROLE {quote(_LOADER)}", f"SET ROLE {quote(_LOADER)}", *creates]
        grants += ["SET ROLE NONE", f"DROP ROLE {quote(_LOADER)}"]
    return [*creates, *dict.fromkeys(grants)], tuple(left)


def _script(statements: Sequence[str]) -> str:
    lines = ["-- Accounts, roles and privileges", "SET NAMES utf8mb4;", "SET SESSION sql_mode = '';"]
    return "\n".join([*lines, *(f"{one};" for one in statements), ENDING]) + "\n"


def _said(connection: Connection[Any], statement: str) -> list[str]:
    return [str(row[0]) for row in rows(connection, statement)]


def _replacing(statement: str) -> str:
    return statement.replace("CREATE USER ", "CREATE OR REPLACE USER ", 1)
