"""PostgreSQL in a StatefulSet: who is primary the members say themselves, and who promotes there does so unasked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from databosun.api.failover import FailoverPlan, GuardResult, Member, MemberRole, Topology
from databosun.engines.failover import STATEFUL_SET, Declined, FailoverFault, ProbeError
from databosun.engines.postgresql.failover.base import SqlProvider
from databosun.engines.postgresql.failover.probe import Said
from databosun.engines.postgresql.failover.words import lsn

ASK_SECONDS = 3.0
CAUGHT_UP_SECONDS = 1.0
LOOK_SECONDS = 0.1


@dataclass
class StatefulProvider(SqlProvider):
    """`places`: where each member is asked, by its name."""

    name: ClassVar[str] = STATEFUL_SET
    places: dict[str, tuple[str, int]] = field(default_factory=dict)

    def look(self) -> Topology:
        """The primary is the only member that is not in recovery. It is asked first, and what it had written by then is
        waited for a moment at the others, so that what is merely on its way counts for nothing."""
        said = self.say_all()
        primaries = [name for name, one in said.items() if isinstance(one, Said) and not one.recovers]
        first = said[primaries[0]] if len(primaries) == 1 else None
        leader = first if isinstance(first, Said) else None
        if leader is not None:
            said |= {name: self._ask_caught_up(name, leader.position or 0) for name in said if name != primaries[0]}
        notes = [f"several members take writes: {', '.join(primaries)}"] if len(primaries) > 1 else []
        return Topology(
            observed_at=datetime.now(UTC),
            provider=self.name,
            primary=primaries[0] if len(primaries) == 1 else None,
            members=[self._told(name, one, leader) for name, one in said.items()],
            synchronous=_mode(leader),
            notes=notes,
        )

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one, or the first that could take over. Who promotes there may take another."""
        fit = [one.name for one in topology.members if one.promotable]
        return planned if planned in fit else next(iter(fit), None) if planned is None else None

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Access, and the table."""
        return self.probe_guards(topology)

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Nobody can be ordered to hand over."""
        raise Declined(FailoverFault.MODE_UNSUPPORTED, f"nobody can be told by the agent to replace {plan.primary}")

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """It follows, and has what the new primary had when it was asked."""
        found = self.topology()
        old = self._member(found, plan.primary)
        if found.primary is None or found.primary == plan.primary:
            return "; ".join(found.notes) or f"{found.primary or 'nobody'} takes writes"
        if old is None or not old.healthy:
            return f"{plan.primary} does not follow {found.primary}: {'; '.join(old.problems) if old else 'it is gone'}"
        return f"{old.name} is {old.lag_bytes} bytes behind" if old.lag_bytes else None

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """Who takes writes besides."""
        return self.topology().notes

    def say_all(self) -> dict[str, Said | str]:
        """Each by its own word, or why it says nothing."""
        return {name: self.ask(name) for name in self.places}

    def ask(self, name: str) -> Said | str:
        """One of them."""
        host, port = self.places[name]
        try:
            session = self.clients.watch(name, host, port, ASK_SECONDS)
        except ProbeError as error:
            return str(error)[:250]
        try:
            return session.say()
        except ProbeError as error:
            return str(error)[:250]
        finally:
            session.close()

    def _ask_caught_up(self, name: str, wanted: int) -> Said | str:
        until = time.monotonic() + CAUGHT_UP_SECONDS
        while True:
            said = self.ask(name)
            if isinstance(said, str) or not said.recovers or time.monotonic() > until:
                return said
            if said.position is not None and min(said.position, said.replayed or 0) >= wanted:
                return said
            time.sleep(LOOK_SECONDS)

    def _told(self, name: str, said: Said | str, leader: Said | None) -> Member:
        host, port = self.places[name]
        facts = said if isinstance(said, Said) else None
        problems = [said] if isinstance(said, str) else _problems(said)
        replica = facts is not None and facts.recovers
        has = None if facts is None else min(facts.position or 0, facts.replayed or 0) if replica else facts.position
        behind = max(0, (leader.position or 0) - (has or 0)) if replica and leader is not None else None
        return Member(
            name=name,
            host=host,
            port=port,
            role=MemberRole.UNKNOWN if facts is None else MemberRole.REPLICA if replica else MemberRole.PRIMARY,
            healthy=facts is not None and (facts.receives if replica else True),
            state=None if facts is None else "in recovery" if replica else "takes writes",
            lag_bytes=behind,
            lag_seconds=_seconds(facts, behind) if replica and facts is not None else None,
            position=lsn(has) if has is not None else None,
            promotable=replica and not problems,
            problems=problems,
        )


def by_name(places: Sequence[tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Members by their names."""
    return {f"{host}:{port}": (host, port) for host, port in places}


def _problems(said: Said) -> list[str]:
    if not said.recovers:
        return []
    found = [] if said.receives else ["it receives nothing from a primary"]
    return [*found, *(["its replay is paused (pg_wal_replay_resume)"] if said.paused else [])]


def _seconds(said: Said, behind: int | None) -> float | None:
    if behind == 0:
        return 0.0
    return None if said.age is None else max(0.0, round(said.age, 1))


def _mode(leader: Said | None) -> str | None:
    if leader is None:
        return None
    return f"synchronous ({leader.synchronous})" if leader.synchronous else "asynchronous"
