"""Redis and Valkey under Sentinel, as the agent's provider of failovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from databosun.api.failover import (
    FailoverMode,
    FailoverPlan,
    GuardResult,
    Member,
    MemberRole,
    ProbePath,
    Topology,
)
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import (
    Failover,
    FailoverFault,
    FailoverProvider,
    ProbeError,
    ProbeSession,
    Site,
    Watcher,
    probe_error,
)
from databosun.engines.redis.failover.guards import mover_guard, probe_guard, quorum_guard
from databosun.engines.redis.failover.nodes import NodeFacts, Nodes, Place
from databosun.engines.redis.failover.probe import (
    WATCHED,
    Clients,
    Keys,
    Session,
    read_bits,
    remove_keys,
)
from databosun.engines.redis.failover.sentinels import KnownReplica, Sentinels, Word
from databosun.engines.redis.failover.switch import PAUSE_SECONDS, Switch
from databosun.engines.redis.faults import guarded

SENTINEL = "Sentinel"
AGREE_SECONDS = 10.0


@dataclass
class SentinelProvider:
    """One master set. `members`: who answered with which run id, so that a client knows whom it talks to."""

    site: Site
    sentinels: Sentinels
    nodes: Nodes
    probe: Nodes
    keys: Keys
    clients: Clients
    members: dict[str, str] = field(default_factory=dict)
    _word: Word | None = None
    _promoted: Place | None = None
    _facts: dict[Place, NodeFacts] = field(default_factory=dict)

    def topology(self) -> Topology:
        """What Sentinels and nodes say, all asked anew."""
        self._word = word = self.sentinels.ask()
        known = {one.place: one for one in word.replicas}
        places = list(dict.fromkeys([*word.masters, *known]))
        asked = {place: self._ask(place) for place in places}
        self._facts = {place: said for place, said in asked.items() if isinstance(said, NodeFacts)}
        self.members |= {facts.run_id: str(place) for place, facts in self._facts.items()}
        masters = [place for place, facts in self._facts.items() if facts.master]
        primary = word.master if masters == [word.master] else None
        return Topology(
            observed_at=datetime.now(UTC),
            provider=SENTINEL,
            primary=str(primary) if primary else None,
            members=[self._member(place, asked[place], known.get(place), primary) for place in places],
            synchronous="asynchronous",
            fencing=self._fencing(primary),
            notes=self._notes(word, masters),
        )

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one, or the one that the Sentinels take of replicas that are equally far: the lowest priority
        number, then the lowest run id."""
        fit = [one.name for one in topology.members if one.promotable]
        if planned in fit or not fit or self._word is None:
            return planned if planned in fit else None
        ranked = sorted(self._word.replicas, key=lambda one: (one.priority, one.run_id.lower()))
        return next((str(one.place) for one in ranked if str(one.place) in fit), None)

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Quorum, grants, and the candidate."""
        primary = Place.parse(topology.primary) if topology.primary else None
        return [
            quorum_guard(self._word),
            mover_guard(self.nodes, self._facts),
            *([probe_guard(self.probe, primary, self.keys)] if primary else []),
        ]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Safely, or as if the master were gone."""
        old = Place.parse(plan.primary)
        switch = Switch(self.nodes, self.sentinels, self.site.pulse)
        if plan.mode is FailoverMode.FORCED_FAILOVER:
            self._promoted = switch.forced(old, ordered)
            return str(self._promoted)
        replicas = [place for place, facts in self._facts.items() if not facts.master and facts.link_up]
        self._promoted = switch.planned(old, replicas, ordered)
        return str(self._promoted)

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It follows the master, and has what that had when it was asked."""
        old, master = Place.parse(plan.primary), self.sentinels.ask().master
        if master is None or master == old:
            return "the Sentinels name no other master"
        leader, follower = self.nodes.ask(master), self.nodes.ask(old)
        if follower.master:
            return f"{old} is still a master"
        if follower.master_place != master or not follower.link_up:
            return f"{old} has no link to {master}"
        behind = leader.offset - self.nodes.ask(old).offset
        return f"{old} is {behind} bytes behind" if behind > 0 else None

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """None that could be told from heartbeats in the stream: what counts here are the writes."""
        return ()

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """A pause of ours runs out by itself within `PAUSE_SECONDS`, and the Sentinels demote a master that they have
        replaced: wait until there is one master, and it takes a write."""
        until = time.monotonic() + seconds
        said = ""
        while time.monotonic() < until:
            try:
                topology = self.topology()
                if topology.primary is not None and self._watched(topology.primary):
                    return ()
                said = "; ".join(topology.notes) or "the Sentinels and the nodes do not agree on a master"
            except DatabosunError as fault:
                said = fault.message
            except ProbeError as error:
                said = str(error)
            time.sleep(0.2)
        left = f"no master has taken a write for {seconds:.0f} s: {said}"
        return (f"{left}; a pause of ours ends by itself within {PAUSE_SECONDS} s",)

    def prepare_probe(self) -> None:
        """Keys are made by the first write."""

    def remove_probe(self) -> None:
        """The keys of the run, at the master; they are gone from its replicas with that."""
        with self.probe.open(self._master()) as wire, guarded("removing the probe's keys", self.probe.user):
            remove_keys(wire, self.keys)

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where a client is sent."""
        wire, facts = self.clients.open(path, seconds)
        return Session(wire, self.keys, client, self.members.get(facts.run_id), seconds)

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session at a node itself."""
        try:
            wire = self.probe.open(Place.parse(member), seconds)
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        return Session(wire, self.keys, WATCHED, member, seconds)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the master holds."""
        with self.probe.open(self._master()) as wire, guarded("reading the probe's keys back", self.probe.user):
            return read_bits(wire, self.keys, clients)

    def _watched(self, master: str) -> bool:
        session = self.watch(master, 1.0)
        try:
            return session.takes_writes()
        finally:
            session.close()

    def _master(self) -> Place:
        """Sentinels tell each other of a new master within seconds; until then it is the one that was promoted here."""
        until = time.monotonic() + AGREE_SECONDS
        while True:
            word = self.sentinels.ask()
            if word.master is not None:
                return word.master
            if self._promoted is not None and self._promoted in word.masters:
                return self._promoted
            if time.monotonic() > until:
                told = ", ".join(map(str, word.masters))
                raise WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"the Sentinels name several masters: {told}")
            self.site.pulse()
            time.sleep(0.2)

    def _ask(self, place: Place) -> NodeFacts | str:
        try:
            return self.nodes.ask(place)
        except UserFault:
            raise
        except DatabosunError as fault:
            return fault.message

    def _member(self, place: Place, said: NodeFacts | str, known: KnownReplica | None, primary: Place | None) -> Member:
        facts = said if isinstance(said, NodeFacts) else None
        leader = self._facts.get(primary) if primary else None
        problems = [said] if isinstance(said, str) else []
        replica = facts is not None and not facts.master
        if replica and facts:
            problems += self._problems(facts, known, leader, primary)
        healthy = facts is not None and (facts.link_up or facts.master)
        return Member(
            name=str(place),
            host=place.host,
            port=place.port,
            role=MemberRole.UNKNOWN if facts is None else MemberRole.REPLICA if replica else MemberRole.PRIMARY,
            healthy=healthy,
            state=None if facts is None else "link up" if facts.link_up else "link down",
            lag_bytes=max(0, leader.offset - facts.offset) if replica and leader and facts else None,
            lag_seconds=float(facts.silent_seconds) if replica and facts else None,
            position=f"{facts.replid}:{facts.offset}" if facts else None,
            promotable=bool(replica and healthy and not problems),
            problems=problems,
        )

    def _problems(
        self, facts: NodeFacts, known: KnownReplica | None, leader: NodeFacts | None, primary: Place | None
    ) -> list[str]:
        found = []
        if known is None or known.gone:
            found.append("the Sentinels do not reach it")
        if facts.priority == 0 or (known and known.priority == 0):
            found.append("replica-priority is 0: it is never promoted")
        if not facts.link_up or facts.master_place != primary:
            found.append(f"it has no link to {primary}")
        if leader and facts.replid != leader.replid:
            found.append("it has another history than the master")
        if not facts.read_only:
            found.append("replica-read-only is no: it may hold what its master never had")
        return found

    def _fencing(self, primary: Place | None) -> str | None:
        facts = self._facts.get(primary) if primary else None
        return "min-replicas-to-write: alone, it takes no writes" if facts and facts.demands_replicas else None

    def _notes(self, word: Word, masters: Sequence[Place]) -> list[str]:
        notes = [f"a Sentinel could not be asked: {said}" for said in word.silent]
        if len(word.masters) > 1:
            notes.append(f"the Sentinels name several masters: {', '.join(map(str, word.masters))}")
        if len(masters) > 1:
            notes.append(f"several nodes say that they are master: {', '.join(map(str, masters))}")
        evicts = next((facts.evicts for facts in self._facts.values() if facts.evicts), None)
        if evicts:
            notes.append(f"maxmemory-policy {evicts} may evict the probe's keys, which would count as lost")
        return notes


class SentinelFailover:
    """Opens it."""

    providers: tuple[str, ...] = (SENTINEL,)

    @contextmanager
    def open(self, site: Site, mode: FailoverMode) -> Iterator[FailoverProvider]:
        """UserFault(ProviderUnsupported) for another provider, or without Sentinels."""
        given = site.provider
        if given.provider != SENTINEL:
            message = f"Redis is failed over by provider {SENTINEL} in this release, not by {given.provider}"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        if not given.endpoints or not given.master_name:
            message = "provider Sentinel needs spec.replication.endpoints (host:port of each Sentinel) and masterName"
            raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
        mover = replace(site.probe, credentials=site.operator.login)
        places = [Place.parse(one) for one in given.endpoints]
        sentinels = Sentinels(mover, places, given.master_name, site.operator.sentinel, site.pulse)
        probe = Nodes(site.probe, lambda: None)
        clients = Clients(site.probe, given.master_name)
        yield SentinelProvider(site, sentinels, Nodes(mover, site.pulse), probe, Keys.of(site), clients)


FAILOVER: Failover = SentinelFailover()
