"""A pod's files in a folder, and what an agent's parts need."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from databosun.agent.children import Children
from databosun.agent.log import Log
from databosun.agent.pipeline import Lane
from databosun.agent.progress import Progress
from databosun.agent.redact import Redactor
from databosun.agent.sink import PipelineSink
from databosun.agent.stop import Stop
from databosun.storage.volume import VolumeStore
from support.agentrun import Workplace


@dataclass
class Parts:
    """The parts of an agent around a volume store."""

    folder: Path
    out: io.StringIO = field(default_factory=io.StringIO)
    redactor: Redactor = field(default_factory=Redactor)
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.log = Log(self.out, self.redactor)
        self.children = Children(self.stop, self.redactor)
        self.store = VolumeStore(self.folder)

    def sink(self, *, recipients: tuple[str, ...] = (), volume_bytes: int = 32 * 1024**3) -> PipelineSink:
        """A sink for attempt 1."""
        progress = Progress(self.log)
        return PipelineSink(Lane(self.store, "a1", recipients, self.children, self.stop, progress, volume_bytes))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    made = Parts(tmp_path)
    yield made
    made.children.kill_all()


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)
