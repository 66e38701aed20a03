"""An Incremental: the binary log since the last backup, file by file, each walked to its last checksum."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymysql.connections import Connection

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.domain.gtidset import GtidSet, parse_gtid_set
from databosun.engines.base import Captured, Parent, Plan, Sink
from databosun.engines.mysql.binlogfile import BinlogWalk
from databosun.engines.mysql.connect import Session, one, opened, rows
from databosun.engines.mysql.environment import gather_environment
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.grants import read_grants
from databosun.engines.mysql.logical import Run
from databosun.engines.mysql.logplace import list_files, place_in_log
from databosun.engines.mysql.positions import BASE_FILE, PIECES, Mark, read_mark
from databosun.engines.mysql.preflight import binlog_findings
from databosun.engines.mysql.relay import Relay
from databosun.engines.mysql.room import demand_room
from databosun.engines.mysql.server import ServerFacts
from databosun.engines.mysql.tools import Tool, environment_of, find_tool, tool_version
from databosun.engines.program import bound

_LOOK_SECONDS = 0.2
_CHUNK = 1024 * 1024
_FIRST_POSITION = 4
_FIRST_EVENTS, _BEFORE = "SHOW BINLOG EVENTS IN %s LIMIT 2", "Previous_gtids"
# What keeps an Incremental from being taken, and no Full. Other findings only warn.
_STOPS = frozenset({Reason.INCREMENTAL_UNSUPPORTED, Reason.BINLOG_OFF, Reason.NO_REPLICATION_PRIVILEGE})


@dataclass(frozen=True, slots=True)
class Span:
    """The log to take: from a mark to a mark, over these files of the server, each with its size."""

    begin: Mark
    end: Mark
    files: tuple[tuple[str, int], ...]
    at: datetime


def back_up_incremental(
    session: Session, facts: ServerFacts, plan: Plan, sink: Sink
) -> tuple[Captured | None, tuple[str, ...]]:
    """The backup; or None, with a note that says why a Full must be taken instead."""
    run = Run(session, facts, plan, sink)
    run.say("prepare")
    parent = plan.parent
    if parent is None:
        return None, ()
    with opened(session) as connection, guarded("reading the binary log's position"):
        span, why = _span(run, connection, parent)
        environment = gather_environment(connection, run.dialect, facts, run.schemas) if span else {}
    if span is None:
        return None, (f"{why}; a Full was taken instead",)
    last, taken = _take(run, span)
    if run.dialect.gtid_at is None:
        gtid = str(parse_gtid_set(",".join((span.begin.gtid, *taken))))
        span = replace(span, end=replace(span.end, gtid=gtid))
    sink.put_plain(BASE_FILE, span.end.document())
    position, log = place_in_log(session, facts, span.end, span.at)
    captured = Captured(
        type=plan.type,
        method=Method.LOGICAL,
        engine_version=facts.version,
        system_identifier=facts.system_identifier,
        position=position,
        snapshot_time=span.at,
        parent=parent.id,
        base=parent.base,
        chain_length=parent.chain_length + 1,
        environment={**environment, **log, "lastCommit": last.isoformat() if last else None},
        client_versions=dict(run.versions),
    )
    return captured, ()


def _span(run: Run, connection: Connection[Any], parent: Parent) -> tuple[Span | None, str]:
    """What lies between the parent and now; None with the reason where the log does not go on from there."""
    stop = next((one for one in _obstacles(run, connection) if one.reason in _STOPS), None)
    if stop is not None:
        return None, f"{stop.reason}: {stop.message}"
    begin = read_mark(parent.engine_manifest)
    if begin is None:
        return None, f"{Reason.BINLOG_OFF}: backup {parent.id} was taken without a binary log"
    if parent.system_identifier != run.facts.system_identifier:
        return None, f"{Reason.ANOTHER_SERVER}: {run.facts.host} is not the server that {parent.id} was taken of"
    (now,) = one(connection, "SELECT UTC_TIMESTAMP(6)")
    file, position, only, ignored = one(connection, run.dialect.log_status(run.facts.series))[:4]
    if only or ignored:
        message = (
            f"the binary log of {run.facts.host} leaves schemas out (binlog_do_db: {only}; binlog_ignore_db: {ignored})"
        )
        return None, f"{Reason.BINLOG_OFF}: {message}"
    end = Mark(str(file), int(position))
    if run.dialect.gtid_at is not None:
        end = replace(end, gtid=str(one(connection, run.dialect.gtid_at, (file, position))[0] or ""))
    sizes = {file.name: file.size for file in list_files(connection)}
    if begin.file not in sizes:
        first = next(iter(sizes), "none")
        message = f"binary log {begin.file}, where {parent.id} ends, was removed from {run.facts.host} (first: {first})"
        return None, f"{Reason.BINLOG_PURGED}: {message}"
    if why := _other_log(run, connection, parent.id, begin, sizes[begin.file]):
        return None, why
    names = list(sizes)
    files = tuple((name, sizes[name]) for name in names[names.index(begin.file) : names.index(end.file) + 1])
    lag = run.facts.replica.lag if run.facts.replica else None
    return Span(begin, end, files, now.replace(tzinfo=UTC) - lag if lag else now.replace(tzinfo=UTC)), ""


def _other_log(run: Run, connection: Connection[Any], parent: str, begin: Mark, size: int) -> str:
    """Why the transactions before the mark are not those that it names; empty where they are.

    MySQL does not say it of a position: what its file says of those before, and its events up to there, do.
    """
    if run.dialect.gtid_at is not None:
        (found,) = one(connection, run.dialect.gtid_at, (begin.file, begin.position))
        same = found is not None and _transactions(str(found)) == _transactions(begin.gtid)
    else:
        walk = _from_its_beginning(run, begin, size)
        before = next((str(row[5]) for row in rows(connection, _FIRST_EVENTS, (begin.file,)) if row[2] == _BEFORE), "")
        found = str(parse_gtid_set(f"{before},{walk.gtids}"))
        same = walk.offset is not None and _logged(connection, found) == _logged(connection, begin.gtid)
    if same:
        return ""
    return (
        f"{Reason.ANOTHER_SERVER}: binary log {begin.file} of {run.facts.host} is not the one that {parent} ends in "
        f"(GTID {found} at {begin.position}, not {begin.gtid}): it was begun anew, or another server answers"
    )


def _logged(connection: Connection[Any], gtids: str) -> GtidSet:
    """Those of them that a log here can have: not what came by other ways (gtid_purged)."""
    return parse_gtid_set(str(one(connection, "SELECT GTID_SUBTRACT(%s, @@GLOBAL.gtid_purged)", (gtids,))[0]))


def _from_its_beginning(run: Run, begin: Mark, size: int) -> BinlogWalk:
    """All of the parent's last file up to where it ends."""
    demand_room(run.plan.scratch, run.plan.scratch_bytes, size, f"a file of the binary log of {humanize_bytes(size)}")
    run.say(f"binary log {begin.file}")
    with guarded("writing to scratch"), tempfile.TemporaryDirectory(prefix="log-", dir=run.plan.scratch) as folder:
        piece = _fetch(run, Path(folder), begin.file, _FIRST_POSITION)
        return _walked(run, piece, _FIRST_POSITION, begin.position)


