"""The programs of MariaDB and MySQL: where they are, which version, and how they are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # every call is a list of arguments, no shell
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import tool_fault
from databosun.engines.program import Program, bound

_LOOK_SECONDS = 0.2
# Debian keeps the server where a user's PATH does not lead.
_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_SERIES = re.compile(r"(?:Distrib|Ver(?: [0-9.]+ Distrib)?) (\d+)\.(\d+)\.\d+")
_MARIADB_SERIES = re.compile(r"\b(\d+)\.(\d+)\.\d+-MariaDB")


class Tool(Program):
    """One running program of the server's maker."""

    TELLING: tuple[str, ...] = ("error", "Error", "ERROR", "Couldn't", "Got ", "Cannot")

    def fault(self, said: str, doing: str) -> DatabosunError:
        """What its last words mean."""
        return tool_fault(said, doing)


def find_tool(name: str, dialect: Dialect, environment: Mapping[str, str] = os.environ) -> Path:
    """Its path: of the dialect's variable, else on PATH, else where distributions put it. UserFault(ToolMissing)."""
    said = environment.get(dialect.bin_environment)
    folders = [said] if said else [*environment.get("PATH", "").split(os.pathsep), *_FOLDERS]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found:
        return Path(found)
    message = (
        f"{name} was found neither in ${dialect.bin_environment} ({said or 'not set'}) nor on PATH; use the runner "
        "image of this engine and release series (Database.spec.runner.image)"
    )
    raise UserFault(Reason.TOOL_MISSING, message)


def tool_version(program: Path) -> str:
    """What `--version` prints, such as `mariadb-dump from 11.4 …` or `mariadbd  Ver 10.11.19-MariaDB …`."""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [str(program), "--no-defaults", "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserFault(Reason.TOOL_MISSING, f"{program} --version: {error}; use a working runner image") from error
    said = " ".join((done.stdout or done.stderr).split())
    return re.sub(r"^\S*/", "", said)


def series_in(version: str, dialect: Dialect) -> tuple[int, int] | None:
    """The release series in what `--version` printed; None of another product's program, which may have the name."""
    if not dialect.speaks(version):
        return None
    found = _SERIES.search(version) or _MARIADB_SERIES.search(version)
    return (int(found[1]), int(found[2])) if found else None


def tool_for(name: str, dialect: Dialect, series: tuple[int, int]) -> tuple[Path, str]:
    """The program and its version, no older than the server's series. UserFault(WrongToolVersion)."""
    program = find_tool(name, dialect)
    version = tool_version(program)
    found = series_in(version, dialect)
    if found is None or found < series:
        raise wrong_tool(program, version, f"needs a client of {dialect.name} {series[0]}.{series[1]} or later")
    return program, version


def server_program(dialect: Dialect, series: tuple[int, int]) -> tuple[Path, str]:
    """The server of that very series: another one would upgrade what is restored, or refuse it."""
    program = find_tool(dialect.server, dialect)
    version = tool_version(program)
    if series_in(version, dialect) != series:
        raise wrong_tool(program, version, f"is restored into a server of {dialect.name} {series[0]}.{series[1]} only")
    return program, version


def environment_of(home: Path, dialect: Dialect) -> dict[str, str]:
    """Nothing inherited that clients or the server read; English messages."""
    folders = os.environ.get(dialect.bin_environment)
    path = os.pathsep.join(([folders] if folders else []) + ["/usr/sbin", "/usr/bin", "/sbin", "/bin", os.defpath])
    return {"PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def run_tool(argv: Sequence[str], home: Path, dialect: Dialect, pulse: Callable[[], None], *, doing: str) -> None:
    """Run one to its end. Raises what its last words mean; `pulse` runs while it does, and may raise."""
    with Tool(bound(argv), env=environment_of(home, dialect), cwd=home) as tool:
        while not tool.ended(within=_LOOK_SECONDS):
            pulse()
        tool.require_success(doing)


def wrong_tool(program: Path, version: str, need: str) -> UserFault:
    """The error for a program of another version than a backup needs."""
    message = (
        f"{program} is {version!r}, and this backup {need}; use the runner image of that series: set Database.spec."
        "version, or leave it and Database.spec.runner.image out"
    )
    return UserFault(Reason.WRONG_TOOL_VERSION, message)
