"""One look at a replica set: who is what, how far each lies behind, and who could take over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from databosun.api.failover import Member, MemberRole, Topology
from databosun.engines.mongodb.failover.members import Members, SetFacts
from databosun.engines.mongodb.failover.words import SECONDARY, Configured, Hello, Standing, order

REPLICA_SET = "ReplicaSet"


@dataclass(frozen=True, slots=True)
class Look:
    """`said`: what each member that holds data answered, or why it did not. `leader`: the one that takes writes, where
    no other one says so, too."""

    facts: SetFacts
    said: Mapping[str, Hello | str]
    leader: Hello | None

    @property
    def primaries(self) -> list[str]:
        """Everybody who takes writes by his own word."""
        return [name for name, said in self.said.items() if isinstance(said, Hello) and said.writable]

    def topology(self, notes: list[str]) -> Topology:
        """As the agent tells it. Arbiters hold no data, and are no members of it."""
        config = self.facts.config
        arbiters = [one.name for one in config.members if one.arbiter]
        told = list(notes)
        if len(self.primaries) > 1:
            told.append(f"several members take writes: {', '.join(self.primaries)}")
        if arbiters:
            told.append(f"arbiters, which hold no data: {', '.join(arbiters)}")
        return Topology(
            observed_at=datetime.now(UTC),
            provider=REPLICA_SET,
            primary=self.leader.name if self.leader else None,
            members=[self._member(one) for one in config.bearing],
            synchronous="write concern majority, which the writers ask for",
            fencing=f"a primary that reaches no majority steps down within {config.election:g} s, and acknowledges no "
            "write with majority until then",
            notes=told,
        )

    def _member(self, one: Configured) -> Member:
        said, standing = self.said[one.name], self.facts.status.members.get(one.name)
        role = MemberRole.UNKNOWN
        if isinstance(said, Hello):
            role = MemberRole.PRIMARY if said.writable else MemberRole.REPLICA
        problems = self._problems(one, said, standing) if role is not MemberRole.PRIMARY else []
        mark = said.mark if isinstance(said, Hello) else None
        follows = isinstance(said, Hello) and said.secondary and standing is not None and standing.healthy
        host, port = one.place
        return Member(
            name=one.name,
            host=host,
            port=port,
            role=role,
            healthy=role is MemberRole.PRIMARY or follows,
            state=standing.word if standing else None,
            lag_seconds=self._behind(said) if role is MemberRole.REPLICA else None,
            position=f"{mark} of term {mark.term}" if mark else None,
            timeline=mark.term if mark else None,
            synchronous=role is MemberRole.REPLICA and one.votes > 0,
            promotable=role is MemberRole.REPLICA and follows and not problems,
            problems=problems,
        )

    def _behind(self, said: Hello | str) -> float | None:
        if isinstance(said, str) or said.written is None or self.leader is None or self.leader.written is None:
            return None
        return max(0.0, (self.leader.written - said.written).total_seconds())

    def _problems(self, one: Configured, said: Hello | str, standing: Standing | None) -> list[str]:
        config = self.facts.config
        found = [said[:250]] if isinstance(said, str) else []
        if standing is None:
            found.append("the set's status does not name it")
        elif standing.state != SECONDARY:
            found.append(f"it is {standing.word}")
        elif standing.config_version not in (None, config.version):
            found.append(f"it has version {standing.config_version} of the configuration, the set {config.version}")
        if isinstance(said, Hello) and said.set_name != config.name:
            found.append(f"it is of the set {said.set_name}, not of {config.name}")
        if one.hidden:
            found.append("it is hidden: it is never elected")
        if one.delay:
            found.append(f"it lies behind by {one.delay} s on purpose (secondaryDelaySecs)")
        if one.priority == 0:
            found.append("its priority is 0: it is never elected")
        return found


def look(members: Members) -> Look:
    """Ask everybody anew, the primary first, so that what is merely on its way counts for little."""
    facts = members.facts()
    bearing = facts.config.bearing
    lead = sorted(bearing, key=lambda one: facts.status.members.get(one.name, _NOBODY).state != 1)
    asked = {one.name: members.look(one) for one in lead}
    said = {one.name: asked[one.name] for one in bearing}
    writable = [one for one in said.values() if isinstance(one, Hello) and one.writable]
    return Look(facts, said, writable[0] if len(writable) == 1 else None)


def has(said: Hello | str, wanted: Hello) -> bool:
    """Whether a member has all that another one had."""
    if isinstance(said, str) or said.mark is None or wanted.mark is None:
        return False
    return order(said.mark) >= order(wanted.mark)


_NOBODY = Standing(6, healthy=False, config_version=None)
