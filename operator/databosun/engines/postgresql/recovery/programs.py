"""PostgreSQL's own programs around a copy: of the server's major, bounded, and gone when the agent is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from databosun.engines.postgresql.tools import Tool, tool_of_major
from databosun.engines.program import bound

_CHUNK = 64 * 1024
_LOOK_SECONDS = 0.2


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing inherited that libpq or the server reads; English messages."""
    return {"PATH": os.defpath, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC", **more}


def run_tool(
    name: str,
    major: int,
    arguments: Sequence[str],
    pulse: Callable[[], None],
    *,
    doing: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run one to its end. Raises what its last words mean; `pulse` runs while it does, and may raise."""
    program, _ = tool_of_major(name, major)
    where = cwd or Path("/tmp")  # noqa: S108 - only a folder that exists everywhere
    with Tool(bound([str(program), *arguments]), env=env or environment(where), cwd=where) as tool:
        while not tool.ended(within=_LOOK_SECONDS):
            pulse()
        tool.require_success(doing)


def output_of(name: str, major: int, arguments: Sequence[str], pulse: Callable[[], None]) -> str:
    """What it prints."""
    program, _ = tool_of_major(name, major)
    parts: list[bytes] = []
    where = Path("/tmp")  # noqa: S108 - only a folder that exists everywhere
    with Tool(bound([str(program), *arguments]), env=environment(where), cwd=where, capture=True) as tool:
        while data := tool.read(_CHUNK, pulse):
            parts.append(data)
        tool.require_success(name)
    return b"".join(parts).decode("utf-8", "replace")
