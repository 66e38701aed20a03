"""Which shards a cluster has, and which node of each to copy from; and whether that is still so afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.reaching import combined
from databosun.engines.redis.cluster import ClusterNode, Ranges, Shard, View, miscounted, parse_view, range_text
from databosun.engines.redis.connect import Endpoint, endpoints_of, open_wire
from databosun.engines.redis.faults import CLUSTER_NEEDED, guarded
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import shard_artefact
from databosun.engines.redis.resp import ReplyError, Wire
from databosun.engines.redis.server import ServerFacts, gather_server

Owner = tuple[str, Ranges, int]
"""A master by its id, its slots, and the epoch in which it got them."""

_MOVES = re.compile(rb"^cmdstat_migrate:calls=(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A shard, and the node to copy it from."""

    shard: Shard
    facts: ServerFacts

    @property
    def artefact(self) -> str:
        """Where its RDB goes."""
        return shard_artefact(self.shard.master.slots)


@dataclass(frozen=True, slots=True)
class Shards:
    """A whole cluster: each slot in one shard, by the word of every master, and none on its way. `asked`: who was asked
    first, whose address those that know none of their own are at. `moves`: how many keys each master had moved away."""

    target: Target
    asked: Endpoint
    sources: tuple[Source, ...]
    owners: frozenset[Owner]
    moves: Mapping[str, int]

    def demand_unchanged(self, pulse: Callable[[], None]) -> None:
        """WorldFault(ClusterChanged): a slot may be in two copies by now, or in none."""
        try:
            now, moves = _agreed(self.target, self.asked, [one.shard for one in self.sources], pulse)
        except DatabosunError as fault:
            message = (
                f"whether the shards are what they were cannot be said: {fault.message}; the next attempt looks anew"
            )
            raise WorldFault(Reason.CLUSTER_CHANGED, message) from fault
        if now != self.owners:
            changed = sorted(range_text(slots) for _, slots, _ in self.owners - now)
            message = (
                f"while the shards were copied, the masters of slots {' and '.join(changed)} changed: a slot might be "
                "in two copies, or in none; the next attempt looks anew"
            )
            raise WorldFault(Reason.CLUSTER_CHANGED, message)
        if moves != self.moves:  # a slot that was on its way, and put back, has the epoch that it had
            named = " and ".join(name for name, count in moves.items() if count != self.moves.get(name))
            message = (
                f"while the shards were copied, {named} moved keys to another master (MIGRATE), or its statistics were "
                "reset: a key might be in two copies, or in none; the next attempt looks anew"
            )
            raise WorldFault(Reason.CLUSTER_CHANGED, message)


def find_shards(target: Target, facts: ServerFacts, pulse: Callable[[], None] = lambda: None) -> Shards:
    """From any node. WorldFault(ServerNotReady) where the cluster is not whole, UserFault(PermissionDenied)."""
    with open_wire(target, facts.endpoint, pulse) as wire:
        view = ask_view(wire, target)
    shards = view.shards
    told = miscounted(shard.master.slots for shard in shards)
    if told:
        message = f"by the word of {facts.endpoint}, {told}; a backup holds each slot once: mend the cluster"
        raise WorldFault(Reason.SERVER_NOT_READY, message)
    owners, moves = _agreed(target, facts.endpoint, shards, pulse)
    sources = tuple(Source(shard, _choose(target, facts.endpoint, shard, pulse)) for shard in shards)
    return Shards(target, facts.endpoint, sources, owners, moves)


def ask_view(wire: Wire, target: Target) -> View:
    """What one node knows. UserFault(PermissionDenied)."""
    user = target.credentials.username or "default"
    try:
        said = wire.call("CLUSTER", "NODES")
        return parse_view(said if isinstance(said, bytes) else b"")
    except ReplyError as error:
        if not str(error).startswith("NOPERM"):
            raise
        message = f"{wire.where}: {error}; run `ACL SETUSER {user} {CLUSTER_NEEDED}` on every node, and keep it"
        raise UserFault(Reason.PERMISSION_DENIED, message) from error
    except ValueError as error:
        raise WorldFault(Reason.PROTOCOL_ERROR, f"{wire.where}: {error}") from error


def _agreed(
    target: Target, asked: Endpoint, shards: Sequence[Shard], pulse: Callable[[], None]
) -> tuple[frozenset[Owner], Mapping[str, int]]:
    """Who serves what, by the word of every master: only a slot's own master knows that it is on its way; and how often
    each has moved keys away."""
    views: dict[str, View] = {}
    moves: dict[str, int] = {}
    for shard in shards:
        endpoint = _places(asked, shard.master)[0]
        with open_wire(target, endpoint, pulse) as wire, guarded(f"asking {endpoint}", target.credentials.username):
            view = views[str(endpoint)] = ask_view(wire, target)
            moves[str(endpoint)] = _count_moves(wire)
        if view.myself is not None and view.myself.moving:
            slots = range_text([(slot, slot) for slot in view.myself.moving[:3]])
            message = f"{endpoint} says that slots {slots} are being moved; the next attempt looks anew"
            raise WorldFault(Reason.SERVER_NOT_READY, message)
    said = {name: frozenset((one.id, one.slots, one.epoch) for one in view.nodes if one.serves)
            for name, view in views.items()}  # fmt: skip
    if len(set(said.values())) > 1:
        message = f"{', '.join(said)} do not agree on who serves which slots; the next attempt looks anew"
        raise WorldFault(Reason.SERVER_NOT_READY, message)
    return next(iter(said.values())), moves


def _count_moves(wire: Wire) -> int:
    said = wire.call("INFO", "commandstats")
    found = _MOVES.search(said) if isinstance(said, bytes) else None
    return int(found[1]) if found else 0


def _choose(target: Target, asked: Endpoint, shard: Shard, pulse: Callable[[], None]) -> ServerFacts:
    """The replica last heard of by its master most lately; else the master."""
    found, errors = list[ServerFacts](), list[DatabosunError]()
    for node in (one for one in shard.replicas if not one.failing):
        try:
            facts = _facts(target, _places(asked, node)[0], pulse)
        except DatabosunError as fault:
            errors.append(fault)
        else:
            found += [facts] if facts.usable_replica else []
    if found:
        return min(found, key=lambda facts: facts.silent_seconds)
    try:
        return _facts(target, _places(asked, shard.master)[0], pulse)
    except DatabosunError as fault:
        raise combined([*errors, fault]) from fault


def _facts(target: Target, endpoint: Endpoint, pulse: Callable[[], None]) -> ServerFacts:
    with open_wire(target, endpoint, pulse) as wire:
        return gather_server(wire, target, endpoint)


def _places(asked: Endpoint, node: ClusterNode) -> tuple[Endpoint, ...]:
    return endpoints_of(node.host or asked.address, node.port)
