"""Scenarios of lifecycles, erasures and exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from databosun.api.lifecycle import TriggerFact
from databosun.api.lifecycletasks import EraseTask, ExportTask, LifecycleTask
from databosun.domain.plan import (
    ANNOTATION_RUN_NOW,
)
from support.objects import (
    approval_of,
    dataexport,
    drill_run,
    erasure,
    lifecycle,
    storage,
)
from support.operator import Rig
from support.operatordriver import HOUR, Driver, ready, runs_done
from support.operatorseeds import seeded

KEYED: dict[str, Any] = {"erasure": {"keySecretRef": {"name": "erasure-key", "key": "key"}}}


async def ruled(drive: Driver, bucket: Mapping[str, Any] | None = None, **spec: Any) -> None:
    """A database with a proven backup, and a policy that enforces; a first run has looked. `bucket`: in place of the
    storage's volume."""
    rig = drive.rig
    await seeded(drive, 2, store=storage(**bucket) if bucket else None)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    await rig.create(lifecycle(**{"mode": "Enforce", **spec}))
    await drive.until(lambda: _policy_has(rig, "cursor"))
    await asked_now(rig, "LifecyclePolicy", "old-orders", "look")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded"))
    await drive.until(lambda: _policy_has(rig, "plan"))


async def asked_now(rig: Rig, kind: str, name: str, token: str) -> None:
    """A person asks for a run at once."""
    await rig.edit(
        kind, name, lambda body: body["metadata"].setdefault("annotations", {}).update({ANNOTATION_RUN_NOW: token})
    )


async def approved(drive: Driver) -> None:
    """A person consents to the plan that the policy shows."""
    body = await drive.rig.get("LifecyclePolicy", "old-orders")
    plan_hash = body["status"]["plan"]["hash"]
    await drive.rig.create(approval_of(body, drive.rig.clock.now() + 12 * HOUR, plan_hash))
    await drive.until(lambda: _policy_has(drive.rig, "approval"))


async def lifecycle_enforced(drive: Driver) -> None:
    """A dry run shows a plan, a person approves it, and a run carries it out; its first attempt is lost."""
    lost = "crash"
    drive.rig.agents.script = lambda request: (
        lost if isinstance(request.job, LifecycleTask) and request.job.approved and request.attempt == 1 else None
    )
    await ruled(drive)
    await approved(drive)
    await asked_now(drive.rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(drive.rig, "LifecycleRun", "Succeeded", "Succeeded"))


async def lifecycle_changed(drive: Driver) -> None:
    """Between approval and run the table gets a trigger: nothing is done, and the new plan is shown."""
    await ruled(drive)
    await approved(drive)
    old = drive.rig.agents.bucket.old
    trigger = TriggerFact(name="audit", table="public.orders", events=["DELETE"], definition_sha256="0" * 64)
    old.table = old.table.model_copy(update={"triggers": [trigger]})
    await asked_now(drive.rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(drive.rig, "LifecycleRun", "Refused", "Succeeded"))


async def erased(drive: Driver) -> None:
    """A look finds a person, somebody consents, and they are erased; the first attempt at that is lost."""
    rig = drive.rig
    rig.agents.script = lambda request: (
        "crash" if isinstance(request.job, EraseTask) and request.job.approved and request.attempt == 2 else None
    )
    await seeded(drive, 2)
    await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    await drive.until(lambda: ready(rig))
    await rig.create(erasure("mine", rig.clock.now() + 12 * HOUR))

    async def waits() -> bool:
        return (await rig.get("ErasureRequest", "mine")).get("status", {}).get("phase") == "AwaitingApproval"

    await drive.until(waits)
    body = await rig.get("ErasureRequest", "mine")
    await rig.create(approval_of(body, rig.clock.now() + 12 * HOUR, body["status"]["plan"]["hash"]))
    await drive.until(runs_done(rig, "ErasureRequest", "Succeeded"))


async def exported(drive: Driver) -> None:
    """A person's data are handed over; nobody hears what the first attempt came to."""
    rig = drive.rig
    rig.agents.script = lambda request: (
        "crash" if isinstance(request.job, ExportTask) and request.attempt == 1 else None
    )
    await seeded(drive, 1)
    await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    await drive.until(lambda: ready(rig))
    await rig.create(dataexport("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "DataExport", "Succeeded"))


async def _policy_has(rig: Rig, field: str) -> bool:
    return field in (await rig.get("LifecyclePolicy", "old-orders")).get("status", {})
