"""The move itself, as it is ordered, and who is primary after it.

A primary that steps down stops writes, waits until a majority and one electable member have all it has, and only then
lets go; where they have not in time, it goes on as primary. It hands over to the member of the highest priority. The
others are frozen meanwhile, so that only the candidate may be elected: a freeze ends by itself, also where this process
is killed. `force` is never sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import ceil

from databosun.api.failover import FailoverPlan
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import Declined, FailoverFault
from databosun.engines.mongodb.failover.look import Look, has
from databosun.engines.mongodb.failover.members import Members, wait
from databosun.engines.mongodb.failover.words import Configured, Hello

CATCH_UP_SECONDS = 10
"""How long the primary may stop writes for, and wait for its members, before it gives up and goes on."""
AHEAD_SECONDS = 5.0
"""How long the candidate is waited for before anything is ordered."""
STEP_DOWN_SECONDS = 60
"""So long the old primary stands for no election; more than it may wait for its members."""
SPARE_SECONDS = 15.0
ELECTIONS = 2
_REPLY_SECONDS = CATCH_UP_SECONDS + 20.0


@dataclass(slots=True)
class _Order:
    """Given in a thread: it is answered when all is over, and what comes of it is seen sooner."""

    fault: DatabosunError | None = None
    answered: bool = False
    _thread: threading.Thread | None = field(default=None)

    def give(self, members: Members, place: tuple[str, int]) -> None:
        """Once, and never again."""

        def work() -> None:
            command = {"replSetStepDown": STEP_DOWN_SECONDS, "secondaryCatchUpPeriodSecs": CATCH_UP_SECONDS}
            try:
                with members.open(place, "having the primary step down", silent=_REPLY_SECONDS) as client:
                    client.admin.command(command)
            except DatabosunError as fault:
                self.fault = fault
            self.answered = True

        self._thread = threading.Thread(target=work, name="step down", daemon=True)
        self._thread.start()


@dataclass(frozen=True, slots=True)
class Switch:
    """One move of one primary. `pulse` raises where the agent is to stop."""

    members: Members
    look: Look
    pulse: Callable[[], None]

    def planned(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Have the primary step down, and the candidate elected."""
        old, new = self._one(plan.primary), self._one(plan.candidate)
        seconds = self._frozen_seconds()
        others = [
            one for one in self.look.facts.config.bearing
            if one not in (old, new) and one.priority > 0 and isinstance(self.look.said.get(one.name), Hello)
        ]  # fmt: skip
        with self._frozen(others, ceil(seconds)):
            self._catch_up(old, new)
            ordered()
            order = _Order()
            order.give(self.members, old.place)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                self.pulse()
                if (led := self._another(old)) is not None:
                    return led
                if order.fault is not None and self._leads(old):
                    message = f"{old.name} did not step down, and goes on as primary: {order.fault.message}"
                    raise WorldFault(FailoverFault.PROVIDER_REFUSED, message)
                time.sleep(0.05)
        said = f": {order.fault.message}" if order.fault else ""
        message = (
            f"no other member is primary {seconds:.0f} s after {old.name} was told to step down{said}; any member "
            "may be elected from now on: look at rs.status()"
        )
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def _frozen_seconds(self) -> float:
        return CATCH_UP_SECONDS + ELECTIONS * self.look.facts.config.election + SPARE_SECONDS

    def _catch_up(self, old: Configured, new: Configured) -> None:
        """What the primary has now, the candidate must have: else another one would be waited for while writes stand
        still."""
        wanted = self.members.hello(old.place)
        if not wanted.writable:
            raise Declined(FailoverFault.TOPOLOGY_CHANGED, f"{old.name} is no primary any more; nothing was moved")
        if not wait(lambda: has(self.members.look(new), wanted), AHEAD_SECONDS, self.pulse):
            message = (
                f"{new.name} has not come to {wanted.mark} within {AHEAD_SECONDS:g} s; nothing was moved, and writes "
                "go on"
            )
            raise Declined(FailoverFault.NOT_CAUGHT_UP, message)

    @contextmanager
    def _frozen(self, others: Iterable[Configured], seconds: int) -> Iterator[None]:
        """Others stand for no election, for so long at most. Declined where one does not take that."""
        frozen: list[Configured] = []
        try:
            for one in others:
                try:
                    frozen.append(one)  # also where its answer is lost
                    self._freeze(one, seconds)
                except (UserFault, WorldFault) as fault:
                    message = f"{one.name} could not be kept from being elected; nothing was moved: {fault.message}"
                    raise Declined(FailoverFault.PROVIDER_REFUSED, message) from fault
            yield
        finally:
            for one in frozen:
                with suppress(DatabosunError):  # else it ends by itself
                    self._freeze(one, 0)

    def _freeze(self, one: Configured, seconds: int) -> None:
        with self.members.open(one.place, "freezing" if seconds else "ending the freeze") as client:
            client.admin.command({"replSetFreeze": seconds})

    def _another(self, old: Configured) -> str | None:
        others = [one for one in self.look.facts.config.bearing if one != old]
        led = self.members.leader(others)
        return led.name if led else None

    def _leads(self, old: Configured) -> bool:
        said = self.members.look(old)
        return isinstance(said, Hello) and said.writable

    def _one(self, name: str) -> Configured:
        found = self.look.facts.config.named(name)
        if found is None:
            raise Declined(FailoverFault.TOPOLOGY_CHANGED, f"{name} is no member any more; nothing was moved")
        return found
