"""Restore: bring a database back to a place, once: into a volume, or over a bridge into a running server."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from databosun.api.drill import Level
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.common import LocalRef, Model, PodTemplate, SecretKeyRef
from databosun.api.v1alpha1.fields import Identifier, Line, Message, PositiveDuration, Time, first
from databosun.api.v1alpha1.proving import ChosenBackup, CopyCheck, CopyCheckResult, StoredRecord, TargetPoint
from databosun.api.v1alpha1.restoretarget import TARGET_NAME, RestoreTarget
from databosun.api.v1alpha1.run import Failure, Progress, RunStatus
from databosun.api.v1alpha1.schema import UNIQUE, WHOLE, cel, matches, one_each, rules
from databosun.api.v1alpha1.transition import Thaw

_LSN = r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$"
_OF_MARIADB = r"(0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})-[1-9][0-9]{0,19}"
_OF_MYSQL = (
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}((:[a-z_][a-z0-9_]{0,31})?:[1-9][0-9]{0,18}(-[1-9][0-9]{0,18})?)+"
)
_GTID = f"^({_OF_MARIADB}|{_OF_MYSQL}(,{_OF_MYSQL})*)$"


class RestorePhase(StrEnum):
    """Where a restore stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    STAGED = "Staged"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    REFUSED = "Refused"


RESTORE_FINAL = frozenset(RestorePhase) - {RestorePhase.PENDING, RestorePhase.RUNNING, RestorePhase.STAGED}


class RestoreFrom(Model):
    """What is restored."""

    model_config = rules(
        cel("has(self.backupRef) != has(self.databaseRef)", "exactly one of backupRef and databaseRef is required")
    )
    backup_ref: LocalRef | None = Field(
        default=None, description="This very Backup. Exactly one of backupRef and databaseRef."
    )
    database_ref: LocalRef | None = Field(
        default=None,
        description="The newest Backup of this Database that reaches back to the wanted point and whose artefacts"
        " verify.",
    )


class Selection(Model):
    """What of a backup is restored."""

    model_config = rules(
        cel(
            "!has(self.tables) || self.databases.size() == 1",
            "tables needs databases with the one database that they are in",
        )
    )
    databases: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=63)]], Field(min_length=1, max_length=64), UNIQUE
    ] = Field(description="These databases of the server. Absent selection: all that are no templates.")
    tables: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=64), UNIQUE]
        | None
    ) = Field(
        default=None,
        description="These tables of that database, such as public.orders. One that is gone comes back under its name;"
        " one that is there stays, and its restored form is put beside it in schema <schema>_restore_<id>, unless"
        " overwrite is Replace.",
    )


class Notify(Model):
    """Who is told how it ended."""

    url_secret_ref: SecretKeyRef = Field(
        description="Secret key with an http or https URL that the outcome is posted to as JSON, once an attempt has"
        " ended. That it cannot be told is noted, and fails nothing."
    )


class RestoreSpec(Model):
    """What is to be restored, and where to; immutable."""

    model_config = rules(
        cel("self == oldSelf", "a Restore runs once: its spec cannot be changed; create another one"),
        cel(
            "(has(self.pointInTime) ? 1 : 0) + (has(self.lsn) ? 1 : 0) + (has(self.restorePoint) ? 1 : 0)"
            " + (has(self.gtid) ? 1 : 0) + (has(self.until) ? 1 : 0) <= 1",
            "at most one of pointInTime, lsn, restorePoint, gtid and until can be given",
        ),
        cel(
            f"self.overwrite != 'Replace' || (has(self.confirm) && self.confirm == {TARGET_NAME})",
            "overwrite: Replace needs confirm with the name of the target: of the claim, the Database, or the host",
        ),
        cel(
            "!has(self.target.volume) || !has(self.selection)",
            "selection needs a running server as its target: a data directory always holds the whole server",
        ),
        cel(
            "!has(self.target.volume) || !self.stageFirst",
            "stageFirst needs a running server as its target: what is restored into a volume is in nobody's way",
        ),
    )
    from_: RestoreFrom = Field(alias="from", description="What is restored.")
    point_in_time: Time | None = Field(default=None, description="Restore to this instant; needs the shipped log.")
    lsn: (
        Annotated[str, Field(max_length=17, pattern=_LSN), matches(_LSN, "a log sequence number such as 0/3000148")]
        | None
    ) = Field(
        default=None,
        description="Restore to this position of the log; of MariaDB and MySQL file and offset in hexadecimal, as"
        " C/1267.",
    )
    restore_point: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="PostgreSQL: restore to this named restore point."
    )
    gtid: (
        Annotated[
            str,
            Field(max_length=1024, pattern=_GTID),
            matches(_GTID, "one transaction of MariaDB, such as 0-1-4711, or a set of MySQL's, such as UUID:1-4711"),
        ]
        | None
    ) = Field(
        default=None,
        description="MariaDB: restore up to this transaction, which is the last that is in the copy. MySQL: up to the"
        " transaction with which the copy has all of this set; UUID:4711 is a set of one.",
    )
    until: Literal["EndOfBackup", "Latest"] | None = Field(
        default=None,
        description="EndOfBackup: what the backup holds, without the log. Latest: all that the shipped log holds."
        " Absent, and no other point given: Latest where the log is shipped, else EndOfBackup.",
    )
    selection: Selection | None = Field(default=None, description="What of it. Absent: the whole server.")
    target: RestoreTarget = Field(description="Where it is restored to.")
    overwrite: Literal["Refuse", "Replace"] = Field(
        default="Refuse",
        description="Refuse: nothing that is there is touched. Replace: what is there is put aside under another name"
        " (data.before-<restore>, <database>_before_<id>), never deleted.",
    )
    confirm: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        description="The name of the target once more (of the claim, the Database, or the host); with overwrite:"
        " Replace.",
    )
    erasures: Literal["Replay", "Skip"] = Field(
        default="Replay",
        description="People who were erased (ErasureRequest) since the backup was taken. Replay: they are erased again"
        " before anything is put in place. Skip: they come back, and the status says so.",
    )
    thaw: Thaw | None = Field(
        default=None,
        description="Where volumes of the backup lie in an archive class of the bucket: have them thawed, and wait."
        " Absent: such a restore is refused (ObjectArchived).",
    )
    not_after: Time = Field(
        description="The restore does not start after this (at most a day ahead), so that one that is re-applied from"
        " Git or came back with a cluster's backup starts nothing."
    )
    stage_first: bool = Field(
        default=False,
        description="Restore into databases <database>_restore_<id> of the target and check them, then wait for an"
        " Approval before anything takes its place (kubectl bosun restore --promote NAME).",
    )
    stage_for: PositiveDuration = Field(
        default="24h",
        description="How long to wait for it; then what was staged is removed, and the restore is over. At most 7d.",
    )
    notify: Notify | None = Field(default=None, description="Who is told how it ended.")
    reindex: bool = Field(
        default=False, description="Rebuild indexes where the image sorts texts otherwise than the original did."
    )
    level: Level = Field(
        default=Level.RESTORE,
        description="How deep the restored copy is checked before it is handed over, as in a drill.",
    )
    checks: Annotated[list[CopyCheck], Field(max_length=32), one_each("name")] = Field(
        default_factory=list, description="Your own checks; a critical one that fails fails the restore."
    )
    start_deadline: PositiveDuration = Field(
        default="30m", description="How long the Job may wait for its pod to start."
    )
    deadline: PositiveDuration = Field(default="24h", description="How long one attempt may take.")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure that may pass."
    )
    pod_template: PodTemplate | None = Field(default=None, description="What may be said about the Job's pod.")


