"""Objects as a controller reads them: metadata, spec and status, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.api.v1alpha1.backup import BackupSpec, BackupStatus
from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, BackupPolicyStatus
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec, BackupStorageStatus
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.databasestatus import DatabaseStatus
from databosun.api.v1alpha1.dataexport import DataExportSpec, DataExportStatus
from databosun.api.v1alpha1.erasurerequest import ErasureRequestSpec, ErasureRequestStatus
from databosun.api.v1alpha1.failovertest import FailoverTestSpec, FailoverTestStatus
from databosun.api.v1alpha1.failovertestrun import FailoverTestRunSpec, FailoverTestRunStatus
from databosun.api.v1alpha1.inquiry import InquirySpec, InquiryStatus
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunSpec, LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePolicyStatus
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restore import RestoreSpec, RestoreStatus
from databosun.api.v1alpha1.restoredrill import RestoreDrillSpec, RestoreDrillStatus
from databosun.api.v1alpha1.restoredrillrun import RestoreDrillRunSpec, RestoreDrillRunStatus
from databosun.domain.errors import UserFault
from databosun.domain.requests import Named

S = TypeVar("S", bound=Model)
T = TypeVar("T", bound=Model)


@dataclass(frozen=True, slots=True)
class Meta:
    """The metadata that decisions read. `going_since`: when somebody deleted it; None while nobody did."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: datetime
    going_since: datetime | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]

    @property
    def deleting(self) -> bool:
        """Whether somebody deleted it."""
        return self.going_since is not None

    @property
    def named(self) -> Named:
        """Namespace, name and uid."""
        return Named(self.namespace, self.name, self.uid)


@dataclass(frozen=True, slots=True)
class Seen(Generic[S, T]):
    """One object. `raw_status` is the status as it stands, to compare a new one with."""

    meta: Meta
    spec: S
    status: T
    raw_status: Mapping[str, Any]


SeenDatabase = Seen[DatabaseSpec, DatabaseStatus]
SeenStorage = Seen[BackupStorageSpec, BackupStorageStatus]
SeenPolicy = Seen[BackupPolicySpec, BackupPolicyStatus]
SeenBackup = Seen[BackupSpec, BackupStatus]
SeenDrill = Seen[RestoreDrillSpec, RestoreDrillStatus]
SeenDrillRun = Seen[RestoreDrillRunSpec, RestoreDrillRunStatus]
SeenFailoverTest = Seen[FailoverTestSpec, FailoverTestStatus]
SeenFailoverRun = Seen[FailoverTestRunSpec, FailoverTestRunStatus]
SeenRestore = Seen[RestoreSpec, RestoreStatus]
SeenInquiry = Seen[InquirySpec, InquiryStatus]
SeenLifecyclePolicy = Seen[LifecyclePolicySpec, LifecyclePolicyStatus]
SeenLifecycleRun = Seen[LifecycleRunSpec, LifecycleRunStatus]
SeenExport = Seen[DataExportSpec, DataExportStatus]
SeenErasure = Seen[ErasureRequestSpec, ErasureRequestStatus]


def read_meta(body: Mapping[str, Any]) -> Meta:
    """Parse metadata."""
    metadata = body["metadata"]
    since = metadata.get("deletionTimestamp")
    return Meta(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        generation=metadata.get("generation", 1),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        going_since=datetime.fromisoformat(since) if since is not None else None,
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        finalizers=tuple(metadata.get("finalizers", ())),
    )


def parse(body: Mapping[str, Any], spec: type[S], status: type[T]) -> Seen[S, T]:
    """Parse an object of ours. UserFault(InvalidSpec) names the field where the API server let something through."""
    try:
        read = spec.model_validate(body.get("spec", {}))
    except ValidationError as error:
        raise UserFault(Reason.INVALID_SPEC, explain(error)) from error
    raw = body.get("status") or {}
    try:
        known = status.model_validate(raw)
    except ValidationError:
        # A status is ours to rewrite; one that another version left behind must not block its object.
        known = status.model_validate({})
    return Seen(read_meta(body), read, known, raw)


def explain(error: ValidationError) -> str:
    """The first fault of a validation, with the path of its field."""
    first = error.errors()[0]
    path = ".".join(["spec", *(str(part) for part in first["loc"])])
    return f"{path}: {first['msg']} (found {str(first['input'])[:100]!r})"


def database(body: Mapping[str, Any]) -> SeenDatabase:
    """Parse a Database."""
    return parse(body, DatabaseSpec, DatabaseStatus)


def storage(body: Mapping[str, Any]) -> SeenStorage:
    """Parse a BackupStorage."""
    return parse(body, BackupStorageSpec, BackupStorageStatus)


def policy(body: Mapping[str, Any]) -> SeenPolicy:
    """Parse a BackupPolicy."""
    return parse(body, BackupPolicySpec, BackupPolicyStatus)


def backup(body: Mapping[str, Any]) -> SeenBackup:
    """Parse a Backup."""
    return parse(body, BackupSpec, BackupStatus)


def drill(body: Mapping[str, Any]) -> SeenDrill:
    """Parse a RestoreDrill."""
    return parse(body, RestoreDrillSpec, RestoreDrillStatus)


def drill_run(body: Mapping[str, Any]) -> SeenDrillRun:
    """Parse a RestoreDrillRun."""
    return parse(body, RestoreDrillRunSpec, RestoreDrillRunStatus)


def failover_test(body: Mapping[str, Any]) -> SeenFailoverTest:
    """Parse a FailoverTest."""
    return parse(body, FailoverTestSpec, FailoverTestStatus)


def failover_run(body: Mapping[str, Any]) -> SeenFailoverRun:
    """Parse a FailoverTestRun."""
    return parse(body, FailoverTestRunSpec, FailoverTestRunStatus)


def restore(body: Mapping[str, Any]) -> SeenRestore:
    """Parse a Restore."""
    return parse(body, RestoreSpec, RestoreStatus)


def inquiry(body: Mapping[str, Any]) -> SeenInquiry:
    """Parse an Inquiry."""
    return parse(body, InquirySpec, InquiryStatus)


def lifecycle_policy(body: Mapping[str, Any]) -> SeenLifecyclePolicy:
    """Parse a LifecyclePolicy."""
    return parse(body, LifecyclePolicySpec, LifecyclePolicyStatus)


def lifecycle_run(body: Mapping[str, Any]) -> SeenLifecycleRun:
    """Parse a LifecycleRun."""
    return parse(body, LifecycleRunSpec, LifecycleRunStatus)


def dataexport(body: Mapping[str, Any]) -> SeenExport:
    """Parse a DataExport."""
    return parse(body, DataExportSpec, DataExportStatus)


def erasure(body: Mapping[str, Any]) -> SeenErasure:
    """Parse an ErasureRequest."""
    return parse(body, ErasureRequestSpec, ErasureRequestStatus)


def database_name(backup: SeenBackup) -> str:
    """The Database of a Backup: as its spec names it, else as it was found when the run began; "" before that."""
    return backup.spec.database_ref.name if backup.spec.database_ref else backup.status.database or ""


def approval(body: Mapping[str, Any]) -> tuple[Meta, ApprovalSpec]:
    """Parse an Approval."""
    return read_meta(body), ApprovalSpec.model_validate(body["spec"])
