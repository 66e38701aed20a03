"""One look at an instance or cluster: who writes, who could take over, and where each is reached.

The standby of a Multi-AZ instance has no name and lets nobody in: its two members are the zones. Those of a cluster are
its instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from databosun.api.failover import Member, MemberRole, Topology
from databosun.engines.rds.server import AVAILABLE, Server

PROVIDER = "RDS"
_AURORA = "aurora"


@dataclass(frozen=True, slots=True)
class Look:
    """What AWS says."""

    server: Server

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where clients are sent."""
        said = self.server.said
        if self.server.clustered:
            return str(said["Endpoint"]), int(said["Port"])
        return endpoint_of(said)

    @property
    def writers(self) -> list[str]:
        """Members that write, by AWS's word; none while it does not say."""
        if not self.server.clustered:
            zone = self.server.said.get("AvailabilityZone")
            return [str(zone)] if zone else []
        told = self.server.said.get("DBClusterMembers", ())
        return [str(one["DBInstanceIdentifier"]) for one in told if one.get("IsClusterWriter")]

    @property
    def primary(self) -> str | None:
        """The one that writes."""
        return self.writers[0] if len(self.writers) == 1 else None

    @property
    def settled(self) -> bool:
        """Nothing is being done to it."""
        return all(status == AVAILABLE for _, status in self.statuses)

    @property
    def statuses(self) -> list[tuple[str, str]]:
        """Of the instance; of the cluster and each instance."""
        told = [(str(one["DBInstanceIdentifier"]), str(one.get("DBInstanceStatus"))) for one in self.server.members]
        return [(self.server.name, self.server.status), *told]

    def topology(self, notes: Sequence[str]) -> Topology:
        """As the agent tells it."""
        aurora = self.server.engine.startswith(_AURORA)
        return Topology(
            observed_at=datetime.now(UTC),
            provider=PROVIDER,
            primary=self.primary,
            members=self._instances(aurora=aurora) if self.server.clustered else self._zones(),
            synchronous="one storage of all instances" if aurora else "synchronous, by the storage",
            fencing="AWS ends the old one before the endpoint leads to the new one",
            notes=list(notes),
        )

    def instances(self) -> Sequence[Mapping[str, Any]]:
        """All that would be started anew."""
        return self.server.members if self.server.clustered else (self.server.said,)

    def tier(self, name: str) -> int:
        """Whom Aurora would take: the lowest first."""
        told = self.server.said.get("DBClusterMembers", ())
        return next((int(one.get("PromotionTier") or 1) for one in told if one["DBInstanceIdentifier"] == name), 1)

    def _zones(self) -> list[Member]:
        said, (host, port) = self.server.said, self.endpoint
        ok = self.server.status == AVAILABLE
        given: dict[str, Any] = {"host": host, "port": port, "healthy": ok, "state": self.server.status}
        members = [Member(name=one, role=MemberRole.PRIMARY, **given) for one in self.writers]
        if said.get("MultiAZ") and said.get("SecondaryAvailabilityZone"):
            members.append(
                Member(
                    name=str(said["SecondaryAvailabilityZone"]), role=MemberRole.REPLICA, lag_seconds=0.0,
                    synchronous=True, promotable=ok,
                    problems=[] if ok else [f"the instance is {self.server.status}"], **given,
                )
            )  # fmt: skip
        return members

    def _instances(self, *, aurora: bool) -> list[Member]:
        return [self._instance(one, aurora=aurora) for one in self.server.members]

    def _instance(self, said: Mapping[str, Any], *, aurora: bool) -> Member:
        name, status = str(said["DBInstanceIdentifier"]), str(said.get("DBInstanceStatus"))
        host, port = endpoint_of(said)
        writes, ok = name in self.writers, status == AVAILABLE
        return Member(
            name=name,
            host=host,
            port=port,
            role=MemberRole.PRIMARY if writes else MemberRole.REPLICA,
            healthy=ok,
            state=status,
            lag_seconds=0.0 if aurora and not writes else None,
            synchronous=aurora and not writes,
            promotable=ok and not writes,
            problems=[] if ok else [f"it is {status}"],
        )


def endpoint_of(said: Mapping[str, Any]) -> tuple[str, int]:
    """Of an instance; one that is being made has none."""
    told = said.get("Endpoint") or {}
    return str(told.get("Address") or ""), int(told.get("Port") or 0)
