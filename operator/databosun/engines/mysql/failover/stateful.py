"""MariaDB in a StatefulSet: who is primary the servers say themselves, and whoever promotes there does so unasked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from databosun.api.failover import FailoverPlan, GuardResult, Topology
from databosun.domain.errors import DatabosunError
from databosun.engines.failover import STATEFUL_SET, Declined, FailoverFault, ProbeError
from databosun.engines.mysql.failover.guards import LOOK_GRANTS, mover_guard, probe_guard
from databosun.engines.mysql.failover.nodes import Place, come_to
from databosun.engines.mysql.failover.provider import SETTLE_LOOK_SECONDS, MariaProvider
from databosun.engines.mysql.faults import guarded

FOLLOW_SECONDS = 0.5
WATCH_SECONDS = 1.0


@dataclass
class StatefulProvider(MariaProvider):
    """A primary and its replicas, which nobody here moves or repoints."""

    name = STATEFUL_SET
    strict = False

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """What looking asks for, and the tables."""
        probe = [probe_guard(self.probe, Place.parse(topology.primary), self.tables)] if topology.primary else []
        return [mover_guard(self.nodes, list(self._facts), LOOK_GRANTS), *probe]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Nobody can be ordered to hand over."""
        raise Declined(FailoverFault.MODE_UNSUPPORTED, f"nobody in a {STATEFUL_SET} hands {plan.primary} over")

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It follows, and has what the new primary had when it was asked."""
        old, new, _ = self._roles(plan)
        wanted, following = self.nodes.ask(new).position, self.nodes.ask(old).following
        if following is None or following.problem is not None:
            return f"{old} follows nobody" if following is None else f"{old} does not follow: {following.problem}"
        with self.nodes.open(old) as connection, guarded(f"asking {old}"):
            return None if come_to(connection, wanted, FOLLOW_SECONDS) else f"{old} has not come to {wanted}"

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """Nothing here is this run's: wait until one takes writes."""
        until = time.monotonic() + seconds
        said = "no server takes writes"
        while time.monotonic() < until:
            try:
                topology = self.topology()
                if topology.primary is not None and self._takes_writes(topology.primary):
                    return ()
                said = "; ".join(topology.notes) or "no server takes writes"
            except DatabosunError as fault:
                said = fault.message
            except ProbeError as error:
                said = str(error)
            time.sleep(SETTLE_LOOK_SECONDS)
        todo = "promote one, or set read_only=OFF at the one that was the primary"
        return (f"no server takes writes after {seconds:.0f} s: {said}; {todo}",)

    def _takes_writes(self, member: str) -> bool:
        session = self.watch(member, WATCH_SECONDS)
        try:
            return session.takes_writes()
        finally:
            session.close()
