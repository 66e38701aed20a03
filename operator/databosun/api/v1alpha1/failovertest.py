"""FailoverTest: prove on a schedule that the database fails over within the objectives, and count what that loses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from databosun.api.failover import FailbackWhen, FailoverMode
from databosun.api.failoverprobe import PathKind
from databosun.api.injection import InjectedFault
from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.database import CredentialsRef, Host
from databosun.api.v1alpha1.databasestatus import PolicyCursor
from databosun.api.v1alpha1.fields import (
    Cron,
    Duration,
    Identifier,
    PositiveDuration,
    Quantity,
    ShortName,
    Time,
    TimeZone,
)
from databosun.api.v1alpha1.schema import cel, matches, one_each, rules

_TABLE = r"^[a-z_][a-z0-9_]*$"


class FailoverSchedule(Model):
    """When tests run."""

    cron: Cron = Field(description="When, in five fields: minute, hour, day of month, month, day of week.")
    time_zone: TimeZone = Field(default="UTC", description="Time zone of cron, such as Europe/Berlin.")


class FailoverWindow(Model):
    """A span of time in which the primary may be moved."""

    cron: Cron = Field(description="When it opens, in five fields.")
    duration: PositiveDuration = Field(description="How long it stays open, such as 2h; at most 7d.")
    time_zone: TimeZone = Field(default="UTC", description="Time zone of cron, such as Europe/Berlin.")


class FailoverApproval(Model):
    """Whether a person must agree to each plan."""

    required: bool = Field(
        default=False,
        description="Wait for an Approval of the plan before anything is moved. In environment Production that is"
        " always so, whatever stands here.",
    )


class FailoverGuards(Model):
    """What must hold, at the start and again right before anything is moved; else the test is refused."""

    min_healthy_replicas: Annotated[int, Field(ge=0, le=31)] = Field(
        default=1,
        description="Replicas that run and follow the primary, the candidate among them. 0, with FaultInjection only: a"
        " primary that has none may be struck, too.",
    )
    max_lag_bytes: Quantity = Field(default="16Mi", description="How far the candidate may lie behind, in bytes.")
    max_lag: PositiveDuration = Field(default="10s", description="How far the candidate may lie behind, in time.")
    require_recent_backup: Duration = Field(
        default="24h", description="Greatest age of the newest successful backup. 0s: none is asked for."
    )
    require_proven_backup: Duration = Field(
        default="100d",
        description="Greatest age of the newest drill that proved a backup of this database. 0s: none is asked for.",
    )


class FailoverPath(Model):
    """A way that clients take to the database."""

    name: ShortName = Field(description="Its name in results, such as pooler.")
    host: Host = Field(description="Host name or address.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(description="TCP port.")
    kind: PathKind = Field(
        default=PathKind.SERVICE,
        description="Service: a session stays with the server that it met (a Service, a TCP proxy, a node). Pooler:"
        " each write may be sent to another server, as by PgBouncer; PostgreSQL only, where each write asks who took"
        " it.",
    )


class FailoverProbe(Model):
    """The writers that show what clients see. Their load stays below a hundredth of what the server was measured to
    take."""

    writes_per_second: Annotated[int, Field(ge=1, le=200)] = Field(
        default=20,
        description="Writes per second of each writer, at most. All of them together write no more than 1 % of what the"
        " database answers in a short sample: the first 20 writes of each.",
    )
    clients: Annotated[int, Field(ge=1, le=16)] = Field(default=4, description="Writers on each path.")
    table: Annotated[
        str,
        Field(min_length=1, max_length=48, pattern=_TABLE),
        matches(_TABLE, "a plain name (lower case letters, digits and _)"),
    ] = Field(
        default="databosun_probe",
        description="What the names of the probe's table begin with; of its keys in Redis. It is removed at the end.",
    )
    credentials_secret_ref: CredentialsRef | None = Field(
        default=None,
        description="Secret that the writers log in with. They may create and drop the probe's table, and must not be"
        " allowed to write to a server that is set to read only. Absent: the Database's own login.",
    )
    paths: Annotated[list[FailoverPath], Field(max_length=4), one_each("name")] = Field(
        default_factory=list,
        description="Further ways to the database, such as a pooler. The one of the Database's connection, named"
        " service, is always tried; so each path is named otherwise. Each has its own writers, and is held to"
        " objectives.writeDowntime.",
    )


class FailoverObjectives(Model):
    """What a test is measured against."""

    write_downtime: PositiveDuration = Field(
        default="60s", description="Longest time without a write that was acknowledged."
    )
    lost_writes: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Most writes that were acknowledged and are not there afterwards."
    )
    rejoin: PositiveDuration = Field(
        default="10m", description="Longest time until the old primary follows the new one."
    )


class FailoverAbort(Model):
    """When a test is given up on the way, and put in order."""

    when_downtime_exceeds: PositiveDuration = Field(
        default="3m", description="No write was acknowledged for this long."
    )


class FailoverEvidenceKept(Model):
    """Where the evidence and the ledger of writes go, and for how long nobody can delete them."""

    storage_ref: LocalRef = Field(description="The BackupStorage that takes them.")
    retention: PositiveDuration | None = Field(
        default=None,
        description="How long each record is locked; the storage needs immutability. Absent: as long as the storage"
        " locks backups.",
    )


class FailoverHistory(Model):
    """How many finished runs are kept. Their evidence stays in the store."""

    passed: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="Runs that passed.")
    others: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="Runs that ended otherwise.")


class FailoverTestSpec(Model):
    """What a user wants proven."""

    model_config = rules(
        cel(
            "(self.mode == 'FaultInjection') == has(self.fault)",
            "fault is required by mode FaultInjection, and for that mode only",
        ),
        cel(
            "self.mode == 'FaultInjection' || !has(self.guards) || !has(self.guards.minHealthyReplicas)"
            " || self.guards.minHealthyReplicas > 0",
            "guards.minHealthyReplicas 0 is for mode FaultInjection only",
        ),
    )
    database_ref: LocalRef = Field(
        description="The Database that is to fail over. Its spec.replication says what decides over its primary."
    )
    mode: FailoverMode = Field(
        default=FailoverMode.PLANNED_SWITCHOVER,
        description="PlannedSwitchover: the primary hands over, and nothing may be lost. ForcedFailover: the provider"
        " is made to promote a replica as if the primary were gone; what that costs is counted. FaultInjection: the"
        " fault is done to the primary's pod, and it is looked who takes writes, and since when.",
    )
    fault: InjectedFault | None = Field(default=None, description="What is done to the primary's pod.")
    schedule: FailoverSchedule | None = Field(
        default=None, description="When. Absent: on demand only (kubectl bosun failover NAME)."
    )
    windows: Annotated[list[FailoverWindow], Field(max_length=16), one_each("cron", "timeZone")] = Field(
        default_factory=list,
        description="When the primary may be moved. A run waits for one to open, and is refused where none does in"
        " time. Empty: at any time.",
    )
    cooldown: Duration = Field(
        default="24h",
        description="No test moves this database's primary again before so much time has passed since one did.",
    )
    approval: FailoverApproval = Field(
        default_factory=FailoverApproval, description="Whether a person must agree to each plan."
    )
    wait_for: PositiveDuration = Field(
        default="24h",
        description="How long a plan waits for its Approval, for a window, for the end of the cooldown and of other"
        " runs; then the test is refused. At most 7d.",
    )
    guards: FailoverGuards = Field(
        default_factory=FailoverGuards, description="What must hold before anything is moved."
    )
    probe: FailoverProbe = Field(default_factory=FailoverProbe, description="How the writers write.")
    objectives: FailoverObjectives = Field(
        default_factory=FailoverObjectives, description="What a test is measured against."
    )
    abort: FailoverAbort = Field(default_factory=FailoverAbort, description="When a test is given up on the way.")
    failback: FailbackWhen = Field(
        default=FailbackWhen.NEVER,
        description="WhenRejoined: after a test that passed, the primary is moved back to where it was by a planned"
        " switch, under the same guards; the plan and its hash say so. For providers Patroni, MariaDBReplication,"
        " MySQLReplication, Sentinel and RedisCluster.",
    )
    evidence: FailoverEvidenceKept = Field(description="Where the evidence and the ledger of writes go.")
    credentials_secret_ref: LocalRef | None = Field(
        default=None,
        description="Secret of who may move the primary: keys username and password, for the nodes and the provider"
        " (Patroni's REST API); where they differ also replicationUsername and replicationPassword (MariaDB: what the"
        " old primary follows the new one with), sentinelUsername and sentinelPassword. Absent: the Database's own"
        " login.",
    )
    suspend: bool = Field(default=False, description="Start no new run; running ones go on.")
    starting_deadline: PositiveDuration = Field(
        default="6h", description="A slot that could not be started for this long is missed, not run."
    )
    start_deadline: PositiveDuration = Field(default="10m", description="How long a Job may wait for its pod to start.")
    deadline: PositiveDuration = Field(default="1h", description="How long one Job of a test may take.")
    history_limits: FailoverHistory = Field(
        default_factory=FailoverHistory, description="How many finished runs are kept."
    )
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the Jobs' pods.")


class FailoverCounts(Model):
    """Finished runs that are still kept, by verdict."""

    passed: int = Field(default=0, description="It failed over, within the objectives.")
    failed: int = Field(default=0, description="It did not, or not within the objectives.")
    refused: int = Field(default=0, description="A guard did not hold, or nobody agreed: nothing was moved.")
    aborted: int = Field(default=0, description="Given up on the way, and put in order.")
    inconclusive: int = Field(default=0, description="What was measured proves neither.")


class LastFailover(Model):
    """The newest run that ended."""

    name: Identifier = Field(description="Name of the run.")
    phase: Identifier = Field(description="Its verdict.")
    at: Time = Field(description="When it was created.")


class FailoverTestStatus(Model):
    """How a test fares; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(
        default_factory=list, description="Ready, Reconciling, Stalled, LastRunSucceeded, ScheduleHealthy."
    )
    runs: FailoverCounts | None = Field(default=None, description="Finished runs that are still kept, by verdict.")
    last_run: LastFailover | None = Field(default=None, description="The newest run that ended.")
    last_passed_time: Time | None = Field(default=None, description="When the newest run that passed was created.")
    cursor: PolicyCursor | None = Field(default=None, description="How far the schedule has come.")
    next_schedule_time: Time | None = Field(default=None, description="The next slot.")
    run_now_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/run-now that was seen."
    )
