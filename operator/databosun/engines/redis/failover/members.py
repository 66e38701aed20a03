"""What Redis and Valkey have in common, whoever decides over the master: members, their problems, and order again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from databosun.api.failover import Member, MemberRole, Topology
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.failover import ProbeError, Watcher
from databosun.engines.redis.failover.nodes import NodeFacts, Nodes, Place

LOOK_SECONDS = 0.2


def ask_or_why(nodes: Nodes, place: Place) -> NodeFacts | str:
    """What it says of itself, or why it could not be asked. UserFault: a login that is wrong is no trait of a node."""
    try:
        return nodes.ask(place)
    except UserFault:
        raise
    except DatabosunError as fault:
        return fault.message


def member_of(place: Place, said: NodeFacts | str, leader: NodeFacts | None, problems: Iterable[str]) -> Member:
    """One node. `leader`: what the master says; `problems`: why a replica could not take over."""
    facts = said if isinstance(said, NodeFacts) else None
    found = [said] if isinstance(said, str) else []
    replica = facts is not None and not facts.master
    found += problems if replica else []
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
        promotable=bool(replica and healthy and not found),
        problems=found,
    )


def replica_problems(facts: NodeFacts, leader: NodeFacts | None, primary: Place | None) -> list[str]:
    """What its link, its history and its settings have against it."""
    found = []
    if not facts.link_up or facts.master_place != primary:
        found.append(f"it has no link to {primary}")
    if leader and facts.replid != leader.replid:
        found.append("it has another history than the master")
    if not facts.read_only:
        found.append("replica-read-only is no: it may hold what its master never had")
    return found


def eviction_notes(facts: Iterable[NodeFacts]) -> list[str]:
    """What could take the probe's keys."""
    evicts = next((one.evicts for one in facts if one.evicts), None)
    return [f"maxmemory-policy {evicts} may evict the probe's keys, which would count as lost"] if evicts else []


def not_following(nodes: Nodes, old: Place, master: Place) -> str | None:
    """What is missing until it follows the master and has what that had when it was asked; None: nothing."""
    leader, follower = nodes.ask(master), nodes.ask(old)
    if follower.master:
        return f"{old} is still a master"
    if follower.master_place != master or not follower.link_up:
        return f"{old} has no link to {master}"
    behind = leader.offset - nodes.ask(old).offset
    return f"{old} is {behind} bytes behind" if behind > 0 else None


def wait_for_order(
    topology: Callable[[], Topology], watch: Callable[[str, float], Watcher], seconds: float, disagreed: str
) -> Sequence[str]:
    """Until there is one master, and it takes a write; what is wrong all the same after `seconds`."""
    until = time.monotonic() + seconds
    said = ""
    while time.monotonic() < until:
        try:
            found = topology()
            if found.primary is not None and _takes_writes(watch(found.primary, 1.0)):
                return ()
            said = "; ".join(found.notes) or disagreed
        except DatabosunError as fault:
            said = fault.message
        except ProbeError as error:
            said = str(error)
        time.sleep(LOOK_SECONDS)
    return (f"no master has taken a write for {seconds:.0f} s: {said}",)


def _takes_writes(watcher: Watcher) -> bool:
    try:
        return watcher.takes_writes()
    finally:
        watcher.close()
