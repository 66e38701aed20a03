"""The record of one failover test. `ledger.jsonl.zst` beside it holds every write and what was read back."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from databosun.api.evidence import EvidenceSignature, MeasuredOn
from databosun.api.failover import FailbackWhen, FailoverPlan, FailoverResult, GuardLimits
from databosun.api.failoverprobe import ProbeOrder
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class FailoverAsked(Model):
    """What was asked of the test."""

    guards: GuardLimits
    probe: ProbeOrder
    write_downtime_seconds: float
    lost_writes: int
    rejoin_seconds: float
    abort_seconds: float
    failback: FailbackWhen = FailbackWhen.NEVER


class FailoverDatabase(Model):
    """Whose primary it is."""

    namespace: str
    name: str
    uid: str
    engine: str


class FailoverEvidence(Model):
    """The record. Times are UTC, durations seconds. Written once."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    kind: Literal["Failover"] = "Failover"
    run: str
    run_uid: str
    attempt: int
    cluster: str
    storage: str
    database: FailoverDatabase
    plan: FailoverPlan | None = None
    asked: FailoverAsked
    result: FailoverResult
    started_at: Instant
    completed_at: Instant
    measured_on: MeasuredOn
    databosun_version: str
    signature: EvidenceSignature | None = None
