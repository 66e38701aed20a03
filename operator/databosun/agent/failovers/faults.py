"""A fault that is done to the primary's pod: who takes writes after it, whoever made that so.

Nothing is ordered of the provider. The same primary may come back before anybody is promoted: that is an end, too, and
what it cost is measured. A fault that nobody noticed proves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from databosun.api.failover import FailoverPlan, MemberRole, Topology
from databosun.api.quantities import parse_duration
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.failoverplan import describe_mode
from databosun.engines.failover import Declined, FailoverFault, FailoverProvider, ProbeError, Watcher

WITNESS_SECONDS = 3.0
"""So long the primary may take to answer before it counts as struck."""
UNSEEN_SECONDS = 60.0
"""A fault that was done, and not noticed for so long, was none."""
LOOK_SECONDS = 0.25


class Moves(Protocol):
    """What moves a primary, and says how it went: a provider, or a fault. As in `FailoverProvider`."""

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Who takes writes then; a fault may leave that the same."""
        ...

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """What is missing; None: nothing."""
        ...

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """Proofs, a sentence each."""
        ...


class FaultUnseen(WorldFault):
    """It was done, by the word of who did it, or may have been, and the primary went on as if nothing were."""


@dataclass
class Fault:
    """`strike` has the operator do its part to a member, by its name and host, and returns once that is done, or why
    nobody knows (Declined, WorldFault).
    `patience`: seconds that nobody may take writes. `another`: another member has to; the same again is none."""

    provider: FailoverProvider
    strike: Callable[[str, str], str | None]
    pulse: Callable[[], None]
    patience: float
    another: bool = False
    _who: str | None = None
    _blind: str = ""
    _whole: frozenset[str] = field(default_factory=frozenset)

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Who takes writes after it: another member, or the same again. FaultUnseen; WorldFault(NotPromoted)."""
        before = self.provider.topology()
        self._whole = frozenset(one.name for one in before.members if one.healthy)
        host = next((one.host for one in before.members if one.name == plan.primary), "")
        witness = self._witness(plan.primary)
        try:
            ordered()
            doubt = self.strike(plan.primary, host)
            self._who = self._after(plan, witness, doubt)
        finally:
            witness.close()
        return self._who

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """As the provider has it; where nobody was promoted, all must be as they were before."""
        if self._who != plan.primary:
            return self.provider.rejoined(self._then(plan))
        found = self.provider.topology()
        if found.primary != plan.primary:
            return f"{found.primary or 'nobody'} is the primary now, no more {plan.primary}"
        ill = [one for one in found.members if one.name in self._whole and not one.healthy]
        return "; ".join(f"{one.name}: {', '.join(one.problems) or one.state}" for one in ill) or None

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """As the provider has it."""
        return self.provider.divergence(self._then(plan))

    def _then(self, plan: FailoverPlan) -> FailoverPlan:
        return plan.model_copy(update={"candidate": self._who or plan.candidate})

    def _witness(self, primary: str) -> Watcher:
        """A session that the fault will end: a server that was started again is not the one that it was."""
        try:
            return self.provider.watch(primary, WITNESS_SECONDS)
        except ProbeError as error:
            message = f"{primary} does not let the writers in: {error}; nothing was moved"
            raise Declined(FailoverFault.TOPOLOGY_CHANGED, message) from error

    def _after(self, plan: FailoverPlan, witness: Watcher, doubt: str | None) -> str:
        began, lasts = time.monotonic(), self.patience
        if plan.fault is not None and plan.fault.duration is not None:
            lasts += parse_duration(plan.fault.duration).total_seconds()
        seen, what = False, f"{describe_mode(plan.mode, plan.fault)} of {plan.primary}"
        while (passed := time.monotonic() - began) < lasts:
            self.pulse()
            seen = seen or _struck(witness)
            who = self._takes_writes(plan.primary, seen=seen)
            if who == plan.primary and self.another:
                message = f"nobody was promoted: {who} was ended, started again, and takes writes"
                raise WorldFault(FailoverFault.NOT_PROMOTED, message)
            if who is not None:
                return who
            if not seen and not self.another and passed > UNSEEN_SECONDS:
                done = "was done" if doubt is None else f"may have been done ({doubt})"
                message = f"{what} {done}, and {UNSEEN_SECONDS:.0f} s later the server has gone on all the time"
                raise FaultUnseen(FailoverFault.FAULT_UNSEEN, message)
            time.sleep(LOOK_SECONDS)
        then = f"{plan.primary} is not back" if seen else f"{plan.primary} has gone on all the time"
        message = f"{what}: {lasts:.0f} s later nobody was promoted, and {then}{self._blind}"
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def _takes_writes(self, old: str, *, seen: bool) -> str | None:
        """By the provider's word and its own. The old one counts once it was struck."""
        found = self._look()
        who = found.primary if found is not None else None
        if found is None or who is None or (who == old and not seen):
            return None
        if not any(one.name == who and one.role is MemberRole.PRIMARY for one in found.members):
            return None
        try:
            session = self.provider.watch(who, WITNESS_SECONDS)
        except ProbeError:
            return None
        try:
            return who if session.takes_writes() else None
        except ProbeError:
            return None
        finally:
            session.close()

    def _look(self) -> Topology | None:
        """A server that is being started may say anything, such as that it is in no replica set, or knows no such
        login: what would be the user's to mend before a fault is a member that does not answer yet after it."""
        try:
            found = self.provider.topology()
        except (UserFault, WorldFault) as fault:
            self._blind = f"; the last look came to nothing: {fault.message}"
            return None
        self._blind = ""
        return found


def _struck(witness: Watcher) -> bool:
    try:
        witness.takes_writes()
    except ProbeError:
        return True
    return False
