"""The move itself, as it is ordered, and who leads after it.

Patroni stops the primary before it lets another one lead, and a primary that stops sends its replicas all that it has:
so nothing is lost, if the candidate is connected and takes what it is sent. That is looked at right before. Where the
agent dies, Patroni carries the order out all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from databosun.api.failover import FailoverPlan
from databosun.domain.errors import WorldFault
from databosun.engines.failover import Declined, FailoverFault
from databosun.engines.postgresql.failover.rest import Answer, Rest
from databosun.engines.postgresql.failover.words import (
    Cluster,
    Listed,
    NodeFacts,
    lsn,
    parse_cluster,
    parse_history,
    parse_node,
)

CATCH_UP_SECONDS = 5.0
SWITCHOVER_SECONDS = 90.0
LOOK_SECONDS = 0.1
_DONE = 200
_UNKNOWN = "status unknown"


@dataclass(frozen=True, slots=True)
class Members:
    """What Patroni says of all, and each says of itself."""

    rest: Rest

    def cluster(self) -> Cluster:
        """As its store has it."""
        return parse_cluster(self.rest.read("/cluster").document())

    def ask(self, one: Listed) -> NodeFacts:
        """A member itself. WorldFault where it does not answer."""
        if one.url is None:
            raise WorldFault(FailoverFault.PROVIDER_UNREACHABLE, f"{one.name} has no REST API")
        answer = self.rest.get(one.url)
        return parse_node(one.name, answer.document())

    def forks(self) -> Mapping[int, int]:
        """Where each timeline was left for the next one."""
        return parse_history(self.rest.read("/history").list())

    def leads(self, cluster: Cluster) -> NodeFacts | None:
        """Who holds the lease, where that takes writes by its own word."""
        leader = cluster.leader
        facts = self.ask(leader) if leader is not None else None
        return facts if facts and facts.primary and facts.running else None


@dataclass(slots=True)
class _Ordered:
    """The order, given in a thread: Patroni answers it only when all is over, and what comes of it is seen sooner."""

    answer: Answer | None = None
    fault: WorldFault | None = None
    _thread: threading.Thread | None = field(default=None)

    def give(self, rest: Rest, leader: str, candidate: str) -> None:
        """Begin."""

        def work() -> None:
            try:
                self.answer = rest.post_switchover({"leader": leader, "candidate": candidate})
            except WorldFault as fault:
                self.fault = fault

        self._thread = threading.Thread(target=work, name="switchover", daemon=True)
        self._thread.start()

    @property
    def refused(self) -> str | None:
        """What Patroni said where it does not do it."""
        if self.answer is None or self.answer.status == _DONE or _UNKNOWN in self.answer.text:
            return None
        return f"{self.answer.endpoint} answered {self.answer.status}: {self.answer.text}"


@dataclass(frozen=True, slots=True)
class Switch:
    """One move of one primary. `pulse` raises where the agent is to stop."""

    members: Members
    pulse: Callable[[], None]

    def planned(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Have Patroni hand over; who leads then."""
        self._catch_up(plan)
        ordered()
        order = _Ordered()
        order.give(self.members.rest, plan.primary, plan.candidate)
        until = time.monotonic() + SWITCHOVER_SECONDS
        while time.monotonic() < until:
            self.pulse()
            if (new := self._another(plan.primary)) is not None:
                return new
            if order.refused is not None:
                message = f"Patroni did not switch over from {plan.primary} to {plan.candidate}: {order.refused}"
                raise WorldFault(FailoverFault.PROVIDER_REFUSED, message)
            time.sleep(LOOK_SECONDS)
        said = f": {order.fault.message}" if order.fault else ""
        message = f"{plan.candidate} does not lead {SWITCHOVER_SECONDS:.0f} s after the order{said}; look at its log"
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def _another(self, old: str) -> str | None:
        try:
            cluster = self.members.cluster()
            if cluster.leader is None or cluster.leader.name == old:
                return None
            found = self.members.leads(cluster)
        except WorldFault:
            return None
        return found.name if found is not None else None

    def _catch_up(self, plan: FailoverPlan) -> None:
        """Until the candidate has received what the primary had written. Declined(NotCaughtUp)."""
        cluster = self.members.cluster()
        old, new = cluster.named(plan.primary), cluster.named(plan.candidate)
        if old is None or new is None:
            message = f"{plan.primary} or {plan.candidate} is no member any more; nothing was moved"
            raise Declined(FailoverFault.TOPOLOGY_CHANGED, message)
        wanted = self.members.ask(old).position or 0
        until = time.monotonic() + CATCH_UP_SECONDS
        while (has := self.members.ask(new).position or 0) < wanted:
            self.pulse()
            if time.monotonic() > until:
                message = (
                    f"{plan.candidate} has received up to {lsn(has)}, and not {lsn(wanted)}, {CATCH_UP_SECONDS:.0f} s "
                    f"after {plan.primary} had written that; nothing was moved: find out what holds up its replication"
                )
                raise Declined(FailoverFault.NOT_CAUGHT_UP, message)
            time.sleep(LOOK_SECONDS)
