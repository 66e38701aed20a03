"""`databosun review`: note what was learnt from a finished drill."""

from __future__ import annotations

from databosun.cli.reasons import CliReason
from databosun.cli.running import OK
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.domain.errors import UserFault
from databosun.domain.review import annotations_of
from databosun.kube.resources import RESTORE_DRILL_RUNS

MAX_TEXT = 16 * 1024


async def note(session: Session, run: str, findings: str | None, runbooks: str | None) -> int:
    """Write it into the run's annotations. UserFault where there is nothing to note, or no verdict yet."""
    if not findings and not runbooks:
        message = "nothing to note; give --findings TEXT, --runbooks TEXT, or both"
        raise UserFault(CliReason.BAD_USAGE, message)
    if any(len(text) > MAX_TEXT for text in (findings, runbooks) if text):
        message = f"a note has at most {MAX_TEXT} characters; keep the rest where it can be linked to"
        raise UserFault(CliReason.BAD_USAGE, message)
    seen = read.drill_run(await session.find(RESTORE_DRILL_RUNS, run))
    if seen.status.completion_time is None:
        message = f"RestoreDrillRun {run} has no verdict yet; note what was learnt once it has"
        raise UserFault(CliReason.BAD_USAGE, message)
    wanted = annotations_of(findings, runbooks, await session.user(), session.clock.now())
    patch = {"annotations": wanted}
    await session.kube.patch_metadata(RESTORE_DRILL_RUNS, session.namespace, run, patch, seen.meta.resource_version)
    session.screen.out.print(f"restoredrillrun.databosun.io/{run} noted", markup=False)
    return OK
