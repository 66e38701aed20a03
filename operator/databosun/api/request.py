"""What the operator asks of an agent: one JSON document, no secrets, in a pod annotation (`docs/concepts/jobs.md`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.backuptasks import (
    ArchiveTask,
    BackupTask,
    CatalogTask,
    DeleteTask,
    DropSlotTask,
    ExpireLogTask,
    HoldTask,
    ProbeTask,
    RecoverTask,
    SweepTask,
    ValidateTask,
)
from databosun.api.failover import FailoverTask
from databosun.api.lifecycletasks import EraseTask, ExportTask, LifecycleTask
from databosun.api.recordtasks import JointTask
from databosun.api.remains import RemainsTask
from databosun.api.restoretasks import BridgeTask, DrillTask, InquireTask, RestoreTask
from databosun.api.targets import DatabaseTarget, SecretUse, StorageTarget
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant

SCHEMA = 1
MAX_REQUEST_BYTES = 200 * 1024
REQUEST_ANNOTATION = "databosun.io/request"
ANSWER_ANNOTATION = "databosun.io/answer"
"""What the operator did that an agent asked it for in the midst of its work."""
RUN_PATH = "/run/databosun"
REQUEST_PATH = "/run/databosun/request.json"
ANSWER_PATH = "/run/databosun/answer.json"
SECRETS_PATH = "/run/databosun/secrets"
SCRATCH_PATH = "/scratch"
TERMINATION_PATH = "/dev/termination-log"
VOLUME_PATH = "/storage"
RESTORE_PATH = "/restore"


Task = Annotated[
    RestoreTask
    | BridgeTask
    | InquireTask
    | DrillTask
    | FailoverTask
    | JointTask
    | ProbeTask
    | BackupTask
    | ValidateTask
    | RecoverTask
    | DeleteTask
    | HoldTask
    | CatalogTask
    | SweepTask
    | ArchiveTask
    | DropSlotTask
    | ExpireLogTask
    | LifecycleTask
    | EraseTask
    | RemainsTask
    | ExportTask,
    Field(discriminator="task"),
]


class Request(Model):
    """One Job's orders."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    run: str = Field(description="Name of the object that asked, for logs.")
    attempt: Annotated[int, Field(ge=1, le=99)] = 1
    deadline: Instant = Field(description="The agent stops by itself at this instant.")
    not_before: Instant | None = None
    not_after: Instant | None = None
    database: DatabaseTarget | None = None
    storage: StorageTarget | None = None
    secrets: list[SecretUse] = Field(default_factory=list)
    image: str | None = None
    scratch_bytes: int | None = Field(
        default=None, description="The size limit of the scratch volume, which its file system may not show."
    )
    job: Task
