"""The kinds that let data go, and the consent that it takes."""

from __future__ import annotations

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.api.v1alpha1.dataexport import DataExportSpec, DataExportStatus
from databosun.api.v1alpha1.erasurerequest import ErasureRequestSpec, ErasureRequestStatus
from databosun.api.v1alpha1.kind import AGE, MESSAGE, READY, Column, Kind, condition
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunSpec, LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePolicyStatus

LIFECYCLE_POLICY = Kind(
    kind="LifecyclePolicy",
    plural="lifecyclepolicies",
    short_name="lcp",
    description="What becomes of old rows: archive, delete, anonymise. Nothing is done that nobody approved.",
    spec=LifecyclePolicySpec,
    status=LifecyclePolicyStatus,
    name_limit=40,
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Mode", ".spec.mode"),
        Column("Plan", ".status.plan.hash", description="What an Approval names."),
        Column("Approved", condition("Approved")),
        Column("Remaining", ".status.remaining", "integer", description="Eligible rows that are left."),
        Column("Behind", condition("FallingBehind")),
        Column("Last-Enforced", ".status.lastEnforcedTime", "date"),
        Column("Next", ".status.nextScheduleTime"),
        READY,
        Column("Clean", condition("DryRunClean"), wide=True, description="Whether every rule may run."),
        Column("Held", condition("BlockedByHold"), wide=True),
        Column("Last-Run", ".status.lastRun.name", wide=True),
        Column("Outcome", ".status.lastRun.phase", wide=True),
        MESSAGE,
        AGE,
    ),
)

LIFECYCLE_RUN = Kind(
    kind="LifecycleRun",
    plural="lifecycleruns",
    short_name="lcrun",
    description="One look at what a LifecyclePolicy would do, or one enforced run of its plan. A record, never edited.",
    spec=LifecycleRunSpec,
    status=LifecycleRunStatus,
    name_limit=57,
    selectable=(".spec.policyRef.name", ".status.phase"),
    columns=(
        Column("Policy", ".spec.policyRef.name"),
        Column("Mode", ".spec.mode"),
        Column("Phase", ".status.phase"),
        Column("Plan", ".status.plan.hash"),
        Column("Processed", ".status.processed", "integer", description="Rows deleted or anonymised."),
        Column("Remaining", ".status.remaining", "integer", description="Eligible rows that are left."),
        Column("Duration", ".status.duration"),
        AGE,
        Column("Approval", ".status.approval", wide=True),
        Column("Audit", ".status.audit.uri", wide=True),
        MESSAGE,
    ),
)

DATA_EXPORT = Kind(
    kind="DataExport",
    plural="dataexports",
    short_name="dexp",
    description="All rows of one person, handed over as JSON in the store until they expire.",
    spec=DataExportSpec,
    status=DataExportStatus,
    name_limit=57,
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Phase", ".status.phase"),
        Column("Rows", ".status.rows", "integer", description="Rows of the person in all files."),
        Column("Expires", ".status.expiresTime", description="When the files may be removed."),
        AGE,
        Column("Folder", ".status.folder", description="Where the files lie.", wide=True),
        Column("Receipt", ".status.receipt.uri", wide=True),
        MESSAGE,
    ),
)

ERASURE_REQUEST = Kind(
    kind="ErasureRequest",
    plural="erasurerequests",
    short_name="erase",
    description="One person's right to be forgotten: erased where the rules say, and in all that is restored later.",
    spec=ErasureRequestSpec,
    status=ErasureRequestStatus,
    name_limit=57,
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Phase", ".status.phase"),
        Column("Plan", ".status.plan.hash", description="What an Approval names."),
        Column("Rows", ".status.plan.rows", "integer", description="Rows of the person when it was looked."),
        Column("Processed", ".status.processed", "integer", description="Rows deleted or anonymised."),
        Column("Verified", ".status.verifiedTime", "date", description="When no row was left."),
        Column("Cleared-After", ".status.remains.clearedAfter", description="When no backup holds the person."),
        AGE,
        Column("Approval", ".status.approval", wide=True),
        Column("Receipt", ".status.receipt.uri", wide=True),
        MESSAGE,
    ),
)

APPROVAL = Kind(
    kind="Approval",
    plural="approvals",
    short_name="appr",
    description="A person's consent to one plan, by its hash.",
    spec=ApprovalSpec,
    status=None,
    columns=(
        Column("Kind", ".spec.ref.kind"),
        Column("Of", ".spec.ref.name", description="Name of the object whose plan is approved."),
        Column("Plan", ".spec.planHash"),
        Column("Approved-By", ".spec.approvedBy"),
        Column("Not-After", ".spec.notAfter"),
        AGE,
    ),
)
