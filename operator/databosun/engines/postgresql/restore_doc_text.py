"""Pieces of Markdown and what they are made of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from databosun.api.v1alpha1.backuppolicy import BackupType, Method


@dataclass(frozen=True, slots=True)
class Facts:
    """What the commands depend on. `chain`: ids and artefact names, base first, this backup last."""

    id: str
    major: int
    version: str
    type: BackupType
    method: Method
    chain: tuple[tuple[str, tuple[str, ...]], ...]
    superuser: str
    tablespaces: tuple[tuple[int, str, str], ...]
    databases: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, str]
    preload: Sequence[str] | None
    platform: str
    libc: str | None
    position: Mapping[str, Any]
    snapshot_time: str


def paragraph(text: str) -> list[str]:
    """One paragraph."""
    return [text, ""]


def bash(*lines: str) -> list[str]:
    """One block of commands."""
    return ["```bash", *lines, "```", ""]


def one_line(name: str) -> str:
    """A name that somebody chose in the database, for text and comments: it can neither begin a line nor a block."""
    return "".join(sign if sign.isprintable() and sign != "`" else "?" for sign in name)


def word(name: str) -> str:
    """A name as one word of bash on one line, whatever is in it: a block ends at the first line of three backticks."""
    if one_line(name) == name:
        return shlex.quote(name)
    return "$'" + "".join(f"\\x{byte:02x}" for byte in name.encode()) + "'"


def private_configuration(settings: Mapping[str, str], major: int, *more: str) -> list[str]:
    """Commands that write the copy's own configuration: reachable over its socket only, and talking to nobody."""
    lines = [f"{name} = {value}" for name, value in settings.items()]
    lines += ["event_triggers = off"] if major >= 17 else []
    return [
        'cat > "$PGHOST/postgresql.conf" <<EOF',
        "listen_addresses = ''",
        "unix_socket_directories = '$PGHOST'",
        "hba_file = '$PGHOST/pg_hba.conf'",
        "ident_file = '$PGHOST/pg_ident.conf'",
        "ssl = off",
        "huge_pages = try",
        "wal_level = replica",
        "archive_mode = off",
        "primary_conninfo = ''",
        "synchronous_standby_names = ''",
        "max_logical_replication_workers = 0",
        "lc_messages = 'C'",
        *lines,
        *more,
        "EOF",
        "echo 'local all all trust' > \"$PGHOST/pg_hba.conf\"",
        ': > "$PGHOST/pg_ident.conf"',
    ]


START = (
    'pg_ctl --pgdata="$RESTORED" --log="$PGHOST/server.log" --wait --timeout=86400 '
    '--options="-c config_file=$PGHOST/postgresql.conf" start || { tail -n 20 "$PGHOST/server.log"; false; }'
)
