"""The operator's metrics, in a registry of their own: one process may hold several operators in tests."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from databosun import __version__
from databosun.runtime import families as f
from databosun.runtime.families import Family
from databosun.runtime.objectfamilies import OF_OBJECTS
from databosun.runtime.series import Row

REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
MOST_REASONS: Final = 200
OTHER: Final = "Other"


class ObjectSeries:
    """The series of all objects, kept as one small record each and written out at a scrape only.

    Written by hand: for the 70,000 series of 10,000 policies the library takes 1.2 s of a core at every scrape,
    and this 0.2 s.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], tuple[Row, ...]] = {}

    def put(self, kind: str, namespace: str, name: str, rows: tuple[Row, ...]) -> None:
        """Say this of the object from now on, and nothing else."""
        self._rows[(kind, namespace, name)] = rows

    def drop(self, kind: str, namespace: str, name: str) -> None:
        """Say nothing of the object any more."""
        self._rows.pop((kind, namespace, name), None)

    def render(self) -> bytes:
        """All families in Prometheus' text format 0.0.4; may run in a thread while others put and drop."""
        lines: dict[Family, list[str]] = {family: _header(family) for family in OF_OBJECTS}
        for rows in list(self._rows.values()):
            for families, label_values, values in rows:
                labels = _label_text(families[0].labels, label_values)
                for family, value in zip(families, values, strict=True):
                    if value is not None:
                        lines[family].append(f"{family.name}{labels} {float(value)!r}\n")
        return "".join(line for family in OF_OBJECTS for line in lines[family]).encode()


class Metrics:
    """All metrics of one operator."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry(auto_describe=False)
        self.objects = ObjectSeries()
        ProcessCollector(registry=self.registry)
        self._runs = self._counter(f.RUNS)
        self._backup_duration = self._histogram(f.BACKUP_DURATION)
        self._reconciles = self._counter(f.RECONCILES)
        self._reconcile_seconds = self._histogram(f.RECONCILE_SECONDS)
        self._panics = self._counter(f.PANICS)
        self._queue_depth = self._gauge(f.QUEUE_DEPTH)
        self._queue_running = self._gauge(f.QUEUE_RUNNING)
        self._lateness = self._histogram(f.QUEUE_LATENESS)
        self._api_requests = self._counter(f.API_REQUESTS)
        self._api_seconds = self._histogram(f.API_SECONDS)
        self._leader = self._gauge(f.LEADER)
        self._gauge(f.BUILD_INFO).labels(__version__, platform.python_version()).set(1)
        self._reasons: set[str] = set()

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4. Takes long with many objects: call it in a thread."""
        return self.objects.render() + generate_latest(self.registry)

    def run_ended(self, kind: str, outcome: str, reason: str) -> None:
        """Count a run's verdict. Reasons come from agents too, so their number is bounded: the rest is `Other`."""
        if reason not in self._reasons:
            if REASON.fullmatch(reason) and len(self._reasons) < MOST_REASONS:
                self._reasons.add(reason)
            else:
                reason = OTHER
        self._runs.labels(kind, outcome, reason).inc()

    def backup_taken(self, engine: str, backup_type: str, method: str, seconds: float) -> None:
        """Note how long a successful backup took."""
        self._backup_duration.labels(engine, backup_type, method).observe(seconds)

    def reconciled(self, kind: str, outcome: str, seconds: float) -> None:
        """Note a reconcile: ok, or the class of its fault."""
        self._reconciles.labels(kind, outcome).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def panicked(self, kind: str) -> None:
        """Count a reconcile that ended in an error nobody foresaw."""
        self._panics.labels(kind).inc()

    def woke(self, seconds_late: float) -> None:
        """Note how late a wake-up's reconcile started."""
        self._lateness.observe(max(0.0, seconds_late))

    def watch_queue(self, depth: Callable[[], int], running: Callable[[], int]) -> None:
        """Ask these at each scrape."""
        self._queue_depth.set_function(depth)
        self._queue_running.set_function(running)

    def api_request(self, verb: str, resource: str, outcome: str, seconds: float) -> None:
        """Note a request to the API server."""
        self._api_requests.labels(verb, resource, outcome).inc()
        self._api_seconds.labels(verb).observe(seconds)

    def watch_leader(self, leading: Callable[[], bool]) -> None:
        """Ask this at each scrape."""
        self._leader.set_function(leading)

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name, family.meaning, family.labels, registry=self.registry)

    def _gauge(self, family: Family) -> Gauge:
        return Gauge(family.name, family.meaning, family.labels, registry=self.registry)

    def _histogram(self, family: Family) -> Histogram:
        return Histogram(family.name, family.meaning, family.labels, registry=self.registry, buckets=family.buckets)


def _header(family: Family) -> list[str]:
    meaning = family.meaning.replace("\\", "\\\\").replace("\n", "\\n")
    return [f"# HELP {family.name} {meaning}\n", f"# TYPE {family.name} {family.kind}\n"]


def _label_text(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for value in values)
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(names, escaped, strict=True)) + "}"
