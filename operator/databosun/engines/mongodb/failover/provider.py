"""A replica set of MongoDB, as the agent's provider of failovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Member, Topology
from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import (
    Failover,
    FailoverFault,
    FailoverProvider,
    ProbeSession,
    Site,
    Watcher,
    probe_error,
)
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.failover.guards import mover_guard, probe_guard, reach_guard, set_guards
from databosun.engines.mongodb.failover.look import REPLICA_SET, Look, has, look
from databosun.engines.mongodb.failover.members import Members
from databosun.engines.mongodb.failover.probe import ADMIN_SECONDS, Clients, Space
from databosun.engines.mongodb.failover.switch import Switch
from databosun.engines.mongodb.failover.words import ROLLBACK, Hello, order

SETTLE_LOOK_SECONDS = 0.5


@dataclass
class ReplicaSetProvider:
    """One set. `rolled`: what is known of writes that a member had to give up, by its name."""

    site: Site
    mode: FailoverMode
    members: Members
    clients: Clients
    rolled: dict[str, str] = field(default_factory=dict)
    _look: Look | None = None

    def topology(self) -> Topology:
        """All asked anew."""
        self._look = found = look(self.members)
        self.clients.known |= {one.name: one.place for one in found.facts.config.bearing}
        return found.topology(list(self.rolled.values()))

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one; else whom a primary that steps down hands over to: the highest priority, then the first of
        the configuration."""
        fit = [one for one in topology.members if one.promotable]
        if planned is not None:
            return planned if planned in [one.name for one in fit] else None
        return min(fit, key=self._rank).name if fit else None

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Grants, reach, the majority that is left, and whether the set would stay moved."""
        found = self._found()
        guards = set_guards(found, candidate, forced=self.mode is FailoverMode.FORCED_FAILOVER)
        guards.append(reach_guard(self.clients.members, topology.members))
        primary = next((one for one in topology.members if one.name == topology.primary), None)
        if primary is not None:
            place = primary.host, primary.port
            guards.append(mover_guard(self.members, place))
            if next(one.ok for one in guards if one.name == "membersReachable"):
                guards.append(probe_guard(self.clients.members, place, self.clients.space))
        return guards

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """By an order to the primary."""
        return Switch(self.members, self._found(), self.site.pulse).planned(plan, ordered)

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It is a secondary again, and has what the primary had when it was asked."""
        old = plan.primary
        self._look = found = look(self.members)
        lead, said = found.leader, found.said.get(old, f"{old} is no member")
        if lead is None or lead.name == old:
            return "nobody is primary" if lead is None else f"{old} is primary"
        self._note_rollback(found, old)
        if isinstance(said, str):
            return said
        standing = found.facts.status.members.get(old)
        if not said.secondary or standing is None or not standing.healthy:
            return f"{old} is {standing.word if standing else 'not in the status of the set'}"
        wanted = self.members.hello(self._place(found, lead.name))
        now = self.members.hello(self._place(found, old))
        return None if has(now, wanted) else f"{old} has not come to {wanted.mark}"

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """Who takes writes besides. What a member held alone and gave up was acknowledged by no majority: it is told
        in the notes of the topology."""
        self.topology()
        primaries = self._found().primaries
        return [f"{', '.join(primaries)} take writes"] if len(primaries) > 1 else []

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """Freezes and the rest of one that stepped down end by themselves, and the set elects by itself: wait until one
        member is primary, and takes writes by its own word."""
        until = time.monotonic() + seconds
        said = "no member is primary"
        while time.monotonic() < until:
            try:
                topology = self.topology()
                if topology.primary is not None:
                    return ()
                said = "; ".join(topology.notes) or said
            except DatabosunError as fault:
                said = fault.message
            time.sleep(SETTLE_LOOK_SECONDS)
        return (f"no member is primary after {seconds:.0f} s: {said}",)

    def prepare_probe(self) -> None:
        """Make the collection."""
        with self._primary("making the probe's collection") as client:
            self.clients.space.make(client)

    def remove_probe(self) -> None:
        """Remove it."""
        with self._primary("removing the probe's collection") as client:
            self.clients.space.remove(client)

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where a client is sent."""
        return self.clients.connect(path, client, seconds)

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session at a member itself."""
        place = self.clients.known.get(member)
        if place is None:
            raise probe_error(WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"{member} is no member just now"))
        return self.clients.watch(place, member, seconds)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What a majority holds."""
        with self._primary("reading the probe's documents back") as client:
            return self.clients.space.rows(client, clients)

    def _note_rollback(self, found: Look, old: str) -> None:
        standing, said = found.facts.status.members.get(old), found.said.get(old, "")
        lead, began = found.leader, found.facts.status.began
        alone = (
            isinstance(said, Hello) and said.mark is not None and began is not None
            and said.mark.term == began.term and order(said.mark) > order(began)
        )  # fmt: skip
        if alone or (standing is not None and standing.state == ROLLBACK):
            self.rolled[old] = (
                f"{old} held writes that {lead.name if lead else 'the primary'} never had, and rolls them back: they "
                "were acknowledged by no majority, and lie in its rollback folder; a client that asked for less was "
                "told they were done"
            )

    def _rank(self, one: Member) -> tuple[float, int]:
        known = self._found().facts.config.named(one.name)
        return (-known.priority, known.number) if known else (0.0, 0)

    @staticmethod
    def _place(found: Look, name: str) -> tuple[str, int]:
        known = found.facts.config.named(name)
        if known is None:
            raise WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"{name} is no member just now")
        return known.place

    @contextmanager
    def _primary(self, doing: str) -> Iterator[Client]:
        """As the writers. WorldFault where nobody is primary."""
        topology = self.topology()
        if topology.primary is None:
            told = "; ".join(topology.notes) or "no member takes writes"
            raise WorldFault(FailoverFault.NO_PRIMARY, f"{doing}: {told}")
        place = self._place(self._found(), topology.primary)
        with self.clients.members.open(place, doing, silent=ADMIN_SECONDS) as client:
            yield client

    def _found(self) -> Look:
        if self._look is None:
            self.topology()
        assert self._look is not None  # noqa: S101 (just looked)
        return self._look


class ReplicaSetFailover:
    """Opens it."""

    providers: tuple[str, ...] = (REPLICA_SET,)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported) for another provider."""
        if site.provider.provider != REPLICA_SET:
            message = (
                f"MongoDB is failed over by provider {REPLICA_SET} in this release, not by {site.provider.provider}"
            )
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        mover = replace(site.probe, credentials=site.operator.login)
        yield ReplicaSetProvider(site, mode, Members(mover), Clients(Members(site.probe), Space.of(site)))


FAILOVER: Failover = ReplicaSetFailover()
