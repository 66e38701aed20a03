"""What a decision may ask for. Nothing else in the operator starts, deletes or labels anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from databosun.api.request import Request
from databosun.api.v1alpha1.backup import Proof
from databosun.api.v1alpha1.common import PodTemplate

MANAGED_BY = {"app.kubernetes.io/managed-by": "databosun"}
AGENT_CONTAINER = "agent"  # of our pods; others may have put theirs beside it
LABEL_RUN_UID = "databosun.io/run-uid"
LABEL_TASK = "databosun.io/task"
LABEL_ATTEMPT = "databosun.io/attempt"
LABEL_FINISHED = "databosun.io/finished"
LABEL_HOLD = "databosun.io/hold"
LABEL_DATABASE_UID = "databosun.io/database-uid"
LABEL_POLICY_UID = "databosun.io/policy-uid"
LABEL_STORAGE_UID = "databosun.io/storage-uid"
LABEL_PROVEN = "databosun.io/proven"
LABEL_ARCHIVER = "databosun.io/archiver"
TASK_ARCHIVE = "archive"
LABEL_CONTROL = "databosun.io/control"
LABEL_RTO = "databosun.io/rto-seconds"
LABEL_RTO_MET = "databosun.io/rto-met"
LABEL_SCHEDULE = "databosun.io/schedule"
LABEL_MODE = "databosun.io/mode"
ANNOTATION_FOR = "databosun.io/for"
ANNOTATION_DEADLINE = "databosun.io/deadline"
ANNOTATION_RUN_NOW = "databosun.io/run-now"
ANNOTATION_REBUILD_CATALOG = "databosun.io/rebuild-catalog"
ANNOTATION_REBUILT = "databosun.io/rebuilt"
ANNOTATION_ENDS = "databosun.io/ends"
"""The uid of the pod that is being ended for an agent; stands on the pod of that agent."""
ANNOTATION_ORDER = "databosun.io/order"
ANNOTATION_HOLD_REASON = "databosun.io/hold-reason"
ANNOTATION_FINDINGS = "databosun.io/findings"
ANNOTATION_RUNBOOKS = "databosun.io/runbooks"
ANNOTATION_REVIEWED_BY = "databosun.io/reviewed-by"
ANNOTATION_REVIEWED_AT = "databosun.io/reviewed-at"
FINALIZER_RESULT = "databosun.io/result"
FINALIZER_DATA = "databosun.io/data"
FINALIZER_SLOT = "databosun.io/slot"
FINALIZER_INSTANCES = "databosun.io/instances"


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a Job works for."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DataPlace:
    """The volume of a server's data directory, as the pod that uses it has it. `user`: whom its files belong to; None
    where nobody says it."""

    claim: str
    mount_path: str
    node: str
    sub_path: str | None = None
    user: int | None = None


@dataclass(frozen=True, slots=True)
class StartJob:
    """Create one Job; creating it twice is harmless, since its name says which run and attempt it is."""

    name: str
    namespace: str
    owner: Owner
    request: Request
    image: str
    pod_template: PodTemplate | None
    labels: Mapping[str, str] = field(default_factory=dict)
    storage_claim: str | None = None
    scratch_bytes: int | None = None
    """Room that the work needs, where the template says nothing of scratch."""
    target_claim: str | None = None
    """The claim that is restored into."""
    data: DataPlace | None = None
    """The volume of the database itself, to be read."""


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job whose outcome is recorded."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class KeepArchiver:
    """Have the Deployment of a server's archiver as ordered: create it, or change it where it differs."""

    name: str
    namespace: str
    owner: Owner
    request: Request
    image: str
    pod_template: PodTemplate | None
    storage_claim: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteArchiver:
    """Delete an archiver's Deployment that nobody asks for any more."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Take our finalizer off an agent's pod whose outcome is recorded."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateRun:
    """Create the run that answers one slot; same slot, same name. With an `owner` it goes when that goes."""

    kind: str
    namespace: str
    name: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    finalizers: tuple[str, ...] = ()
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class RecordProof:
    """Write into a Backup's status what a drill proved of it."""

    namespace: str
    backup: str
    checksum: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete a run's object: a Backup whose data is gone, a drill beyond its history; guarded by uid, resourceVersion
    and a fresh Lease.

    The finalizer that asks for the data goes first: there is nothing left to delete.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    finalizers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchMetadata:
    """Labels, annotations or finalizers of the object that is being reconciled."""

    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PostEvent:
    """Tell people through a Kubernetes Event."""

    reason: str
    message: str
    warning: bool = False


Action = (
    StartJob
    | DeleteJob
    | KeepArchiver
    | DeleteArchiver
    | ReleasePod
    | CreateRun
    | RecordProof
    | DeleteObject
    | PatchMetadata
    | PostEvent
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for one object: actions, then the status, then more actions, then sleep until `wake_at`.

    `status` None leaves the status as it is. The order is what makes a kill between any two writes harmless:
    what must exist before it is recorded stands in `before`, what may go once it is recorded stands in `after`.
    """

    before: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    after: tuple[Action, ...] = ()
    wake_at: datetime | None = None
