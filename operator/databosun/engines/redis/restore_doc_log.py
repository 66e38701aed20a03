"""How the shipped log is replayed by hand: a few lines of Python cut it where the backup ends, a server loads it."""

from __future__ import annotations

from databosun.domain.wal import parse_lsn, segment_name
from databosun.engines.filelog import SEGMENT_BYTES, TIMELINE
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.handover import in_parts
from databosun.engines.redis.recovery.private import APPEND_FOLDER, APPEND_NAME, FILE

_CUT = """\
import sys
start, until = int(sys.argv[1]), int(sys.argv[2])
at, log, out = 0, sys.stdin.buffer, sys.stdout.buffer
while line := log.readline():
    if line.startswith(b"#databosun "):
        at = int(line.split()[2])
    elif line.startswith(b"#came:") and int(line[6:]) > until:
        break
    if line.startswith(b"#"):
        continue
    parts = [line]
    for _ in range(int(line[1:])):
        size = log.readline()
        parts += [size, log.read(int(size[1:]) + 2)]
    at += sum(map(len, parts))
    if at > start and parts[2].strip().upper() not in (b"PING", b"REPLCONF"):
        out.writelines(parts)
"""


def log_blocks(backup: Backup) -> list[str]:
    """Markdown: leaves `REPLAY` and, where the folder `log` holds files, an append-only file."""
    offset = (backup.offset or "").partition(":")[2]
    first = segment_name(TIMELINE, parse_lsn(backup.start_lsn or "0/0") // SEGMENT_BYTES, SEGMENT_BYTES)
    base, commands = f"{APPEND_FOLDER}/{APPEND_NAME}.1.base.rdb", f"{APPEND_FOLDER}/{APPEND_NAME}.1.incr.aof"
    lines = [
        'REPLAY=no UNTIL="${UNTIL:-99999999999999}"',
        "if [ -d log ]; then",
        "REPLAY=yes",
        "cat > \"$PLACE/cut.py\" <<'END'",
        *_CUT.splitlines(),
        "END",
        f'mkdir "$RESTORED/{APPEND_FOLDER}"',
        f"printf '*2\\r\\n$6\\r\\nSELECT\\r\\n${len(str(backup.selected))}\\r\\n{backup.selected}\\r\\n' "
        f'> "$RESTORED/{commands}"',
        f'for FILE in log/*.zst; do zstd -dc "$FILE"; done | python3 "$PLACE/cut.py" {offset} "$UNTIL" '
        f'>> "$RESTORED/{commands}"',
        *_joined(backup, base, commands),
        "fi",
    ]
    return [
        "### The log behind it",
        "",
        "To go on from the backup to a later instant, have the log's files: what is stored below `_log/redis/` of this "
        f"namespace in the folder `{TIMELINE:08X}`, of the backup's own system identifier, from `{first}` on and "
        "without a hole in the numbers. Decrypt what ends in `.age` as the artefacts above, leave all of it in the "
        "folder `log`, and set `UNTIL` to milliseconds since 1970 (`date -d 2026-11-29T10:00:00Z +%s000`) to stop "
        "before what came later. Without that folder nothing is replayed.",
        "",
        "```bash",
        *lines,
        "```",
        "",
    ]


def _joined(backup: Backup, base: str, commands: str) -> list[str]:
    if not in_parts(backup):
        return [
            f'cat "$RESTORED/{FILE}" "$RESTORED/{commands}" > "$RESTORED/{APPEND_NAME}"',
            f'rm -r "$RESTORED/{APPEND_FOLDER}"',
        ]
    kinds = ("base.rdb", "b"), ("incr.aof", "i")
    parts = " ".join(f"'file {APPEND_NAME}.1.{name} seq 1 type {kind}'" for name, kind in kinds)
    return [
        f'cp "$RESTORED/{FILE}" "$RESTORED/{base}"',
        f"printf '%s\\n' {parts} > \"$RESTORED/{APPEND_FOLDER}/{APPEND_NAME}.manifest\"",
    ]
