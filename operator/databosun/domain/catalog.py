"""Backup objects from what a store holds: which, with what in them, and how far a rebuild has come.

A rebuilt Backup is born finished: it carries the label of finished runs from its creation, and the instants in its spec
are long past, so that nothing ever starts it. Of an object that is there already nothing is written over; only a status
that is empty is filled, be it that a rebuild was killed between the two writes or that another tool restored the object
without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from databosun.api.catalog import FoundBackup
from databosun.api.quantities import format_duration, humanize_bytes
from databosun.api.result import CatalogEntry, CatalogPage
from databosun.api.v1alpha1.backup import BackupPhase, BackupStatus, Hold, Proof, Size
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.api.v1alpha1.backupstorage import BackupStorageStatus, CatalogRebuild
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.run import Attempt
from databosun.domain.attempt import Ending
from databosun.domain.conditions import Wanted, find, kstatus, merge_conditions
from databosun.domain.names import attempt_job_name
from databosun.domain.plan import (
    ANNOTATION_HOLD_REASON,
    ANNOTATION_REBUILD_CATALOG,
    ANNOTATION_REBUILT,
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_HOLD,
    LABEL_POLICY_UID,
    LABEL_PROVEN,
    LABEL_STORAGE_UID,
)
from databosun.domain.requests import Named

MAX_TOKEN: Final = 128
MAX_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class KnownDatabase:
    """A Database of the namespace. `looked_at`: whether its server was ever tried; `policies`: uids by name."""

    uid: str
    system_identifier: str | None
    looked_at: bool
    policies: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One Backup to be there: its metadata, spec and status."""

    name: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    status: Mapping[str, Any]


# --- how far it has come


def asked(annotations: Mapping[str, str]) -> str | None:
    """The token of the rebuild that is asked for, if any."""
    token = annotations.get(ANNOTATION_REBUILD_CATALOG, "")[:MAX_TOKEN]
    return token or None


def under_way(status: BackupStorageStatus, annotations: Mapping[str, str]) -> CatalogRebuild | None:
    """The rebuild that is to be worked on, as far as it has come; None where none is asked for that was not done."""
    token = asked(annotations)
    if token is None or token == status.catalog_token:
        return None
    known = status.catalog
    return known if known is not None and known.token == token else CatalogRebuild(token=token)


def obstacle(status: BackupStorageStatus, databases: Mapping[str, KnownDatabase]) -> str | None:
    """What a rebuild has to wait for; None where it may go on."""
    ready = find(status.conditions, ConditionType.READY)
    if ready is None or ready.status != "True":
        return f"waiting until the storage is ready: {ready.message if ready else 'it has not been validated yet'}"
    unknown = sorted(name for name, one in databases.items() if not one.looked_at)
    if unknown:
        return f"waiting for the first look at Database {unknown[0]}, to know whether the backups are this server's"
    return None


def waiting(status: BackupStorageStatus, catalog: CatalogRebuild, why: str) -> dict[str, Any]:
    """The storage's status while a rebuild waits."""
    return _with(status, catalog, error=why)


def page_done(
    status: BackupStorageStatus, catalog: CatalogRebuild, page: CatalogPage, created: int, skipped: int, now: datetime
) -> dict[str, Any]:
    """The storage's status once every entry of a page has its object; the last page ends the rebuild."""
    changes: dict[str, Any] = {
        "found": catalog.found + len(page.entries),
        "created": catalog.created + created,
        "skipped": catalog.skipped + skipped,
        "next": page.next,
        "tries": 0,
        "error": None,
    }
    return _with(status, catalog, **changes) if page.next else _ended(status, catalog, now, **changes)


def page_failed(
    status: BackupStorageStatus, catalog: CatalogRebuild, reason: str, message: str, now: datetime, *, retryable: bool
) -> dict[str, Any]:
    """The storage's status after a Job that brought no page: tried again where that may help, at most three times."""
    tries = catalog.tries + 1
    changes: dict[str, Any] = {"tries": tries, "error": f"{reason}: {message}"}
    if retryable and tries < MAX_TRIES:
        return _with(status, catalog, **changes)
    return _ended(status, catalog, now, **changes)


def page_of(ending: Ending) -> CatalogPage | None:
    """The page that a Job brought, if it did."""
    return ending.result.catalog if ending.succeeded and ending.result is not None else None


def _with(status: BackupStorageStatus, catalog: CatalogRebuild, **changes: Any) -> dict[str, Any]:
    return status.model_copy(update={"catalog": _changed(catalog, **changes)}).dump()


def _ended(status: BackupStorageStatus, catalog: CatalogRebuild, now: datetime, **changes: Any) -> dict[str, Any]:
    done = _changed(catalog, **changes, at=now)
    return status.model_copy(update={"catalog": done, "catalog_token": catalog.token}).dump()


def _changed(catalog: CatalogRebuild, **changes: Any) -> CatalogRebuild:
    """A validated copy: texts are cut to their bounds."""
    return CatalogRebuild.model_validate({**catalog.model_dump(), **changes})


# --- one backup


