"""The metrics of what proves it: RestoreDrills and FailoverTests."""

from __future__ import annotations

from typing import Final

from databosun.runtime.families import Family

_DRILL = ("namespace", "drill")
_FAILOVER = ("namespace", "test")

# --- Of each RestoreDrill ---

DRILL_DATABASES: Final = Family("databosun_drill_databases", "gauge", "Databases that the RestoreDrill covers.", _DRILL)
DRILL_PROVEN: Final = Family("databosun_drill_databases_proven", "gauge", "Those that are proven.", _DRILL)
DRILL_FAILING: Final = Family(
    "databosun_drill_databases_failing", "gauge", "Those whose newest run did not pass.", _DRILL
)
DRILL_BACKUPS: Final = Family(
    "databosun_drill_backups", "gauge", "Successful backups of the databases that the RestoreDrill covers.", _DRILL
)
DRILL_BACKUPS_DRILLED: Final = Family(
    "databosun_drill_backups_drilled", "gauge", "Those that a drill restored and proved.", _DRILL
)
DRILL_RTO_P95: Final = Family(
    "databosun_drill_rto_seconds",
    "gauge",
    "Nineteen of twenty restores took no longer, in the finished runs that are still kept. No series while there is "
    "none.",
    _DRILL,
)
JOINT_SECONDS: Final = Family(
    "databosun_drill_joint_seconds",
    "gauge",
    "How long it took until every database was back, in the newest run over all of them. No series where not all came "
    "back, or the RestoreDrill has no order.",
    _DRILL,
)
JOINT_TOO_SLOW: Final = Family(
    "databosun_drill_joint_too_slow",
    "gauge",
    "1 where that run brought a database back later than its own objective allows, counted from its start. Else 0.",
    _DRILL,
)
DRILL_RUNS: Final = Family(
    "databosun_drill_runs",
    "gauge",
    "Finished runs that are still kept, by verdict: passed, failed, partial, refused (something was missing), error.",
    (*_DRILL, "verdict"),
)

# --- Of a FailoverTest ---

FAILOVER_FAILED: Final = Family(
    "databosun_failover_test_failed",
    "gauge",
    "1 where the newest run ended as Failed, Aborted or Inconclusive. A refused one moved nothing, and says nothing.",
    _FAILOVER,
)
FAILOVER_LAST_PASSED: Final = Family(
    "databosun_failover_test_last_passed_timestamp_seconds",
    "gauge",
    "When the newest run that passed was created; 0 where none has.",
    _FAILOVER,
)
FAILOVER_RUNS: Final = Family(
    "databosun_failover_test_runs",
    "gauge",
    "Finished runs that are still kept, by verdict: passed, failed, refused (nothing moved), aborted, inconclusive.",
    (*_FAILOVER, "verdict"),
)

OF_PROVING: Final = (
    DRILL_DATABASES,
    DRILL_PROVEN,
    DRILL_FAILING,
    DRILL_BACKUPS,
    DRILL_BACKUPS_DRILLED,
    DRILL_RTO_P95,
    JOINT_SECONDS,
    JOINT_TOO_SLOW,
    DRILL_RUNS,
    FAILOVER_FAILED,
    FAILOVER_LAST_PASSED,
    FAILOVER_RUNS,
)
