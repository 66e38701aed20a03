"""Asynchronous replication by GTID, of MariaDB and of MySQL, as the agent's provider of failovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from databosun.api.failover import FailbackWhen, FailoverMode, FailoverPlan, GuardResult, Member, MemberRole, Topology
from databosun.domain.errors import DatabosunError
from databosun.domain.failoverplan import way_back
from databosun.engines.base import Credentials
from databosun.engines.mysql.failover.base import SETTLE_LOOK_SECONDS, SqlProvider
from databosun.engines.mysql.failover.facts import NodeFacts, Place
from databosun.engines.mysql.failover.forced import ForcedSwitch
from databosun.engines.mysql.failover.guards import mover_guard, probe_guard, replication_guard
from databosun.engines.mysql.failover.switch import Switch
from databosun.engines.mysql.failover.words import Words
from databosun.engines.mysql.faults import guarded


@dataclass
class ReplicationProvider(SqlProvider):
    """One primary and its replicas. `strict`: asks of a replica what only a move of ours needs."""

    strict: ClassVar[bool] = True

    _facts: dict[Place, NodeFacts] = field(default_factory=dict)
    _unsettled: bool = False

    @property
    def provider(self) -> str:
        """As spec.replication.provider names it."""
        return self.words.provider

    def topology(self) -> Topology:
        """What each server says; the primary last, so that a replica never seems to hold what it has just got."""
        asked = {place: self._ask(place) for place in self.places}
        first = {place: said for place, said in asked.items() if isinstance(said, NodeFacts)}
        primaries = [place for place, facts in first.items() if facts.primary]
        again = {place: self._ask(place) for place in primaries}
        asked |= again
        self._facts = {place: said for place, said in asked.items() if isinstance(said, NodeFacts)}
        self.members = {facts.server_id: str(place) for place, facts in self._facts.items()}
        primary = primaries[0] if len(primaries) == 1 and primaries[0] in self._facts else None
        leader = self._facts.get(primary) if primary else None
        several = f"several servers take writes and follow nobody: {', '.join(map(str, primaries))}"
        return Topology(
            observed_at=datetime.now(UTC),
            provider=self.provider,
            primary=str(primary) if primary else None,
            members=[self._member(place, asked[place], primary, leader) for place in self.places],
            synchronous="semi-synchronous" if leader and leader.semi_sync else "asynchronous",
            fencing=None,
            notes=[several] if len(primaries) > 1 else [],
        )

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Grants, and the login by which the old primary is to follow."""
        ends = [Place.parse(name) for name in (topology.primary, candidate) if name is not None]
        follow = replication_guard(self.nodes.with_login(self._replication), ends)
        probe = [probe_guard(self.probe, Place.parse(topology.primary), self.tables)] if topology.primary else []
        return [mover_guard(self.nodes, list(self._facts), self.words.mover), follow, *probe]

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Safely, or as if the primary were gone."""
        self._switch(plan).move(*self._roles(plan), ordered)
        return plan.candidate

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It follows, and has what the new primary had when it was asked. One that was given up for gone is taken back
        as soon as it answers."""
        old, new, _ = self._roles(plan)
        if plan.mode is FailoverMode.FORCED_FAILOVER and (left := self._switch(plan).take_back(old, new)):
            return left[0]
        wanted, following = self.nodes.ask(new).position, self.nodes.ask(old).following
        if following is None:
            return f"{old} follows nobody"
        if following.problem or (following.host, following.port) != (new.host, new.port):
            return f"{old} does not follow {new}: {following.problem or following.host}"
        return self._lacking(old, wanted)

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """What any other server has logged that the new primary has not."""
        return self._held_alone(Place.parse(plan.candidate))

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """By the mark that the last move left; a server that is away is waited for, and then done without."""
        if plan is None:
            return ()
        left = self._settle(plan, seconds)
        self._unsettled = bool(left)
        return (
            [*left, f"until that is in order {self.tables.moves} at the primary stays, which says it"] if left else ()
        )

    def remove_probe(self) -> None:
        """Both tables; but what says that a primary was moved stays while that is not settled."""
        if not self._unsettled:
            super().remove_probe()
            return
        with self.probe.open(self._primary()) as connection, guarded("removing the table of the probe's clients"):
            self.tables.remove_writes(connection)

    def _settle(self, plan: FailoverPlan, seconds: float) -> Sequence[str]:
        plan = self._last_move(plan)
        switch, roles = self._switch(plan), self._roles(plan)
        until = time.monotonic() + seconds
        while True:
            try:
                return switch.settle(*roles)
            except DatabosunError as fault:
                said = f"what the move of {roles[0]} to {roles[1]} left could not be looked at: {fault.message}"
            if time.monotonic() > until:
                break
            time.sleep(SETTLE_LOOK_SECONDS)
        try:
            return [said, *switch.settle_without(*roles)]
        except DatabosunError as fault:
            return (said, fault.message)

    def _last_move(self, plan: FailoverPlan) -> FailoverPlan:
        """The move back, where that was begun: it marks its old primary, which is the first move's candidate."""
        if plan.failback is FailbackWhen.NEVER:
            return plan
        old, new, _ = self._roles(plan)
        for place in (new, old):
            with suppress(DatabosunError), self.probe.open(place) as connection, guarded(f"asking {place}"):
                if self.tables.marked(connection, new):
                    return way_back(self.site.run, plan, plan.candidate)
        return plan

    def _switch(self, plan: FailoverPlan) -> Switch:
        kind = ForcedSwitch if plan.mode is FailoverMode.FORCED_FAILOVER else Switch
        return kind(self.nodes, self.probe, self.tables, self._replication, self.site.probe.database.tls)

    @property
    def _replication(self) -> Credentials:
        return self.site.operator.replication or self.nodes.target.credentials

    def _roles(self, plan: FailoverPlan) -> tuple[Place, Place, list[Place]]:
        """The old primary, the new one, and all others."""
        old, new = Place.parse(plan.primary), Place.parse(plan.candidate)
        return old, new, [place for place in self.places if place not in (old, new)]

    def _member(self, place: Place, said: NodeFacts | str, primary: Place | None, leader: NodeFacts | None) -> Member:
        facts = said if isinstance(said, NodeFacts) else None
        following = facts.following if facts else None
        problems = [said] if isinstance(said, str) else []
        if facts is not None and not facts.primary:
            problems += _problems(facts, primary, leader, self.words, strict=self.strict)
        healthy = facts is not None and (facts.primary or (following is not None and following.problem is None))
        role = MemberRole.UNKNOWN if facts is None else MemberRole.PRIMARY if facts.primary else MemberRole.REPLICA
        return Member(
            name=str(place),
            host=place.host,
            port=place.port,
            role=role,
            healthy=healthy,
            state=None if facts is None else "read-only" if facts.read_only else "takes writes",
            lag_seconds=following.seconds if following else None,
            position=facts.position[:256] if facts else None,
            synchronous=False,
            promotable=role is MemberRole.REPLICA and healthy and not problems,
            problems=problems,
        )


def _problems(
    facts: NodeFacts, primary: Place | None, leader: NodeFacts | None, words: Words, *, strict: bool
) -> list[str]:
    """`strict`: also what only a move of ours asks for."""
    found = []
    following = facts.following
    if following is None:
        return ["it follows nobody, and takes no writes"]
    if following.problem:
        found.append(f"replication does not run: {following.problem}"[:250])
    if strict and primary and (following.host, following.port) != (primary.host, primary.port):
        found.append(f"it follows {following.host}:{following.port}, and not {primary}")
    if strict and not following.gtid:
        found.append(f"it does not replicate by GTID ({words.by_gtid})")
    if strict and facts.channels > 1:
        found.append(f"it has {facts.channels} sources; one is expected")
    if strict and not facts.logs:
        found.append(f"it does not log what it replicates ({words.logs})")
    if not facts.read_only:
        found.append("it takes writes (read_only is OFF): set it, or it will hold what its primary never had")
    if leader and (own := words.errant(facts.state, leader.state)):
        found.append(f"errant transactions, which the primary never had: {', '.join(own)}"[:250])
    return found
