"""Servers in a StatefulSet: who is primary they say themselves, and whoever promotes there does so unasked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from databosun.api.failover import FailoverPlan, GuardResult, Topology
from databosun.engines.failover import STATEFUL_SET, Declined, FailoverFault
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.guards import mover_guard, probe_guard
from databosun.engines.mysql.failover.provider import ReplicationProvider


@dataclass
class StatefulProvider(ReplicationProvider):
    """A primary and its replicas, which nobody here moves or repoints."""

    strict = False

    @property
    def provider(self) -> str:
        """As spec.replication.provider names it."""
        return STATEFUL_SET

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """What looking asks for, and the tables."""
        probe = [probe_guard(self.probe, Place.parse(topology.primary), self.tables)] if topology.primary else []
        return [mover_guard(self.nodes, list(self._facts), self.words.looker), *probe]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Nobody can be ordered to hand over."""
        raise Declined(FailoverFault.MODE_UNSUPPORTED, f"nobody in a {STATEFUL_SET} hands {plan.primary} over")

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It follows, and has what the new primary had when it was asked."""
        old, new, _ = self._roles(plan)
        wanted, following = self.nodes.ask(new).position, self.nodes.ask(old).following
        if following is None or following.problem is not None:
            return f"{old} follows nobody" if following is None else f"{old} does not follow: {following.problem}"
        return self._lacking(old, wanted)

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """Nothing here is this run's: wait until one takes writes."""
        said = self._wait_for_a_primary(seconds)
        return (f"{said}; promote one, or set read_only=OFF at the one that was the primary",) if said else ()
