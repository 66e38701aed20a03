"""The engine's part of RESTORE.md for a cluster: from the artefacts to a folder a shard, each checked by a server.

The fenced `bash` blocks are one script, in order; the tests run them.
"""

from __future__ import annotations

from collections.abc import Sequence

from databosun.engines.base import RestoreDoc
from databosun.engines.redis.cluster import range_text
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.handover import in_parts
from databosun.engines.redis.recovery.private import APPEND_FOLDER, APPEND_NAME, FILE
from databosun.engines.redis.shards.handover import NODES_FILE, hand_over_shards, nodes_conf


def shards_markdown(doc: RestoreDoc, shards: Sequence[Backup]) -> str:
    """Markdown: the section behind the agent's own, which number from 1 to 4."""
    first, apart = shards[0], (doc.manifest["environment"].get("cuts") or {}).get("apartSeconds")
    name = first.product.lower()
    keys = sum(count for shard in shards for count, _ in shard.counts.values())
    memory = max(shard.memory for shard in shards)
    lines = [
        f"## 5. Restore {first.product} Cluster",
        "",
        f"Full backup of {len(shards)} shards of {_plain(first.label)}, {keys} keys. The shards have no common point "
        f"in time: each is of its own instant, all of them within {apart} s. Every write up to "
        f"{_plain(first.snapshot_time)} is there.",
        "",
        f"Needed: `{name}-server` of that version or a later one of the same product, `{name}-cli` and "
        f"`{name}-check-rdb`, and as much memory as the largest shard takes ({memory} bytes where it came from). Work "
        f"as the user that shall own the servers, in the folder that holds `{first.id}/`. Run the blocks in order, in "
        "one shell. Each copy listens on a Unix socket in a private folder only.",
        "",
        *_bash(*_function(first, name)),
        "### Each shard",
        "",
        "It is loaded as a replica, since a master drops at once what has expired, and its keys are compared with "
        f"those that were counted in the backup's own stream. `{NODES_FILE}` says which slots it serves.",
        "",
    ]
    for number, shard in enumerate(shards, 1):
        lines += _bash(*_one(shard, number))
    lines += [*_bash("echo 'all keys there'"), "### Put it into service", ""]
    lines += [f"- {step}" for step in hand_over_shards(shards, "restored")]
    return "\n".join(lines) + "\n"


def _function(first: Backup, name: str) -> list[str]:
    """A shell function that lays out one shard, has it loaded, and compares its keys."""
    return [
        "set -euo pipefail",
        'export PATH="${REDIS_BIN:-/usr/local/bin}:$PATH"',
        f'BACKUP="$PWD/{first.id}" RESTORED="$PWD/restored"',
        'umask 077; PLACE="$(mktemp -d)"',
        'test ! -e "$RESTORED"',
        "shard() {",
        '  mkdir -p "$RESTORED/$1"',
        f'  zstd -dc "$BACKUP/$1/{FILE}.zst" > "$RESTORED/$1/{FILE}"',
        f'  {name}-check-rdb "$RESTORED/$1/{FILE}" > "$PLACE/said" || {{ cat "$PLACE/said"; false; }}',
        f'  {name}-server --port 0 --unixsocket "$PLACE/socket" --unixsocketperm 700 --dir "$RESTORED/$1" \\',
        f'    --dbfilename {FILE} --save "" --appendonly no --maxmemory 0 --replicaof 127.0.0.1 0 \\',
        '    --daemonize no > "$PLACE/server.log" 2>&1 < /dev/null & echo $! > "$PLACE/pid"',
        f'  until {name}-cli -s "$PLACE/socket" INFO persistence 2>/dev/null | grep -q "^loading:0"; do',
        '    kill -0 "$(cat "$PLACE/pid")" || { tail "$PLACE/server.log"; false; }; sleep 0.2; done',
        f'  {name}-cli -s "$PLACE/socket" INFO keyspace | tr -d "\\r" \\',
        "    | sed -n 's/^\\(db[0-9]*:keys=[0-9]*,expires=[0-9]*\\).*/\\1/p' > \"$PLACE/found\"",
        f'  {name}-cli -s "$PLACE/socket" SHUTDOWN NOSAVE || true; wait "$(cat "$PLACE/pid")"',
        '  diff "$PLACE/expected" "$PLACE/found"',
        *_append(first),
        "}",
    ]


def _one(shard: Backup, number: int) -> list[str]:
    return [
        "cat > \"$PLACE/expected\" <<'END'",
        *(f"db{db}:keys={keys},expires={ttl}" for db, (keys, ttl) in sorted(shard.counts.items()) if keys),
        "END",
        f"shard {shard.folder} # slots {range_text(shard.slots)}",
        f"cat > \"$RESTORED/{shard.folder}/{NODES_FILE}\" <<'END'",
        *nodes_conf(shard, number).splitlines(),
        "END",
    ]


def _append(shard: Backup) -> list[str]:
    if not in_parts(shard):
        return []
    base = f"{APPEND_NAME}.1.base.rdb"
    return [
        f'  mkdir "$RESTORED/$1/{APPEND_FOLDER}"; ln "$RESTORED/$1/{FILE}" "$RESTORED/$1/{APPEND_FOLDER}/{base}"',
        f'  echo "file {base} seq 1 type b" > "$RESTORED/$1/{APPEND_FOLDER}/{APPEND_NAME}.manifest"',
    ]


def _bash(*lines: str) -> list[str]:
    return ["```bash", *lines, "```", ""]


def _plain(text: str) -> str:
    """What a server said of itself, for text: it can neither begin a line nor a block."""
    return "".join(sign if sign.isprintable() and sign != "`" else "?" for sign in text)
