"""What a metric is, and those of the operator itself, declared once: name, meaning, labels. Those of objects stand in
`objectfamilies.py`, joined from lists by kind; `docs/reference/metrics.md` is made from both.

Labels are bounded: by the number of objects of our kinds, or by a set known in advance. What is said of an object comes
from its status alone, so the first scrape after a restart is as right as any, and a series ends with its object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric. `meaning` is its help text; buckets are for histograms."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


RUNS: Final = Family(
    "databosun_runs_total",
    "counter",
    "Runs that reached their verdict since this process started.",
    ("kind", "outcome", "reason"),
)
BACKUP_DURATION: Final = Family(
    "databosun_backup_duration_seconds",
    "histogram",
    "From the start of a successful backup to its end.",
    ("engine", "type", "method"),
    (10, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400),
)
RECONCILES: Final = Family(
    "databosun_reconcile_total", "counter", "Reconciles, by how they ended.", ("kind", "outcome")
)
RECONCILE_SECONDS: Final = Family(
    "databosun_reconcile_seconds",
    "histogram",
    "How long a reconcile took.",
    ("kind",),
    (0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)
PANICS: Final = Family(
    "databosun_reconcile_panics_total",
    "counter",
    "Reconciles that ended in an error nobody foresaw: a fault of the operator, with its stack in the log.",
    ("kind",),
)
QUEUE_DEPTH: Final = Family("databosun_queue_depth", "gauge", "Objects that wait for a worker.")
QUEUE_RUNNING: Final = Family("databosun_queue_running", "gauge", "Objects being reconciled.")
QUEUE_LATENESS: Final = Family(
    "databosun_queue_lateness_seconds",
    "histogram",
    "From the instant for which a wake-up was set to the start of its reconcile.",
    (),
    (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
API_REQUESTS: Final = Family(
    "databosun_api_requests_total",
    "counter",
    "Requests to the API server, watches apart, by what came of them (ok, or the error).",
    ("verb", "resource", "outcome"),
)
API_SECONDS: Final = Family(
    "databosun_api_request_seconds",
    "histogram",
    "How long the API server took.",
    ("verb",),
    (0.005, 0.02, 0.1, 0.5, 2, 10, 60),
)
LEADER: Final = Family("databosun_leader", "gauge", "1 where this process holds the Lease and acts, 0 where it waits.")
BUILD_INFO: Final = Family("databosun_build_info", "gauge", "1; the labels say what is running.", ("version", "python"))

OF_THE_OPERATOR: Final = (
    RUNS,
    BACKUP_DURATION,
    RECONCILES,
    RECONCILE_SECONDS,
    PANICS,
    QUEUE_DEPTH,
    QUEUE_RUNNING,
    QUEUE_LATENESS,
    API_REQUESTS,
    API_SECONDS,
    LEADER,
    BUILD_INFO,
)
