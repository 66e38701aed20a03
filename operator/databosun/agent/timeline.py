"""When the steps of a restore began and ended: what a post-mortem asks first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from databosun.agent.context import Context, Phase
from databosun.api.result import TimelineEntry

_STEPS: Mapping[str, str] = {
    "assess": "assess",
    "select": "select",
    "restore": "restore",
    "stage": "restore",
    "verify": "verify",
    "place": "resume",
}


def timeline_of(ctx: Context, seconds: Mapping[str, float]) -> list[TimelineEntry]:
    """The guide's steps, in order. The replay is the end of the restore, as long as the engine says that it took."""
    found: list[TimelineEntry] = []
    for phase in sorted(ctx.phases, key=lambda one: one.began):
        if (step := _STEPS.get(phase.name)) is None:
            continue
        ended = _until_checked(ctx, phase)
        replay = seconds.get("replay", 0.0)
        if phase.name == "restore" and replay > 0:
            begun = max(phase.began, ended - timedelta(seconds=replay + seconds.get("start", 0.0)))
            found.append(_entry("restore", phase.began, begun))
            found.append(_entry("replay", begun, ended))
        else:
            found.append(_entry(step, phase.began, ended))
    return found


def _until_checked(ctx: Context, phase: Phase) -> datetime:
    """A copy is checked, and brought elsewhere, while it runs: that is no part of restoring it."""
    inner = [one.began for one in ctx.phases if one is not phase and phase.began <= one.began < phase.ended
             and one.name in _STEPS]  # fmt: skip
    return min([phase.ended, *inner])


def _entry(step: str, began: datetime, ended: datetime) -> TimelineEntry:
    return TimelineEntry.model_validate({"step": step, "began": began, "ended": ended})