class Placed(Model):
    """One database, or table, that was restored into a running server."""

    database: Identifier = Field(description="The database.")
    table: Identifier | None = Field(default=None, description="The table, where tables were chosen.")
    at: Identifier = Field(description="Where it is now: the name of a database, or schema and table.")
    before: Identifier | None = Field(
        default=None, description="Where that is which was there before: the name of a database, or schema and table."
    )
    rows: int | None = Field(default=None, description="Rows that were counted there.")


class Staged(Model):
    """What waits for a person's consent."""

    at: Time = Field(description="When it was checked and ready.")
    until: Time = Field(description="Until when it waits; then it is removed.")
    plan_hash: Identifier = Field(description="What an Approval names.")
    attempt: int = Field(description="The attempt that staged it.")
    decision: Literal["Promote", "Discard"] | None = Field(default=None, description="What became of it.")
    approval: Identifier | None = Field(default=None, description="The Approval that it was promoted by.")


class RestoreStatus(RunStatus):
    """What became of a restore; written by the operator alone."""

    phase: RestorePhase | None = Field(
        default=None,
        description="Where it stands. Staged: checked beside what is there, and waiting for consent. Refused: a"
        " precondition is missing, and the target is as it was. Failed: the message says in which state the target"
        " is.",
    )
    progress: Progress | None = Field(default=None, description="How far the running attempt has come, and its step.")
    candidates: Annotated[list[ChosenBackup], Field(max_length=20), WHOLE, first(20)] | None = Field(
        default=None, description="The backups to be tried, newest first; chosen once for all attempts."
    )
    backup: Identifier | None = Field(default=None, description="The Backup that was restored.")
    chosen: Message | None = Field(default=None, description="Why this one, and what became of those before it.")
    until: TargetPoint | None = Field(default=None, description="The point that is restored to.")
    reached: Position | None = Field(default=None, description="The position that was reached.")
    last_commit: Time | None = Field(default=None, description="When the newest restored transaction was committed.")
    data_directory: Identifier | None = Field(default=None, description="The data directory below the volume's root.")
    staged: Staged | None = Field(default=None, description="What waits, or waited, for consent; with stageFirst.")
    placed: Annotated[list[Placed], Field(max_length=128), WHOLE, first(128)] | None = Field(
        default=None, description="What was restored into a running server, and where that is which was there before."
    )
    engine_version: Identifier | None = Field(default=None, description="Version of the server that can start it.")
    bytes: int | None = Field(default=None, description="Bytes of the restored data.")
    hand_over: Annotated[list[Message], Field(max_length=32), WHOLE, first(32)] | None = Field(
        default=None, description="What to do next, step by step."
    )
    checks: Annotated[list[CopyCheckResult], Field(max_length=64), WHOLE, first(64)] | None = Field(
        default=None, description="What each check of the restored copy found; the first 64."
    )
    record: StoredRecord | None = Field(default=None, description="The record in the store.")
    image: Line | None = Field(default=None, description="Image that the agent ran in.")
    notes: Annotated[list[Message], Field(max_length=32), WHOLE, first(32)] | None = Field(
        default=None, description="What is otherwise than in the original."
    )
    failure: Failure | None = Field(default=None, description="Why it failed and what to do about it.")