def rebuilt(
    entry: CatalogEntry, storage: Named, databases: Mapping[str, KnownDatabase], token: str, now: datetime
) -> Rebuilt | None:
    """The Backup that one entry stands for; None where its manifest does not fit the folder that it lies in."""
    try:
        found = FoundBackup.model_validate(entry.manifest)
    except ValidationError:
        return None
    here = (storage.namespace, entry.database, entry.id)
    if (found.database.namespace, found.database.name, found.id) != here:
        return None
    annotations = {ANNOTATION_REBUILT: token}
    if entry.hold:
        annotations[ANNOTATION_HOLD_REASON] = entry.hold
    return Rebuilt(
        name=found.id,
        spec=_spec(found, storage.name),
        labels=_labels(found, storage.uid, databases.get(entry.database), entry),
        annotations=annotations,
        status=_status(found, entry, now),
    )


def _spec(found: FoundBackup, storage: str) -> dict[str, Any]:
    """As the run's own spec was. One made by hand can never start again: its time was over when it was complete."""
    spec: dict[str, Any] = {
        "databaseRef": {"name": found.database.name},
        "storageRef": {"name": storage},
        "type": str(found.type),
        "method": str(found.method),
        "deletionPolicy": "Retain",
    }
    if found.policy is not None:
        spec["policyRef"] = {"name": found.policy}
    if found.parent is not None and found.type is not BackupType.FULL:
        spec["parentRef"] = {"name": found.parent}
    if found.scheduled_for is not None:
        return {**spec, "scheduledFor": _rfc3339(found.scheduled_for)}
    return {**spec, "notAfter": _rfc3339(found.completed_at)}


def _labels(
    found: FoundBackup, storage_uid: str, database: KnownDatabase | None, entry: CatalogEntry
) -> dict[str, str]:
    """References by uid. A backup counts for the Database of its name, and for its policy, only where that is provably
    the server it was taken of; else it keeps the uids of old, which nobody bears, and retention leaves it alone."""
    was = found.database
    same = database is not None and (
        database.uid == was.uid
        or (was.system_identifier is not None and database.system_identifier == was.system_identifier)
    )
    database_uid = database.uid if database is not None and same else was.uid
    policy_uid = database.policies.get(found.policy or "") if database is not None and same else None
    return {
        LABEL_FINISHED: str(BackupPhase.SUCCEEDED),
        LABEL_DATABASE_UID: database_uid,
        LABEL_STORAGE_UID: storage_uid,
        **({LABEL_POLICY_UID: policy_uid} if policy_uid else {}),
        **({LABEL_HOLD: "true"} if entry.hold is not None else {}),
        **({LABEL_PROVEN: "true"} if entry.proof is not None else {}),
    }


def _status(found: FoundBackup, entry: CatalogEntry, now: datetime) -> dict[str, Any]:
    attempt = Attempt(
        number=found.attempt,
        job=attempt_job_name(found.id, found.attempt),
        started_at=found.started_at,
        ended_at=found.completed_at,
        reason=str(Reason.SUCCEEDED),
        certain=True,
    )
    status = {
        "conditions": merge_conditions((), _conditions(found, verified=entry.verified), 1, now),
        "observed_generation": 1,
        "phase": BackupPhase.SUCCEEDED,
        "start_time": found.started_at,
        "completion_time": found.completed_at,
        "duration": format_duration(found.completed_at - found.started_at),
        "attempts": [attempt],
        "type": found.type,
        "method": found.method,
        "size": Size(logical=found.logical_bytes, stored=found.stored_bytes, human=humanize_bytes(found.stored_bytes)),
        "objects": found.objects or None,
        "object_count": found.object_count,
        "checksum": entry.manifest_sha256,
        "location": found.location,
        "position": found.position,
        "snapshot_time": found.snapshot_time,
        "engine": found.database.engine,
        "engine_version": found.database.engine_version,
        "system_identifier": found.database.system_identifier,
        "tool_versions": found.client_versions or None,
        "image": found.image,
        "parent": found.parent,
        "base": found.base,
        "chain_length": found.chain_length,
        "proven": Proof(level=str(entry.proof.level), at=entry.proof.at, run=entry.proof.run) if entry.proof else None,
        "hold": Hold(reason=entry.hold or None) if entry.hold is not None else None,
        "notes": found.notes or None,
    }
    return BackupStatus.model_validate(status).dump()


def _conditions(found: FoundBackup, *, verified: bool) -> Iterable[Wanted]:
    yield from kstatus(ready=True, reason=str(Reason.SUCCEEDED), message="the record was made from the store")
    if found.size_suspicious:
        yield Wanted(ConditionType.SIZE_PLAUSIBLE, False, str(Reason.SIZE_FELL), found.size_suspicious)
    if not verified:
        message = (
            "no signature vouches for the manifest in the store, from which this record was made: it may be forged"
        )
        yield Wanted(ConditionType.UNVERIFIED, True, str(Reason.UNVERIFIED), message)


def _rfc3339(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- an object that is there already


def may_fill(labels: Mapping[str, str], status: Mapping[str, Any]) -> bool:
    """Whether an object that is there is a finished record whose status was lost or never written."""
    return LABEL_FINISHED in labels and not status.get("phase")


def relabelled(annotations: Mapping[str, str], labels: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Labels of references that an earlier rebuild could not know yet: that server's identity was not known then."""
    if ANNOTATION_REBUILT not in annotations:
        return {}
    references = (LABEL_DATABASE_UID, LABEL_POLICY_UID, LABEL_STORAGE_UID)
    return {key: wanted[key] for key in references if key in wanted and labels.get(key) != wanted[key]}
