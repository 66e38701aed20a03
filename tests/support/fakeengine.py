"""An engine without a database: streams bytes that follow from a seed, and breaks where a test wants it to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from databosun.api.result import Finding, ProbeResult
from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Hook, Method
from databosun.engines.base import Captured, Plan, RestoreDoc, Sink, StreamCheck, Target

MEBIBYTE = 1024 * 1024


def stream_of(seed: str, size: int, piece: int = 256 * 1024) -> Iterator[bytes]:
    """Bytes that follow from a seed and do not compress, in pieces."""
    block = b"".join(hashlib.sha256(f"{seed}/{number}".encode()).digest() for number in range(piece // 32))
    number = 0
    while size > 0:
        # A counter in front makes each piece another, at no cost.
        data = (number.to_bytes(8, "big") + block[8:])[:size]
        yield data
        size -= len(data)
        number += 1


class LengthCheck:
    """A format check that knows how long the stream must be."""

    def __init__(self, size: int, error: Exception | None = None) -> None:
        self.size = size
        self.error = error
        self.fed = 0

    def feed(self, data: memoryview) -> None:
        """Count."""
        self.fed += len(data)

    def close(self) -> int | None:
        """Raise what the test wants; else the logical size."""
        if self.error:
            raise self.error
        assert self.fed == self.size
        return None


@dataclass
class FakeEngine:
    """`artefacts`: name to size. `trap(name, bytes so far)` is called before each write."""

    artefacts: dict[str, int] = field(default_factory=lambda: {"base.tar.zst": 3 * MEBIBYTE})
    plain: dict[str, bytes] = field(default_factory=lambda: {"backup_manifest": b'{"files": []}'})
    compress: bool = False
    trap: Callable[[str, int], None] = lambda _name, _bytes: None
    check_error: Exception | None = None
    reported: int | None = None
    findings: list[Finding] = field(default_factory=list)
    reachable: bool = True
    settings: dict[str, str] = field(default_factory=dict)
    objects: tuple[ObjectCount, ...] = (ObjectCount(name="public.orders", rows=3),)
    plans: list[Plan] = field(default_factory=list)
    hooks: list[str] = field(default_factory=list)
    piece: int = 256 * 1024

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """What the test says."""
        return ProbeResult(reachable=self.reachable, host="db", engine_version="17.1", findings=self.findings)

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Stream the artefacts."""
        self.plans.append(plan)
        for name, size in self.artefacts.items():
            self._artefact(sink, name, size)
        for name, data in self.plain.items():
            sink.put_plain(name, data)
        parent = plan.parent
        incremental = parent is not None and plan.type is not BackupType.FULL
        return Captured(
            type=plan.type if incremental else BackupType.FULL,
            method=Method.PHYSICAL,
            engine_version="17.1",
            system_identifier="7312345678901234567",
            position=Position(lsn="0/3000100", start_lsn="0/2000028", timeline=1),
            snapshot_time=datetime(2026, 3, 1, 3, 0, tzinfo=UTC),
            parent=parent.id if parent and incremental else None,
            base=parent.base if parent and incremental else None,
            chain_length=parent.chain_length + 1 if parent and incremental else 0,
            environment={"settings": self.settings},
            objects=self.objects,
            client_versions={"psycopg": "3.3"},
            logical_bytes=self.reported,
        )

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Remember it."""
        self.hooks.append(hook.name)

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """A line that a test finds."""
        return f"## 5. Restore\n\nChain of {len(doc.chain)}, this one is {doc.manifest['id']}."

    def _artefact(self, sink: Sink, name: str, size: int) -> None:
        def check() -> StreamCheck:
            return LengthCheck(size, self.check_error)

        writer = sink.open(name, compress=self.compress, check=check)
        done = 0
        for piece in stream_of(name, size, self.piece):
            self.trap(name, done)
            writer.write(bytearray(piece))
            done += len(piece)
        writer.finish()
