"""FailoverTestRun: one failover test. A record, never edited."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.failover import FailbackWhen, FailoverMode, FailoverStep
from databosun.api.injection import InjectedFault
from databosun.api.v1alpha1.common import LocalRef, Model
from databosun.api.v1alpha1.failoverseen import (
    ClientResult,
    FailbackResult,
    FailoverMeasurement,
    InstanceResult,
    PathResult,
)
from databosun.api.v1alpha1.fields import Identifier, Instant, Line, Message, ShortName, Time, first, last
from databosun.api.v1alpha1.proving import StoredRecord
from databosun.api.v1alpha1.run import Attempt, Failure, NotAfter, Progress, RunStatus, ScheduledFor, record
from databosun.api.v1alpha1.schema import UNIQUE, WHOLE, one_each, rules

MEMBERS = 32
EVENTS = 100
CLIENTS = 32
PATHS = 8
GUARDS = 32


class FailoverPhase(StrEnum):
    """Where a test stands."""

    PENDING = "Pending"
    PLANNING = "Planning"
    AWAITING_APPROVAL = "AwaitingApproval"
    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"
    REFUSED = "Refused"
    ABORTED = "Aborted"
    INCONCLUSIVE = "Inconclusive"


FAILOVER_FINAL = frozenset(FailoverPhase) - {
    FailoverPhase.PENDING,
    FailoverPhase.PLANNING,
    FailoverPhase.AWAITING_APPROVAL,
    FailoverPhase.RUNNING,
}


class FailoverTestRunSpec(Model):
    """Which test is carried out, on which database; immutable."""

    model_config = rules(
        *record("FailoverTestRun"),
    )
    test_ref: LocalRef = Field(description="The FailoverTest that says how.")
    database_ref: LocalRef = Field(description="The Database; that of the test.")
    schedule: ShortName | None = Field(default=None, description="The test's schedule that asked for it.")
    scheduled_for: ScheduledFor = None
    not_after: NotAfter = None


class PlannedFailover(Model):
    """What is to be moved; an Approval names its hash."""

    provider: Identifier = Field(description="What decides over the primary.")
    mode: FailoverMode = Field(description="How the primary is made to move.")
    primary: Identifier = Field(description="The node that is primary now.")
    fault: InjectedFault | None = Field(default=None, description="FaultInjection: what is done to the primary's pod.")
    candidate: Identifier = Field(
        description="The node that is to take over. FaultInjection: one that could; who does is not Databosun's to say."
    )
    members: Annotated[list[Identifier], Field(max_length=MEMBERS), UNIQUE] = Field(description="All nodes.")
    shard: Line | None = Field(
        default=None, description="RedisCluster: the slots of the shard whose primary it is. All nodes are those of it."
    )
    failback: FailbackWhen = Field(
        default=FailbackWhen.NEVER,
        description="WhenRejoined: the primary is moved back by a planned switch, where the test passed.",
    )
    hash: Identifier = Field(
        description="Of all the above and this run. Where anything else is found right before the switch, it is"
        " refused."
    )
    at: Time = Field(description="When it was made.")
    approval_needed: bool = Field(default=False, description="Whether it waits for an Approval.")
    until: Time = Field(description="Until when it waits for all that it needs; then the test is refused.")
    approval: Identifier | None = Field(default=None, description="The Approval that it goes ahead by.")


class NodeSeen(Model):
    """One node, as it was found."""

    name: Identifier = Field(description="Its name, the provider's own.")
    role: Identifier = Field(description="Primary, Replica or Unknown.")
    healthy: bool = Field(description="It runs, and, a replica, it follows the primary.")
    lag_bytes: int | None = Field(default=None, description="How far it lay behind, in bytes.")
    lag_milliseconds: int | None = Field(default=None, description="How far it lay behind, in time.")
    position: Line | None = Field(default=None, description="How far it had come.")
    synchronous: bool = Field(default=False, description="Whether the primary waited for it.")
    problems: Annotated[list[Line], Field(max_length=16), WHOLE, first(16)] = Field(
        default_factory=list, description="Why it could not take over."
    )


class TopologySeen(Model):
    """All nodes, as they were found."""

    at: Time = Field(description="When they were looked at.")
    primary: Identifier | None = Field(default=None, description="The primary; absent where there was not exactly one.")
    synchronous: Line | None = Field(default=None, description="The mode of replication, in the engine's own words.")
    fencing: Line | None = Field(
        default=None, description="What keeps an old primary from taking writes. Absent: nothing that could be found."
    )
    members: Annotated[list[NodeSeen], Field(max_length=MEMBERS), one_each("name"), first(MEMBERS)] = Field(
        description="The nodes."
    )


class GuardSeen(Model):
    """One condition that must hold before anything is moved."""

    name: Identifier = Field(description="Which: a field of spec.guards of the test, or a word of its own.")
    ok: bool = Field(description="Whether it held.")
    observed: Line = Field(description="What was found.")
    limit: Line = Field(description="What was expected.")
    message: Line | None = Field(default=None, description="Where it did not hold: what to do.")


class FailoverEvent(Model):
    """One thing that happened."""

    at: Instant = Field(description="When it happened.")
    event: Line = Field(description="What, in one CamelCase word.")
    node: Line | None = Field(default=None, description="The node that it is about.")
    note: Line | None = Field(default=None, description="The rest, for people.")


class FailoverTestRunStatus(RunStatus):
    """What a test found; written by the operator alone."""

    phase: FailoverPhase | None = Field(
        default=None,
        description="Where it stands. Planning: looking, and changing nothing. Passed: it failed over within the"
        " objectives. Failed: it did not. Refused: a guard did not hold or nobody agreed, and nothing was moved."
        " Aborted: given up on the way, and put in order. Inconclusive: what was measured proves neither.",
    )
    attempts: Annotated[list[Attempt], Field(max_length=50), one_each("number"), last(50)] = Field(
        default_factory=list, description="The Jobs of the test: looks, the switch, what put in order."
    )
    progress: Progress | None = Field(default=None, description="How far the running attempt has come, and its stage.")
    plan: PlannedFailover | None = Field(default=None, description="What is to be moved.")
    step: FailoverStep | None = Field(
        default=None,
        description="What the attempts from stepSince on do. Discover: look. Switch: move the primary; there is never a"
        " second one. Settle: put in order what that one may have left.",
    )
    step_since: int | None = Field(default=None, description="The first attempt of this step.")
    step_at: Time | None = Field(default=None, description="When the step was decided on.")
    moved_at: Time | None = Field(
        default=None,
        description="When the switch was ordered; where its Job was lost, when another primary was found, or nobody "
        "could look. Absent: nothing was moved.",
    )
    topology_before: TopologySeen | None = Field(default=None, description="The nodes before anything was moved.")
    topology_after: TopologySeen | None = Field(default=None, description="The nodes at the end.")
    guards: Annotated[list[GuardSeen], Field(max_length=GUARDS), one_each("name"), first(GUARDS)] | None = Field(
        default=None, description="What had to hold, as it was found last."
    )
    timeline: Annotated[list[FailoverEvent], Field(max_length=EVENTS), WHOLE, last(EVENTS)] | None = Field(
        default=None, description="What happened when; the last 100."
    )
    result: FailoverMeasurement | None = Field(default=None, description="What the ledger of writes says.")
    clients: Annotated[list[ClientResult], Field(max_length=CLIENTS), one_each("name"), first(CLIENTS)] | None = Field(
        default=None, description="What each writer saw."
    )
    paths: Annotated[list[PathResult], Field(max_length=PATHS), one_each("name"), first(PATHS)] | None = Field(
        default=None, description="What the writers of each path saw: service, and those of spec.probe.paths."
    )
    instances: Annotated[list[InstanceResult], Field(max_length=MEMBERS), one_each("name"), first(MEMBERS)] | None = (
        Field(default=None, description="What each node said that was asked past every Service and pooler.")
    )
    failback: FailbackResult | None = Field(
        default=None, description="The move back. Absent: none was asked for, or the test did not pass."
    )
    evidence: StoredRecord | None = Field(default=None, description="The evidence in the store, the ledger beside it.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=16), WHOLE, first(16)] | None = Field(
        default=None, description="What else was found."
    )
    failure: Failure | None = Field(default=None, description="Why it did not pass and what to do about it.")
