"""Roles that the restored databases speak of: those that the target lacks are made there, without a password.

Roles that are there are left as they are: they belong to the target. A password never travels with a restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg import errors, sql
from psycopg.rows import dict_row

from databosun.domain.errors import UserFault
from databosun.engines.postgresql.bridge.marker import Marker, read_marker
from databosun.engines.postgresql.bridge.server import Role as Login
from databosun.engines.postgresql.bridge.server import Server
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.private import PrivateServer

# Whoever owns something in these databases, was granted something there, or has settings there; and role 10, which owns
# all that nobody else does. Predefined roles are in every server.
_NEEDED = """
WITH RECURSIVE wanted AS (
    SELECT d.oid, d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = ANY(%(databases)s)
), needed AS (
    SELECT s.refobjid AS oid FROM pg_catalog.pg_shdepend AS s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      AND (s.dbid IN (SELECT w.oid FROM wanted AS w)
           OR (s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
               AND s.objid IN (SELECT w.oid FROM wanted AS w)))
    UNION SELECT w.datdba FROM wanted AS w
    UNION SELECT s.setrole FROM pg_catalog.pg_db_role_setting AS s
          WHERE s.setrole <> 0 AND s.setdatabase IN (SELECT w.oid FROM wanted AS w)
    UNION SELECT 10::oid
    UNION SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE %(all)s
), closed AS (
    SELECT n.oid FROM needed AS n
    UNION SELECT m.roleid FROM pg_catalog.pg_auth_members AS m JOIN closed AS c ON c.oid = m.member
)
SELECT r.rolname::text AS name, r.rolsuper AS superuser, r.rolinherit AS inherit, r.rolcreaterole AS createrole,
       r.rolcreatedb AS createdb, r.rolcanlogin AS login, r.rolreplication AS replication, r.rolbypassrls AS bypassrls,
       r.rolconnlimit AS connections, pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment,
       coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting AS s
                 WHERE s.setrole = r.oid AND s.setdatabase = 0), ARRAY[]::text[]) AS settings,
       ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members AS m
             JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid WHERE m.member = r.oid) AS groups
