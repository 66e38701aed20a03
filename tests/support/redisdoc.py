"""Follows the engine's part of a RESTORE.md of Redis as a person would: its `bash` blocks, in order, in one shell."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from support.redisserver import family, program

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def tools_of(product: str, folder: Path) -> Path:
    """A folder with the programs of one product as it names them; both products' clients speak alike."""
    folder.mkdir(exist_ok=True)
    found, name_of = program(product), family(product)
    for name, real in (
        (f"{name_of}-server", found),
        (f"{name_of}-check-rdb", found.with_name(f"{name_of}-check-rdb")),
        (f"{name_of}-cli", Path("/usr/bin/redis-cli")),
    ):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(real)
    return folder


@contextmanager
def followed(markdown: str, folder: Path, tools: Path) -> Iterator[tuple[Path, str]]:
    """The copy's socket and what was printed; the copy is stopped at the end."""
    blocks = _BLOCK.findall(markdown)
    assert blocks, "the document has no commands"
    rmtree(folder / "restored", ignore_errors=True)
    script = folder / "restore.sh"
    script.write_text("trap 'echo \"$PLACE\" > place' EXIT\n" + "\n".join(blocks))
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "REDIS_BIN": str(tools), "HOME": str(folder)}
    try:
        done = subprocess.run(
            ["bash", script.name], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"following the document failed:\n{(done.stdout + done.stderr)[-4000:]}"
        yield Path((folder / "place").read_text().strip()) / "socket", done.stdout
    finally:
        place = Path((folder / "place").read_text().strip())
        with suppress(OSError, ValueError):
            os.kill(int((place / "pid").read_text()), signal.SIGKILL)
        rmtree(place, ignore_errors=True)
