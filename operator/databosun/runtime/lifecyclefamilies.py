"""The metrics of LifecyclePolicies."""

from __future__ import annotations

from typing import Final

from databosun.runtime.families import Family

_LIFECYCLE = ("namespace", "lifecycle")
_RULE = ("namespace", "lifecycle", "rule")


LIFECYCLE_REMAINING: Final = Family(
    "databosun_lifecycle_remaining_rows", "gauge", "Rows that the rule may take and has not, when last counted.", _RULE
)
LIFECYCLE_OLDEST: Final = Family(
    "databosun_lifecycle_oldest_eligible_timestamp_seconds",
    "gauge",
    "What the age of the oldest of them is read from. No series where none is left.",
    _RULE,
)
LIFECYCLE_RATE: Final = Family(
    "databosun_lifecycle_rate_rows_per_day",
    "gauge",
    "Rows that enforced runs take in a day, as the newest one did. No series before the first one.",
    _RULE,
)
LIFECYCLE_INFLOW: Final = Family(
    "databosun_lifecycle_inflow_rows_per_day", "gauge", "Rows that become old enough in a day.", _RULE
)
LIFECYCLE_PROCESSED: Final = Family(
    "databosun_lifecycle_processed_rows_total",
    "counter",
    "Rows that enforced runs deleted or anonymised, as the status counts them.",
    _RULE,
)
LIFECYCLE_HELD: Final = Family("databosun_lifecycle_held_rows", "gauge", "Rows that only a legal hold keeps.", _RULE)
LIFECYCLE_BEHIND: Final = Family(
    "databosun_lifecycle_falling_behind",
    "gauge",
    "1 where the condition FallingBehind is True: more rows become old enough than go. Else 0.",
    _LIFECYCLE,
)
LIFECYCLE_APPROVED: Final = Family(
    "databosun_lifecycle_approved",
    "gauge",
    "1 where an Approval carries enforced runs, 0 where the policy is to enforce and none does. No series in mode "
    "DryRun.",
    _LIFECYCLE,
)
LIFECYCLE_ENFORCED: Final = Family(
    "databosun_lifecycle_last_enforced_timestamp_seconds",
    "gauge",
    "When the newest enforced run ended well. No series in mode DryRun; 0 while there is none.",
    _LIFECYCLE,
)

OF_LIFECYCLES: Final = (
    LIFECYCLE_REMAINING,
    LIFECYCLE_OLDEST,
    LIFECYCLE_RATE,
    LIFECYCLE_INFLOW,
    LIFECYCLE_PROCESSED,
    LIFECYCLE_HELD,
    LIFECYCLE_BEHIND,
    LIFECYCLE_APPROVED,
    LIFECYCLE_ENFORCED,
)
