"""A Redis Cluster (and Valkey's), as the agent's provider of failovers. A test moves the master of one shard.

Which one: that whose slots hold the run's keys, so that over many runs all shards have their turn. The plan names it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Topology
from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.failover import FailoverFault, ProbeSession, Site, Watcher, probe_error
from databosun.engines.redis.cluster import ClusterNode, Shard, key_slot
from databosun.engines.redis.failover.clusterlook import CLUSTER_MOVER_GRANTS, Cluster, Look
from databosun.engines.redis.failover.clusterswitch import ClusterSwitch
from databosun.engines.redis.failover.guards import mover_guard, probe_guard
from databosun.engines.redis.failover.members import (
    ask_or_why,
    eviction_notes,
    member_of,
    not_following,
    replica_problems,
    wait_for_order,
)
from databosun.engines.redis.failover.nodes import NodeFacts, Nodes, Place
from databosun.engines.redis.failover.probe import WATCHED, Keys, Session, read_bits, remove_keys
from databosun.engines.redis.failover.routed import Routes
from databosun.engines.redis.faults import guarded

CLUSTER = "RedisCluster"
AGREE_SECONDS = 10.0
_MOVES = (("CLUSTER", "FAILOVER", "x"),)
_FENCING = "cluster-node-timeout: a master that most others do not reach takes no writes after it"
_NAMED = 3


@dataclass
class ClusterProvider:
    """One shard of one cluster. `members`: who answered with which run id, so that a client knows whom it talks to."""

    site: Site
    cluster: Cluster
    nodes: Nodes
    probe: Nodes
    keys: Keys
    members: dict[str, str] = field(default_factory=dict)
    _look: Look | None = None
    _promoted: Place | None = None
    _facts: dict[Place, NodeFacts] = field(default_factory=dict)

    @property
    def slot(self) -> int:
        """Of all keys of the run."""
        return key_slot(self.keys.key(WATCHED).encode())

    def topology(self) -> Topology:
        """What every node says, all asked anew: the shard's nodes are the members."""
        self._look = look = self.cluster.look(self._known())
        shard = look.view.shard_of(self.slot)
        nodes = [shard.master, *shard.replicas] if shard else []
        asked = {look.place(node): ask_or_why(self.nodes, look.place(node)) for node in nodes}
        self._facts = {place: said for place, said in asked.items() if isinstance(said, NodeFacts)}
        self.members |= {facts.run_id: str(place) for place, facts in self._facts.items()}
        primary = self._primary(look, shard)
        leader = self._facts.get(primary) if primary else None
        return Topology(
            observed_at=datetime.now(UTC),
            provider=CLUSTER,
            primary=str(primary) if primary else None,
            members=[
                member_of(place, said, leader, self._problems(node, said, leader, primary))
                for node, (place, said) in zip(nodes, asked.items(), strict=True)
            ],
            synchronous="asynchronous",
            fencing=_FENCING,
            shard=shard.slots if shard else None,
            notes=[*self._notes(look, shard), *eviction_notes(self._facts.values())],
        )

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one, or the replica that lacks the least."""
        fit = [one for one in topology.members if one.promotable]
        if planned is not None and any(one.name == planned for one in fit):
            return planned
        return min(fit, key=lambda one: (one.lag_bytes or 0, one.name)).name if fit else None

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """The whole cluster is in order, and the logins may do what they are to do."""
        primary = Place.parse(topology.primary) if topology.primary else None
        return [
            *(_cluster_guards(self._look) if self._look else ()),
            mover_guard(self.nodes, self._facts, _MOVES, CLUSTER_MOVER_GRANTS),
            *([probe_guard(self.probe, primary, self.keys)] if primary else []),
        ]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Safely, or as if the master were gone."""
        old, new = Place.parse(plan.primary), Place.parse(plan.candidate)
        switch = ClusterSwitch(self.cluster, self.slot)
        move = switch.forced if plan.mode is FailoverMode.FORCED_FAILOVER else switch.planned
        self._promoted = move(old, new, ordered)
        return str(self._promoted)

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It follows the master, and has what that had when it was asked."""
        old, master = Place.parse(plan.primary), self._master()
        if master == old:
            return "the cluster names no other master"
        return not_following(self.nodes, old, master)

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """None that could be told from heartbeats in the stream: what counts here are the writes."""
        return ()

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """A manual failover ends by itself, one way or the other, and stops writes meanwhile: wait until the shard has
        one master, and it takes a write."""
        return wait_for_order(self.topology, self.watch, seconds, "the nodes do not agree on a master")

    def prepare_probe(self) -> None:
        """Keys are made by the first write."""

    def remove_probe(self) -> None:
        """The keys of the run, at the master; they are gone from its replicas with that."""
        with self.probe.open(self._master()) as wire, guarded("removing the probe's keys", self.probe.user):
            remove_keys(wire, self.keys)

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where a client is sent."""
        return Routes(self.probe, self.keys, self.members, self._known).open(path, client, seconds)

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session at a node itself, which is not sent elsewhere."""
        try:
            wire = self.probe.open(Place.parse(member), seconds)
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        return Session(wire, self.keys, WATCHED, member, seconds)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the master holds."""
        with self.probe.open(self._master()) as wire, guarded("reading the probe's keys back", self.probe.user):
            return read_bits(wire, self.keys, clients)

    def _known(self) -> Sequence[Place]:
        look = self._look
        return [look.place(node) for node in look.view.nodes] if look else []

    def _master(self) -> Place:
        """Nodes tell each other of a new master within a moment; until then it is the one that was promoted here."""
        until = time.monotonic() + AGREE_SECONDS
        while True:
            topology = self.topology()
            if topology.primary is not None:
                return Place.parse(topology.primary)
            facts = self._facts.get(self._promoted) if self._promoted else None
            if facts is not None and facts.master and self._promoted is not None:
                return self._promoted
            if time.monotonic() > until:
                told = "; ".join(topology.notes)
                raise WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"the nodes do not agree on a master: {told}")
            self.site.pulse()
            time.sleep(0.2)

    def _primary(self, look: Look, shard: Shard | None) -> Place | None:
        """The master, where it says so itself, and no node that answers knows another one."""
        if shard is None:
            return None
        place = look.place(shard.master)
        facts = self._facts.get(place)
        named = {
            found.master.id if found else None for found in (one.shard_of(self.slot) for one in look.views.values())
        }
        return place if facts and facts.master and named == {shard.master.id} else None

    def _problems(
        self, node: ClusterNode, said: NodeFacts | str, leader: NodeFacts | None, primary: Place | None
    ) -> list[str]:
        found = []
        if node.failing:
            found.append(f"it is held for {','.join(sorted(node.flags))}")
        if "nofailover" in node.flags:
            found.append("cluster-replica-no-failover is yes: it is never promoted")
        return found + (replica_problems(said, leader, primary) if isinstance(said, NodeFacts) else [])

    def _notes(self, look: Look, shard: Shard | None) -> list[str]:
        shards = look.view.shards
        if shard is None:
            return [f"nobody serves slot {self.slot}, which the keys of this run are in"]
        return [f"the shard of slots {shard.slots}, one of {len(shards)}", *list(look.ill())[:_NAMED]]


def _cluster_guards(look: Look) -> list[GuardResult]:
    """No node is away, every slot is served, all agree, and no slot is on its way: so the masters can vote."""
    ill, moving = list(look.ill()), look.moving()
    more = f"; and {len(ill) - _NAMED} more" if len(ill) > _NAMED else ""
    return [
        GuardResult(
            name="clusterOk",
            ok=not ill,
            observed=("; ".join(ill[:_NAMED]) + more)[:1000] or f"{len(look.views)} nodes, all of them well",
            limit="cluster_state:ok, every slot served once, no node failing, by the word of all",
            message="bring the nodes back, or `CLUSTER FORGET` those that are gone for good" if ill else None,
        ),
        GuardResult(
            name="noMigration",
            ok=moving is None,
            observed=f"slots {moving} are being moved" if moving else "no slot is being moved",
            limit="no slot is being moved",
            message="wait until the resharding is over, or mend it (redis-cli --cluster fix)" if moving else None,
        ),
    ]
