"""Steps before and after a backup: SQL through the engine, programs of the runner image as owned processes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backuppolicy import Hook
from databosun.domain.errors import DatabosunError, WorldFault


def run_hooks(ctx: Context, hooks: Sequence[Hook]) -> list[str]:
    """Run them in order. A failed one ends the run, or with `onError: Continue` is returned as a note."""
    notes = []
    for hook in hooks:
        ctx.stop.check()
        try:
            _run(ctx, hook)
        except DatabosunError as error:
            ctx.stop.check()
            if hook.on_error == "Fail":
                message = f"hook {hook.name} failed: {error.message}"
                raise WorldFault(AgentReason.HOOK_FAILED, message) from error
            ctx.log.warning("hook failed", hook=hook.name, reason=error.reason, message=error.message)
            notes.append(f"{AgentReason.HOOK_FAILED}: {hook.name} failed and was passed over: {error.message[:500]}")
    return notes


def _run(ctx: Context, hook: Hook) -> None:
    if hook.exec is None:
        ctx.engine.run_hook(ctx.target, hook)
        return
    child = ctx.children.spawn(hook.exec)
    try:
        child.process.wait(parse_duration(hook.timeout).total_seconds())
    except subprocess.TimeoutExpired as error:
        child.kill()
        message = f"{child.name} was still running after {hook.timeout}"
        raise WorldFault(AgentReason.HOOK_FAILED, message) from error
    child.wait()
