"""Takes programs from another suite of Debian than the machine's, with all that they need; nothing is installed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hack import debian
from hack.common import Failure

# The loader and the libraries of that suite, whose C library is newer than the machine's. Found from where the script
# lies, since the folder was another while it was made.
_SCRIPT = """#!/bin/sh
files=$(dirname "$(dirname "$(readlink -f "$0")")")/files
program=$files/{program}
exec "$files/{loader}" --inhibit-cache --library-path "$files/{libraries}" --argv0 "$program" "$program" "$@"
"""


def bring(suite: str, packages: Sequence[str], programs: Sequence[str], folder: Path) -> None:
    """Unpack into ``folder/files`` and write a script for each program into ``folder/bin``."""
    files = folder / "files"
    debian.unpack(suite, packages, files)
    loader = _one(files, "usr/lib/*-linux-gnu*/ld-linux-*.so.*")
    for name in programs:
        text = _SCRIPT.format(loader=loader, libraries=loader.parent, program=_one(files, f"usr/*bin/{name}"))
        script = folder / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)
    shutil.rmtree(files / "usr" / "share" / "doc", ignore_errors=True)


def _one(files: Path, pattern: str) -> Path:
    """The one file of that pattern, relative to ``files``."""
    found = sorted(files.glob(pattern))
    if len(found) != 1:
        raise Failure(f"the packages hold {len(found)} files {pattern}; one was expected")
    return found[0].relative_to(files)
