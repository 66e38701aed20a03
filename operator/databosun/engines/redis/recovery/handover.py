"""What to do with a restored volume."""

from __future__ import annotations

from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.private import FILE

APPEND_FOLDER, APPEND_NAME = "appendonlydir", "appendonly.aof"
_PARTS_SINCE = 7


def in_parts(backup: Backup) -> bool:
    """Whether its server keeps its append-only file in parts, in a folder."""
    return backup.product == "Valkey" or int(backup.version.split(".")[0]) >= _PARTS_SINCE


def hand_over_steps(backup: Backup, data: str) -> list[str]:
    """Sentences, in order."""
    if in_parts(backup):
        append = (
            f"With `appendonly yes` a server reads {data}/{APPEND_FOLDER} and never {FILE}: both hold the same data "
            "here. A "
            "server with another appenddirname or appendfilename needs them renamed (the names stand in the manifest "
            f"{APPEND_FOLDER}/{APPEND_NAME}.manifest too)."
        )
    else:
        append = (
            f"With `appendonly yes` a server of this version reads {APPEND_NAME} and never {FILE}: copy "
            f"{data}/{FILE} to "
            f"{data}/{APPEND_NAME} then (an RDB is a valid beginning of it)."
        )
    return [
        f"The folder {data} holds {FILE} as {backup.label} wrote it, in RDB version {backup.rdb_version}: a server "
        "of that "
        "version or a later one of the same product reads it.",
        append,
        "Keys whose time to live has passed since the backup go when the server starts, as they would have gone "
        "anyway.",
        f"StatefulSet: scale it to 0, name this claim as its data volume (or copy what is in {data} into the claim "
        "it has, "
        "which must hold no other append-only file), give the files to the uid of the server, scale it to 1.",
        "Replicas: start the restored master first, with no `replicaof`, then the replicas, with empty volumes; with "
        "Sentinel, stop the Sentinels before and `SENTINEL REMOVE` and `SENTINEL MONITOR` it anew.",
        "Users and passwords are not in a backup: they are in users.acl or the configuration.",
        "Take a full backup at once: the restored server begins a history of its own.",
    ]
