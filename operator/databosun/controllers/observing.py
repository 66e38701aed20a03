"""Turn what a reconcile reads into metrics, so that they are right from the first scrape after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from databosun.controllers import seen as read
from databosun.domain.errors import UserFault
from databosun.domain.presets import effective
from databosun.domain.schedule import interval
from databosun.runtime.metrics import Metrics
from databosun.runtime.queue import Key
from databosun.runtime.series import database_series, other_series, policy_series, storage_series


class Observer:
    """Feeds `Metrics` with each object as it is read."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def observe(self, kind: str, key: Key, body: Mapping[str, Any]) -> None:
        """Say what the object says; an empty body: it is gone."""
        objects = self._metrics.objects
        if not body:
            objects.drop(kind, key.namespace, key.name)
        elif kind == "Database":
            objects.put(kind, key.namespace, key.name, database_series(body))
        elif kind == "BackupStorage":
            objects.put(kind, key.namespace, key.name, storage_series(body))
        elif kind == "BackupPolicy":
            objects.put(kind, key.namespace, key.name, policy_series(body, _expected(body)))
        else:
            objects.put(kind, key.namespace, key.name, other_series(kind, body))


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
