"""Which node to copy from: a replica that follows its master, found from any node or Sentinel; else a lone master.

A client that asks for a copy counts as a replica while it is served: Sentinel lists it, and a master that demands
replicas may take it for one. So a master that is watched, or that demands replicas, is left alone (see `preflight.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.reaching import combined
from databosun.engines.redis.connect import Endpoint, endpoints_of, open_wire
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import Reply, ReplyError, Wire
from databosun.engines.redis.server import Node, ServerFacts, ask_watched, gather_server

_GONE = ("s_down", "o_down", "disconnected")
_MOST_ABOVE = 4


@dataclass
class _Search:
    """What was seen so far; each address is asked once."""

    target: Target
    pulse: Callable[[], None]
    seen: dict[tuple[str, int], ServerFacts] = field(default_factory=dict)
    errors: list[DatabosunError] = field(default_factory=list)
    tried: set[tuple[str, int]] = field(default_factory=set)


def choose_source(target: Target, pulse: Callable[[], None] = lambda: None) -> ServerFacts:
    """The node to copy from: the replica last heard of by its master most lately, else the master, else any.

    Raises what the hosts said where none answers; a wrong password on one does not hide a good one.
    """
    search = _look_around(target, pulse)
    _demand_one_history(search)
    replicas = _usable(search)
    if not replicas:
        for facts in list(search.seen.values()):
            _look_at_nodes(search, facts.replicas)
        replicas = _usable(search)
    if replicas:
        return min(replicas, key=lambda facts: facts.silent_seconds)
    found = [facts for facts in search.seen.values() if facts.mode != "sentinel"]
    masters = [facts for facts in found if facts.master]
    if not found:
        raise combined(search.errors)
    return _with_watch(target, masters[0], pulse) if masters else found[0]


def choose_master(target: Target, pulse: Callable[[], None] = lambda: None) -> ServerFacts:
    """The node that takes writes. WorldFault(ServerNotReady, SeveralMasters) where there is none, or more than one."""
    search = _look_around(target, pulse)
    _demand_one_history(search)
    masters = [facts for facts in search.seen.values() if facts.master and facts.mode != "sentinel"]
    if masters:
        return masters[0]
    if not search.seen:
        raise combined(search.errors)
    names = ", ".join(str(facts.endpoint) for facts in search.seen.values())
    message = f"no master answers, only {names}; list it in spec.connection.hosts, or wait for the failover"
    raise WorldFault(Reason.SERVER_NOT_READY, message)


def master_since(target: Target, endpoint: Endpoint, pulse: Callable[[], None] = lambda: None) -> int:
    """For how many seconds at least a node has been the master, as the Sentinels among the hosts saw; else 0."""
    search = _look_around(target, pulse)
    found = [0]
    for facts in search.seen.values():
        if facts.mode == "sentinel":
            masters, _ = _ask_sentinel(search, facts)
            found += [
                int(one.get("role-reported-time", "0")) // 1000
                for one in masters
                if one.get("role-reported") == "master" and _is_at(one, endpoint)
            ]
    return max(found)


def _is_at(one: Mapping[str, str], endpoint: Endpoint) -> bool:
    try:
        places = endpoints_of(one.get("ip", ""), int(one.get("port", "0")))
    except DatabosunError:
        return False
    return any((place.address, place.port) == (endpoint.address, endpoint.port) for place in places)


def find_master(target: Target, facts: ServerFacts) -> ServerFacts | None:
    """The master that a replica follows, over others or not; None where it cannot be asked, or is no replica's.

    How far behind a replica is only its master knows: what is on its way to it may be the writes of seconds.
    """
    search, above = _Search(target, lambda: None), facts.above
    for _ in range(_MOST_ABOVE):
        if above is None:
            return None
        known = set(search.seen)
        _look_at(search, above.host, above.port)
        found = next((search.seen[place] for place in search.seen.keys() - known), None)
        if found is None or found.master:
            return found if found is not None and found.replid == facts.replid else None
        above = found.above
    return None


def _look_around(target: Target, pulse: Callable[[], None]) -> _Search:
    """Every listed host, and what Sentinels among them know."""
    search = _Search(target, pulse)
    for host in target.database.hosts:
        _look_at(search, host, target.database.port)
    for facts in list(search.seen.values()):
        if facts.mode == "sentinel":
            _follow_sentinel(search, facts)
    return search


def _demand_one_history(search: _Search) -> None:
    """WorldFault(SeveralMasters): whose data would be taken is anybody's guess, as in the middle of a failover."""
    masters = [facts for facts in search.seen.values() if facts.master and facts.mode != "sentinel"]
    if len({facts.replid for facts in masters}) > 1 and not any(facts.cluster for facts in masters):
        names = ", ".join(f"{facts.endpoint}" for facts in masters)
        message = (
            f"several masters answer: {names}; list the nodes of one database only, or wait until the failover is "
            "over and the old master follows the new one"
        )
        raise WorldFault(Reason.SEVERAL_MASTERS, message)


