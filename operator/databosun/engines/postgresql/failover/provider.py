"""Patroni, as the agent's provider of failovers; and which provider is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Member, Topology
from databosun.domain.errors import UserFault
from databosun.engines.failover import (
    CLOUD_NATIVE_PG,
    STATEFUL_SET,
    Failover,
    FailoverFault,
    FailoverProvider,
    Site,
    stateful_members,
)
from databosun.engines.postgresql.failover.base import SqlProvider
from databosun.engines.postgresql.failover.cluster import ClusterProvider
from databosun.engines.postgresql.failover.guards import cluster_guards, order_guard
from databosun.engines.postgresql.failover.look import PATRONI, Look, look
from databosun.engines.postgresql.failover.probe import Clients, Table
from databosun.engines.postgresql.failover.rest import Rest, open_rest
from databosun.engines.postgresql.failover.stateful import StatefulProvider, by_name
from databosun.engines.postgresql.failover.switch import Members, Switch
from databosun.engines.postgresql.failover.words import NodeFacts, lsn

LOOPS = 2
"""Of Patroni, of which the first may have begun before it was given an order."""


@dataclass
class PatroniProvider(SqlProvider):
    """One cluster."""

    mode: FailoverMode = field(kw_only=True)
    rest: Rest = field(kw_only=True)
    _look: Look | None = None

    @property
    def members(self) -> Members:
        """Whom to ask."""
        return Members(self.rest)

    def look(self) -> Topology:
        """All asked anew."""
        self._look = found = look(self.members)
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
        return [*guards, *self.probe_guards(topology)]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """By an order."""
        return Switch(self.members, self.site.pulse).planned(plan, ordered)

    def order_seconds(self) -> float:
        """The leader looks at what was ordered in its next loop. Patroni does not tell what it was ordered."""
        return LOOPS * self._found().loop_wait

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

    def _rank(self, one: Member) -> tuple[bool, int, str]:
        listed = self._found().cluster.named(one.name)
        return not one.synchronous, -(listed.priority if listed else 1), one.name

    def _found(self) -> Look:
        if self._look is None:
            self.topology()
        assert self._look is not None  # noqa: S101 (just looked)
        return self._look


class PostgresFailover:
    """Opens one."""

    providers: tuple[str, ...] = (PATRONI, STATEFUL_SET, CLOUD_NATIVE_PG)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported) for another provider, or without what it needs."""
        given, clients = site.provider, Clients(site.probe, Table.of(site))
        if given.provider == STATEFUL_SET:
            yield StatefulProvider(site, clients, places=by_name(stateful_members(site)))
        elif given.provider == CLOUD_NATIVE_PG:
            port = site.probe.database.port
            yield ClusterProvider(site, clients, places={one.name: (one.host, port) for one in given.members})
        elif given.provider != PATRONI:
            known = " or ".join(self.providers)
            message = f"PostgreSQL is failed over by provider {known} in this release, not by {given.provider}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        elif not given.endpoints:
            message = "provider Patroni needs spec.replication.endpoints: the address of each member's REST API"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        else:
            rest = open_rest(given.endpoints, site.operator.login, site.pulse)
            yield PatroniProvider(site, clients, mode=mode, rest=rest)


FAILOVER: Failover = PostgresFailover()
