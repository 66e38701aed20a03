"""Patroni, as the agent's provider of failovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Member, MemberRole, ProbePath, Topology
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import (
    Declined,
    Failover,
    FailoverFault,
    FailoverProvider,
    ProbeError,
    ProbeSession,
    Site,
    Watcher,
    probe_error,
)
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.failover.guards import cluster_guards, order_guard, reach_guard, table_guards
from databosun.engines.postgresql.failover.look import PATRONI, Look, look
from databosun.engines.postgresql.failover.probe import Clients, Table, endpoint_of
from databosun.engines.postgresql.failover.rest import Rest, open_rest
from databosun.engines.postgresql.failover.switch import Members, Switch
from databosun.engines.postgresql.failover.words import NodeFacts, lsn

SETTLE_LOOK_SECONDS = 0.5
SETTLE_WATCH_SECONDS = 1.0


@dataclass
class PatroniProvider:
    """One cluster."""

    site: Site
    mode: FailoverMode
    rest: Rest
    clients: Clients
    _look: Look | None = None

    @property
    def members(self) -> Members:
        """Whom to ask."""
        return Members(self.rest)

    def topology(self) -> Topology:
        """All asked anew."""
        self._look = found = look(self.members)
        for one in found.cluster.members:
            self.clients.know(one.name, one.host, one.port)
        return found.topology()

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one; else of those that could take over a synchronous one, by failover_priority and name. Whom
        Patroni itself would elect depends on positions in that very moment."""
        fit = [one for one in topology.members if one.promotable]
        if planned is not None:
            return planned if planned in [one.name for one in fit] else None
        return min(fit, key=self._rank).name if fit else None

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Who else is at work, access, and the table."""
        found = self._found()
        guards = cluster_guards(found.cluster, found.leader)
        if self.mode is FailoverMode.PLANNED_SWITCHOVER:
            guards.append(order_guard(self.rest))
        guards.append(reach_guard(self.clients, topology.members))
        if guards[-1].ok and topology.primary is not None:
            with self._primary("looking at the probe's rights") as connection:
                guards += table_guards(connection, self.clients.dbname, self.site.probe.credentials.username)
        return guards

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """By an order, or by the end of the primary."""
        switch, end = Switch(self.members, self.site.pulse), self.site.end
        if plan.mode is not FailoverMode.FORCED_FAILOVER:
            return switch.planned(plan, ordered)
        if end is None:
            message = f"{plan.primary} cannot be ended from here: only the operator ends a pod"
            raise Declined(FailoverFault.MODE_UNSUPPORTED, message)
        host = next((one.host for one in self._found().cluster.members if one.name == plan.primary), "")
        return switch.forced(plan, self._found().lease, ordered, lambda: end(plan.primary, host))

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It streams from who leads now, on that one's timeline, and has what it had when it was asked."""
        old = plan.primary
        self.topology()
        found = self._found()
        if found.leader is None or found.leader.name == old:
            return "nobody leads" if found.leader is None else f"{old} leads"
        said = found.said.get(old, f"{old} is no member")
        if isinstance(said, str):
            return said
        if said.primary or not found.follows(old):
            return f"{old} does not follow {found.leader.name}: {said.state}"
        if said.timeline != found.leader.timeline:
            return f"{old} is on timeline {said.timeline}, {found.leader.name} on {found.leader.timeline}"
        behind = (found.leader.position or 0) - (said.replayed or 0)
        return f"{old} is {behind} bytes behind" if behind > 0 else None

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """Who takes writes besides, and who is on a timeline that was left, beyond where that was."""
        self.topology()
        found = self._found()
        if found.leader is None:
            return [f"{', '.join(found.primaries)} take writes"] if len(found.primaries) > 1 else []
        forks = self.members.forks()
        lines = []
        for facts in found.said.values():
            if not isinstance(facts, NodeFacts) or facts.position is None or facts.timeline is None:
                continue
            fork = forks.get(facts.timeline)
            if fork is not None and facts.timeline != found.leader.timeline and facts.position > fork:
                lines.append(
                    f"{facts.name} is on timeline {facts.timeline} at {lsn(facts.position)}; {found.leader.name} left "
                    f"that at {lsn(fork)}"
                )
        return lines

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """Patroni carries out, or gives up, what it was ordered, whoever is there to see it: wait until one member
        leads, and takes writes by its own word."""
        until = time.monotonic() + seconds
        said = "nobody leads"
        while time.monotonic() < until:
            try:
                topology = self.topology()
                if topology.primary is not None and self._takes_writes(topology.primary):
                    return ()
                said = "; ".join(topology.notes) or said
            except DatabosunError as fault:
                said = fault.message
            except ProbeError as error:
                said = str(error)
            time.sleep(SETTLE_LOOK_SECONDS)
        return (f"no member leads and takes writes after {seconds:.0f} s: {said}",)

    def prepare_probe(self) -> None:
        """Make the table at the primary."""
        with self._primary("making the probe's table") as connection:
            self.clients.table.make(connection)

    def remove_probe(self) -> None:
        """Remove it at the primary, and so at its replicas."""
        with self._primary("removing the probe's table") as connection:
            self.clients.table.remove(connection)

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where a client is sent."""
        return self.clients.connect(path, client, seconds)

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session at a member itself."""
        listed = self._found().cluster.named(member)
        if listed is None:
            raise probe_error(WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"{member} is no member just now"))
        return self.clients.watch(member, listed.host, listed.port, seconds)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the primary holds."""
        with self._primary("reading the probe's rows back") as connection:
            return self.clients.table.rows(connection, clients)

    def _takes_writes(self, member: str) -> bool:
        session = self.watch(member, SETTLE_WATCH_SECONDS)
        try:
            return session.takes_writes()
        finally:
            session.close()

    def _rank(self, one: Member) -> tuple[bool, int, str]:
        listed = self._found().cluster.named(one.name)
        return not one.synchronous, -(listed.priority if listed else 1), one.name

    @contextmanager
    def _primary(self, doing: str) -> Iterator[Connection]:
        topology = self.topology()
        one = next((one for one in topology.members if one.name == topology.primary), None)
        if one is None or one.role is not MemberRole.PRIMARY:
            told = "; ".join(topology.notes) or "no member leads and takes writes"
            raise WorldFault(FailoverFault.NO_PRIMARY, f"{doing}: {told}")
        with self.clients.administer(endpoint_of(one.host, one.port), f"{doing} at {one.name}") as connection:
            yield connection

    def _found(self) -> Look:
        if self._look is None:
            self.topology()
        assert self._look is not None  # noqa: S101 (just looked)
        return self._look


class PatroniFailover:
    """Opens it."""

    providers: tuple[str, ...] = (PATRONI,)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported) for another provider, or without an endpoint."""
        given = site.provider
        if given.provider != PATRONI:
            message = f"PostgreSQL is failed over by provider {PATRONI} in this release, not by {given.provider}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        if not given.endpoints:
            message = "provider Patroni needs spec.replication.endpoints: the address of each member's REST API"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        rest = open_rest(given.endpoints, site.operator.login, site.pulse)
        yield PatroniProvider(site, mode, rest, Clients(site.probe, Table.of(site)))


FAILOVER: Failover = PatroniFailover()