def _usable(search: _Search) -> list[ServerFacts]:
    return [facts for facts in search.seen.values() if facts.usable_replica]


def _look_at_nodes(search: _Search, nodes: Iterable[Node]) -> None:
    for node in nodes:
        if node.host and node.port:
            _look_at(search, node.host, node.port)


def _look_at(search: _Search, host: str, port: int) -> None:
    """Every address of a name, since a Service without an address of its own stands for several nodes."""
    try:
        endpoints = endpoints_of(host, port)
    except DatabosunError as fault:
        search.errors.append(fault)
        return
    for endpoint in endpoints:
        place = (endpoint.address, endpoint.port)
        if place in search.tried:
            continue
        search.tried.add(place)
        try:
            search.seen[place] = _ask(search, endpoint)
        except DatabosunError as fault:
            search.errors.append(fault)


def _ask(search: _Search, endpoint: Endpoint) -> ServerFacts:
    """Its facts. A Sentinel that has no users is asked without a login."""
    try:
        with open_wire(search.target, endpoint, search.pulse) as wire:
            return gather_server(wire, search.target, endpoint)
    except UserFault as fault:
        if fault.reason != Reason.WRONG_PASSWORD:
            raise
        try:
            with open_wire(search.target, endpoint, search.pulse, login=False) as wire:
                facts = gather_server(wire, search.target, endpoint)
        except DatabosunError:
            raise fault from None
        if facts.mode != "sentinel":
            raise
        return replace(facts, watched=None)


def _follow_sentinel(search: _Search, facts: ServerFacts) -> None:
    """The nodes of the one master that a Sentinel watches. UserFault(SeveralMasters) where there are more."""
    masters, replicas = _ask_sentinel(search, facts)
    nodes = [*replicas, *masters]
    alive = [one for one in nodes if not any(word in one.get("flags", "") for word in _GONE)]
    _look_at_nodes(search, [Node(one.get("ip", ""), int(one.get("port", "0"))) for one in alive])


def _ask_sentinel(search: _Search, facts: ServerFacts) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The one master that it watches, and its replicas; neither where it does not answer."""
    login = facts.watched is not None
    try:
        with (
            open_wire(search.target, facts.endpoint, search.pulse, login=login) as wire,
            guarded(f"asking the Sentinel {facts.endpoint}", search.target.credentials.username),
        ):
            masters = _entries(wire.call("SENTINEL", "MASTERS"))
            names = [one["name"] for one in masters]
            if len(names) != 1:
                message = (
                    f"the Sentinel {facts.endpoint} watches {len(names)} masters ({', '.join(names) or 'none'}); "
                    "list the "
                    "nodes of the one to back up in spec.connection.hosts instead"
                )
                raise UserFault(Reason.SEVERAL_MASTERS, message)
            return masters, _entries(_replicas(wire, names[0]))
    except WorldFault as fault:
        search.errors.append(fault)
        return [], []


def _replicas(wire: Wire, name: str) -> Reply:
    try:
        return wire.call("SENTINEL", "REPLICAS", name)
    except ReplyError:
        return wire.call("SENTINEL", "SLAVES", name)


def _entries(reply: Reply) -> list[dict[str, str]]:
    found = []
    for entry in reply if isinstance(reply, list) else []:
        parts = entry if isinstance(entry, list) else []
        words = [word.decode("utf-8", "replace") for word in parts if isinstance(word, bytes)]
        found.append(dict(zip(words[::2], words[1::2], strict=False)))
    return found


def _with_watch(target: Target, facts: ServerFacts, pulse: Callable[[], None]) -> ServerFacts:
    with (
        open_wire(target, facts.endpoint, pulse) as wire,
        guarded(f"asking {facts.endpoint} for its Sentinels", target.credentials.username),
    ):
        return replace(facts, watched=ask_watched(wire))
