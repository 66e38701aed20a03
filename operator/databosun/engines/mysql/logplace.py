"""Whether a server's log is the one that was read before: what a backup says of its end, and an archiver asks again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.v1alpha1.backup import Position
from databosun.engines.mysql.binlogevents import FIRST
from databosun.engines.mysql.binlogstream import began_at
from databosun.engines.mysql.binlogway import File, Place
from databosun.engines.mysql.connect import Session, one, rows
from databosun.engines.mysql.faults import number_of
from databosun.engines.mysql.logged import logged_of, parse_mysql
from databosun.engines.mysql.positions import BEGAN, Mark, backup_position
from databosun.engines.mysql.server import ServerFacts, archived_here

_ENCRYPTED_HEAD = 512
# The account may not read the log; the file is no longer there.
_NOT_TOLD = frozenset({1227, 1236})


def list_files(connection: Connection[Any]) -> tuple[File, ...]:
    """Those that the server has, with their sizes as positions count: of one that MySQL encrypts, without its head."""
    return tuple(
        File(str(name), int(size) - (_ENCRYPTED_HEAD if encrypted == ["Yes"] else 0))
        for name, size, *encrypted in rows(connection, "SHOW BINARY LOGS")
    )


def place_in_log(
    session: Session, facts: ServerFacts, mark: Mark | None, at: datetime
) -> tuple[Position, dict[str, Any]]:
    """For a manifest: the position, and what its environment says of the log. `at`: a moment before the mark.

    Of a log that cannot be told from one that was begun anew later, no place is named for a replay.
    """
    archived = mark is not None and archived_here(session, facts)
    if mark is None or not archived or session.dialect.gtid_at is not None:
        return backup_position(mark, archived=archived), {}
    began = _began(session, mark.file, at)
    return backup_position(mark, archived=began is not None), {} if began is None else {BEGAN: began}


def _began(session: Session, file: str, at: datetime) -> int | None:
    """None where it is not told, or was begun after the backup's snapshot: then it is another one."""
    try:
        began = began_at(session, file)
    except pymysql.MySQLError as error:
        if number_of(error) in _NOT_TOLD:
            return None
        raise
    return began if began <= at.timestamp() else None


def why_another(asking: Connection[Any], session: Session, place: Place, files: dict[int, File]) -> str | None:
    """Why the server's log, which has the place's file, is not the one that was archived; None where it is."""
    if session.dialect.gtid_at is None:
        return _another_file(asking, session, place, files)
    if place.offset == FIRST or place.logged is None:
        return None  # the list at the beginning of the file says it
    name = files[place.number].name
    (found,) = one(asking, session.dialect.gtid_at, (name, place.offset))
    if found is not None and logged_of(session.dialect, place.logged).same(str(found)):
        return None
    return (
        f"binary log {name} of {session.endpoint} is not the one that was archived (GTID {found} at {place.offset}, "
        f"not {place.logged}): it was begun anew, or another server answers"
    )


def _another_file(asking: Connection[Any], session: Session, place: Place, files: dict[int, File]) -> str | None:
    """By when the file was begun; at the beginning of one, the file before it. Then by what the server has executed."""
    if place.logged is None:
        return None
    known = parse_mysql(place.logged)
    before = files.get(place.number - 1 if place.offset == FIRST else place.number)
    if before is None:
        # Its file is gone; the list at the beginning of the next one says it, if it says anything.
        return None if known.held else "the file before it was removed, and transactions without GTIDs do not tell"
    began = began_at(session, before.name)
    if began != known.began:
        return (
            f"binary log {before.name} of {session.endpoint} was begun at {began}, and the one that was archived at "
            f"{known.began} (seconds of its clock): the log was begun anew, or another server answers"
        )
    (lacks,) = one(asking, "SELECT GTID_SUBTRACT(%s, @@GLOBAL.gtid_executed)", (str(known.held or ""),))
    if lacks:
        return f"{session.endpoint} has not executed {lacks}, which was archived of it: it went back"
    return None
