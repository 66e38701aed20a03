"""What operator and agent tell each other of failover tests: what is found, planned and asked, and what came of it.

One Job looks (Discover), and changes nothing. Another one switches, writes and measures (Switch), and looks anew before
it moves anything. A third puts in order what a lost one may have left (Settle).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.failoverprobe import (
    MAX_CLIENTS_TOLD,
    MAX_INSTANCES,
    MAX_PATHS,
    ClientSeen,
    InstanceSeen,
    PathSeen,
    ProbeOrder,
)
from databosun.api.injection import InjectedFault
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant, Line, Message, first, last

MAX_MEMBERS = 32
MAX_EVENTS = 200


class FailoverMode(StrEnum):
    """How the primary is made to move."""

    PLANNED_SWITCHOVER = "PlannedSwitchover"
    FORCED_FAILOVER = "ForcedFailover"
    FAULT_INJECTION = "FaultInjection"


class FailbackWhen(StrEnum):
    """Whether the primary is moved back after a test that passed."""

    NEVER = "Never"
    WHEN_REJOINED = "WhenRejoined"


class FailoverStep(StrEnum):
    """What one Job of a test does."""

    DISCOVER = "Discover"
    SWITCH = "Switch"
    SETTLE = "Settle"


class FailoverStage(StrEnum):
    """How far a switching Job has come; stands in its progress lines."""

    GUARDING = "Guarding"
    BASELINE = "Baseline"
    SWITCHING = "Switching"
    OBSERVING = "Observing"
    REJOINING = "Rejoining"
    VERIFYING = "Verifying"
    FAILING_BACK = "FailingBack"


class FailoverVerdict(StrEnum):
    """Failed: it does not fail over as it should. Refused: a guard did not hold, nothing was moved. Aborted: stopped
    on the way, and put in order. Inconclusive: what was measured proves neither."""

    PASSED = "Passed"
    FAILED = "Failed"
    REFUSED = "Refused"
    ABORTED = "Aborted"
    INCONCLUSIVE = "Inconclusive"


class MemberRole(StrEnum):
    """What a node does just now, by its own word."""

    PRIMARY = "Primary"
    REPLICA = "Replica"
    UNKNOWN = "Unknown"


class Member(Model):
    """One node. `name` is the provider's own, and the same in every look."""

    name: Line
    host: Line
    port: int
    role: MemberRole
    healthy: bool = Field(description="It runs, and, a replica, it streams from the primary.")
    state: Line | None = Field(default=None, description="The provider's own word.")
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    position: Line | None = Field(default=None, description="LSN, GTID set, offset.")
    timeline: int | None = None
    synchronous: bool = Field(default=False, description="The primary waits for it.")
    promotable: bool = Field(default=False, description="A replica that could take over without losing anything.")
    problems: Annotated[list[Line], Field(max_length=16), first(16)] = Field(
        default_factory=list, description="Why it could not: errant transactions, tagged nofailover, stopped."
    )


class Topology(Model):
    """The whole of it at one instant. `primary`: None where none, or more than one, says that it is."""

    observed_at: Instant
    provider: Line
    primary: Line | None = None
    members: Annotated[list[Member], Field(max_length=MAX_MEMBERS)]
    synchronous: Line | None = Field(default=None, description="The mode of replication, in the engine's own words.")
    fencing: Line | None = Field(
        default=None, description="What keeps an old primary from taking writes (watchdog, min-replicas-to-write)."
    )
    shard: Line | None = Field(
        default=None, description="Where it is one of several that share the data: what it holds, such as slots 0-5460."
    )
    notes: Annotated[list[Line], Field(max_length=16), first(16)] = Field(default_factory=list)


class FailoverPlan(Model):
    """What is to be moved. The hash is over all other fields and the run's uid (`domain/failoverplan.py`)."""

    provider: Line
    mode: FailoverMode
    primary: Line
    candidate: Line
    members: Annotated[list[Line], Field(max_length=MAX_MEMBERS)] = Field(description="Sorted.")
    fault: InjectedFault | None = Field(default=None, description="FaultInjection: what is done to the primary.")
    shard: Line | None = Field(default=None, description="Where there are several: which one is moved.")
    failback: FailbackWhen = Field(
        default=FailbackWhen.NEVER, description="Whether the primary is moved back, where the test passed."
    )
    hash: Line


class GuardResult(Model):
    """One condition that must hold before anything is moved."""

    name: Line = Field(description="Its field of spec.guards, or a word of its own.")
    ok: bool
    observed: Line
    limit: Line
    message: Line | None = Field(default=None, description="Where it does not hold: what to do.")


class TimelineEvent(Model):
    """One thing that happened."""

    at: Instant
    event: Line = Field(description="CamelCase: WritesBegan, SwitchOrdered, PrimaryChanged, FirstSuccess, Rejoined …")
    node: Line | None = None
    note: Line | None = None


class FailoverMeasured(Model):
    """What the ledger says. Unknown outcomes never count as lost."""

    write_downtime_seconds: float | None = None
    read_downtime_seconds: float | None = None
    promotion_seconds: float | None = Field(default=None, description="From the order until the candidate was primary.")
    recovered_seconds: float | None = Field(
        default=None,
        description="FaultInjection: nobody was promoted; from the order until the same primary took writes again.",
    )
    rejoin_seconds: float | None = Field(
        default=None, description="From the order until the old primary followed; None where it did not in time."
    )
    acknowledged: int = 0
    lost: int = Field(default=0, description="Acknowledged, and not there after the promotion.")
    unknown: int = Field(default=0, description="Neither acknowledged nor refused.")
    phantom: int = Field(default=0, description="Refused, and there all the same.")
    reappeared: int = Field(default=0, description="Of the lost ones, those that were there again after the rejoin.")
    unexplained: int = Field(default=0, description="Rows that no client wrote.")
    resumed: bool = Field(default=True, description="Whether writes went on before the end of the test.")
    rejoin_lost: int = Field(default=0, description="There after the promotion, gone after the rejoin.")
    split_brain: Annotated[list[Line], Field(max_length=16), first(16)] = Field(
        default_factory=list, description="Each proof that two nodes took writes, or could have; empty: none."
    )


