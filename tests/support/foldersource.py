"""A Source over folders of artefacts, as `FolderSink` left them: for engine tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass
class FolderReader:
    """One artefact."""

    name: str
    file: IO[bytes]

    def read(self, size: int = 0) -> bytes:
        """The next bytes."""
        return self.file.read(size or 64 * 1024)


@dataclass
class FolderSource:
    """Artefacts at `<folder>/<backup>/<name>`; damage is the engine's to find."""

    folder: Path
    waited: float = 0.0

    def names(self, backup: str) -> tuple[str, ...]:
        """The artefacts of one backup."""
        root = self.folder / backup
        return tuple(str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())

    def size(self, backup: str, name: str) -> int:
        """Bytes of one."""
        return (self.folder / backup / name).stat().st_size

    @contextmanager
    def open(self, backup: str, name: str) -> Iterator[FolderReader]:
        """Read one."""
        with (self.folder / backup / name).open("rb") as file:
            yield FolderReader(name, file)

    def read_plain(self, backup: str, name: str) -> bytes:
        """A small one whole."""
        return (self.folder / backup / name).read_bytes()
