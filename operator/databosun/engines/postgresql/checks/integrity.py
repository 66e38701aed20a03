"""The structure of every table and index, by `pg_amcheck`: what is damaged is named."""

from __future__ import annotations

import os
import re

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import failed, passed, skipped
from databosun.engines.postgresql.checks.environment import collation_differences
from databosun.engines.postgresql.checks.scene import Scene
from databosun.engines.postgresql.tools import Tool, tool_of_major
from databosun.engines.program import bound

_CHUNK = 64 * 1024
_KEPT = 256 * 1024
_FOUND = re.compile(r'^(heap table|btree index) "(.+?)"[,:](.*)$', re.MULTILINE)
_AVAILABLE = "SELECT count(*) FROM pg_catalog.pg_available_extensions WHERE name = 'amcheck'"
_NAMED = 5


def check_integrity(scene: Scene, check: Check) -> CheckResult:
    """Every heap page and every B-tree of all databases. Where texts sort otherwise here, indexes are not counted."""
    with scene.connect("template1") as connection:
        row = connection.execute(_AVAILABLE).fetchone()
    if not row or not row[0]:
        return skipped(
            check, "the runner image has no amcheck extension; use one that has PostgreSQL's contrib modules"
        )
    without_indexes = bool(collation_differences(scene))
    said, complaint, code = _amcheck(scene, without_indexes=without_indexes)
    found = [f"{kind} {name}:{text[:200]}" for kind, name, text in _FOUND.findall(said)]
    if found:
        message = f"pg_amcheck finds {len(found)} faults: {'; '.join(found[:_NAMED])}"
        return failed(check, CheckReason.DATA_DAMAGED, message, observed=f"{len(found)} faults")
    if code != 0:
        # An unreadable page ends the check of its table with an error that names the file, on either stream.
        message = f"pg_amcheck could not read it all: {' '.join((complaint or said).split())[-800:]}"
        return failed(check, CheckReason.DATA_DAMAGED, message)
    return passed(check, observed="tables without indexes" if without_indexes else "tables and indexes")


def _amcheck(scene: Scene, *, without_indexes: bool) -> tuple[str, str, int]:
    """What it printed, what it complained about, its exit code (2: damage)."""
    program, _ = tool_of_major("pg_amcheck", scene.backup.major)
    jobs = min(4, len(os.sched_getaffinity(0)))
    argv = [str(program), "--all", "--install-missing", f"--jobs={jobs}", "--no-password"]
    argv += ["--no-dependent-indexes", "--no-dependent-toast", "--table=*.*.*"] if without_indexes else []
    home = scene.server.folder
    kept = bytearray()
    with Tool(bound(argv), env=scene.server.tool_environment, cwd=home, capture=True) as tool:
        while data := tool.read(_CHUNK, scene.pulse):
            kept += data
            del kept[_KEPT:]
        code = tool.wait()
        return kept.decode("utf-8", "replace"), tool.stderr_tail(), code
