"""PostgreSQL's own client programs: where they are, which version, and how one is run so that it always ends."""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # every call is a list of arguments, no shell
from collections.abc import Mapping
from pathlib import Path

from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.postgresql.connect import Session, conninfo
from databosun.engines.postgresql.faults import tool_fault
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.program import Program

BIN_ENVIRONMENT = "DATABOSUN_POSTGRESQL_BIN"
IMAGE_BIN = Path("/opt/postgresql/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def find_tool(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Its path: DATABOSUN_POSTGRESQL_BIN, else in the runner image's folder, else on PATH. UserFault(ToolMissing)."""
    said = environment.get(BIN_ENVIRONMENT)
    if said:
        candidates = [Path(said) / name]
    else:
        on_path = shutil.which(name, path=environment.get("PATH"))
        candidates = [IMAGE_BIN / name, *([Path(on_path)] if on_path else [])]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    message = (
        f"{name} was found neither in ${BIN_ENVIRONMENT} ({said or 'not set'}) nor in {IMAGE_BIN} nor on PATH; "
        "use the runner image of this engine and major version (Database.spec.runner.image)"
    )
    raise UserFault(Reason.TOOL_MISSING, message)


def tool_version(program: Path) -> str:
    """What `--version` prints, such as `pg_dump (PostgreSQL) 15.20`."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [str(program), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserFault(Reason.TOOL_MISSING, f"{program} --version: {error}; use a working runner image") from error
    return done.stdout.strip() or done.stderr.strip()


def tool_of_major(name: str, major: int) -> tuple[Path, str]:
    """The program and its version, of the server's own major. UserFault(WrongToolVersion) names what to change."""
    program = find_tool(name)
    version = tool_version(program)
    match = _VERSION.search(version)
    if match is None or int(match[1]) != major:
        message = (
            f"{program} is {version!r}, but the server is PostgreSQL {major} and needs the client of its own major "
            "version; "
            f'use the runner image of PostgreSQL {major}: set Database.spec.version to "{major}" or leave it and '
            "Database.spec.runner.image out"
        )
        raise UserFault(Reason.WRONG_TOOL_VERSION, message)
    return program, version


def tool_environment(session: Session, home: Path) -> dict[str, str]:
    """A clean environment: nothing inherited that libpq reads, English messages, no password on the command line."""
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "LC_ALL": "C",
        "TZ": "UTC",
        "PGPASSWORD": session.target.credentials.password,
    }


def tool_conninfo(session: Session, dbname: str | None) -> str:
    """The `--dbname` argument: everything but the password."""
    return conninfo(session.target, session.endpoint, dbname)


class Tool(Program):
    """One running program of PostgreSQL's."""

    def fault(self, said: str, doing: str) -> DatabosunError:
        """What its last words mean; they come from libpq, from the server, or from itself."""
        return tool_fault(said, doing)


def group_members(leader: int) -> tuple[int, ...]:
    """The processes of a group, from /proc: the leader's own workers."""
    members = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _group_of(int(entry.name)) == leader:
            members.append(int(entry.name))
    return tuple(members)


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None
