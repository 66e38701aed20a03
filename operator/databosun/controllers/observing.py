"""Turn what a reconcile reads into metrics, so that they are right from the first scrape after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from databosun.controllers import seen as read
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_FINISHED
from databosun.domain.presets import effective
from databosun.domain.schedule import interval
from databosun.runtime.metrics import Metrics
from databosun.runtime.queue import Key
from databosun.runtime.series import (
    database_series,
    drill_series,
    failover_series,
    lifecycle_series,
    other_series,
    policy_series,
    storage_series,
)

UNKNOWN = "Unknown"
_VERDICTS = frozenset({"Succeeded", "Failed", "Passed", "Partial", "Refused", "Error", "Aborted", "Inconclusive"})


class Observer:
    """Feeds `Metrics` with each object as it is read."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._engines: dict[tuple[str, str], str] = {}
        self._ended: dict[Key, str] = {}
        self._spans: dict[Key, tuple[str, int, timedelta | None]] = {}

    def observe(self, kind: str, key: Key, body: Mapping[str, Any]) -> None:
        """Say what the object says; an empty body: it is gone."""
        objects = self._metrics.objects
        if not body:
            objects.drop(kind, key.namespace, key.name)
            self._ended.pop(key, None)
            self._spans.pop(key, None)
            if kind == "Database":
                self._engines.pop((key.namespace, key.name), None)
        elif kind == "Database":
            self._engines[key.namespace, key.name] = str(body["spec"].get("engine", UNKNOWN))
            objects.put(kind, key.namespace, key.name, database_series(body))
        elif kind == "BackupStorage":
            objects.put(kind, key.namespace, key.name, storage_series(body))
        elif kind == "BackupPolicy":
            objects.put(kind, key.namespace, key.name, policy_series(body, self._expected(key, body)))
        elif kind == "RestoreDrill":
            objects.put(kind, key.namespace, key.name, drill_series(body))
        elif kind == "FailoverTest":
            objects.put(kind, key.namespace, key.name, failover_series(body))
        elif kind == "LifecyclePolicy":
            objects.put(kind, key.namespace, key.name, lifecycle_series(body))
        else:
            objects.put(kind, key.namespace, key.name, other_series(kind, body))
            self._ending(kind, key, body)

    def _expected(self, key: Key, body: Mapping[str, Any]) -> timedelta | None:
        """Of a policy; worked out once for each of its specs."""
        metadata = body["metadata"]
        uid, generation = metadata["uid"], metadata.get("generation", 1)
        known = self._spans.get(key)
        if known is None or known[:2] != (uid, generation):
            known = self._spans[key] = uid, generation, _expected(body)
        return known[2]

    def _ending(self, kind: str, key: Key, body: Mapping[str, Any]) -> None:
        """Count a run's verdict once: between the look that sees it first and the label that it is finished."""
        metadata, status = body["metadata"], body.get("status") or {}
        outcome = status.get("phase")
        if LABEL_FINISHED in (metadata.get("labels") or {}):
            self._ended.pop(key, None)
            return
        if outcome not in _VERDICTS or self._ended.get(key) == metadata["uid"]:
            return
        self._ended[key] = metadata["uid"]
        self._metrics.run_ended(kind, outcome, (status.get("failure") or {}).get("reason") or outcome)
        if kind == "Backup" and outcome == "Succeeded":
            self._taken(key, body.get("spec") or {}, status)

    def _taken(self, key: Key, spec: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        started, completed = status.get("startTime"), status.get("completionTime")
        if not started or not completed:
            return
        database = (spec.get("databaseRef") or {}).get("name") or status.get("database") or ""
        engine = self._engines.get((key.namespace, database), UNKNOWN)
        seconds = (datetime.fromisoformat(completed) - datetime.fromisoformat(started)).total_seconds()
        self._metrics.backup_taken(
            engine, status.get("type", UNKNOWN), status.get("method", UNKNOWN), max(0.0, seconds)
        )


def _expected(body: Mapping[str, Any]) -> timedelta | None:
    """The longest time between two slots of the densest schedule; None while suspended or not understood."""
    try:
        policy = read.policy(body)
        known = effective(policy.spec, None)
    except UserFault:
        return None
    if policy.spec.suspend:
        return None
    return min((interval(row.cron, known.zone, policy.meta.created) for row in known.schedules), default=None)
