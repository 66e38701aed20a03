"""The engine's part of RESTORE.md: commands for this very backup, from artefacts to a checked, running copy.

The fenced `bash` blocks are one script, in order; the tests run them.
"""

from __future__ import annotations

from databosun.domain.wal import parse_lsn, segment_name
from databosun.engines.base import RestoreDoc
from databosun.engines.filelog import SEGMENT_BYTES, TIMELINE
from databosun.engines.mongodb.namespaces import BUCKETS, FOLDER, METADATA
from databosun.engines.mongodb.positions import OPLOG
from databosun.engines.mongodb.recovery.facts import Backup, read_chain
from databosun.engines.mongodb.server import FERRETDB

_SHIPPED = 'if [ -d log ]; then for file in log/*.zst; do zstd -dc "$file"; done >> "$DUMP/oplog.bson"; fi'


def restore_markdown(doc: RestoreDoc) -> str:
    """Markdown: the section behind the agent's own, which number from 1 to 4."""
    chain = [*doc.chain] or [doc.manifest]
    if chain[-1].get("id") != doc.manifest.get("id"):
        chain.append(doc.manifest)
    backups = read_chain(chain)
    steps = [*_before(backups), *_lay_out(backups), *_server(backups[0]), *_load(backups), *_verify(backups[-1])]
    return "\n".join([*steps, *_after(backups[0])]) + "\n"


def _before(backups: tuple[Backup, ...]) -> list[str]:
    base, last = backups[0], backups[-1]
    end = f"oplog position {last.position.optime}" if last.end else "no oplog: each collection is of another instant"
    return [
        f"## 5. Restore {base.label}",
        "",
        f"Logical {last.type.value} backup of {last.product} {last.version}, in the layout of mongodump. It holds what "
        f"was written by {last.snapshot_time} ({end}).",
        "",
        f"Needed: `{_program(base)}` of {base.label}, `mongorestore` of MongoDB's Database Tools (100.10 or later), "
        "`zstd`, and twice as much free disk as the data takes. Work as the user that shall own the server, in the "
        f"folder that holds `{last.id}/`{' and the folders of its chain' if len(backups) > 1 else ''}. Run the blocks "
        "in order, in one shell. The copy listens on a Unix socket in a private folder only.",
        "",
        *_bash(
            "set -euo pipefail",
            'export PATH="${MONGODB_BIN:-/usr/local/bin}:$PATH"',
            f"{_program(base)} --version",
            "mongorestore --version",
            f'BASE="$PWD/{base.id}" DUMP="$PWD/dump-restored" RESTORED="$PWD/restored"',
            'umask 077; PRIVATE="/tmp/databosun-restore-$$"; mkdir "$PRIVATE"  # small letters: the tools fold a path',
            'test ! -e "$RESTORED" && test ! -e "$DUMP"',
        ),
    ]


def _lay_out(backups: tuple[Backup, ...]) -> list[str]:
    """What a store may not like in a name was written as `_` and two digits; printf turns it back."""
    slices = [f'zstd -dc "$PWD/{one.id}/{OPLOG}" >> "$DUMP/oplog.bson"' for one in backups if one.begin]
    more = ["The parts of the oplog, one behind the other, are one oplog.", ""] if len(slices) > 1 else []
    more += _log(backups[-1])
    return [
        "### The folder that mongodump would have written",
        "",
        *more,
        *_bash(
            'mkdir "$DUMP"',
            f'zstd -dc "$BASE/{METADATA}" | tar -x -C "$DUMP"',
            f'(cd "$BASE/{FOLDER.rstrip("/")}" && find . -name "*.bson.zst") | while IFS= read -r file; do',
            '  name="$(printf %b "${file//_/\\\\x}")"',
            '  mkdir -p "$DUMP/$(dirname "$name")"',
            f'  zstd -q -dc "$BASE/{FOLDER}$file" > "$DUMP/${{name%.zst}}"',
            "done",
            *slices,
            *([_SHIPPED] if backups[-1].start_lsn else []),
        ),
    ]


