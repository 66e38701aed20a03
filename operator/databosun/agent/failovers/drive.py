"""One test from the first look to the last: guards, clients that write, the move, what was lost, and order again.

Whatever happens on the way, clients are stopped, the probe's table is removed, and what a move may have left is put in
order; what could not be is said (`left`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from databosun.agent.failovers.baseline import Baseline
from databosun.agent.failovers.faults import FaultUnseen, Moves
from databosun.agent.failovers.found import Found
from databosun.agent.stop import Stopped
from databosun.api.failover import FailoverPlan, FailoverResult, FailoverStage, Topology
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.domain.failoverlimits import judge_limits
from databosun.domain.ledger import ReadBack
from databosun.domain.ledgerverdict import FailoverReason
from databosun.engines.failover import Declined, FailoverProvider

BASELINE_SECONDS = 10.0
AFTER_SECONDS = 5.0
LOOK_SECONDS = 0.25
REJOIN_LOOK_SECONDS = 0.5
SETTLE_SECONDS = 8.0
"""How long order is waited for where the agent is to stop: less than its grace."""


GUARDS_SECONDS = 60.0
"""How long guards of the move back are waited for."""

End = Callable[[], FailoverResult]


class Back(Protocol):
    """The move back. `drive`: what drives it, once it has begun."""

    drive: Drive | None

    def then(self, end: End) -> End:
        """Given how the first move ends: how both do."""
        ...


class Refused(Exception):
    """A guard does not hold, or the plan is another one."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class DowntimeAborted(Exception):
    """No write for longer than is allowed."""


