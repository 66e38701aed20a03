"""The move back, once a test has passed: a second planned switch under the same guards, in the same ledger.

Whatever comes of it, the test has a verdict: that of the first move, or a worse one where the second did harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from databosun.agent.failovers.drive import Drive, End
from databosun.agent.failovers.found import Found
from databosun.api.failover import FailbackSeen, FailoverResult, FailoverVerdict
from databosun.domain.errors import DatabosunError
from databosun.domain.failoverplan import way_back
from databosun.engines.failover import FailoverProvider

HANDOVERS = 2
"""Of the primary, in the ledger of both moves."""


@dataclass
class Failback:
    """`provider`: opened for a planned switch, whatever the first move was. `wind_up`: as of the first one."""

    found: Found
    provider: FailoverProvider
    wind_up: Callable[[], None]
    drive: Drive | None = None

    def then(self, end: End) -> End:
        """Given how the first move ends: how both do."""
        found = self.found
        if found.ordered is None:
            return end
        first = end()
        if first.verdict is not FailoverVerdict.PASSED or first.measured is None or found.left:
            why = f"the test is {first.verdict}; who is primary stays so, to be looked at"
            return lambda: _noted(end(), f"the primary was not moved back: {why}")
        if found.promoted in (None, found.plan.primary):
            return lambda: _noted(end(), f"{found.plan.primary} is the primary still: there is no way back")
        back = Found(
            found.ctx,
            found.task,
            way_back(found.task.uid, found.plan, found.promoted),
            timeline=found.timeline,
            crowd=found.crowd,
            backs=found.backs,
            former=first.measured,
            read_before=len(found.backs),
            handovers=HANDOVERS,
        )
        self.drive = Drive(back, self.provider, self.provider, self.wind_up)
        second = self.drive.through()
        return lambda: _both(first, second, found, back)


def _both(first: FailoverResult, second: End, found: Found, back: Found) -> FailoverResult:
    """The first move's figures, with the second one's beside them."""
    left = [*found.left, *back.left]
    try:
        seen = second()
    except DatabosunError as fault:
        seen = back.refused(fault.reason, fault.message)
    verdict = seen.verdict or FailoverVerdict.INCONCLUSIVE
    stays = f"the primary was not moved back, and {back.plan.primary} stays: {seen.reason}: {seen.message}"
    told = {
        FailoverVerdict.PASSED: f"{first.message}; moved back to {seen.candidate}: {seen.message}",
        FailoverVerdict.REFUSED: f"{first.message}; {stays}",
    }
    whole = verdict in told
    return first.model_copy(
        update={
            "verdict": FailoverVerdict.PASSED if whole else verdict,
            "reason": first.reason if whole else seen.reason,
            "message": told.get(verdict, f"on the way back from {back.plan.primary}: {seen.message}"),
            "timeline": found.timeline,
            "topology_after": back.topology_after or first.topology_after,
            "failback": _seen(seen, verdict, back),
            "settled": not left,
            "notes": [*left, *first.notes, *(f"on the way back: {note}" for note in back.notes)],
        }
    )


def _seen(result: FailoverResult, verdict: FailoverVerdict, back: Found) -> FailbackSeen:
    return FailbackSeen(
        verdict=verdict,
        reason=result.reason,
        message=result.message,
        primary=back.plan.primary,
        candidate=result.candidate or back.plan.candidate,
        ordered_at=result.ordered_at,
        measured=result.measured,
    )


def _noted(result: FailoverResult, note: str) -> FailoverResult:
    return result.model_copy(update={"notes": [*result.notes, note]})
