"""MySQL's Group Replication with a single primary: the group hands over, and the group elects."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pymysql

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, Member, MemberRole, Topology
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import FailoverFault, ProbeError
from databosun.engines.mysql.connect import rows
from databosun.engines.mysql.failover.base import SETTLE_LOOK_SECONDS, SqlProvider
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.groupguards import examine_group
from databosun.engines.mysql.failover.groupview import MOVE, ONLINE, MemberFacts, ask_member, long_transactions, moving
from databosun.engines.mysql.failover.probe import read_rows
from databosun.engines.mysql.failover.words import run
from databosun.engines.mysql.faults import driver_fault, guarded

GROUP_REPLICATION = "GroupReplication"
OPEN_SECONDS = 5
"""So long the group waits for open transactions; then it ends their sessions, and hands over."""
ANSWER_SECONDS = 5.0
PROMOTED_SECONDS = 20.0


@dataclass
class GroupProvider(SqlProvider):
    """One group, all of whose members are hosts of the Database."""

    mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER
    _facts: dict[Place, MemberFacts] = field(default_factory=dict)

    def topology(self) -> Topology:
        """What each member says; who leads last, so that no other seems to hold what it has just got."""
        asked = {place: self._look(place) for place in self.places}
        leading = [place for place, said in asked.items() if isinstance(said, MemberFacts) and said.leads]
        asked |= {place: self._look(place) for place in leading}
        self._facts = {place: said for place, said in asked.items() if isinstance(said, MemberFacts)}
        self.members = {facts.server_id: str(place) for place, facts in self._facts.items()}
        primary = leading[0] if len(leading) == 1 and leading[0] in self._facts else None
        leader = self._facts.get(primary) if primary else None
        return Topology(
            observed_at=datetime.now(UTC),
            provider=GROUP_REPLICATION,
            primary=str(primary) if primary else None,
            members=[self._member(place, asked[place], leader) for place in self.places],
            synchronous=f"Group Replication, consistency {leader.consistency}" if leader else None,
            fencing="a member without the majority commits nothing" if leader else None,
            notes=[f"several members take writes: {', '.join(map(str, leading))}"] if len(leading) > 1 else [],
        )

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one, or whom the group would elect: of the greatest weight, then of the lowest uuid."""
        fit = {one.name for one in topology.members if one.promotable}
        ranked = sorted((-facts.weight, facts.uuid, str(place)) for place, facts in self._facts.items())
        order = [name for _, _, name in ranked if name in fit]
        return planned if planned in fit else next(iter(order), None) if planned is None else None

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Grants, and that the group can do without one member."""
        primary = Place.parse(topology.primary) if topology.primary else None
        found = examine_group(self.nodes, self.probe, self.tables, self._facts, self.places, primary, self.mode)
        if self.mode is FailoverMode.PLANNED_SWITCHOVER and primary is not None:
            found.append(self._nothing_long(primary))
        return found

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """The group hands over: blocks new transactions, waits for open ones, and ends what takes longer."""
        old, new = Place.parse(plan.primary), Place.parse(plan.candidate)
        candidate = self._ask_member(new)
        with self.nodes.open(old) as connection:
            connection._read_timeout = OPEN_SECONDS + ANSWER_SECONDS
            refused: pymysql.MySQLError | OSError | None = None
            ordered()
            try:
                rows(connection, MOVE, (candidate.uuid, OPEN_SECONDS))
            except (pymysql.MySQLError, OSError) as error:  # it may have been done all the same: it is looked
                refused = error
        return self._after(old, new, refused)

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It is in the group, and has what the new primary had when it was asked."""
        old, new = Place.parse(plan.primary), Place.parse(plan.candidate)
        wanted, found = self._ask_member(new).executed, self._ask_member(old)
        if found.state != ONLINE or found.leads:
            return f"{old} is {found.state}{' and takes writes' if found.leads else ''}; it should follow the group"
        return self._lacking(old, wanted)

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """What any other member holds that the new primary does not."""
        return self._held_alone(Place.parse(plan.candidate))

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """A handover that was begun the group ends by itself: it is waited for, and for one that takes writes."""
        until = time.monotonic() + seconds
        if plan is not None:
            with suppress(DatabosunError):  # who is away hands nothing over
                while self._moving(Place.parse(plan.primary)) and time.monotonic() < until:
                    time.sleep(SETTLE_LOOK_SECONDS)
        said = self._wait_for_a_primary(max(until - time.monotonic(), SETTLE_LOOK_SECONDS))
        todo = (
            "start its members, or see performance_schema.replication_group_members and group_replication_force_members"
        )
        return (f"{said}; {todo}",) if said else ()

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the primary holds, once it has applied what it took over."""
        with self.probe.open(self._primary()) as connection, guarded("reading the probe's rows back"):
            run(connection, "SET SESSION group_replication_consistency = 'BEFORE'")
            return read_rows(connection, self.tables, clients)

    def _after(self, old: Place, new: Place, refused: Exception | None) -> str:
        until = time.monotonic() + PROMOTED_SECONDS
        said = str(driver_fault(refused, "it") if isinstance(refused, pymysql.MySQLError) else refused or "")
        while time.monotonic() < until:
            self.site.pulse()  # what was told goes on: settling waits for it
            with suppress(DatabosunError, ProbeError):
                primary = self.topology().primary
                if primary == str(new) and self._takes_writes(primary):
                    return primary
                if refused is not None and primary == str(old) and not self._moving(old):
                    break
            time.sleep(SETTLE_LOOK_SECONDS / 5)
        message = f"{old} was told to hand over to {new}, which is not the primary{': ' if said else ''}{said}"
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def _nothing_long(self, primary: Place) -> GuardResult:
        with self.nodes.open(primary) as connection, guarded(f"asking {primary} for open transactions"):
            found = long_transactions(connection, OPEN_SECONDS)
        return GuardResult(
            name="noLongTransactions",
            ok=not found,
            observed=f"sessions {', '.join(map(str, found[:8]))}" if found else "none",
            limit=f"no transaction open for {OPEN_SECONDS} s",
            message=f"the group would end them: wait for them, or end them at {primary} (KILL)" if found else None,
        )

    def _moving(self, place: Place) -> bool:
        with self.nodes.open(place) as connection, guarded(f"asking {place} whether it hands over"):
            return moving(connection)

    def _ask_member(self, place: Place) -> MemberFacts:
        with self.nodes.open(place) as connection, guarded(f"asking {place} for its place in the group"):
            return ask_member(connection)

    def _look(self, place: Place) -> MemberFacts | str:
        try:
            return self._ask_member(place)
        except UserFault as fault:
            raise self.advised(fault, "SELECT ON performance_schema.*") from fault
        except DatabosunError as fault:
            return fault.message

    def _member(self, place: Place, said: MemberFacts | str, leader: MemberFacts | None) -> Member:
        facts = said if isinstance(said, MemberFacts) else None
        own = facts.own if facts else None
        leads = facts is not None and facts.leads
        problems = [said] if isinstance(said, str) else []
        if facts is not None and not leads:
            problems += self._problems(facts, leader)
        role = MemberRole.UNKNOWN if own is None else MemberRole.PRIMARY if leads else MemberRole.REPLICA
        return Member(
            name=str(place),
            host=place.host,
            port=place.port,
            role=role,
            healthy=own is not None and own.state == ONLINE,
            state=facts.state if facts else None,
            lag_seconds=facts.seconds if facts else None,
            position=facts.executed[:256] if facts else None,
            synchronous=own is not None and own.state == ONLINE,
            promotable=role is MemberRole.REPLICA and not problems,
            problems=problems,
        )

    def _problems(self, facts: MemberFacts, leader: MemberFacts | None) -> list[str]:
        found = []
        if facts.state != ONLINE:
            found.append(f"it is {facts.state}, and not {ONLINE}")
        if not facts.read_only:
            found.append("it takes writes (super_read_only is OFF), and is not the primary")
        if leader and facts.uuid not in leader.view:
            found.append("the primary does not know it")
        if leader and (own := self.words.errant(facts.executed, leader.executed)):
            found.append(f"errant transactions, which the primary never had: {', '.join(own)}"[:250])
        return found