class ProviderMember(Model):
    """A member that the provider names, and where it is just now."""

    name: str
    host: str


class ProviderTarget(Model):
    """What decides which node is the primary. `members`: CloudNativePG, as the operator found them."""

    provider: str
    endpoints: list[str] = Field(default_factory=list, max_length=16)
    master_name: str | None = None
    members: list[ProviderMember] = Field(default_factory=list, max_length=MAX_MEMBERS)


class GuardLimits(Model):
    """What must hold, as the agent can see it; the rest is the operator's to look at."""

    min_healthy_replicas: int = 1
    max_lag_bytes: int | None = None
    max_lag_seconds: float | None = None
    candidate_consistent: bool = True


class ActAsked(Model):
    """What an agent asks of the operator in the midst of a run, as its log line `act`: to do to the primary what the
    plan says."""

    plan_hash: Line
    member: Line
    host: Line = Field(description="Its address, as the provider has it: a pod that has another is another one.")
    not_after: Instant = Field(description="It is not done later than that: nobody waits for it any more.")


class ActAnswer(Model):
    """What the operator did, in an annotation of the agent's pod. Neither done nor uncertain: nothing was, and nothing
    will be."""

    plan_hash: Line
    done: bool
    message: Message
    uncertain: bool = Field(default=False, description="It may have been done, and will not be any more.")
    guard: GuardResult | None = Field(default=None, description="Not done: the guard that did not hold, if it was one.")


class FailoverTask(Model):
    """Test a failover, or one step of it. Secrets: `database`: the writers' login; `failover`: who moves it."""

    task: Literal["failover"] = "failover"
    id: str = Field(description="The run's name.")
    uid: str = Field(description="The run's uid: what is made at the database is named after it.")
    step: FailoverStep
    mode: FailoverMode
    fault: InjectedFault | None = Field(default=None, description="Of mode FaultInjection.")
    provider: ProviderTarget
    plan: FailoverPlan | None = Field(
        default=None, description="Switch, Settle: what was planned. Anything else that is found is refused."
    )
    failback: FailbackWhen = FailbackWhen.NEVER
    guards: GuardLimits = Field(default_factory=GuardLimits)
    probe: ProbeOrder = Field(default_factory=ProbeOrder)
    write_downtime_seconds: float = Field(default=60.0, description="Objective.")
    lost_writes: int = Field(default=0, description="Objective.")
    rejoin_seconds: float = Field(default=600.0, description="Objective, and how long is waited for it.")
    abort_seconds: float = Field(default=180.0, description="Without a write for that long it is aborted.")
    lock_seconds: int | None = Field(
        default=None, description="How long its evidence is locked. None: as long as the storage locks backups."
    )


class FailbackSeen(Model):
    """The move back, which only a test that passed is followed by. `verdict`: Refused where nothing was moved."""

    verdict: FailoverVerdict
    reason: str
    message: Message
    primary: str = Field(description="Who was primary before it.")
    candidate: str = Field(description="Who was to be primary again, or is.")
    ordered_at: Instant | None = None
    measured: FailoverMeasured | None = Field(default=None, description="Of the move back alone.")


class FailoverResult(Model):
    """What one Job found. `verdict` is None of a look that found nothing in the way; `settled`: nothing is left behind
    (no paused client, no primary that takes no writes, no probe table)."""

    id: str
    step: FailoverStep
    verdict: FailoverVerdict | None = None
    reason: str
    message: str
    plan_hash: str | None = Field(default=None, description="Of the plan that was carried out, or put in order.")
    primary: str | None = None
    candidate: str | None = Field(default=None, description="Whom the agent would promote, or did.")
    topology: Topology | None = Field(default=None, description="As found before anything was moved.")
    topology_after: Topology | None = None
    guards: list[GuardResult] = Field(default_factory=list, max_length=32)
    timeline: Annotated[list[TimelineEvent], Field(max_length=MAX_EVENTS), last(MAX_EVENTS)] = Field(
        default_factory=list
    )
    measured: FailoverMeasured | None = None
    clients: Annotated[list[ClientSeen], Field(max_length=MAX_CLIENTS_TOLD), first(MAX_CLIENTS_TOLD)] = Field(
        default_factory=list
    )
    paths: Annotated[list[PathSeen], Field(max_length=MAX_PATHS), first(MAX_PATHS)] = Field(default_factory=list)
    instances: Annotated[list[InstanceSeen], Field(max_length=MAX_INSTANCES), first(MAX_INSTANCES)] = Field(
        default_factory=list
    )
    failback: FailbackSeen | None = None
    settled: bool = True
    notes: Annotated[list[Message], Field(max_length=16), first(16)] = Field(default_factory=list)
    ordered_at: Instant | None = Field(default=None, description="When the switch was ordered; None: it was not.")
    completed_at: Instant | None = None
    evidence: str | None = Field(default=None, description="Where evidence.json is; the ledger lies beside it.")
    evidence_sha256: str | None = None
    ledger_sha256: str | None = None