FROM closed AS c JOIN pg_catalog.pg_roles AS r ON r.oid = c.oid WHERE r.rolname !~ '^pg_' ORDER BY r.rolname
"""
_THERE = """
SELECT r.rolname::text, pg_catalog.pg_has_role(r.oid, 'MEMBER'), pg_catalog.shobj_description(r.oid, 'pg_authid')
FROM pg_catalog.pg_roles AS r
"""
# Settings that are lists of names, each quoted by itself (GUC_LIST_QUOTE in the server's sources).
_LISTS = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
_SPECIAL = ("superuser", "replication", "bypassrls")


@dataclass(frozen=True, slots=True)
class Role:
    """One role of the copy."""

    name: str
    superuser: bool
    inherit: bool
    createrole: bool
    createdb: bool
    login: bool
    replication: bool
    bypassrls: bool
    connections: int
    comment: str | None
    settings: list[str]
    groups: list[str]

    @property
    def special(self) -> tuple[str, ...]:
        """What only a superuser may give."""
        return tuple(word for word in _SPECIAL if getattr(self, word))


def roles_of(copy: PrivateServer, databases: Sequence[str], *, whole: bool) -> tuple[Role, ...]:
    """The roles that databases of the copy need, with the groups that these are in; `whole`: all of them."""
    with copy.connect("template1") as connection, connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_NEEDED, {"databases": list(databases), "all": whole})
        return tuple(Role(**row) for row in cursor.fetchall())


def demand_roles(server: Server, roles: Sequence[Role]) -> tuple[Role, ...]:
    """Those that are to be made. UserFault(PermissionDenied) with the statements where we could not speak for one."""
    with server.open() as connection:
        there = {str(name): bool(member) for name, member, _ in connection.execute(_THERE).fetchall()}
    login = server.role
    foreign = [role.name for role in roles if role.name in there and not there[role.name]]
    if foreign and not login.superuser:
        grants = " ".join(_grant(name, login.name) for name in foreign)
        message = (
            f"role {login.name} at {server.session.endpoint} may not make anything belong to {', '.join(foreign)}, who "
            f"own what is to be restored; run: {grants}"
        )
        raise UserFault(Reason.PERMISSION_DENIED, message)
    missing = tuple(role for role in roles if role.name not in there)
    if missing and not login.createrole:
        names = ", ".join(role.name for role in missing)
        message = (
            f"{server.session.endpoint} lacks the roles {names}, and role {login.name} may not make them; create them, "
            f"or run: {sql.SQL('ALTER ROLE {} CREATEROLE;').format(sql.Identifier(login.name)).as_string()}"
        )
        raise UserFault(Reason.PERMISSION_DENIED, message)
    return missing


def make_roles(server: Server, missing: Sequence[Role], marker: Marker) -> tuple[str, ...]:
    """Make them, all or none, each marked as ours until the restore is over. Notes."""
    if not missing:
        return ()
    login, notes = server.role, []
    with server.open() as connection, connection.transaction():
        for role in missing:
            notes += _make(connection, role, login, marker)
        for role in missing:
            for group in role.groups:
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role.name)))
    names = ", ".join(role.name for role in missing)
    logins = ", ".join(role.name for role in missing if role.login)
    notes.append(f"roles that the target lacked were created: {names}")
    if logins:
        notes.append(f"no password travels with a restore: set one for {logins} (ALTER ROLE … PASSWORD …)")
    return tuple(notes)


def forget_roles(server: Server, uid: str) -> None:
    """Give the roles that were made their own comments."""
    with server.open() as connection, connection.transaction():
        for name, marker in _ours(connection, uid):
            _comment(connection, name, marker.comment)


def drop_roles(server: Server, uid: str) -> tuple[str, ...]:
    """Drop the roles that were made, unless something belongs to them by now. Those that are gone."""
    gone = []
    with server.open() as connection:
        for name, marker in _ours(connection, uid):
            try:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
            except errors.DependentObjectsStillExist:
                _comment(connection, name, marker.comment)
            else:
                gone.append(f"role {name}")
    return tuple(gone)


def _make(connection: Connection, role: Role, login: Login, marker: Marker) -> list[str]:
    notes, special = [], role.special
    if special and not login.superuser:
        notes.append(f"role {role.name} was created without {', '.join(special)}: only a superuser may give that")
        special = ()
    words = ["INHERIT" if role.inherit else "NOINHERIT", "LOGIN" if role.login else "NOLOGIN", *map(str.upper, special)]
    words += ["CREATEROLE"] * role.createrole + ["CREATEDB"] * (role.createdb and (login.superuser or login.createdb))
    create = sql.SQL("CREATE ROLE {} {} CONNECTION LIMIT {}")
    options = sql.SQL(" ").join(map(sql.SQL, words))
    connection.execute(create.format(sql.Identifier(role.name), options, sql.Literal(role.connections)))
    if not login.superuser:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role.name)))
    for setting in role.settings:
        name, _, value = setting.partition("=")
        alter = sql.SQL("ALTER ROLE {} SET {} TO {}")
        connection.execute(alter.format(sql.Identifier(role.name), _setting(name), _value(name, value)))
    _comment(connection, role.name, replace(marker, name=role.name, comment=role.comment).text())
    return notes


def _setting(name: str) -> sql.Composable:
    return sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))


def _value(name: str, value: str) -> sql.Composable:
    if name not in _LISTS:
        return sql.Literal(value)
    return sql.SQL(", ").join(sql.Literal(one) for one in split_list(value)) if value.strip() else sql.Literal("")


def split_list(value: str) -> list[str]:
    """`"$user", public` as its names."""
    names, rest = [], value.strip()
    while rest:
        if rest.startswith('"'):
            end = 1
            while rest[end : end + 1] != '"' or rest[end : end + 2] == '""':
                end += 2 if rest[end : end + 2] == '""' else 1
                if end >= len(rest):
                    break
            names.append(rest[1:end].replace('""', '"'))
            rest = rest[end + 1 :].lstrip().removeprefix(",").lstrip()
        else:
            name, _, rest = rest.partition(",")
            names.append(name.strip())
            rest = rest.lstrip()
    return names


def _ours(connection: Connection, uid: str) -> list[tuple[str, Marker]]:
    found = []
    for name, _, comment in connection.execute(_THERE).fetchall():
        marker = read_marker(str(comment) if comment is not None else None)
        if marker is not None and marker.uid == uid:
            found.append((str(name), marker))
    return found


def _comment(connection: Connection, name: str, text: str | None) -> None:
    comment = sql.SQL("COMMENT ON ROLE {} IS {}")
    connection.execute(comment.format(sql.Identifier(name), sql.Literal(text)))


def _grant(name: str, to: str) -> str:
    return sql.SQL("GRANT {} TO {};").format(sql.Identifier(name), sql.Identifier(to)).as_string()
