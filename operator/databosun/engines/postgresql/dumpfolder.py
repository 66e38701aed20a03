"""Follows a growing pg_dump directory: files go into one tar as they are finished and leave scratch at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from databosun.api.quantities import humanize_bytes
from databosun.engines.base import ArtefactWriter
from databosun.engines.postgresql import scratch
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.tarstream import END_OF_ARCHIVE, member_header, member_padding
from databosun.engines.postgresql.tools import Tool, group_members

TOC = "toc.dat"
_CHUNK = 1024 * 1024
_LOOK_SECONDS = 0.2


class DumpFolder:
    """One dump's folder and its tar. Members are `<root>/<file>`; the table of contents follows what it names."""

    def __init__(self, folder: Path, root: str, writer: ArtefactWriter, *, limit: int) -> None:
        self._folder = folder
        self._root = root
        self._writer = writer
        self._limit = limit
        self._paused = False
        self._next_look = 0.0
        self.moved: set[str] = set()

    def follow(self, tool: Tool, pulse: Callable[[], None]) -> None:
        """Until the program ends: move finished files, keep it from filling scratch. Raises what it or `pulse` says."""
        while not tool.ended(within=_LOOK_SECONDS):
            pulse()
            moved = self._move_finished(tool, pulse)
            self._press(tool, stuck=not moved)
        # Where the snapshot was lost, `pulse` knows why; the program only says that it is gone.
        pulse()
        tool.require_success("pg_dump")

    def complete(self, extra: dict[str, bytes]) -> None:
        """Move what is left, then the small files of our own, then the end of the archive."""
        with guarded("reading the dump back from scratch"):
            for name in sorted(os.listdir(self._folder), key=lambda name: (name == TOC, name)):
                self._move(name, lambda: None)
        for name, data in extra.items():
            self._writer.write(member_header(f"{self._root}/{name}", len(data), int(time.time())))
            self._writer.write(data + member_padding(len(data)))
        self._writer.write(END_OF_ARCHIVE)

    def _move_finished(self, tool: Tool, pulse: Callable[[], None]) -> bool:
        """Files that nobody of the program's group has open are finished: pg_dump opens each once, when it creates it.
        The list is taken before the look at the open ones, so a file that is new meanwhile waits for the next round."""
        with guarded("following the dump on scratch"):
            names = sorted(os.listdir(self._folder)) if self._folder.is_dir() else []
            open_files = _open_files(tool.pid)
            finished = [name for name in names if name != TOC and str(self._folder / name) not in open_files]
            # A worker that died leaves half a file that nobody has open either; then the program fails, and so do we.
            for name in finished:
                self._move(name, lambda: self._between_chunks(tool, pulse))
        return bool(finished)

    def _move(self, name: str, between: Callable[[], None]) -> None:
        path = self._folder / name
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            self._writer.write(member_header(f"{self._root}/{name}", found.st_size, int(found.st_mtime)))
            while chunk := file.read(_CHUNK):
                self._writer.write(chunk)
                between()
        self._writer.write(member_padding(found.st_size))
        path.unlink()
        self.moved.add(name)

    def _between_chunks(self, tool: Tool, pulse: Callable[[], None]) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            pulse()
            self._press(tool, stuck=False)

    def _press(self, tool: Tool, *, stuck: bool) -> None:
        """Stop the program while scratch is full and storage slower; give up where nothing can be moved out."""
        held = scratch.used(self._folder)
        if held > self._limit:
            if stuck:
                said = (
                    f"the tables being dumped fill scratch: their unfinished files take {humanize_bytes(held)}, "
                    f"{humanize_bytes(self._limit)} may be used"
                )
                raise scratch.too_small(self._folder.parent, said)
            if not self._paused:
                tool.pause()
                self._paused = True
        elif self._paused and (stuck or held <= self._limit // 2):
            tool.resume()
            self._paused = False


def _open_files(leader: int) -> set[str]:
    """Paths that the processes of the group have open."""
    found = set()
    for pid in group_members(leader):
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        for descriptor in descriptors:
            try:
                found.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
            except OSError:
                continue
    return found