def _transactions(gtid: str) -> frozenset[str]:
    """A position of several domains, whatever their order."""
    return frozenset(gtid.split(","))


def _obstacles(run: Run, connection: Connection[Any]) -> Sequence[Any]:
    return binlog_findings(
        run.facts, read_grants(connection, run.dialect), run.session.target.database.database, run.dialect
    )


def _take(run: Run, span: Span) -> tuple[datetime | None, list[str]]:
    """Each file through scratch into the sink. The instant of the newest commit, and MySQL's transactions."""
    largest = max(size for _, size in span.files)
    why = f"a file of the binary log of {humanize_bytes(largest)}"
    demand_room(run.plan.scratch, run.plan.scratch_bytes, largest, why)
    last: datetime | None = None
    taken: list[str] = []
    for number, (name, size) in enumerate(span.files):
        begin = span.begin.position if number == 0 else _FIRST_POSITION
        end = span.end.position if name == span.end.file else size
        run.say(f"binary log {name}")
        with guarded("writing to scratch"), tempfile.TemporaryDirectory(prefix="log-", dir=run.plan.scratch) as folder:
            piece = _fetch(run, Path(folder), name, begin)
            walk = _walk(run, piece, begin, end)
            _store(run, piece, f"{PIECES}{number:06d}-{name}.zst", walk.offset or 0)
        last = walk.last_commit or last
        taken.append(str(walk.gtids))
    return last, taken


def _fetch(run: Run, folder: Path, name: str, begin: int) -> Path:
    """One file from a position on: its description, then its events, whole. The server ends such a session itself."""
    run.tool(run.dialect.dump)  # of the same package, and unlike the other it says of which series it is
    program = find_tool(run.dialect.log_reader, run.dialect)
    run.versions[run.dialect.log_reader] = tool_version(program)
    with opened(run.session) as connection, Relay(connection, run.dialect) as relay:
        argv = [
            str(program),
            "--no-defaults",
            "--protocol=socket",
            f"--socket={relay.socket_path}",
            f"--user={run.session.user}",
            "--read-from-remote-server",
            "--raw",
            f"--start-position={begin}",
            f"--result-file={folder}/",
            name,
        ]
        with Tool(bound(argv), env=environment_of(folder, run.dialect), cwd=folder) as tool:
            while not tool.ended(within=_LOOK_SECONDS):
                run.pulse()
            tool.require_success(f"fetching binary log {name}")
    return folder / name


def _walk(run: Run, piece: Path, begin: int, end: int) -> BinlogWalk:
    """Demand that the piece is whole, and reaches the position. What the server wrote since lies behind it."""
    walk = _walked(run, piece, begin, end)
    if walk.offset is None:
        message = f"binary log {piece.name} came without an event that ends at {end}; its last one ends at {walk.end}"
        raise SafetyStop(Reason.LOG_GAP, message)
    return walk


def _walked(run: Run, piece: Path, begin: int, end: int) -> BinlogWalk:
    walk = BinlogWalk(piece.name, begin, end)
    with piece.open("rb") as file:
        while data := file.read(_CHUNK):
            walk.feed(memoryview(data))
            run.pulse()
    walk.close()
    return walk


def _store(run: Run, piece: Path, name: str, size: int) -> None:
    writer = run.sink.open(name, compress=True, check=lambda: BinlogWalk(name))
    with piece.open("rb") as file:
        while size and (data := file.read(min(_CHUNK, size))):
            writer.write(data)
            size -= len(data)
    writer.finish()
