"""From a Restore as the cluster knows it, and its record, to the page of those who look back. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from databosun.api.drill import CheckResult, RecoveryPoint
from databosun.api.postmortem import Happening, PostMortem
from databosun.api.report import RecordSeen, Review, Trust
from databosun.api.result import RestoreResult
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant
from databosun.api.v1alpha1.restore import RestoreStatus
from databosun.api.v1alpha1.run import Attempt
from databosun.domain.measured import recovery_point
from databosun.domain.records import EDITED, UNSIGNED, Found
from databosun.domain.reportdrill import describe_point
from databosun.domain.sealing import digest_of, is_canonical, is_signed


class RestoreRecord(Model):
    """result.json, as far as a page shows it. Others of its fields are left alone."""

    run: str
    started_at: Instant
    completed_at: Instant
    asked: RecoveryPoint | None = None
    backup_manifest_sha256: str | None = None
    result: RestoreResult


@dataclass(frozen=True, slots=True)
class KnownRestore:
    """A Restore of the cluster."""

    namespace: str
    name: str
    created: datetime
    database: str | None
    target: str
    asked: str
    status: RestoreStatus
    checks: tuple[CheckResult, ...]
    review: Review | None


def read_restore_record(data: bytes) -> RestoreRecord:
    """The record in these bytes. ValueError says why it is none."""
    try:
        document = json.loads(data)
        result = {"record": "", "recordSha256": "", **document["result"]}
        if document.get("kind") != "Restore":
            msg = f"it is the record of a {document.get('kind')}"
            raise ValueError(msg)
        return RestoreRecord.model_validate({**document, "result": result})
    except ValidationError as error:
        msg = f"this is no record of a restore: {error.errors()[0]['msg']}"
        raise ValueError(msg) from error
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"this is no record of a restore: {error}"
        raise ValueError(msg) from error


def look_back(known: KnownRestore | None, found: Found | None, now: datetime, version: str) -> PostMortem:
    """The page. What the record says counts; what only the cluster remembers stands beside it. ValueError where the
    record is none, and nothing else is known."""
    record: RestoreRecord | None = None
    seen: RecordSeen | None = None
    if found is not None:
        record, seen = _read(known, found)
    elif known is not None and known.status.record is not None:
        remembered = known.status.record
        seen = RecordSeen(where=remembered.uri, sha256=remembered.sha256, trust=Trust.STATUS_ONLY)
    values: dict[str, Any] = {}
    if known is not None:
        values |= _of_status(known)
    if record is not None and (known is None or (seen is not None and seen.trust is not Trust.BROKEN)):
        values |= _of_record(record, values)
    timeline = sorted({(one.at, one.what) for one in _timeline(known, record)})
    return PostMortem.model_validate(
        {
            **values,
            "generated_at": now,
            "timeline": [Happening(at=at, what=what) for at, what in timeline],
            "record": seen,
            "sources": list(_sources(known, record, seen)),
            "databosun_version": version,
        }
    )


def _read(known: KnownRestore | None, found: Found) -> tuple[RestoreRecord | None, RecordSeen]:
    problems = [] if is_canonical(found.data) else [EDITED]
    sha256 = digest_of(found.data)
    signed = any(is_signed(found.data, key) for key in found.keys)
    if found.keys and not signed:
        problems.append(UNSIGNED)
    record: RestoreRecord | None = None
    try:
        record = read_restore_record(found.data)
    except ValueError as error:
        if known is None:
            raise
        problems.append(str(error))
    if known is not None and record is not None and record.run != known.name:
        problems.append(f"it is the record of restore {record.run}")
    remembered = known.status.record.sha256 if known is not None and known.status.record is not None else None
    if remembered is not None and remembered.lower() != sha256:
        problems.append(f"the cluster remembers SHA-256 {remembered} of it: it was changed or replaced")
    trust = Trust.BROKEN if problems else Trust.SIGNED if signed else Trust.UNSIGNED
    return record, RecordSeen(where=found.where, sha256=sha256, trust=trust, problems=problems)


def _of_status(known: KnownRestore) -> dict[str, Any]:
    status = known.status
    until = describe_point(recovery_point(status.until)) if status.until else None
    chosen = next((one for one in status.candidates or () if one.name == status.backup), None)
    took = None
    if status.start_time is not None and status.completion_time is not None:
        took = (status.completion_time - status.start_time).total_seconds()
    return {
        "namespace": known.namespace,
        "name": known.name,
        "verdict": str(status.phase or "Pending"),
        "message": f"{status.failure.reason}: {status.failure.message}" if status.failure else "",
        "database": known.database or (status.candidates[0].database if status.candidates else None),
        "target": known.target,
        "backup": status.backup,
        "manifest_sha256": chosen.checksum if chosen else None,
        "chosen": status.chosen,
        "asked": known.asked,
        "until": until,
        "reached": status.reached,
        "last_commit": status.last_commit,
        "took_seconds": took,
        "bytes": status.bytes,
        "checks": list(known.checks),
        "hand_over": list(status.hand_over or ()),
        "notes": list(status.notes or ()),
        "review": known.review,
    }


def _of_record(record: RestoreRecord, told: Mapping[str, Any]) -> dict[str, Any]:
    result = record.result
    said = {
        "namespace": told.get("namespace", "unknown"),
        "name": record.run,
        "verdict": told.get("verdict", "Succeeded"),
        "target": told.get("target") or (f"volume {result.claim}" if result.claim else None),
        "backup": result.backup,
        "manifest_sha256": record.backup_manifest_sha256,
        "chosen": result.chosen,
        "asked": describe_point(record.asked) if record.asked else told.get("asked"),
        "until": describe_point(result.until),
        "reached": result.reached,
        "last_commit": result.last_commit,
        "took_seconds": (record.completed_at - record.started_at).total_seconds(),
        "phases": dict(result.seconds),
        "bytes": result.bytes,
        "checks": list(result.checks),
        "hand_over": list(result.hand_over),
        "notes": list(result.notes),
    }
    return {name: value for name, value in said.items() if value is not None}


def _timeline(known: KnownRestore | None, record: RestoreRecord | None) -> Iterator[Happening]:
    if known is not None:
        status = known.status
        yield Happening(at=known.created, what="asked for")
        if status.candidates:
            names = ", ".join(one.name for one in status.candidates[:5])
            yield Happening(at=status.candidates[0].resolved_at, what=f"backups chosen, newest first: {names}")
        for attempt in status.attempts:
            yield from _attempt(attempt)
        if status.completion_time is not None:
            yield Happening(at=status.completion_time, what=f"verdict: {status.phase}")
    if record is not None:
        yield Happening(at=record.started_at, what="the agent began")
        yield Happening(at=record.completed_at, what="the copy was complete, checked and in its place")


def _attempt(attempt: Attempt) -> Iterator[Happening]:
    if attempt.started_at is not None:
        yield Happening(at=attempt.started_at, what=f"attempt {attempt.number} started")
    if attempt.ended_at is not None:
        why = f": {attempt.message}" if attempt.message and attempt.reason != "Succeeded" else ""
        yield Happening(at=attempt.ended_at, what=f"attempt {attempt.number} ended, {attempt.reason}{why}")


def _sources(known: KnownRestore | None, record: RestoreRecord | None, seen: RecordSeen | None) -> Iterator[str]:
    if known is not None:
        yield f"Restore {known.namespace}/{known.name}, as it stands in the cluster"
    if record is not None and seen is not None:
        yield f"its record, {seen.where}"
    elif seen is not None:
        yield "the record in the store was not read: what is shown is what the cluster remembers"
    else:
        yield "no record was written: a restore leaves one where it succeeds"
