"""What restores of both kinds have in common: try candidate after candidate, check the copy, write the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from databosun.agent.backups import Chosen
from databosun.agent.context import Context
from databosun.agent.evidence import put_record
from databosun.agent.until import Goal
from databosun.api.drill import Check, CheckOutcome, CheckResult, Severity
from databosun.api.restoretasks import BackupRef, BridgeTask, RestoreTask
from databosun.api.result import RestoreResult
from databosun.domain.drill import CheckReason
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.engines.recovery import Copy

# What speaks against this backup, not against the target, the image or the request: the next candidate may be good.
_NEXT = frozenset({"BackupMissing", "IdentityWrong"})
R = TypeVar("R")


@dataclass
class Restored:
    """What was restored, from which backup, and why that one."""

    chosen: Chosen
    goal: Goal
    copy: Copy
    why: str
    thawed: Sequence[str] = ()
    checks: list[CheckResult] = field(default_factory=list)


def first_good(
    ctx: Context,
    candidates: Sequence[BackupRef],
    attempt: Callable[[BackupRef, list[str]], R],
    clean: Callable[[], None],
    as_was: str,
) -> R:
    """The newest candidate whose chain verifies, and what was wrong with those before it."""
    turned_down: list[str] = []
    for ref in candidates:
        try:
            return attempt(ref, turned_down)
        except DatabosunError as error:
            if not isinstance(error, SafetyStop) and error.reason not in _NEXT:
                raise
            ctx.log.warning("candidate turned down", id=ref.id, reason=error.reason, message=error.message)
            turned_down.append(f"{ref.id}: {error.reason}: {error.message}")
            last = error
            clean()
    if len(turned_down) == 1:
        raise last
    message = f"none of {len(turned_down)} backups can be restored; {'; '.join(turned_down)}; {as_was}"
    raise type(last)(last.reason, message)


def why_this(ref: BackupRef, candidates: Sequence[BackupRef], turned_down: Sequence[str]) -> str:
    """A sentence for the status."""
    why = f"{ref.id}, the newest of {len(candidates)} whose artefacts verify"
    return why + (f"; turned down: {'; '.join(turned_down)}" if turned_down else "")


def run_checks(
    ctx: Context,
    copy: Copy,
    checks: Sequence[Check],
    asked: Sequence[Check],
    as_was: str,
    mend: Callable[[Check, CheckResult], CheckResult] = lambda _, result: result,
) -> list[CheckResult]:
    """A critical one that fails ends the restore. `asked`: those of them that the user wrote."""
    found = []
    for check in checks:
        ctx.stop.check()
        ctx.progress.stage(f"check {check.name}")
        result = copy.check(check)
        ctx.stop.check()  # a copy that was ended under a check fails it, and that says nothing
        result = mend(check, result)
        found.append(result)
        if result.outcome is CheckOutcome.FAILED and result.severity is Severity.CRITICAL:
            message = f"check {check.name} of the restored copy failed: {result.message}; {as_was}"
            # An older backup is no answer to what a person expects of this one.
            fault = UserFault if check in asked else SafetyStop
            raise fault(result.reason or CheckReason.CHECK_FAILED, message)
    return found


def write_record(
    ctx: Context, task: RestoreTask | BridgeTask, database: str, manifest_sha256: str, result: RestoreResult,
    started: datetime,
) -> RestoreResult:  # fmt: skip
    """`restores/<name>/result.json`, once; the result with its place and digest."""
    key = ctx.layout.restore(database, task.id)
    document = {
        "schema": 1,
        "kind": "Restore",
        "run": task.id,
        "cluster": ctx.storage.cluster_id,
        "startedAt": started.isoformat(),
        "completedAt": ctx.clock().isoformat(),
        "asked": task.until.dump(),
        **({"uid": task.uid} if isinstance(task, BridgeTask) else {}),
        "backupManifestSha256": manifest_sha256,
        "result": result.model_copy(update={"record": None, "record_sha256": None}).dump(),
    }
    sha256 = put_record(ctx, key, document)
    return result.model_copy(update={"record": ctx.store.url(key), "record_sha256": sha256})
