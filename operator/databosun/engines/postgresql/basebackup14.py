"""Physical backups of PostgreSQL 14, whose protocol frames archives in another way and cannot compress.

pg_basebackup writes plain archives to scratch; from there they go to the sink.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from databosun.domain.errors import WorldFault
from databosun.engines.base import Plan
from databosun.engines.postgresql import scratch
from databosun.engines.postgresql.archives import MANIFEST, Archives
from databosun.engines.postgresql.connect import Session
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.filemanifest import wal_ranges
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.replication import Point
from databosun.engines.postgresql.server import ServerFacts
from databosun.engines.postgresql.tools import Tool, tool_conninfo, tool_environment, tool_of_major

_CHUNK = 1024 * 1024
_LOOK_SECONDS = 0.5
_ARCHIVE = re.compile(r"(?:base|pg_wal|[0-9]+)\.tar")
# Beside the data: what is written while the backup runs, and a segment or two.
_ROOM_FOR_WAL = 64 * 1024 * 1024


def take_on_scratch(
    session: Session, facts: ServerFacts, plan: Plan, archives: Archives, pulse: Callable[[], None]
) -> tuple[Point, Point, str]:
    """Run pg_basebackup, then hand its archives over, deleting each. Returns start, end and the program's version."""
    scratch.demand(
        plan.scratch, plan.scratch_bytes, facts.bytes + _ROOM_FOR_WAL, "a whole copy of the server (PostgreSQL 14)"
    )
    program, version = tool_of_major("pg_basebackup", facts.major)
    with guarded("writing to scratch"):
        folder = Path(tempfile.mkdtemp(prefix="basebackup-", dir=plan.scratch))
    try:
        _run(session, plan, program, folder, pulse)
        with guarded("reading back from scratch"):
            manifest = (folder / MANIFEST).read_bytes()
            for name in _archive_names(folder):
                _hand_over(folder / name, archives)
        archives.archives_complete()
        archives.seal(manifest, segment_bytes=int(facts.settings["wal_segment_size"]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ranges = wal_ranges(manifest)
    start, end = ranges[0], ranges[-1]
    return Point(_lsn(start.start), start.timeline), Point(_lsn(end.end), end.timeline), version


def _run(session: Session, plan: Plan, program: Path, folder: Path, pulse: Callable[[], None]) -> None:
    argv = [
        str(program),
        f"--dbname={tool_conninfo(session, None)}",
        f"--pgdata={folder / 'out'}",
        f"--label={plan.label}",
        "--format=tar",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-password",
        "--no-sync",
    ]
    with Tool(argv, env=tool_environment(session, folder), cwd=folder) as tool:
        while not tool.ended(within=_LOOK_SECONDS):
            pulse()
            if datetime.now(UTC) >= plan.deadline:
                raise WorldFault(
                    Reason.DEADLINE_EXCEEDED,
                    f"the run's deadline {plan.deadline.isoformat()} has passed; raise spec.deadline",
                )
            if plan.scratch_bytes is not None and scratch.used(plan.scratch) > plan.scratch_bytes:
                raise scratch.too_small(plan.scratch, "the copy of the server has outgrown the scratch volume")
        tool.require_success("pg_basebackup")
    for path in (folder / "out").iterdir():
        path.rename(folder / path.name)


def _archive_names(folder: Path) -> list[str]:
    """The data archives, base last but for the WAL, as the server would stream them."""
    names = sorted(path.name for path in folder.iterdir() if _ARCHIVE.fullmatch(path.name))
    if "base.tar" not in names or "pg_wal.tar" not in names:
        raise WorldFault(
            Reason.FORMAT_CHECK_FAILED, f"pg_basebackup left {names}; expected base.tar and pg_wal.tar among them"
        )
    return names


def _hand_over(path: Path, archives: Archives) -> None:
    archives.archive(path.name)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            archives.data(chunk)
    path.unlink()


def _lsn(value: int) -> str:
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"
