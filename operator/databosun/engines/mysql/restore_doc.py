"""The engine's part of RESTORE.md: commands for this very backup, from decrypted artefacts to a checked, running copy.

The fenced `bash` blocks are one script, in order; the tests run them.
"""

from __future__ import annotations

import shlex

from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.engines.base import RestoreDoc
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.logical import DUMP, USERS, VERIFY_EXPECTED, VERIFY_SCRIPT
from databosun.engines.mysql.physical.program import PROGRAM, UNPACKER
from databosun.engines.mysql.physical.take import COPY
from databosun.engines.mysql.positions import PIECES
from databosun.engines.mysql.recovery.facts import Backup, loaded_plugins, read_chain
from databosun.engines.mysql.recovery.private import tablespace_statements

# Whoever loads the backup; its own accounts, root too, are replaced by those in it.
_ADMIN = "restorer"


def restore_markdown(doc: RestoreDoc) -> str:
    """Markdown: the section behind the agent's own, which number from 1 to 4."""
    chain = [*doc.chain] or [doc.manifest]
    if chain[-1].get("id") != doc.manifest.get("id"):
        chain.append(doc.manifest)
    backups = read_chain(chain)
    made = _files_server(backups[0]) if backups[0].method is Method.PHYSICAL else _server(backups[0])
    steps = [*_before(backups, doc), *made, *_load(backups), *_verify(backups), *_after(backups)]
    return "\n".join(steps) + "\n"


def _before(backups: tuple[Backup, ...], doc: RestoreDoc) -> list[str]:
    base, last, speaks = backups[0], backups[-1], backups[0].dialect
    series = ".".join(map(str, base.series))
    position = last.position
    files = base.method is Method.PHYSICAL
    programs = "the server and client programs" + (f", `{PROGRAM}` and `{UNPACKER}`" if files else "")
    kind = "Full" if last.type is BackupType.FULL else f"{last.type.value} (binary log since {backups[-2].id})"
    return [
        f"## 5. Restore {speaks.name} {series}",
        "",
        f"{last.method} {kind} backup of {speaks.name} {last.version}. It holds what was committed by "
        f"{doc.manifest.get('snapshotTime')} (binary log {position.binlog or 'none'}, GTID {position.gtid or 'none'}).",
        "",
        f"Needed: {programs} of {speaks.name} {series}, `zstd`, and as much free disk as the data "
        "takes. Work as the user that shall own the server, never as root, in the folder that holds "
        f"`{last.id}/`{' and the folders of its chain' if len(backups) > 1 else ''}. Run the blocks in order, in one "
        "shell. The copy listens on a Unix socket in a private folder only, runs no events and follows nobody.",
        "",
        *_bash(
            "set -euo pipefail",
            f'export PATH="${{{speaks.bin_variable}:-/usr/bin}}:$PATH:/usr/sbin"',
            f'{speaks.server} --no-defaults --version | grep -F " {series}."',
            f'BACKUP="$PWD/{last.id}" BASE="$PWD/{base.id}" RESTORED="$PWD/restored"',
            'umask 077; PRIVATE="$(mktemp -d)"',
            'test ! -e "$RESTORED"',
        ),
    ]


def _server(base: Backup) -> list[str]:
    speaks = base.dialect
    spaces = shlex.quote("; ".join(tablespace_statements(base.tablespaces))) if base.tablespaces else ""
    return [
        "### A new server",
        "",
        "To restore into a server that is there already, leave this block out, and have the client of the next one log "
        "in to it; existing databases, and accounts, of the same names are replaced.",
        "",
        *_bash(
            'mkdir "$RESTORED.tmp"',
            *_configuration(base, *(f"plugin-load-add = {name}" for name in loaded_plugins(base))),
            f'{speaks.installer} --defaults-file="$PRIVATE/my.cnf" --datadir="$RESTORED" \\',
            f'  {" ".join(speaks.install)} > "$PRIVATE/install.log" 2>&1',
            *_start(speaks, "root"),
            f'{speaks.client} --no-defaults --socket="$PRIVATE/socket" --user=root \\',
            f'  --execute="{"; ".join(_taking_over(speaks))}"',
            *(
                [f'{speaks.client} --no-defaults --socket="$PRIVATE/socket" --user=root --execute={spaces}']
                if spaces
                else []
            ),
        ),
    ]


def _files_server(base: Backup) -> list[str]:
    """The files themselves, made consistent by the program that took them."""
    speaks = base.dialect
    return [
        "### A server of its files",
        "",
        "`mariadb-backup --prepare` applies what was written while the files were copied. The first start makes an "
        f"account `{_ADMIN}`, which can log in over the socket alone; all others are those of the backup.",
        "",
        *_bash(
            'mkdir "$RESTORED.tmp" "$RESTORED"',
            f'zstd -dc "$BASE/{COPY}" | {UNPACKER} --extract --directory="$RESTORED"',
            f'{PROGRAM} --no-defaults --prepare --target-dir="$RESTORED" --use-memory=1G \\',
            '  > "$PRIVATE/prepare.log" 2>&1',
            'tail -n 1 "$PRIVATE/prepare.log" | grep "completed OK!"',
            *_configuration(base),
            'cat > "$PRIVATE/init.sql" <<EOF',
            *(f"{one};" for one in ("SET GLOBAL strict_password_validation = 0", *_taking_over(speaks))),
            "EOF",
            'echo "init-file = $PRIVATE/init.sql" >> "$PRIVATE/my.cnf"',
            *_start(speaks, _ADMIN),
        ),
    ]


