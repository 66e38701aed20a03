"""The server that a backup is restored into: one of the product and series that it was taken of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess  # every call is a list of arguments, no shell
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.server import FERRETDB, MONGODB, series_of

BIN_ENVIRONMENT = "DATABOSUN_MONGODB_BIN"
_PROGRAMS = {MONGODB: "mongod", FERRETDB: "ferretdb"}
_VERSION = re.compile(r"db version v(\d+\.\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Server:
    """One server program. `version`: as it says itself."""

    path: Path
    product: str
    version: str


def find_server(backup: Backup, environment: Mapping[str, str] = os.environ) -> Server:
    """UserFault(ToolMissing, WrongToolVersion): no other product stands for the one that was backed up."""
    name = _PROGRAMS.get(backup.product, "mongod")
    said = environment.get(BIN_ENVIRONMENT)
    found = shutil.which(name, path=said or environment.get("PATH"))
    if found is None:
        message = (
            f"backup {backup.id} is of {backup.label}, and {name} was found neither in ${BIN_ENVIRONMENT} "
            f"({said or 'not set'}) nor on PATH; name a runner image with it in Database.spec.runner.image"
        )
        raise UserFault(Reason.TOOL_MISSING, message)
    version = _version(Path(found))
    match = _VERSION.search(version)
    if backup.product == MONGODB and (match is None or series_of(match[1]) != backup.series):
        message = (
            f"{found} is {version!r}, and backup {backup.id} is restored into a server of {backup.label} only; use a "
            "runner image of that series (Database.spec.runner.image)"
        )
        raise UserFault(Reason.WRONG_TOOL_VERSION, message)
    return Server(Path(found), backup.product, match[1] if match else version)


def _version(program: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [str(program), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserFault(Reason.TOOL_MISSING, f"{program} --version: {error}; use a working runner image") from error
    return " ".join((done.stdout or done.stderr).split()[:4])
