"""What to do with a restored volume."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from databosun.engines.redis.recovery.facts import Backup, same_format
from databosun.engines.redis.recovery.private import APPEND_FOLDER, APPEND_NAME, FILE
from databosun.engines.redis.recovery.programs import Program

_PARTS_SINCE = 7
PARTS = (("base.rdb", "b"), ("incr.aof", "i"))
_CHUNK = 1024 * 1024


def in_parts(backup: Backup) -> bool:
    """Whether its server keeps its append-only file in parts, in a folder."""
    return backup.product == "Valkey" or int(backup.version.split(".")[0]) >= _PARTS_SINCE


def leave(backup: Backup, data: Path, *, replayed: bool) -> None:
    """What a server of the backup's version starts from, in a data folder whose server has ended.

    What was replayed is one RDB by now where that is of the right version; else it stays as the RDB of the backup with
    the commands behind it: in parts, or one behind the other before Redis 7.
    """
    folder = data / APPEND_FOLDER
    base, commands = folder / f"{APPEND_NAME}.1.base.rdb", folder / f"{APPEND_NAME}.1.incr.aof"
    if replayed and not same_format(backup, data / FILE):
        (data / FILE).unlink()
        if in_parts(backup):
            return
        with (data / APPEND_NAME).open("wb") as out:
            (data / APPEND_NAME).chmod(0o600)
            for part in (base, commands):
                with part.open("rb") as file:
                    shutil.copyfileobj(file, out, _CHUNK)
        shutil.rmtree(folder)
        return
    if replayed:
        shutil.rmtree(folder)
    if in_parts(backup):
        folder.mkdir(mode=0o700)
        # Never written again by a server, which appends to other parts and replaces this one as a whole.
        os.link(data / FILE, base)
        (folder / f"{APPEND_NAME}.manifest").write_text(f"file {APPEND_NAME}.1.base.rdb seq 1 type b\n")


def lay_out_commands(data: Path, commands: bytes) -> None:
    """The RDB as it lies there, and commands behind it, as the two parts of one append-only file; where these are there
    already, of a replay, the commands come last."""
    folder = data / APPEND_FOLDER
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.link(data / FILE, folder / f"{APPEND_NAME}.1.base.rdb")
        parts = "".join(f"file {APPEND_NAME}.1.{name} seq 1 type {kind}\n" for name, kind in PARTS)
        (folder / f"{APPEND_NAME}.manifest").write_text(parts)
    with (folder / f"{APPEND_NAME}.1.incr.aof").open("ab") as file:
        file.write(commands)


def appended(program: Program, backup: Backup) -> str:
    """For people: where all of it is, when one file cannot have it."""
    return (
        f"what was replayed is in the append-only file alone, since {program.label} writes another RDB version than"
        f" {backup.label} reads: start the restored server with `appendonly yes`"
    )


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
        f"Where a log was replayed and {data} holds no {FILE}, all of it is in the append-only file: start the server "
        "with `appendonly yes`, or it comes up empty.",
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
