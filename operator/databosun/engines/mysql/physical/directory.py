"""The data directory as this pod sees it: whether all of it can be read, and whether it is that of the server asked."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.mysql.connect import rows
from databosun.engines.mysql.server import ServerFacts

_PHYSICAL = [Method.PHYSICAL.value]
# Where the volume is an ext4 of its own: root's, and no schema.
LOST_AND_FOUND = "lost+found"
_REDO_LOG = "ib_logfile0"
_FORMAT = b"Phys"  # InnoDB's redo log since 10.8, not encrypted
_CHECKPOINTS = (4096, 8192)
_LSN = struct.Struct(">Q")
_TRIES = 20
# The server's own tables, and the head of an Aria index file, which says when it was made (seen on 10.11).
_INSTALLED = """
SELECT t.TABLE_NAME, UNIX_TIMESTAMP(t.CREATE_TIME) FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA = 'mysql' AND t.ENGINE = 'Aria' AND t.TABLE_NAME IN ('db', 'func', 'plugin', 'servers')
"""
_INSTANT = struct.Struct(">Q")
_HEADER = 1024
# While a backup is under way the server keeps in it which tables are made and dropped, and begins it anew each time.
_DDL_LOG = "ddl.log"


def directory_of(facts: ServerFacts) -> Path:
    """Where the server has its data; the claim is mounted here where the server's own pod mounts it."""
    return Path(facts.settings["datadir"])


def directory_findings(connection: Connection[Any], facts: ServerFacts, mount: Path) -> list[Finding]:
    """Why it cannot be copied; the first reason only."""
    data = directory_of(facts)
    if not data.is_relative_to(mount) or not data.is_dir():
        message = (
            f"the server's data directory is {data}, and the claim of spec.dataVolume is mounted at {mount}, as in the "
            f"pod that uses it: {data} is not in it"
        )
        fix = "name the claim that holds the data directory in spec.dataVolume.claimName"
        return [Finding(reason=Reason.DATA_VOLUME_FOREIGN, message=message, fix=fix, blocks=_PHYSICAL)]
    for path in _unreadable(data):
        return [_cannot_read(path)]
    if (why := _another(connection, data)) is not None:
        fix = "name the claim of this very server in spec.dataVolume.claimName"
        message = f"{data} is not the data directory of {facts.host}: {why}"
        return [Finding(reason=Reason.DATA_VOLUME_FOREIGN, message=message, fix=fix, blocks=_PHYSICAL)]
    return []


def backup_trace(data: Path) -> int | None:
    """Another value after each begin of a backup at the very server that uses the directory; None where there was none
    yet."""
    try:
        return (data / _DDL_LOG).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _unreadable(data: Path) -> Iterator[Path]:
    """What the backup would stop at."""
    if not os.access(data, os.R_OK | os.X_OK):
        yield data
    for folder, folders, files in os.walk(data, onerror=_raise):
        folders[:] = [name for name in folders if Path(folder, name) != data / LOST_AND_FOUND]
        for name in folders:
            path = Path(folder, name)
            if not os.access(path, os.R_OK | os.X_OK):
                yield path
        for name in files:
            path = Path(folder, name)
            # One that is gone was a temporary one.
            if not os.access(path, os.R_OK) and os.path.lexists(path):
                yield path


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | PermissionError):
        raise error


def _cannot_read(path: Path) -> Finding:
    about = path.lstat()
    groups = ",".join(map(str, sorted({os.getegid(), *os.getgroups()})))
    message = (
        f"{path} (owner {about.st_uid}:{about.st_gid}, mode {about.st_mode & 0o7777:04o}) cannot be read by the Job, "
        f"which runs as {os.geteuid()} with the groups {groups}; a backup reads every file of the data directory"
    )
    fix = f"set spec.dataVolume.runAsUser to {about.st_uid}, the user that the server's files belong to"
    return Finding(reason=Reason.DATA_VOLUME_UNREADABLE, message=message, fix=fix, blocks=_PHYSICAL)


def _another(connection: Connection[Any], data: Path) -> str | None:
    """Why the directory is another server's: a table of the installation was made at another instant, or its redo log's
    checkpoint is not the one that the server names. New servers have one checkpoint in common.

    A running server moves it on; it is read between two answers.
    """
    try:
        for name, made in rows(connection, _INSTALLED):
            with (data / "mysql" / f"{name}.MAI").open("rb") as file:
                if _INSTANT.pack(int(made)) not in file.read(_HEADER):
                    return f"mysql.{name} of the server was made at another instant than the one in it"
        for _ in range(_TRIES):
            before = _checkpoint_said(connection)
            found = _checkpoint_in(data / _REDO_LOG)
            if found is None:
                return f"{_REDO_LOG} does not begin as one of MariaDB 10.8 or later does, not encrypted"
            if before <= found <= _checkpoint_said(connection):
                return None
    except FileNotFoundError as error:
        return f"it has no {error.filename}"
    return f"the checkpoint in its {_REDO_LOG} is {found}, and that of the server is {before}"


def _checkpoint_said(connection: Connection[Any]) -> int:
    return int(rows(connection, "SHOW GLOBAL STATUS LIKE 'Innodb_lsn_last_checkpoint'")[0][1])


def _checkpoint_in(path: Path) -> int | None:
    with path.open("rb") as file:
        head = file.read(_CHECKPOINTS[-1] + _LSN.size)
    if not head.startswith(_FORMAT) or len(head) < _CHECKPOINTS[-1] + _LSN.size:
        return None
    return max(int(_LSN.unpack_from(head, at)[0]) for at in _CHECKPOINTS)
