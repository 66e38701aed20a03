"""Gather what decides over one BackupPolicy: sums over its databases, and its retention."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.conditions import ConditionType
from databosun.controllers import seen as read
from databosun.controllers.claims import conflict_of
from databosun.controllers.context import Context
from databosun.controllers.expiry import Expired, Expiry
from databosun.controllers.matching import databases_of
from databosun.controllers.policies import PolicyKind
from databosun.controllers.seen import SeenDatabase, SeenPolicy
from databosun.controllers.timetables import policy_facts, timetable
from databosun.domain.conditions import find, is_true
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_RUN_NOW, Plan, PostEvent
from databosun.domain.policy import CoveredDatabase, PolicySummaryFacts, decide_policy
from databosun.domain.presets import EffectivePolicy, effective
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS
from databosun.runtime.queue import Key


class PolicyController(PolicyKind[SeenPolicy]):
    """Says how a policy fares, and lets go of what it no longer needs."""

    resource = BACKUP_POLICIES
    runs = BACKUPS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._expiry = Expiry(context)

    def parse(self, body: Mapping[str, Any]) -> SeenPolicy:
        return read.policy(body)

    async def look(self, key: Key, seen: SeenPolicy, now: datetime) -> datetime | None:
        databases = databases_of(self._context, seen)
        known, fault = self._effective(seen, databases)
        expired: Expired | None = None
        if known is not None and self._expiry.wanted(seen, now):
            expired = await self._expiry.look(key, seen, known, now)
            if expired is None:
                return now
        facts = self._facts(seen, databases, known, fault, now)
        status = decide_policy(facts, expired.summary if expired else None, now)
        events = _events(seen, expired)
        plan = Plan(
            before=expired.before if expired else (),
            status=status,
            after=(*(expired.after if expired else ()), *events),
        )
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        return expired.wake_at if expired else seen.status.next_retention_time

    def _effective(
        self, seen: SeenPolicy, databases: list[SeenDatabase]
    ) -> tuple[EffectivePolicy | None, tuple[str, str] | None]:
        """What the policy comes to, and what is wrong with it."""
        try:
            known = effective(seen.spec, databases[0].spec.engine if databases else None)
        except UserFault as fault:
            return None, (fault.reason, fault.message)
        namespace, storage = seen.meta.namespace, seen.spec.storage_ref.name
        if self._context.cache.version(Key("BackupStorage", namespace, storage)) is None:
            return known, (
                "StorageNotFound",
                f"spec.storageRef.name is {storage!r}; no BackupStorage of that name is in namespace {namespace}",
            )
        if not databases and seen.spec.database_ref is not None:
            name = seen.spec.database_ref.name
            return known, (
                "DatabaseNotFound",
                f"spec.databaseRef.name is {name!r}; no Database of that name is in namespace {namespace}",
            )
        return known, None

    def _facts(
        self,
        seen: SeenPolicy,
        databases: list[SeenDatabase],
        known: EffectivePolicy | None,
        fault: tuple[str, str] | None,
        now: datetime,
    ) -> PolicySummaryFacts:
        runs = self.finished(seen)
        return PolicySummaryFacts(
            generation=seen.meta.generation,
            status=seen.status,
            effective=known,
            fault=fault,
            suspended=seen.spec.suspend,
            databases=tuple(self._covered(seen, database, known, now) for database in databases) if known else (),
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
            last_run_succeeded=runs[-1].succeeded if runs else None,
            last_run=runs[-1].name if runs else None,
            conflict=conflict_of(self._context, seen, databases) if known and known.continuous else None,
        )

    def _covered(
        self, seen: SeenPolicy, database: SeenDatabase, known: EffectivePolicy, now: datetime
    ) -> CoveredDatabase:
        entry = next((entry for entry in database.status.policies if entry.uid == seen.meta.uid), None)
        if entry is None:
            # The database's own look comes later; what it will write is known already.
            facts = policy_facts(seen, known, forbid_overlap=seen.spec.concurrency_policy == "Forbid")
            entry = timetable(database.meta, facts, None, (), now).entry
        protected = find(database.status.conditions, ConditionType.PROTECTED)
        return CoveredDatabase(
            name=database.meta.name,
            entry=entry,
            protected=is_true(database.status.conditions, ConditionType.PROTECTED),
            overdue=protected is not None and protected.reason == "Overdue",
        )


def _events(seen: SeenPolicy, expired: Expired | None) -> tuple[PostEvent, ...]:
    """A retention that stops says so once, when it stops."""
    if expired is None or expired.summary.condition.status is not False:
        return ()
    old = find(seen.status.conditions, ConditionType.RETENTION_HEALTHY)
    if old is not None and old.reason == expired.summary.condition.reason:
        return ()
    return (PostEvent(expired.summary.condition.reason, expired.summary.condition.message, warning=True),)
