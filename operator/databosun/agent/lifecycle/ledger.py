"""The audit of an enforced run, and its checkpoint in one: a chain of small records, each naming the one before.

A link is written before rows are touched, saying how many may be, and another after it, saying what became of them. So
an attempt that takes over knows what was allowed to happen, however suddenly the last one ended; and since a link is
written only where none is, one that was thought dead cannot go on beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import zstandard

from databosun.agent.context import Context
from databosun.agent.encode import ZSTD_LEVEL
from databosun.agent.evidence import invalid_record, put_record, read_record
from databosun.agent.upload import put_verified
from databosun.api.lifecycletasks import LifecycleTask
from databosun.domain.sealing import digest_of
from databosun.storage.layout import LifecycleFolder

SCHEMA = 1
TAKEN_AS = ("deleted", "anonymized", "expiring")  # what may become of what was granted


class Event(StrEnum):
    """What a link says. TAKEN: an attempt began. GRANTED: so many rows may be touched from here. ARCHIVED: a part lies
    in the store, read back, and its rows may be deleted. DONE: what became of what was granted or archived."""

    TAKEN = "Taken"
    GRANTED = "Granted"
    ARCHIVED = "Archived"
    DONE = "Done"


@dataclass
class Account:
    """What all attempts together did with one rule. `spent`: rows that count against the limit of the run."""

    spent: int = 0
    archived: int = 0
    deleted: int = 0
    anonymized: int = 0
    expiring: int = 0
    changed: int = 0
    moved: int = 0
    batches: int = 0
    uncertain: int = 0
    index: str = ""
    children: dict[str, int] = field(default_factory=dict)
    partitions: list[str] = field(default_factory=list)
    artefacts: list[dict[str, Any]] = field(default_factory=list)
    granted: dict[int, int] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """Rows or keys that something became of."""
        return self.deleted + self.anonymized + self.expiring

    def take(self, number: int, link: Mapping[str, Any]) -> None:
        """Count one link."""
        rows = int(link.get("rows", 0))
        if link["event"] in (Event.GRANTED, Event.ARCHIVED):
            self.granted[number] = rows
            self.spent += rows
            self.archived += rows if link["event"] == Event.ARCHIVED else 0
            self.artefacts += link.get("artefacts", [])
        elif link["event"] == Event.DONE:
            self._close(link)

    def _close(self, link: Mapping[str, Any]) -> None:
        done = sum(int(link.get(name, 0)) for name in (*TAKEN_AS, "uncertain"))
        self.spent += done - self.granted.pop(int(link["of"]), 0)
        for name in (*TAKEN_AS, "moved", "changed", "batches", "uncertain"):
            setattr(self, name, getattr(self, name) + int(link.get(name, 0)))
        for table, rows in link.get("children", {}).items():
            self.children[table] = self.children.get(table, 0) + int(rows)
        self.index = link.get("index") or self.index
        self.partitions += link.get("partitions", [])


class Ledger:
    """The chain, as far as it is written. One attempt has it at a time."""

    def __init__(self, ctx: Context, task: LifecycleTask, folder: LifecycleFolder) -> None:
        self._ctx = ctx
        self._task = task
        self._folder = folder
        self._number = 0
        self._accounts: dict[str, Account] = {}
        self._stored: set[str] = set()
        self.last = task.previous.sha256 if task.previous is not None else None

    @property
    def number(self) -> int:
        """Of the last link."""
        return self._number

    def account(self, rule: str) -> Account:
        """What was done with a rule so far."""
        return self._accounts.setdefault(rule, Account())

    def open(self) -> None:
        """Read what earlier attempts wrote, take over, and remove what they had archived but not vouched for."""
        while (data := read_record(self._ctx, self._folder.link(self._number + 1))) is not None:
            self._number += 1
            self._read(data)
        self.write("", Event.TAKEN)
        self.clear(self._ctx.request.attempt - 1)

    def write(self, rule: str, event: Event, keys: Iterable[str] = (), **more: Any) -> int:
        """Add a link. Returns its number. WorldFault(AttemptTaken) where another attempt has added one meanwhile."""
        number = self._number + 1
        link: dict[str, Any] = {
            "schema": SCHEMA,
            "kind": "LifecycleAudit",
            "run": self._task.id,
            "policy": self._task.policy,
            "planHash": self._task.approved,
            "number": number,
            "attempt": self._ctx.request.attempt,
            "at": self._ctx.clock().isoformat(),
            "previous": self.last,
            "rule": rule,
            "event": event.value,
            **more,
        }
        if hashed := list(keys):
            lines = "".join(f"{one}\n" for one in hashed).encode()
            packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(lines)
            written = put_verified(self._ctx.store, self._folder.keys(number), packed)
            link["keys"] = {"count": len(hashed), "sha256": written.sha256}
        self.last = put_record(self._ctx, self._folder.link(number), link)
        self._number = number
        self._count(number, link)
        return number

    def _read(self, data: bytes) -> None:
        key = self._folder.link(self._number)
        try:
            link = json.loads(data)
            mine = (link["schema"], link["run"], link["number"], link["previous"])
            if mine != (SCHEMA, self._task.id, self._number, self.last):
                raise invalid_record(self._ctx, key, f"it does not follow on the one before, {self.last}")
            self._count(self._number, link)
        except (ValueError, KeyError, TypeError) as error:
            raise invalid_record(self._ctx, key, error) from error
        self.last = digest_of(data)

    def _count(self, number: int, link: Mapping[str, Any]) -> None:
        for artefact in (*link.get("artefacts", []), *link.get("kept", [])):
            self._stored |= set(artefact["objects"])
        if link["rule"]:
            self.account(link["rule"]).take(number, link)

    def clear(self, attempts: int) -> None:
        """No row was deleted for the sake of what no link names: it is what was being written when something failed."""
        store = self._ctx.store
        for attempt in range(1, attempts + 1):
            found = [one.key for one in store.list(self._folder.attempt(attempt))]
            for left in store.delete(key for key in found if key not in self._stored):
                self._ctx.log.warning("left", key=left.key, message=left.message)
