"""One part of an archive: the rows of one capture on their way into the store, in each form, read back whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from databosun.agent.context import Context
from databosun.agent.pipeline import Lane, Stored
from databosun.agent.progress import Progress
from databosun.agent.reasons import AgentReason
from databosun.agent.sink import PipelineSink
from databosun.domain.errors import SafetyStop
from databosun.engines.lifecycle import Capture, Feed, Key, RowWork
from databosun.storage.names import stored_name

FORMS = {"jsonl": "jsonl.zst", "copy": "copy.zst", "sql": "sql.zst", "bson": "bson.zst"}


class _Silent(Progress):
    """The run counts rows; bytes of artefacts are not told apart from them."""

    def _speak(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is stored: read back, with as many rows in each form as were captured."""

    capture: Capture
    artefacts: list[dict[str, Any]]
    bytes: int


class PartWriter:
    """Writes into one folder. `name` numbers the parts of it."""

    def __init__(self, ctx: Context, folder: str) -> None:
        self._ctx = ctx
        self._folder = folder

    def capture(self, work: RowWork, name: str, rows: int) -> Part | None:
        """Read and store the next rows; None at the end of the table. Whatever fails, nothing of it counts."""
        sink = self._sink()
        counts: dict[str, tuple[int, str]] = {}

        def write(form: str, feed: Feed) -> None:
            digest = hashlib.sha256()
            writer = sink.open(f"{name}.{FORMS[form]}", compress=True)

            def take(data: bytes) -> None:
                digest.update(data)
                writer.write(data)

            count = feed(take)
            writer.finish()
            counts[f"{name}.{FORMS[form]}"] = count, digest.hexdigest()

        try:
            capture = work.capture(rows, write)
            stored = sink.close()
        except BaseException:  # also an interrupt: the begun upload must not stay
            sink.abort()
            raise
        if not capture.keys:
            return None
        for one, (count, _) in counts.items():
            self._demand(one, count, len(capture.keys))
        artefacts = [self._described(one, capture.table, *counts[one.name]) for one in stored]
        return Part(capture, artefacts, sum(one.bytes for one in stored))

    def put_keys(self, name: str, table: str, keys: Iterable[Key]) -> list[dict[str, Any]]:
        """The keys of rows that stayed in the table, encrypted as the rows are: an archive is read without them."""
        lines = "".join(f"{json.dumps(list(key), ensure_ascii=False)}\n" for key in keys).encode()
        sink = self._sink()
        try:
            writer = sink.open(f"{name}.kept.jsonl.zst", compress=True)
            writer.write(lines)
            writer.finish()
        except BaseException:  # also an interrupt: the begun upload must not stay
            sink.abort()
            raise
        sha256 = hashlib.sha256(lines).hexdigest()
        return [self._described(one, table, lines.count(b"\n"), sha256) for one in sink.close()]

    def put_rows(self, name: str, table: str, feed: Feed) -> dict[str, Any]:
        """All rows that are fed, as lines. Whatever fails, nothing of it counts."""
        sink, digest = self._sink(), hashlib.sha256()
        try:
            writer = sink.open(f"{name}.{FORMS['jsonl']}", compress=True)

            def take(data: bytes) -> None:
                digest.update(data)
                writer.write(data)

            count = feed(take)
            writer.finish()
        except BaseException:  # also an interrupt: the begun upload must not stay
            sink.abort()
            raise
        (stored,) = sink.close()
        return self._described(stored, table, count, digest.hexdigest())

    def put_text(self, name: str, text: str) -> list[dict[str, Any]]:
        """A small text that holds no data, such as the definition of the table."""
        sink = self._sink()
        sink.put_plain(name, text.encode())
        return [self._described(one, "", 0, hashlib.sha256(text.encode()).hexdigest()) for one in sink.close()]

    def _sink(self) -> PipelineSink:
        ctx = self._ctx
        silent = _Silent(ctx.log)
        return PipelineSink(Lane(ctx.store, self._folder, ctx.storage.age_recipients, ctx.children, ctx.stop, silent))

    def _described(self, stored: Stored, table: str, rows: int, sha256: str) -> dict[str, Any]:
        return {
            "name": f"{self._folder}/{_stored(stored)}",
            "objects": [part.key for part in stored.parts],
            "table": table,
            "rows": rows,
            "bytes": stored.bytes,
            "storedBytes": stored.stored_bytes,
            "sha256": sha256,
            "storedSha256": stored.sha256,
            "recipients": list(self._ctx.storage.age_recipients) if stored.encrypted else [],
        }

    def _demand(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            message = f"{self._folder}/{name} has {found} rows, but {expected} were captured; nothing of it is deleted"
            raise SafetyStop(AgentReason.ARTEFACT_CORRUPT, message)


def _stored(one: Stored) -> str:
    return one.name if one.plain else stored_name(one.name, encrypted=one.encrypted)
