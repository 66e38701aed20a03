"""Checks of what users have applied: storages, databases with their grants, policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.conditions import Condition, ConditionType
from databosun.cli import findings
from databosun.cli.doctor import Check, fail, ok, warn
from databosun.cli.findings import Finding
from databosun.cli.session import Session
from databosun.cli.words import ago
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenDatabase, SeenPolicy, SeenStorage
from databosun.domain.conditions import find
from databosun.domain.errors import UserFault
from databosun.kube.errors import ResourceAbsent
from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, DATABASES, Object, Resource

AREAS: Final = {"BackupStorage": "Storages", "Database": "Databases", "BackupPolicy": "Policies"}


async def check_objects(session: Session) -> list[Check]:
    """Every storage, database and policy within the scope."""
    checks: list[Check] = []
    for resource in (BACKUP_STORAGES, DATABASES, BACKUP_POLICIES):
        area = AREAS[resource.kind]
        try:
            bodies = await session.list(resource)
        except ResourceAbsent:
            continue  # said of the cluster already
        checks += [one for body in bodies for one in _object(resource, body, session.clock.now())] or [
            warn(area, resource.kind, f"there is none in {session.scope or 'any namespace'}")
        ]
    return checks


def _object(resource: Resource, body: Object, now: datetime) -> Iterable[Check]:
    kind, metadata = resource.kind, body["metadata"]
    subject = f"{kind} {metadata['namespace']}/{metadata['name']}"
    try:
        found, fine = _look(kind, body, now)
    except UserFault as fault:
        broken = findings.broken(kind, body, fault.message)
        return [fail(AREAS[kind], subject, broken.message, broken.what_to_do)]
    return [fail(AREAS[kind], subject, _sentence(one), one.what_to_do) for one in found] or [fine]


def _look(kind: str, body: Mapping[str, Any], now: datetime) -> tuple[list[Finding], Check]:
    """What is wrong with an object, and the line for one with which nothing is."""
    if kind == "Database":
        database = read.database(body)
        return list(findings.of_database(database, {}, now)), _database(database)
    if kind == "BackupPolicy":
        policy = read.policy(body)
        return list(findings.of_policy(policy, now)), _policy(policy)
    storage = read.storage(body)
    return list(findings.of_storage(storage, now)), _storage(storage, now)


def _storage(seen: SeenStorage, now: datetime) -> Check:
    subject, status = _subject("BackupStorage", seen.meta.namespace, seen.meta.name), seen.status
    if not _ready(status.conditions):
        return warn(AREAS["BackupStorage"], subject, _waiting(status.conditions))
    last = status.last_validated_time
    late = last is None or now - last > 2 * parse_duration(seen.spec.validation_interval)
    message = f"validated {ago(last, now)} ago" if last is not None else "never validated"
    if late:
        message += f", though validationInterval is {seen.spec.validation_interval}"
        return warn(AREAS["BackupStorage"], subject, message, "See whether the operator runs: the lines above")
    held = f", {status.usage.objects} objects, {status.usage.human}" if status.usage else ""
    return ok(AREAS["BackupStorage"], subject, message + held)


def _database(seen: SeenDatabase) -> Check:
    subject, area = _subject("Database", seen.meta.namespace, seen.meta.name), AREAS["Database"]
    ready = find(seen.status.conditions, ConditionType.READY)
    if ready is None or ready.status != "True":
        return warn(area, subject, _waiting(seen.status.conditions))
    version = f"{seen.spec.engine} {seen.status.engine_version or 'of unknown version'}"
    if ready.message:
        return warn(area, subject, f"{version} answers; {ready.message}", "Backups work; mend this to have all of them")
    return ok(area, subject, f"{version} answers, and grants what backups need")


def _policy(seen: SeenPolicy) -> Check:
    subject, area = _subject("BackupPolicy", seen.meta.namespace, seen.meta.name), AREAS["BackupPolicy"]
    ready = find(seen.status.conditions, ConditionType.READY)
    if ready is None or ready.status != "True":
        return warn(area, subject, _waiting(seen.status.conditions))
    counts = seen.status.databases
    if counts is not None and not counts.matched:
        return warn(area, subject, "covers no Database", "Correct databaseRef or databaseSelector")
    covered = f"{counts.protected} of {counts.matched} databases protected" if counts is not None else "in force"
    return ok(area, subject, f"{covered}; {ready.message}" if ready.message else covered)


def _subject(kind: str, namespace: str, name: str) -> str:
    return f"{kind} {namespace}/{name}"


def _sentence(one: Finding) -> str:
    return f"{one.reason}: {one.message}" if one.message else one.reason


def _ready(conditions: Iterable[Condition]) -> bool:
    ready = find(conditions, ConditionType.READY)
    return ready is not None and ready.status == "True"


def _waiting(conditions: Iterable[Condition]) -> str:
    ready = find(conditions, ConditionType.READY)
    return f"not ready yet: {ready.message or ready.reason}" if ready is not None else "not looked at yet"
