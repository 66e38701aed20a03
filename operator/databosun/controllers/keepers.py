"""The backups that may hold a person: of the database, of its name, of its server; and how long each is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from databosun.api.restoretasks import MOST_ERASURES, KnownErasure
from databosun.api.v1alpha1.backup import FINAL_PHASES, BackupPhase
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenBackup, SeenPolicy
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_HOLD_REASON, LABEL_DATABASE_UID, LABEL_HOLD, LABEL_STORAGE_UID
from databosun.domain.remains import NEWEST, UNDER_WAY, Kept
from databosun.kube.resources import BACKUPS, ERASURE_REQUESTS
from databosun.runtime.queue import Key

_WITH_DATA = frozenset({BackupPhase.SUCCEEDED, BackupPhase.DELETING})


@dataclass(frozen=True, slots=True)
class BackupThere:
    """One Backup whose data are in a store. `storage`: its name; None where nothing says it."""

    seen: SeenBackup
    storage: str | None

    @property
    def name(self) -> str:
        """Of the Backup."""
        return self.seen.meta.name

    @property
    def at(self) -> datetime:
        """The instant that its data show."""
        return self.seen.status.shows or self.seen.status.completion_time or self.seen.meta.created

    @property
    def began(self) -> datetime:
        """When somebody began to take them: files that were read before an erasure hold what it took away."""
        return min(self.at, self.seen.status.start_time or self.at)


@dataclass(frozen=True, slots=True)
class BackupsThere:
    """The Backups of a database: those whose data are in a store, and those without."""

    stored: tuple[BackupThere, ...] = ()
    without: tuple[SeenBackup, ...] = ()


async def backups_of(context: Context, namespace: str, name: str, uid: str | None, system: str | None) -> BackupsThere:
    """Read live: a backup that is left out here would be one that brings a person back."""
    stored, without = [], []
    async for body in context.kube.list(BACKUPS, namespace):
        one = read.backup(body)
        of_server = system is not None and one.status.system_identifier == system
        of_uid = uid is not None and one.meta.labels.get(LABEL_DATABASE_UID) == uid
        if not (of_server or of_uid or read.database_name(one) == name):
            continue
        if one.status.phase not in _WITH_DATA or one.status.checksum is None:
            without.append(one)
            continue
        known = context.cache.key_of(one.meta.labels.get(LABEL_STORAGE_UID, ""))
        named = one.spec.storage_ref.name if one.spec.storage_ref else None
        stored.append(BackupThere(one, known.name if known is not None else named))
    return BackupsThere(tuple(stored), tuple(without))


def kept_of(context: Context, backups: Iterable[BackupThere]) -> list[Kept]:
    """How long each is kept, as things stand."""
    there = sorted(backups, key=lambda one: (one.at, one.name))
    return [_kept(context, one, newest=one is there[-1]) for one in there]


def under_way(without: Iterable[SeenBackup]) -> list[Kept]:
    """Those that are being taken: what they have read already may be in the store, or come there yet."""
    return [
        Kept(one.meta.name, one.status.start_time, undated=UNDER_WAY)
        for one in without
        if one.status.phase not in FINAL_PHASES and one.status.start_time is not None
    ]


def _kept(context: Context, one: BackupThere, *, newest: bool) -> Kept:
    expires = one.seen.status.expires_at
    for_ever = _held(context, one) or (None if expires or newest else _for_ever(context, one))
    return Kept(one.name, one.began, None if for_ever else expires, for_ever, NEWEST if newest else None)


def _held(context: Context, one: BackupThere) -> str | None:
    meta, hold = one.seen.meta, one.seen.status.hold
    policy = _policy(context, one)
    if hold is not None or meta.labels.get(LABEL_HOLD) == "true":
        reason = (hold.reason if hold else None) or meta.annotations.get(ANNOTATION_HOLD_REASON)
        return f"under a legal hold{f': {reason}' if reason else ''}"
    if policy is not None and policy.spec.legal_hold:
        return f"under the legal hold of BackupPolicy {policy.meta.name}"
    return None


def _for_ever(context: Context, one: BackupThere) -> str | None:
    """Why no rule lets it go; None where one may, once there are newer ones."""
    policy = _policy(context, one)
    if policy is None:
        return "no BackupPolicy governs it any more"
    retention = policy.spec.retention
    if retention is not None and retention.keep_forever != "None":
        return f"kept for ever by BackupPolicy {policy.meta.name} (keepForever: {retention.keep_forever})"
    return None


def _policy(context: Context, one: BackupThere) -> SeenPolicy | None:
    ref = one.seen.spec.policy_ref
    body = context.cache.get(Key("BackupPolicy", one.seen.meta.namespace, ref.name)) if ref is not None else None
    try:
        return read.policy(body) if body is not None else None
    except UserFault:
        return None  # said on the policy itself


async def known_erasures(context: Context, namespace: str, database: str) -> tuple[KnownErasure, ...]:
    """The newest erasures of a Database that were begun for sure: the ledger of its storage must have them."""
    found = []
    async for body in context.kube.list(ERASURE_REQUESTS, namespace):
        try:
            one = read.erasure(body)
        except UserFault:
            continue  # it was never carried out
        begun = one.status.audit is not None or one.status.verified_time is not None
        if begun and one.spec.database_ref.name == database:
            known = KnownErasure(id=one.meta.name, verified_at=one.status.verified_time)
            found.append((one.status.completion_time or one.meta.created, one.meta.name, known))
    return tuple(known for *_, known in sorted(found, key=lambda each: each[:2])[-MOST_ERASURES:])