def _log(last: Backup) -> list[str]:
    """What to fetch to go on from the backup's end."""
    if last.start_lsn is None:
        return []
    first = segment_name(TIMELINE, parse_lsn(last.start_lsn) // SEGMENT_BYTES, SEGMENT_BYTES)
    return [
        "To go on from the backup to a later entry, have the shipped oplog behind it: what is stored below "
        f"`_log/mongodb/` of this namespace in the folder `{TIMELINE:08X}`, of the backup's own replica set, from "
        f"`{first}` on; of a piece that is open (`partial`) the longest alone. Decrypt what ends in `.age` as the "
        "artefacts above, and leave all of it in the folder `log`. Entries that come twice do no harm. Without that "
        "folder the oplog ends with the backup.",
        "",
    ]


def _server(base: Backup) -> list[str]:
    if base.product == FERRETDB:
        start = 'ferretdb -unix "$PRIVATE/s.sock" -data "$RESTORED" > "$PRIVATE/log" 2>&1 < /dev/null &'
    else:
        start = (
            'mongod --dbpath "$RESTORED" --bind_ip "$PRIVATE/s.sock" --unixSocketPrefix "$PRIVATE" '
            '--setParameter ttlMonitorEnabled=false > "$PRIVATE/log" 2>&1 < /dev/null &'
        )
    return [
        "### A new server",
        "",
        "To restore into a server that is there already, leave this block out and have `mongorestore` log in to it "
        "(`--uri`, as a user with the role `restore`); collections of the same names must not be there.",
        "",
        *_bash(
            'mkdir "$RESTORED"',
            start,
            'echo $! > "$PRIVATE/pid"',
            'until test -S "$PRIVATE/s.sock"; do',
            '  kill -0 "$(cat "$PRIVATE/pid")" || { tail "$PRIVATE/log"; false; }; sleep 1; done',
        ),
    ]


def _load(backups: tuple[Backup, ...]) -> list[str]:
    base, last = backups[0], backups[-1]
    stand_in = base.product == FERRETDB
    replay = "--oplogReplay " if last.begin and not stand_in else ""
    text = []
    if last.begin and stand_in:
        text = [
            "FerretDB has no `applyOps`, so `mongorestore` cannot replay the oplog into it: what comes up is the dump "
            "as it was read, without what was written meanwhile or after it. Nor does it take users, or indexes as the "
            "tool gives them. A drill or a Restore brings all of that.",
            "",
        ]
    elif last.begin:
        text = [
            "The oplog makes one instant of the dump. Add `--oplogLimit SECONDS:INCREMENT` to stop before an entry: "
            f"any second from {base.snapshot_time} to {last.snapshot_time} can be had.",
            "",
        ]
    skip = "--nsExclude='admin.system.*' --noIndexRestore " if stand_in else ""
    return [
        "### Documents, indexes, users and roles",
        "",
        *text,
        *_bash(
            'SOCKET="$PRIVATE/s.sock"',
            f'mongorestore --uri="mongodb://${{SOCKET//\\//%2F}}" {replay}{skip}--bypassDocumentValidation '
            '--stopOnError "$DUMP" 2>&1 | tee "$PRIVATE/restore.log"',
        ),
    ]


def _verify(last: Backup) -> list[str]:
    known = {
        name: count
        for name, (count, _) in last.objects.items()
        if not name.startswith("admin.") and f".{BUCKETS}" not in name
    }
    if not known:
        return [
            "### Verify",
            "",
            "Nothing was counted at the instant that this backup shows: `mongorestore` ended well, and the rest is for "
            "you to check.",
            "",
        ]
    lines = [f"{count} {name}" for name, count in sorted(known.items()) if "\n" not in name]
    return [
        "### Verify",
        "",
        "Documents of each collection, as they were counted in the backup's own stream. A collection that has fewer is "
        "printed, and ends the script.",
        "",
        *_bash(
            "cat > \"$PRIVATE/expected\" <<'END'",
            *lines,
            "END",
            "sed -nE 's/^.*finished restoring (.*) \\(([0-9]+) documents?, 0 failures\\).*$/\\2 \\1/p' \\",
            '  "$PRIVATE/restore.log" > "$PRIVATE/found"',
            '{ grep -vxF -f "$PRIVATE/found" "$PRIVATE/expected" || true; } | tee "$PRIVATE/missing"',
            'test ! -s "$PRIVATE/missing"',
            "echo 'all documents there'",
        ),
    ]


def _after(base: Backup) -> list[str]:
    users = (
        "- Users and roles are those of the backup, with their passwords." if base.users else "- There are no users."
    )
    return [
        "### Put it into service",
        "",
        'The copy runs; look around with `mongosh "$PRIVATE/s.sock"`. Stop it with `kill "$(cat "$PRIVATE/pid")"`, '
        "move `restored/` to its place, start it with your own configuration (`replSetName`), and run "
        "`rs.initiate()`: other members, with empty folders, copy from it.",
        "",
        users,
        "- Documents with a time to live that has passed since the backup go once `ttlMonitorEnabled` is not off.",
        "- The server's own configuration is not part of a backup.",
    ]


def _program(base: Backup) -> str:
    return "ferretdb" if base.product == FERRETDB else "mongod"


def _bash(*lines: str) -> list[str]:
    return ["```bash", *lines, "```", ""]