def _configuration(base: Backup, *more: str) -> list[str]:
    return [
        'cat > "$PRIVATE/my.cnf" <<EOF',
        f"[{base.dialect.server}]",
        "datadir = $RESTORED",
        "socket = $PRIVATE/socket",
        "pid-file = $PRIVATE/pid",
        "tmpdir = $RESTORED.tmp",
        *base.dialect.by_hand,
        *(f"{name} = {value}" for name, value in base.settings.items()),
        *more,
        "EOF",
    ]


def _start(speaks: Dialect, user: str) -> list[str]:
    return [
        f'{speaks.server} --defaults-file="$PRIVATE/my.cnf" > "$PRIVATE/server.log" 2>&1 &',
        "SERVER=$!",
        "for _ in $(seq 600); do",
        f'  {speaks.client} --no-defaults --socket="$PRIVATE/socket" --user={user} --execute="SELECT 1" \\',
        '    > "$PRIVATE/ready" 2> "$PRIVATE/ready" && break || { sleep 1; kill -0 "$SERVER"; }',
        "done",
    ]


def _taking_over(speaks: Dialect) -> tuple[str, ...]:
    return (
        f"CREATE USER '{_ADMIN}'@'localhost'",
        f"GRANT ALL PRIVILEGES ON *.* TO '{_ADMIN}'@'localhost' WITH GRANT OPTION",
        f"GRANT PROXY ON {speaks.everyone} TO '{_ADMIN}'@'localhost' WITH GRANT OPTION",
    )


def _load(backups: tuple[Backup, ...]) -> list[str]:
    base = backups[0]
    lines = [
        f'CLIENT=({base.dialect.client} --no-defaults --socket="$PRIVATE/socket" --user={_ADMIN} \\',
        "  --default-character-set=utf8mb4 --binary-mode --max-allowed-packet=1G)",
    ]
    title = "Databases and accounts" if base.accounts else "The database"
    if base.method is Method.PHYSICAL:
        title = "How to ask it"
    else:
        loaded = (DUMP, USERS) if base.accounts else (DUMP,)
        lines += [f'zstd -dc "$BASE/{name}" | "${{CLIENT[@]}}"' for name in loaded]
    said = [f"### {title}", "", *_bash(*lines)]
    pieces = [
        (number, backup.id, name)
        for number, backup in enumerate(backups[1:])
        for name in sorted(one for one in backup.artefacts if one.startswith(PIECES))
    ]
    if not pieces:
        return said
    reader, flags = base.dialect.log_reader, " ".join(base.dialect.reader_flags)
    unpack = [
        f'zstd -dc "$PWD/{backup}/{name}" > "$PRIVATE/log/{number:04d}-{_file(name)}"'
        for number, backup, name in pieces
    ]
    return [
        *said,
        "### What was written after the full backup",
        "",
        "All of the log in one go, and of all databases: what spans two files, or two databases, is whole only so.",
        "",
        *_bash(
            'mkdir "$PRIVATE/log"',
            *unpack,
            f'{reader} --no-defaults {flags} "$PRIVATE"/log/* | "${{CLIENT[@]}}"',
        ),
    ]


def _verify(backups: tuple[Backup, ...]) -> list[str]:
    last = backups[-1]
    if VERIFY_SCRIPT not in last.artefacts:
        return [
            "### Verify",
            "",
            "No rows were counted at the instant that this backup shows: the client ended well, and the rest is for "
            "you to check.",
            "",
        ]
    return [
        "### Verify",
        "",
        "Rows and fingerprints (a sum of row hashes, independent of their order) of every table, computed on the copy "
        "and compared with what was computed in the snapshot of the dump. No difference is printed where all is well.",
        "",
        *_bash(
            f'zstd -dc "$BACKUP/{VERIFY_SCRIPT}" | "${{CLIENT[@]}}" --batch --skip-column-names > "$PRIVATE/found"',
            f'zstd -dc "$BACKUP/{VERIFY_EXPECTED}" | diff - "$PRIVATE/found"',
            "echo 'all tables equal'",
        ),
    ]


def _after(backups: tuple[Backup, ...]) -> list[str]:
    base, speaks = backups[0], backups[0].dialect
    accounts = (
        "- Accounts, roles and password hashes are those of the backup."
        if base.accounts
        else "- One database was backed up, so accounts are not part of it: create those that its definers name."
    )
    return [
        "### Put it into service",
        "",
        f'The copy runs; look around with `{speaks.client} --no-defaults --socket="$PRIVATE/socket" --user={_ADMIN}`. '
        f"Drop that account, stop it with `{speaks.admin} shutdown`, move the data directory to its place, and start "
        "it with your own configuration, in which these say what they do above: "
        f"{', '.join(f'`{name}`' for name in base.settings) or 'none'}.",
        "",
        accounts,
        "- Events are there, and run once `event_scheduler` is ON: look at them before.",
        "- The server's own configuration is no part of the backup."
        if base.method is Method.PHYSICAL
        else "- The server's own configuration, and the history of system-versioned tables, are not part of a dump.",
    ]


def _file(name: str) -> str:
    return name.removeprefix(PIECES).removesuffix(".zst")


def _bash(*lines: str) -> list[str]:
    return ["```bash", *lines, "```", ""]
