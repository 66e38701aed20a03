"""One look at a cluster under Patroni: who leads, how far each replica is, and why one could not take over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from databosun.api.failover import Member, MemberRole, Topology
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.failover import FailoverFault
from databosun.engines.postgresql.failover.switch import Members
from databosun.engines.postgresql.failover.words import (
    Cluster,
    Listed,
    NodeFacts,
    fencing,
    lsn,
    replication_mode,
)

PATRONI = "Patroni"
CAUGHT_UP_SECONDS = 1.0
LOOK_SECONDS = 0.1
LOOP_WAIT = 10.0
"""Patroni's own, where nobody says another."""
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Look:
    """What was found. `said`: facts, or why a member could not be asked; `leader`: where it is one by its own word,
    and the only one."""

    cluster: Cluster
    config: Mapping[str, Any]
    said: Mapping[str, NodeFacts | str]
    leader: NodeFacts | None

    @property
    def primaries(self) -> list[str]:
        """All that say they are one."""
        return [name for name, facts in self.said.items() if isinstance(facts, NodeFacts) and facts.primary]

    @property
    def loop_wait(self) -> float:
        """Seconds from one loop of a member to the next."""
        said = self.config.get("loop_wait")
        return float(said) if isinstance(said, int | float) else LOOP_WAIT

    def follows(self, name: str) -> bool:
        """By its own word, or by the leader's."""
        facts = self.said.get(name)
        streams = isinstance(facts, NodeFacts) and not facts.primary and facts.streams
        return streams or (self.leader is not None and name in self.leader.followers)

    def topology(self) -> Topology:
        """As it is told."""
        first = self.leader.name if self.leader else None
        return Topology(
            observed_at=datetime.now(UTC),
            provider=PATRONI,
            primary=first,
            members=[self._member(one) for one in self.cluster.members],
            synchronous=replication_mode(self.config),
            fencing=fencing(self.config, self.leader),
            notes=self._notes(),
        )

    def _member(self, listed: Listed) -> Member:
        said = self.said[listed.name]
        facts = said if isinstance(said, NodeFacts) else None
        replica = facts is not None and not facts.primary
        problems = [said] if isinstance(said, str) else []
        if replica and facts is not None:
            problems += self._problems(listed, facts)
        follows = self.follows(listed.name)
        behind = self._behind(facts) if replica and facts is not None else None
        return Member(
            name=listed.name,
            host=listed.host,
            port=listed.port,
            role=MemberRole.UNKNOWN if facts is None else MemberRole.REPLICA if replica else MemberRole.PRIMARY,
            healthy=facts is not None and (follows if replica else facts.running),
            state=facts.state if facts else listed.state,
            lag_bytes=behind,
            lag_seconds=_seconds(facts, behind) if replica and facts is not None else None,
            position=lsn(facts.position) if facts and facts.position is not None else None,
            timeline=facts.timeline if facts else listed.timeline,
            synchronous=listed.synchronous,
            promotable=bool(replica and follows and not problems),
            problems=problems,
        )

    def _problems(self, listed: Listed, facts: NodeFacts) -> list[str]:
        found = []
        if not self.follows(listed.name):
            found.append(f"it does not stream from the primary: {facts.state}")
        if listed.priority <= 0:
            found.append("it is tagged nofailover, or failover_priority 0")
        if self.leader and facts.timeline != self.leader.timeline:
            found.append(f"it is on timeline {facts.timeline}, the primary on {self.leader.timeline}")
        if facts.position is None:
            found.append("it does not tell how far it is")
        if facts.replay_paused:
            found.append("its replay is paused (pg_wal_replay_resume)")
        if self.config.get("synchronous_mode") in (True, "on") and not listed.synchronous:
            found.append("replication is synchronous, and the primary does not wait for it: Patroni would not let it")
        if facts.watchdog_failed:
            found.append("its watchdog does not work, and Patroni demands one")
        return found

    def _behind(self, facts: NodeFacts) -> int | None:
        if self.leader is None or self.leader.position is None or facts.position is None:
            return None
        return max(0, self.leader.position - facts.position)

    def _notes(self) -> list[str]:
        notes = []
        if len(self.primaries) > 1:
            notes.append(f"several members take writes: {', '.join(self.primaries)}")
        if replication_mode(self.config) == "asynchronous":
            most = self.config.get("maximum_lag_on_failover", _MEBIBYTE)
            notes.append(f"a replica that lacks up to {most} bytes may be promoted (maximum_lag_on_failover)")
        return notes


def look(members: Members) -> Look:
    """Ask everybody anew; the leader first, and what it had by then is waited for a moment, so that what is merely on
    its way counts for nothing. WorldFault; UserFault where the cluster has no primary of its own."""
    cluster, config = members.cluster(), members.rest.read("/config").document()
    other = cluster.follows_another
    if other is not None:
        message = (
            f"{cluster.scope} is a standby cluster, and {other.name} follows a primary elsewhere: nothing in it can be "
            "promoted; test the cluster that it follows"
        )
        raise UserFault(FailoverFault.PROVIDER_REFUSED, message)
    lead = cluster.leader
    said: dict[str, NodeFacts | str] = {one.name: "not asked" for one in cluster.members}
    leader = _ask(members, lead) if lead else "nobody leads"
    wanted = leader.position if isinstance(leader, NodeFacts) and leader.primary else None
    for one in cluster.members:
        said[one.name] = leader if one is lead else _ask_caught_up(members, one, wanted)
    found = Look(cluster, config, said, None)
    lone = isinstance(leader, NodeFacts) and leader.running and found.primaries == [leader.name]
    return Look(cluster, config, said, leader if lone and isinstance(leader, NodeFacts) else None)


def _ask(members: Members, one: Listed) -> NodeFacts | str:
    try:
        return members.ask(one)
    except WorldFault as fault:
        return fault.message


def _ask_caught_up(members: Members, one: Listed, wanted: int | None) -> NodeFacts | str:
    until = time.monotonic() + CAUGHT_UP_SECONDS
    while True:
        said = _ask(members, one)
        if isinstance(said, str) or said.primary or _has(said, wanted) or time.monotonic() > until:
            return said
        time.sleep(LOOK_SECONDS)


def _has(facts: NodeFacts, wanted: int | None) -> bool:
    """Received and replayed."""
    known = facts.position, facts.replayed
    return wanted is None or all(one is not None and one >= wanted for one in known)


def _seconds(facts: NodeFacts, behind: int | None) -> float | None:
    """How old the newest commit is that it has replayed, where it lacks something; the clock is the agent's."""
    if behind == 0 and facts.position == facts.replayed:
        return 0.0
    if facts.replayed_at is None:
        return None
    return max(0.0, round((datetime.now(UTC) - facts.replayed_at).total_seconds(), 1))
