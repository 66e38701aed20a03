"""One look at a whole cluster: every node is asked who serves what, and whether it finds the cluster in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import FailoverFault
from databosun.engines.reaching import combined
from databosun.engines.redis.cluster import ClusterNode, View, miscounted, parse_view, range_text
from databosun.engines.redis.failover.nodes import Nodes, Place
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, Wire

CLUSTER_MOVER_GRANTS = "+info +ping +cluster|nodes +cluster|info +cluster|failover"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Look:
    """`view`: of the first that answered, `seed`. `views`, `states`: of each that did; `silent`: why the others did
    not."""

    seed: Place
    view: View
    views: Mapping[Place, View]
    states: Mapping[Place, str]
    silent: Mapping[Place, str]

    def place(self, node: ClusterNode) -> Place:
        """Where it is; one that does not know its own address is where it was reached."""
        return Place(node.host or self.seed.host, node.port)

    def ill(self) -> Iterator[str]:
        """All that keeps the cluster from being in order, by the word of any node."""
        yield from (f"{place} does not answer: {why}" for place, why in self.silent.items())
        yield from (f"{place} says cluster_state:{said}" for place, said in self.states.items() if said != "ok")
        for place, view in self.views.items():
            for node in view.nodes:
                if node.failing:
                    yield f"{place} holds {self.place(node)} for {','.join(sorted(node.flags))}"
        if slots := miscounted(shard.master.slots for shard in self.view.shards):
            yield f"of the slots, {slots}"
        for place, view in self.views.items():
            if view.owners != self.view.owners:
                yield f"{place} and {self.seed} do not agree on who serves which slots"

    def moving(self) -> str | None:
        """Slots that are on their way from one shard to another."""
        found = sorted({slot for view in self.views.values() for node in view.nodes for slot in node.moving})
        return (
            range_text([(slot, slot) for slot in found[:_NAMED]]) + (" …" if found[_NAMED:] else "") if found else None
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes of one cluster, found from any of `seeds`."""

    nodes: Nodes
    seeds: Sequence[Place]

    def look(self, known: Sequence[Place] = ()) -> Look:
        """Ask all; `known`: nodes that may be asked where no seed answers. WorldFault(ProviderUnreachable) where none
        does; UserFault where none is of a cluster."""
        errors = list[DatabosunError]()
        for seed in [*self.seeds, *known]:
            try:
                view = self._ask(seed)[0]
            except DatabosunError as fault:
                errors.append(fault)
            else:
                return self._all(seed, view)
        why = combined(errors)
        kind = UserFault if isinstance(why, UserFault) else WorldFault
        raise kind(FailoverFault.PROVIDER_UNREACHABLE, f"no node of the cluster could be asked: {why.message}")

    def view(self, place: Place) -> View:
        """What one node knows."""
        return self._ask(place)[0]

    def _all(self, seed: Place, view: View) -> Look:
        views, states, silent = dict[Place, View](), dict[Place, str](), dict[Place, str]()
        for node in view.nodes:
            place = Place(node.host or seed.host, node.port)
            try:
                views[place], states[place] = self._ask(place)
            except UserFault:
                raise
            except DatabosunError as fault:
                silent[place] = fault.message
        return Look(seed, view, views, states, silent)

    def _ask(self, place: Place) -> tuple[View, str]:
        with self.nodes.open(place) as wire, guarded(f"asking {place}", self.nodes.user):
            try:
                view = parse_view(_text(wire, "NODES"))
                return view, _state(_text(wire, "INFO"))
            except ReplyError as error:
                raise self._refused(place, error) from error
            except ValueError as error:
                raise WorldFault(Reason.PROTOCOL_ERROR, f"{place}: {error}") from error

    def _refused(self, place: Place, error: ReplyError) -> DatabosunError:
        said = str(error)
        if said.startswith("NOPERM"):
            message = f"{place}: {said}; run `ACL SETUSER {self.nodes.user} {CLUSTER_MOVER_GRANTS}` on every node"
            return UserFault(Reason.PERMISSION_DENIED, message)
        if "cluster support disabled" in said:
            message = f"{place} is no node of a cluster ({said}); correct spec.replication of the Database"
            return UserFault(FailoverFault.PROVIDER_REFUSED, message)
        return WorldFault(Reason.DATABASE_ERROR, f"asking {place}: {said}")


def _text(wire: Wire, what: str) -> bytes:
    said = wire.call("CLUSTER", what)
    return said if isinstance(said, bytes) else b""


def _state(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").splitlines()
    return next((line.partition(":")[2] for line in lines if line.startswith("cluster_state:")), "unknown")
