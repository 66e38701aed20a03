"""The engine's part of RESTORE.md: commands for this very backup, from the artefact to a checked, running copy.

The fenced `bash` blocks are one script, in order; the tests run them.
"""

from __future__ import annotations

from databosun.engines.base import RestoreDoc
from databosun.engines.redis.recovery.facts import ARTEFACT, Backup, read_backup
from databosun.engines.redis.recovery.handover import in_parts
from databosun.engines.redis.recovery.private import APPEND_FOLDER, APPEND_NAME, FILE
from databosun.engines.redis.restore_doc_log import log_blocks


def restore_markdown(doc: RestoreDoc) -> str:
    """Markdown: the section behind the agent's own, which number from 1 to 4."""
    backup = read_backup(doc.manifest)
    log = log_blocks(backup) if backup.start_lsn else ["", *_bash("REPLAY=no")]
    return "\n".join([*_before(backup), *log, *_load(backup), *_compare(backup), *_after(backup)]) + "\n"


def _before(backup: Backup) -> list[str]:
    keys = sum(count for count, _ in backup.counts.values())
    program = _program(backup)
    return [
        f"## 5. Restore {backup.product}",
        "",
        f"Full backup of {_plain(backup.label)}, an RDB file of version {backup.rdb_version} with {keys} keys. It "
        "holds "
        f"every write up to {_plain(backup.snapshot_time)} (replication offset {_plain(backup.offset or 'unknown')}).",
        "",
        f"Needed: `{program}` of that version or a later one of the same product, with `{_client(backup)}` and "
        f"`{_checker(backup)}`, and as much memory as the data takes "
        f"({backup.memory} bytes where it came from). Work as the user that shall own the server, in the folder "
        "that holds "
        f"`{backup.id}/`. Run the blocks in order, in one shell. The copy listens on a Unix socket in a private folder "
        "only, and talks to nobody until you put it into service.",
        "",
        *_bash(
            "set -euo pipefail",
            'export PATH="${REDIS_BIN:-/usr/local/bin}:$PATH"',
            f"{program} --version",
            f'BACKUP="$PWD/{backup.id}" RESTORED="$PWD/restored"',
            'umask 077; PLACE="$(mktemp -d)"',
            'test ! -e "$RESTORED"',
            'mkdir "$RESTORED"',
            f'zstd -dc "$BACKUP/{ARTEFACT}" > "$RESTORED/{FILE}"',
            f'{_checker(backup)} "$RESTORED/{FILE}"',
        ),
    ]


def _load(backup: Backup) -> list[str]:
    databases = max(15, *backup.counts, 15) + 1
    cli = f'{_client(backup)} -s "$PLACE/socket"'
    return [
        "### Load it",
        "",
        "As a replica, since a master drops at once what has expired since the backup, and the counts could not be "
        "compared. Port 0 is nobody's.",
        "",
        *_bash(
            f'{_program(backup)} --port 0 --unixsocket "$PLACE/socket" --unixsocketperm 700 --dir "$RESTORED" \\',
            f'  --dbfilename {FILE} --databases {databases} --save "" --appendonly "$REPLAY" --maxmemory 0 \\',
            '  --replicaof 127.0.0.1 0 --daemonize no > "$PLACE/server.log" 2>&1 < /dev/null & echo $! > "$PLACE/pid"',
            f"until {cli} INFO persistence 2>/dev/null | grep -q '^loading:0'; do",
            '  kill -0 "$(cat "$PLACE/pid")" || { tail "$PLACE/server.log"; false; }; sleep 1; done',
        ),
    ]


def _compare(backup: Backup) -> list[str]:
    cli = f'{_client(backup)} -s "$PLACE/socket"'
    lines = [
        f"db{number}:keys={keys},expires={expires}" for number, (keys, expires) in sorted(backup.counts.items()) if keys
    ]
    return [
        "### Compare",
        "",
        "Keys, and keys with a time to live, as they were counted in the backup's own stream. No difference is printed "
        "where all is well. Where a log is replayed the copy has moved on from there, and nothing is compared.",
        "",
        *_bash(
            "cat > \"$PLACE/expected\" <<'END'",
            *lines,
            "END",
            f"{cli} INFO keyspace | tr -d '\\r' | sed -n 's/^\\(db[0-9]*:keys=[0-9]*,expires=[0-9]*\\).*/\\1/p' \\",
            '  > "$PLACE/found"',
            'test "$REPLAY" = yes || diff "$PLACE/expected" "$PLACE/found"',
            f"{cli} REPLICAOF NO ONE",
            "echo 'all keys there'",
        ),
    ]


def _after(backup: Backup) -> list[str]:
    if in_parts(backup):
        append = (
            f"- A server with `appendonly yes` reads `{APPEND_FOLDER}/` and never `{FILE}`. Give it one: `mkdir "
            f"{APPEND_FOLDER}`, `cp {FILE} {APPEND_FOLDER}/{APPEND_NAME}.1.base.rdb`, and a file "
            f"`{APPEND_FOLDER}/{APPEND_NAME}.manifest` with the line `file {APPEND_NAME}.1.base.rdb seq 1 type b`."
        )
    else:
        append = (
            f"- A server with `appendonly yes` reads `{APPEND_NAME}` and never `{FILE}`: `cp {FILE} {APPEND_NAME}` "
            "(an RDB "
            "is a valid beginning of it)."
        )
    return [
        "### Put it into service",
        "",
        *_replayed(backup),
        f'The copy runs; look around with `{_client(backup)} -s "$PLACE/socket"`. Stop it with `SHUTDOWN NOSAVE`, move '
        f"`restored/{FILE}` into the data folder of your server, and start that with your own configuration.",
        "",
        append,
        "- Keys whose time to live has passed since the backup are gone as soon as it is a master.",
        "- Users and passwords are not in the backup: they are in `users.acl` or the configuration.",
        "- Start the master first, without `replicaof`; replicas with empty folders after it.",
    ]


def _replayed(backup: Backup) -> list[str]:
    if not backup.start_lsn:
        return []
    return [
        f"Where a log was replayed, the data are in the append-only file alone: move all of `restored/` but `{FILE}`, "
        "and start the server with `appendonly yes`.",
        "",
    ]


def _program(backup: Backup) -> str:
    return f"{backup.product.lower()}-server"


def _client(backup: Backup) -> str:
    return f"{backup.product.lower()}-cli"


def _checker(backup: Backup) -> str:
    return f"{backup.product.lower()}-check-rdb"


def _bash(*lines: str) -> list[str]:
    return ["```bash", *lines, "```", ""]


def _plain(text: str) -> str:
    """What a server said of itself, for text: it can neither begin a line nor a block."""
    return "".join(sign if sign.isprintable() and sign != "`" else "?" for sign in text)
