"""Follows a RESTORE.md as a person would: runs its fenced bash blocks, in order, in one shell."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from support.pgserver import hand_over, identity

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Copy:
    """A restored server that runs."""

    socket: str
    user: str
    output: str

    def connect(self, dbname: str) -> psycopg.Connection[Any]:
        """A superuser's session."""
        return psycopg.connect(host=self.socket, user=self.user, dbname=dbname, autocommit=True)


@contextmanager
def followed(markdown: str, folder: Path, bin_folder: Path, **environment: str) -> Iterator[Copy]:
    """Run the document in `folder`, which holds what it expects there; the copy is stopped at the end."""
    blocks = _BLOCK.findall(markdown)
    assert blocks, "the document has no commands"
    script = folder / "restore.sh"
    script.write_text("\n".join(blocks) + '\nprintf "%s\\n%s\\n" "$PGHOST" "$PGUSER" > done\n')
    folder.chmod(0o755)
    hand_over(folder)
    env = {
        "PATH": os.environ["PATH"],
        "POSTGRESQL_BIN": str(bin_folder),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        **environment,
    }
    try:
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                ["bash", script.name],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=300,
                check=False,
                **identity(),
            )
            said.seek(0)
            output = said.read()
        assert done.returncode == 0, f"following the document failed:\n{output[-6000:]}"
        socket, user = (folder / "done").read_text().splitlines()
        yield Copy(socket, user, output)
    finally:
        if (folder / "restored" / "postmaster.pid").exists():
            argv = [
                str(bin_folder / "pg_ctl"),
                "--pgdata",
                str(folder / "restored"),
                "--mode=immediate",
                "--wait",
                "stop",
            ]
            subprocess.run(argv, check=False, capture_output=True, timeout=60, cwd=folder, **identity())
