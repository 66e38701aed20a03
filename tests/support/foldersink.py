"""A Sink that keeps artefacts in a folder, for engine tests: zstd where asked, checks run in the order of the bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from databosun.engines.base import Captured, StreamCheck

Trap = Callable[[str, int], None]


class FolderWriter:
    """One artefact as a file."""

    def __init__(self, sink: FolderSink, name: str, *, compress: bool, check: StreamCheck | None) -> None:
        self._sink = sink
        self._name = name
        self._check = check
        path = sink.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._zstd = zstandard.ZstdCompressor(level=1).compressobj() if compress else None
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._finished = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; the sink's trap may raise."""
        self._bytes += len(data)
        if self._check:
            self._check.feed(memoryview(data))
        self._keep(self._zstd.compress(data) if self._zstd else bytes(data))
        if self._sink.trap:
            self._sink.trap(self._name, self._bytes)

    def finish(self, *, logical_bytes: int | None = None) -> None:
        """Close the file and run the check."""
        assert not self._finished, f"{self._name} was finished twice"
        self._finished = True
        if self._zstd:
            self._keep(self._zstd.flush())
        self._file.close()
        checked = self._check.close() if self._check else None
        logical = next((size for size in (logical_bytes, checked) if size is not None), self._bytes)
        stored = (self._sink.folder / self._name).stat().st_size
        self._sink.artefacts.append(
            {"name": self._name, "bytes": logical, "storedBytes": stored, "sha256": self._digest.hexdigest()}
        )

    def _keep(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


class FolderSink:
    """`trap(name, bytes so far)` is called after each write, to break things in the middle."""

    def __init__(self, folder: Path, trap: Trap | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.trap = trap
        self.artefacts: list[dict[str, Any]] = []
        self.stages: list[tuple[str, int | None]] = []

    def open(self, name: str, *, compress: bool, check: Callable[[], StreamCheck] | None = None) -> FolderWriter:
        """Start an artefact."""
        return FolderWriter(self, name, compress=compress, check=check() if check else None)

    def put_plain(self, name: str, data: bytes) -> None:
        """Store a small file."""
        (self.folder / name).write_bytes(data)
        self.artefacts.append(
            {"name": name, "bytes": len(data), "storedBytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        )

    def progress(self, stage: str, *, total_bytes: int | None = None) -> None:
        """Remember the stage."""
        self.stages.append((stage, total_bytes))

    def manifest(self, captured: Captured) -> dict[str, Any]:
        """What manifest.json would say; through JSON, as an engine reads it back."""
        document = {
            "schema": 1,
            "id": self.folder.name,
            "database": {"engine": "PostgreSQL", "engineVersion": captured.engine_version},
            "environment": captured.environment,
            "type": captured.type,
            "method": captured.method,
            "snapshotTime": captured.snapshot_time.isoformat(),
            "position": captured.position.dump(),
            "artefacts": self.artefacts,
            "objects": [found.dump() for found in captured.objects],
        }
        loaded: dict[str, Any] = json.loads(json.dumps(document))
        return loaded