@dataclass
class Drive:
    """Drives one move. `moves`: the provider, or the fault that is done instead. `wind_up` tells the provider that it
    is no more to be interrupted. `failback`: what follows it."""

    found: Found
    provider: FailoverProvider
    moves: Moves
    wind_up: Callable[[], None]
    failback: Back | None = None

    def run(self) -> FailoverResult:
        """The verdict. Raises what went wrong before the switch was ordered, where nothing of it is left."""
        back = self.failback
        try:
            end = self.through()
            if back is not None:
                end = back.then(end)
        finally:  # a bug, too, must leave nothing behind
            self._clean_up(back.drive if back is not None and back.drive is not None else self)
        return end()

    def through(self) -> End:
        """Go through with it, as far as it comes. What is made meanwhile is left for the clean-up."""
        found = self.found
        try:
            self._go_through()
        except Refused as refused:
            return partial(found.refused, refused.reason, refused.message)
        except Declined as declined:
            found.ordered = found.ordered_at = None
            found.guards += [declined.guard] if declined.guard is not None else []
            return partial(found.refused, declined.reason, declined.message)
        except Stopped as stopped:
            return partial(found.aborted, stopped.reason, stopped.message)
        except DatabosunError as fault:
            return partial(self._broken_off, fault)
        return found.concluded

    def _broken_off(self, fault: DatabosunError) -> FailoverResult:
        found = self.found
        if found.ordered is None and not found.left:
            raise fault
        told = f"{fault.reason}: {fault.message}"
        if isinstance(fault, FaultUnseen):
            found.unseen = told
        elif found.promoted is None:
            found.switch_fault = told
        elif told not in found.notes:  # it was moved, and what is missing is a part of the measurement
            found.notes.append(told)
        return found.concluded()

    def _go_through(self) -> None:
        found, ctx = self.found, self.found.ctx
        with self._stage(FailoverStage.GUARDING):
            found.topology = self._demand_guards() if found.former is None else self._await_guards()
        with self._stage(FailoverStage.BASELINE):
            self._begin_writing()
        with self._stage(FailoverStage.SWITCHING):
            self._demand_guards()
            self._switch()
        try:
            with self._stage(FailoverStage.OBSERVING):
                self._observe()
            with self._stage(FailoverStage.REJOINING):
                self._rejoin()
        except DowntimeAborted as aborted:
            ctx.log.warning("aborted", message=str(aborted))
            found.missing = found.missing or str(aborted)
            found.event("Aborted", note=str(aborted))
        with self._stage(FailoverStage.VERIFYING):
            self._verify()

    def _demand_guards(self) -> Topology:
        """Look at everything anew. Refused where a guard does not hold, or another plan would come of it."""
        found, task = self.found, self.found.task
        topology = self.provider.topology()
        candidate = self.provider.choose(topology, found.plan.candidate)
        found.guards = [
            *judge_limits(topology, candidate, task.guards),
            *self.provider.examine(topology, candidate),
        ]
        plan = found.planned_anew(topology, candidate or found.plan.candidate)
        failing = next((one for one in found.guards if not one.ok), None)
        if failing is not None:
            advice = f"; {failing.message}" if failing.message else ""
            message = f"guard {failing.name}: found {failing.observed}, expected {failing.limit}{advice}"
            raise Refused(FailoverReason.GUARD_FAILED, message)
        if plan.hash != found.plan.hash:
            message = f"planned was {_told(found.plan)}; found is {_told(plan)}; nothing was moved: plan anew"
            raise Refused(FailoverReason.PLAN_CHANGED, message)
        return topology

    def _await_guards(self) -> Topology:
        """The same, for a while: one that has just rejoined is not at once one that may be promoted."""
        until = time.monotonic() + GUARDS_SECONDS
        while True:
            try:
                return self._demand_guards()
            except Refused:
                if time.monotonic() > until:
                    raise
            self.found.ctx.stop.check()
            time.sleep(REJOIN_LOOK_SECONDS)

    def _begin_writing(self) -> None:
        began, baseline = time.monotonic(), Baseline(self.found, self.provider)
        baseline.begin()
        self._wait(lambda: time.monotonic() - began >= BASELINE_SECONDS)
        baseline.demand_all(began, BASELINE_SECONDS)

    def _switch(self) -> None:
        found = self.found

        def ordered() -> None:
            ctx = found.ctx
            ctx.stop.check()
            if ctx.request.not_after and ctx.clock() > ctx.request.not_after:
                message = f"the window ended at {ctx.request.not_after.isoformat()}; nothing was moved"
                raise Refused(FailoverReason.WINDOW_CLOSED, message)
            found.ordered_at, found.ordered = ctx.clock(), time.monotonic()
            found.event("SwitchOrdered", found.plan.primary)

        found.promoted = self.moves.move(found.plan, ordered)
        if found.promoted == found.plan.primary:
            found.recovered_after, found.resumed = found.since_order(), time.monotonic()
            found.event("Recovered", found.promoted, "nobody was promoted")
            return
        found.promoted_after = found.since_order()
        found.event("PrimaryChanged", found.promoted)
        if found.promoted != found.plan.candidate:
            found.notes.append(f"{found.promoted} was promoted, and not {found.plan.candidate} as planned")

    def _observe(self) -> None:
        """Until the new primary has acknowledged a write, or the same one again; then what it holds is read."""
        found = self.found
        since = found.resumed or found.ordered or 0.0
        self._wait(lambda: found.crowd.acknowledged_since(since, found.promoted), abort=True)
        found.event("FirstSuccess", found.promoted)
        self._read_back("ReadAfterPromotion")

    def _rejoin(self) -> None:
        found, looked = self.found, 0.0

        def over() -> bool:
            nonlocal looked
            if time.monotonic() - looked < REJOIN_LOOK_SECONDS:
                return False
            looked = time.monotonic()
            try:
                found.missing = self.moves.rejoined(found.plan)
            except (UserFault, WorldFault) as fault:  # also of one that is being started, and says what is not so
                found.missing = fault.message
            return found.missing is None or found.since_order() > found.task.rejoin_seconds

        self._wait(over, abort=True)
        if found.missing is None:
            found.rejoined_after = found.since_order()
            found.event("Rejoined", found.plan.primary)
        began = time.monotonic()
        self._wait(lambda: time.monotonic() - began >= AFTER_SECONDS, abort=True)

    def _verify(self) -> None:
        self._stop_writing()
        found = self.found
        self._read_back("ReadAfterRejoin")
        found.divergence = list(self.moves.divergence(found.plan))
        found.topology_after = self.provider.topology()
        known = found.topology.notes if found.topology else ()
        found.notes += [one for one in found.topology_after.notes if one not in known]

    def _read_back(self, event: str) -> None:
        found = self.found
        names = {one.number: one.name for one in found.crowd.writers}
        began = time.monotonic()
        present = self.provider.read_back(names)
        found.backs.append(ReadBack(began, {names[number]: rows for number, rows in present.items()}))
        found.event(event, note=f"{sum(map(len, present.values()))} rows")

    def _stop_writing(self) -> None:
        if self.found.stopped is None or not self.found.crowd.still:
            self.found.stopped = self.found.stopped or time.monotonic()
            self.found.crowd.stop()

    def _clean_up(self, last: Drive) -> None:
        """What was made is removed, and order is looked for; what is left is said. `last`: what moved last, if it
        ordered anything."""
        found = self.found
        self.wind_up()
        self._tidy("writers", last._stop_writing)
        moved = last if last.found.ordered is not None else self
        if moved.found.ordered is not None:
            self._tidy("order", lambda: found.left.extend(moved.provider.settle(moved.found.plan, SETTLE_SECONDS)))
        if found.prepared:
            self._tidy("the probe's table", moved.provider.remove_probe)

    def _tidy(self, what: str, do: Callable[[], None]) -> None:
        try:
            do()
        except DatabosunError as fault:
            self.found.left.append(f"{what}: {fault.message}")

    def _wait(self, over: Callable[[], bool], *, abort: bool = False) -> None:
        """Until it is so. Stopped; DowntimeAborted where nobody could write for too long meanwhile."""
        found, limit = self.found, self.found.task.abort_seconds
        while not over():
            found.ctx.stop.check()
            found.crowd.check()
            late = abort and found.since_order() > limit
            if late and not found.crowd.acknowledged_since(time.monotonic() - limit):
                message = f"no client could write for {limit:g} s"
                raise DowntimeAborted(message)
            time.sleep(LOOK_SECONDS)

    def _stage(self, stage: FailoverStage) -> AbstractContextManager[None]:
        back = self.found.former is not None
        self.found.ctx.progress.stage(FailoverStage.FAILING_BACK if back else stage)
        return self.found.ctx.phase(f"failback-{stage.lower()}" if back else stage.lower())


def _told(plan: FailoverPlan) -> str:
    shard = f" (slots {plan.shard})" if plan.shard else ""
    return f"{plan.primary} to {plan.candidate} of {', '.join(plan.members)}{shard}"
