"""RestoreDrill: prove on a schedule that backups restore, within the objectives."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.drill import Level
from databosun.api.v1alpha1.common import LabelSelector, LocalRef, Model, PodTemplate
from databosun.api.v1alpha1.conditions import Conditions
from databosun.api.v1alpha1.database import Objectives
from databosun.api.v1alpha1.databasestatus import DrillCursor
from databosun.api.v1alpha1.fields import Cron, Duration, Identifier, PositiveDuration, Time, TimeZone
from databosun.api.v1alpha1.proving import CopyCheck
from databosun.api.v1alpha1.schema import WHOLE, cel, one_each, rules


class SelectFrom(StrEnum):
    """Which backup a drill restores."""

    LATEST = "Latest"
    RANDOM = "Random"
    OLDEST = "Oldest"


class SelectPoint(StrEnum):
    """Which point a drill recovers to."""

    NONE = "None"
    LATEST = "Latest"
    RANDOM_IN_WINDOW = "RandomInWindow"


class Selection(Model):
    """Which backup is restored, and to which point; decided afresh in every run."""

    from_: SelectFrom = Field(
        default=SelectFrom.LATEST,
        alias="from",
        description="Latest: the newest backup. Random: any one, so that in time all are tried. Oldest: the oldest one"
        " that is kept.",
    )
    point_in_time: SelectPoint = Field(
        default=SelectPoint.NONE,
        description="None: the end of the backup, without the log. Latest: the end of the shipped log."
        " RandomInWindow: any instant between the backup and the newest one that can be restored.",
    )


class DrillSchedule(Model):
    """When drills run."""

    cron: Cron = Field(description="When, in five fields: minute, hour, day of month, month, day of week.")
    time_zone: TimeZone = Field(default="UTC", description="Time zone of cron, such as Europe/Berlin.")
    jitter: Duration = Field(
        default="0s",
        description="Spread: each drill starts up to this much after its slot, always the same for one database.",
    )


class DrillTrigger(Model):
    """What starts a drill beside the schedule."""

    every_n_backups: Annotated[int, Field(ge=1, le=10000)] | None = Field(
        default=None, description="Drill after so many successful backups since the last drill."
    )
    on_engine_upgrade: bool = Field(
        default=False, description="Drill the first backup of another major version of the server."
    )


class NegativeControl(Model):
    """Now and then a copy is damaged on purpose: a drill that does not notice is itself broken."""

    every_n_runs: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Every so many drills of one database, damage a copy beside the real one, and demand that it is"
        " noticed."
    )


class DrillGroup(Model):
    """Databases that are restored at once, before the next group."""

    database_selector: LabelSelector = Field(
        description="Labels of its databases, among those that the drill covers. One that an earlier group selects is"
        " left out."
    )


class EvidencePlace(Model):
    """Where evidence goes, and for how long nobody can delete it."""

    storage_ref: LocalRef | None = Field(
        default=None,
        description="The BackupStorage that takes the evidence, a bucket: such as one that nobody who backs up may"
        " write to. Absent: the one that holds the backup.",
    )
    retention: PositiveDuration | None = Field(
        default=None,
        description="How long each record is locked; the storage needs immutability. Absent: as long as the storage"
        " locks backups. Databosun deletes no evidence, ever.",
    )


class HistoryLimits(Model):
    """How many finished runs are kept for each database. Their evidence stays in the store."""

    passed: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="Runs that passed.")
    others: Annotated[int, Field(ge=1, le=100)] = Field(
        default=10, description="Runs that failed, were partial or refused, or ended in an error."
    )


class RestoreDrillSpec(Model):
    """What a user wants proven."""

    model_config = rules(
        cel(
            "(has(self.databaseRef) ? 1 : 0) + (has(self.policyRef) ? 1 : 0) + (has(self.databaseSelector) ? 1 : 0)"
            " == 1",
            "exactly one of databaseRef, policyRef and databaseSelector is required",
        ),
        cel("!has(self.order) || !has(self.databaseRef)", "order is for many databases: databaseRef has but one"),
        cel("!has(self.order) || !has(self.trigger)", "trigger is of one database: it cannot be combined with order"),
    )
    database_ref: LocalRef | None = Field(
        default=None, description="The Database whose backups are drilled. Exactly one of the three."
    )
    policy_ref: LocalRef | None = Field(
        default=None, description="Drill the backups of this BackupPolicy, of every Database that it covers."
    )
    database_selector: LabelSelector | None = Field(
        default=None, description="Drill the backups of every Database of the namespace with these labels."
    )
    order: Annotated[list[DrillGroup], Field(min_length=1, max_length=32), WHOLE] | None = Field(
        default=None,
        description="Drill all databases together, as after a disaster: one group after the other, what others depend"
        " on first, with one verdict for all and the time until the last was back. Those that no group selects come"
        " last.",
    )
    selection: Selection = Field(default_factory=Selection, description="Which backup, to which point.")
    schedule: DrillSchedule | None = Field(
        default=None,
        description="When. Absent: by the Database's tier, weekly for 1 and 2, monthly for 3, quarterly for 4, at four"
        " in the morning and spread over an hour.",
    )
    trigger: DrillTrigger | None = Field(default=None, description="What starts a drill beside the schedule.")
    max_instance_hours: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Ceiling of cost where a drill needs an instance of a cloud (RDS): how long an attempt may keep it."
        " Its deadline is shortened to that. Of no effect on drills that run in a pod of their own.",
    )
    level: Level = Field(
        default=Level.RESTORE,
        description="Artifact: digests and formats. Restore: it recovers and starts, tables are counted. Deep: and the"
        " engine finds no damage, contents are hashed. Application: and your own checks pass. Each includes those"
        " before it; only Restore and more prove a backup.",
    )
    checks: Annotated[list[CopyCheck], Field(max_length=32), one_each("name")] = Field(
        default_factory=list, description="Your own checks of the restored copy."
    )
    objectives: Objectives | None = Field(
        default=None, description="What the drill is measured against. Absent: the Database's own objectives."
    )
    negative_control: NegativeControl | None = Field(
        default=None, description="Damage a copy now and then, to see that drills notice."
    )
    evidence: EvidencePlace | None = Field(
        default=None, description="Where evidence goes. Absent: beside the backups, locked as they are."
    )
    suspend: bool = Field(default=False, description="Start no new run; running ones go on.")
    starting_deadline: PositiveDuration = Field(
        default="12h", description="A slot that could not be started for this long is missed, not run."
    )
    start_deadline: PositiveDuration = Field(default="30m", description="How long a Job may wait for its pod to start.")
    deadline: PositiveDuration = Field(default="6h", description="How long one attempt may take.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure that may pass and says nothing about the backup."
    )
    history_limits: HistoryLimits = Field(default_factory=HistoryLimits, description="How many finished runs are kept.")
    pod_template: PodTemplate | None = Field(
        default=None,
        description="What may be said about the drill Jobs' pods. Where scratch is absent, it is sized by the backup.",
    )


class DrilledDatabases(Model):
    """How many databases the drill covers, and how they fare."""

    matched: int = Field(description="Databases that the drill covers.")
    proven: int = Field(description="Those that are proven.")
    failing: int = Field(description="Those whose last run did not pass.")


class RunCounts(Model):
    """Finished runs that are still kept, by verdict."""

    passed: int = Field(default=0, description="The backup restored and every check passed.")
    failed: int = Field(default=0, description="The backup did not restore, or a critical check failed.")
    partial: int = Field(default=0, description="It restored, with findings that are no failures.")
    refused: int = Field(default=0, description="A precondition was missing: no backup, not enough scratch.")
    error: int = Field(default=0, description="Databosun or the cluster failed: nothing is said about the backup.")


class Coverage(Model):
    """How many of the backups were drilled, of all databases that the drill covers."""

    backups_total: int = Field(description="Successful backups that are kept.")
    backups_drilled: int = Field(description="Those that a drill restored and proved.")
    oldest_undrilled: Identifier | None = Field(default=None, description="The oldest one that none has.")
    oldest_undrilled_time: Time | None = Field(default=None, description="When that one was created.")


class Trend(Model):
    """How long restores took, in the finished runs that are still kept and measured it; of whole runs with order."""

    runs: int = Field(description="How many runs it is reckoned from.")
    rto_p50_seconds: int = Field(description="Half of them took no longer.")
    rto_p95_seconds: int = Field(description="Nineteen of twenty took no longer.")
    rto_p50: Identifier = Field(description="The same for people, such as 9m12s.")
    rto_p95: Identifier = Field(description="The same for people, such as 9m12s.")


class LastDrill(Model):
    """The newest run that ended."""

    name: Identifier = Field(description="Name of the run.")
    phase: Identifier = Field(description="Its verdict.")
    at: Time = Field(description="When it was created.")
    rto_seconds: int | None = Field(
        default=None, description="The time to restore that it measured; with order until all databases were back."
    )
    rto: Identifier | None = Field(default=None, description="The same for people, such as 9m12s.")
    rto_met: bool | None = Field(
        default=None, description="Whether it is within the objective; with order whether each was back in time."
    )


class RestoreDrillStatus(Model):
    """How a drill fares; written by the operator alone."""

    observed_generation: int | None = Field(
        default=None, description="Generation of the spec that this status is about."
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Ready, Reconciling, Stalled, LastRunSucceeded, ScheduleHealthy, Overdue, NegativeControlPassed.",
    )
    databases: DrilledDatabases | None = Field(
        default=None, description="How many databases the drill covers, and how they fare."
    )
    runs: RunCounts | None = Field(default=None, description="Finished runs that are still kept, by verdict.")
    coverage: Coverage | None = Field(
        default=None, description="How many of the backups were drilled, of all databases that the drill covers."
    )
    trend: Trend | None = Field(default=None, description="How long restores took.")
    last_run: LastDrill | None = Field(default=None, description="The newest run that ended.")
    cursor: DrillCursor | None = Field(
        default=None, description="With order: how far the drill's own schedule has come, for all its databases."
    )
    last_passed_time: Time | None = Field(default=None, description="When the newest run that passed was created.")
    next_schedule_time: Time | None = Field(default=None, description="The next slot of any database.")
    run_now_token: Identifier | None = Field(
        default=None, description="The last value of databosun.io/run-now that was seen."
    )
