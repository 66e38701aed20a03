"""What the tools share: where things are kept, how programs are run, locks, progress and waiting."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

STARTED = time.monotonic()
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class Failure(Exception):
    """Something a person has to put right; the message says what."""


def progress(text: str) -> None:
    """Print one line to stderr with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", file=sys.stderr, flush=True)


def cache_dir() -> Path:
    """Return the folder for what can be made again: ``${XDG_CACHE_HOME:-~/.cache}/databosun``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "databosun"


def state_dir() -> Path:
    """Return the folder for what must outlive a command: ``${XDG_STATE_HOME:-~/.local/state}/databosun``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "databosun"


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    input_text: str | None = None,
    shows_progress: bool = False,
) -> str:
    """Run a program to its end and return what it printed; Failure with its own words if it fails and ``check``.

    ``shows_progress``: what it says on stderr is for people, and passed on at once.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            stdout=subprocess.PIPE,
            stderr=None if shows_progress else subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise Failure(f"{words[0]} is not installed on this machine") from error
    if check and done.returncode:
        said = "\n".join(((done.stderr or "").strip() or done.stdout.strip()).splitlines()[-25:])
        raise Failure(f"`{shlex.join(words)}` failed with exit code {done.returncode}:\n{said}")
    return done.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Run a program silently and say whether it ended with 0; a program that is absent does not."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def file_lock(path: Path, waiting_for: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; says so once when another process holds it. It ends with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process: {waiting_for}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def made_whole(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target`` that becomes it in one rename; nothing is left of it on an error.

    Call it under a lock: what an interrupted earlier try left is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for remains in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(remains, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all; left alone when it holds the same already."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=mode)
    part.chmod(mode)
    part.write_text(text)
    part.rename(path)


def wait_until(
    condition: Callable[[], bool], what: str, *, limit: float = 300, on_wait: Callable[[], None] | None = None
) -> None:
    """Return once the condition holds; ``on_wait`` may raise to end it early; Failure after ``limit`` seconds."""
    start = last = time.monotonic()
    while not condition():
        if on_wait is not None:
            on_wait()
        now = time.monotonic()
        if now - start > limit:
            raise Failure(f"gave up after {limit:.0f} seconds of waiting for: {what}")
        if now - last > 10:
            last = now
            progress(f"still waiting: {what}")
        time.sleep(0.1)


def main(body: Callable[[], int]) -> NoReturn:
    """Run a command's body and leave with its exit code; a Failure is printed and leaves with 1."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_FOLDERS}"  # ip, iptables and others are there
    try:
        sys.exit(body())
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
