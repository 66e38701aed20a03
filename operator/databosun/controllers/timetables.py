"""The runs that a policy, of whatever kind, has had, and what its timetable asks for now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.databasestatus import PolicyCursor
from databosun.controllers.context import Context
from databosun.controllers.seen import Meta, Seen
from databosun.domain.database import (
    PastRun,
    PolicyFacts,
    Timetabled,
    TimetableFacts,
    Timing,
    decide_timetable,
    slot_of,
)
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_RUN_NOW, LABEL_DATABASE_UID, LABEL_POLICY_UID
from databosun.runtime.cache import FinishedRun

Spec = Mapping[str, Any]


def policy_facts(
    seen: Seen[Any, Any], effective: Timing, *, forbid_overlap: bool = True, cause: str | None = None
) -> PolicyFacts:
    """A policy as its timetable sees it."""
    return PolicyFacts(
        ref=seen.meta.named,
        created=seen.meta.created,
        effective=effective,
        suspended=seen.spec.suspend,
        forbid_overlap=forbid_overlap,
        run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
        cause=cause,
    )


def timetable(
    of: Meta, policy: PolicyFacts, entry: PolicyCursor | None, runs: Iterable[PastRun], now: datetime
) -> Timetabled:
    """What is due. `of`: the database, or the policy itself where it has one timetable for all it covers."""
    past = tuple(runs)
    good = [run.created for run in past if run.succeeded]
    last = max(good, default=entry.last_success if entry else None)
    return decide_timetable(TimetableFacts(of.named, of.created, policy, entry, past, last_success=last), now)


def ended(run: FinishedRun) -> PastRun:
    """A finished run."""
    slot = slot_of(run.name) if run.schedule else None
    return PastRun(run.name, run.schedule, run.created, slot, active=False, succeeded=run.succeeded)


def under_way_of(
    context: Context, kind: str, namespace: str, ref: str, counts: Callable[[Spec], bool] = lambda _spec: True
) -> list[PastRun]:
    """Unfinished runs that refer to a policy. `counts`: those of them that hold up its slots."""
    found = []
    for key in context.cache.referring(kind, namespace, ref):
        body = context.cache.get(key)
        if body is not None and counts(spec := body.get("spec", {})):
            created = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
            found.append(_under_way(key.name, spec.get("schedule"), created))
    return found


def runs_on(
    context: Context, database: Meta, kind: str, parse: Callable[[Mapping[str, Any]], Seen[Any, Any]]
) -> list[tuple[str, PastRun]]:
    """All runs of one kind of a database, with their policies' uids."""
    found = [(run.policy_uid, ended(run)) for run in context.finished_of(kind).of_database(database.uid)]
    for key in context.cache.referring(kind, database.namespace, f"database:{database.name}"):
        body = context.cache.get(key)
        try:
            run = parse(body) if body is not None else None
        except UserFault:
            continue  # said on the run itself
        if run is not None and run.meta.labels.get(LABEL_DATABASE_UID, database.uid) == database.uid:
            past = _under_way(run.meta.name, run.spec.schedule, run.meta.created)
            found.append((run.meta.labels.get(LABEL_POLICY_UID, ""), past))
    return found


def _under_way(name: str, schedule: str | None, created: datetime) -> PastRun:
    slot = slot_of(name) if schedule else None
    return PastRun(name, schedule or "", created, slot, active=True, succeeded=False)
