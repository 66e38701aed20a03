"""The servers of this image: which one reads a backup's RDB, and how its programs are run so that they always end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess  # every call is a list of arguments, no shell
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.program import bound
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import Backup

BIN_ENVIRONMENT = "DATABOSUN_REDIS_BIN"
IMAGE_BIN = Path("/opt/valkey/bin")
_NAMES = ("redis-server", "valkey-server")
_VERSION = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)(\.\d+)?")
_LOOK_SECONDS = 0.05
_KEPT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Program:
    """One server program, and what it reads."""

    path: Path
    product: str
    version: str

    @property
    def label(self) -> str:
        """Product and version."""
        return f"{self.product} {self.version}"

    @property
    def replays(self) -> bool:
        """Whether it reads an append-only file in parts, with notes in it."""
        return self.product == "Valkey" or int(self.version.split(".")[0]) >= 7

    def reads(self, magic: str, rdb_version: int) -> bool:
        """Whether it loads an RDB of that version."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        if magic == "VALKEY":
            return self.product == "Valkey" and major >= 9 and rdb_version <= 80
        if self.product == "Valkey":
            return rdb_version <= 11
        newest = 9 if major < 7 else 10 if minor < 2 and major == 7 else 11
        return rdb_version <= newest


def find_program(backup: Backup, environment: Mapping[str, str] = os.environ, *, replay: bool = False) -> Program:
    """The server to load a backup with: its own product where that reads it, else the other. UserFault(ToolMissing).

    `replay`: one that reads the shipped log as well.
    """
    known = [one for one in _programs(environment) if one.replays or not replay]
    fit = [one for one in known if one.reads(backup.magic, backup.rdb_version)]
    if fit:
        return min(fit, key=lambda one: one.product != backup.product)
    there = ", ".join(f"{one.label} ({one.path})" for one in known) or "no server at all"
    message = (
        f"backup {backup.id} is an RDB of version {backup.rdb_version} ({backup.magic}) of {backup.label}, which no "
        "server "
        f"here reads; there is {there}; use the runner image of this engine (Database.spec.runner.image)"
    )
    raise UserFault(Reason.RDB_VERSION_UNSUPPORTED if known else Reason.TOOL_MISSING, message)


def _programs(environment: Mapping[str, str]) -> list[Program]:
    said = environment.get(BIN_ENVIRONMENT)
    folders = [Path(part) for part in said.split(":")] if said else [IMAGE_BIN]
    paths = [folder / name for folder in folders for name in _NAMES]
    if not said:
        paths += [Path(found) for name in _NAMES if (found := shutil.which(name, path=environment.get("PATH")))]
    return [one for path in dict.fromkeys(paths) if os.access(path, os.X_OK) and (one := _described(path))]


def _described(path: Path) -> Program | None:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [str(path), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout)
    return Program(path, found[1], f"{found[2]}.{found[3]}{found[4] or ''}") if found else None


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing inherited; English messages."""
    return {"PATH": os.defpath, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


def check_rdb(program: Program, file: Path, folder: Path, pulse: Callable[[], None]) -> tuple[int, str]:
    """Have the server's own checker read a file: exit code and last words. It is the server by another name."""
    checker = folder / f"{program.product.lower()}-check-rdb"
    if not checker.exists():
        checker.symlink_to(program.path)
    said = folder / "check.out"
    with said.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
            bound([str(checker), str(file)]),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=clean_environment(folder),
            cwd=folder,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                pulse()
                time.sleep(_LOOK_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise WorldFault(Reason.RECOVERY_FAILED, f"{checker.name} was killed ({name})")
    return process.returncode, said.read_bytes()[-_KEPT_BYTES:].decode("utf-8", "replace")
