"""RESTORE.md of a logical backup: a new server, roles, each database, compared with what its snapshot held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from databosun.engines.postgresql.logical import GLOBALS, JOBS, VERIFY_EXPECTED, VERIFY_SCRIPT
from databosun.engines.postgresql.restore_doc_text import (
    START,
    Facts,
    bash,
    one_line,
    paragraph,
    private_configuration,
    word,
)


def logical_steps(facts: Facts) -> list[str]:
    """From dumps to a server with the same rows."""
    dumped = [database for database in facts.databases if database.get("folder")]
    return [
        *_new_server(facts),
        *_globals(facts),
        *_databases(facts, dumped),
        *_verify([database for database in dumped if database.get("counted", True)]),
    ]


def _new_server(facts: Facts) -> list[str]:
    return [
        "### A new server",
        "",
        *paragraph(
            "To restore into a server that is there already, start it, set PGHOST and PGUSER to it, and leave this "
            "block out."
        ),
        *bash(
            'initdb --pgdata="$RESTORED" --username="$PGUSER" --auth=trust --encoding=UTF8 --locale=C',
            *private_configuration(facts.settings, facts.major),
            START,
        ),
    ]


def _globals(facts: Facts) -> list[str]:
    """The bootstrap superuser exists in every server, and tablespaces need folders."""
    filters = [f"-e {word(f'/^CREATE ROLE {_ident(facts.superuser)};$/d')}"]
    making = []
    for oid, name, location in facts.tablespaces:
        making.append(f'mkdir -p "$PWD/tablespaces/{oid}"  # {one_line(name)}, was {one_line(location)}')
        old = "".join("\\" + sign if sign in "\\.*[]^$|" else sign for sign in location.replace("'", "''"))
        filters.append(f"-e \"s|LOCATION {_dq(chr(39) + old + chr(39))}|LOCATION '$PWD/tablespaces/{oid}'|\"")
    return [
        "### Roles, settings and tablespaces",
        "",
        *bash(
            *making,
            f'zstd -dc "$BACKUP/{GLOBALS}" | sed {" ".join(filters)} | psql -X -q -v ON_ERROR_STOP=1 postgres',
        ),
    ]


def _databases(facts: Facts, dumped: list[Mapping[str, Any]]) -> list[str]:
    lines = ['mkdir -p "$PWD/dump"']
    for database in dumped:
        folder, name = str(database["folder"]), str(database["name"])
        lines.append(f'tar -x -C "$PWD/dump" -f "$BACKUP/{folder}.tar"')
        if name == "postgres":
            # It exists in every new server; made anew so that its own properties come from the backup as well.
            lines.append("dropdb --maintenance-db=template1 postgres")
        lines.append(
            f'pg_restore --exit-on-error --jobs={JOBS} --create --dbname=template1 "$PWD/dump/{folder}"  # '
            f"{one_line(name)}"
        )
    return [
        "### Databases",
        "",
        *paragraph("Each is created with its own encoding and collation; a host without that locale says so here."),
        *bash(*lines),
    ]


def _verify(dumped: list[Mapping[str, Any]]) -> list[str]:
    lines = []
    for database in dumped:
        folder, name = str(database["folder"]), str(database["name"])
        lines.append(
            f'psql -X -q -A -t -F "$(printf \'\\t\')" -v ON_ERROR_STOP=1 -f "$PWD/dump/{folder}/{VERIFY_SCRIPT}" '
            f'{word(_connect_name(name))} > "$PWD/dump/{folder}/verify.found"'
        )
        lines.append(f'diff "$PWD/dump/{folder}/{VERIFY_EXPECTED}" "$PWD/dump/{folder}/verify.found"')
    if not lines:
        return [
            "### Verify",
            "",
            *paragraph(
                "No rows were counted when this backup was taken (`fingerprints: false` in its policy): `pg_restore` "
                "ended well, and the rest is for you to check."
            ),
        ]
    return [
        "### Verify",
        "",
        *paragraph(
            "Rows and fingerprints (a sum of row hashes, independent of their order) of every table, computed on the "
            "copy and compared with what "
            "was computed in the snapshot of the dump. No difference is printed where all is well."
        ),
        *bash(*lines, "echo 'all tables equal'"),
    ]


def _connect_name(name: str) -> str:
    """A database name that psql takes for a name, not for a connection string."""
    if "=" in name or name.startswith(("postgres://", "postgresql://", "-")):
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        return f"dbname='{quoted}'"
    return name


def _ident(name: str) -> str:
    """As pg_dumpall writes it, as a pattern of sed."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and not name[0].isdigit()
    text = name if plain else '"' + name.replace('"', '""') + '"'
    return "".join("\\" + sign if sign in "\\/.*[]^$" else sign for sign in text)


def _dq(text: str) -> str:
    """Text inside a double-quoted shell word."""
    return "".join("\\" + sign if sign in '\\"$`' else sign for sign in text)
