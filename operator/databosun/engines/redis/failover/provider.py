"""Redis and Valkey under Sentinel, as the agent's provider of failovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Member, Topology
from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import (
    FailoverFault,
    ProbeSession,
    Site,
    Watcher,
    probe_error,
)
from databosun.engines.redis.failover.guards import kept_guard, mover_guard, probe_guard, quorum_guard
from databosun.engines.redis.failover.members import (
    ask_or_why,
    eviction_notes,
    member_of,
    not_following,
    replica_problems,
    wait_for_order,
)
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
    """One master set. `members`: who answered with which run id, so that a client knows whom it talks to; `struck`:
    the master is to be struck by a fault."""

    site: Site
    sentinels: Sentinels
    nodes: Nodes
    probe: Nodes
    keys: Keys
    clients: Clients
    struck: bool = False
    members: dict[str, str] = field(default_factory=dict)
    _word: Word | None = None
    _promoted: Place | None = None
    _facts: dict[Place, NodeFacts] = field(default_factory=dict)

    def topology(self) -> Topology:
        """What Sentinels and nodes say, all asked anew."""
        self._word = word = self.sentinels.ask()
        known = {one.place: one for one in word.replicas}
        places = list(dict.fromkeys([*word.masters, *known]))
        asked = {place: ask_or_why(self.nodes, place) for place in places}
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
        """Quorum, grants, and, where the master may be started again, whether it keeps what it has."""
        primary = Place.parse(topology.primary) if topology.primary else None
        return [
            quorum_guard(self._word),
            mover_guard(self.nodes, self._facts),
            *self._choice(topology, candidate),
            *([probe_guard(self.probe, primary, self.keys)] if primary else []),
            *([kept_guard(self._facts.get(primary) if primary else None)] if self.struck else []),
        ]

    def _choice(self, topology: Topology, candidate: str | None) -> list[GuardResult]:
        """Nobody tells Sentinels whom to promote: where all are equally far, they take whom `choose` says."""
        own = self.choose(topology, None)
        if candidate is None or own is None:
            return []
        ok = candidate == own
        advice = f"set replica-priority of {candidate} below that of all others, or let {own} be promoted"
        limit, message = f"{candidate}, which is to be promoted", None if ok else advice
        return [GuardResult(name="sentinelsChoice", ok=ok, observed=own, limit=limit, message=message)]

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
        return not_following(self.nodes, old, master)

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """None that could be told from heartbeats in the stream: what counts here are the writes."""
        return ()

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """A pause of ours runs out by itself within `PAUSE_SECONDS`, and the Sentinels demote a master that they have
        replaced: wait until there is one master, and it takes a write."""
        disagreed = "the Sentinels and the nodes do not agree on a master"
        left = wait_for_order(self.topology, self.watch, seconds, disagreed)
        return [f"{one}; a pause of ours ends by itself within {PAUSE_SECONDS} s" for one in left]

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

    def _member(self, place: Place, said: NodeFacts | str, known: KnownReplica | None, primary: Place | None) -> Member:
        leader = self._facts.get(primary) if primary else None
        problems = self._problems(said, known, leader, primary) if isinstance(said, NodeFacts) else []
        return member_of(place, said, leader, problems)

    def _problems(
        self, facts: NodeFacts, known: KnownReplica | None, leader: NodeFacts | None, primary: Place | None
    ) -> list[str]:
        found = []
        if known is None or known.gone:
            found.append("the Sentinels do not reach it")
        if facts.priority == 0 or (known and known.priority == 0):
            found.append("replica-priority is 0: it is never promoted")
        return found + replica_problems(facts, leader, primary)

    def _fencing(self, primary: Place | None) -> str | None:
        facts = self._facts.get(primary) if primary else None
        return "min-replicas-to-write: alone, it takes no writes" if facts and facts.demands_replicas else None

    def _notes(self, word: Word, masters: Sequence[Place]) -> list[str]:
        notes = [f"a Sentinel could not be asked: {said}" for said in word.silent]
        if len(word.masters) > 1:
            notes.append(f"the Sentinels name several masters: {', '.join(map(str, word.masters))}")
        if len(masters) > 1:
            notes.append(f"several nodes say that they are master: {', '.join(map(str, masters))}")
        return notes + eviction_notes(self._facts.values())


def open_sentinel(site: Site, mode: FailoverMode) -> SentinelProvider:
    """UserFault(ProviderUnsupported) without Sentinels."""
    given = site.provider
    if not given.endpoints or not given.master_name:
        message = "provider Sentinel needs spec.replication.endpoints (host:port of each Sentinel) and masterName"
        raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
    mover = replace(site.probe, credentials=site.operator.login)
    places = [Place.parse(one) for one in given.endpoints]
    sentinels = Sentinels(mover, places, given.master_name, site.operator.sentinel, site.pulse)
    probe = Nodes(site.probe, lambda: None)
    clients = Clients(site.probe, given.master_name)
    struck = mode is FailoverMode.FAULT_INJECTION
    return SentinelProvider(site, sentinels, Nodes(mover, site.pulse), probe, Keys.of(site), clients, struck)
