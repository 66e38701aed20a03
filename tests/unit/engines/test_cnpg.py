"""Instances of CloudNativePG come back at another address: they are found where the primary, or the Service, says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from databosun.api.failover import MemberRole
from databosun.domain.ledger import Fate
from databosun.engines.failover import ProbeError, Site
from databosun.engines.postgresql.failover.cluster import ClusterProvider
from databosun.engines.postgresql.failover.probe import Clients, Said

AT = 0x5000000


@dataclass
class Servers:
    """By address: who answers there, by its instance's name. `leads`: its address; `service`: where clients are led."""

    at: dict[str, str]
    leads: str | None
    service: str | None = None
    told: bool = True

    def watch(self, _name: str, host: str, _port: int, _seconds: float) -> Line:
        if host not in self.at:
            raise ProbeError("Timeout", "no answer", Fate.FAILED, broken=True)
        return Line(self, host)

    def connect(self, _path: None, _client: int, _seconds: float) -> Line:
        return self.watch("", self.service or "nowhere", 5432, 1.0)

    def know(self, name: str, host: str, port: int) -> None:
        """Not of interest."""


@dataclass
class Line:
    servers: Servers
    host: str
    closed: list[bool] = field(default_factory=list)

    def say(self) -> Said:
        recovers = self.host != self.servers.leads
        return Said(recovers, AT, AT if recovers else None, 0.0, paused=False, receives=recovers, synchronous="")

    def followers(self) -> dict[str, str]:
        others = {name: host for host, name in self.servers.at.items() if host != self.host}
        return others if self.servers.told else {}

    def address(self) -> str | None:
        return self.host

    def close(self) -> None:
        """Nothing is open."""


def provider(servers: Servers) -> ClusterProvider:
    """Of three, as they were when the operator looked."""
    places = {f"pay-{number}": (f"10.0.0.{number}", 5432) for number in (1, 2, 3)}
    return ClusterProvider(cast(Site, None), cast(Clients, servers), places=places)


def test_an_old_primary_is_found_where_the_new_one_has_it_from() -> None:
    servers = Servers({"10.0.0.9": "pay-1", "10.0.0.2": "pay-2", "10.0.0.3": "pay-3"}, leads="10.0.0.2")
    found = provider(servers).look()
    assert found.primary == "pay-2"
    assert {one.name: (one.host, one.role, one.healthy) for one in found.members}["pay-1"] == (
        "10.0.0.9", MemberRole.REPLICA, True,
    )  # fmt: skip


def test_a_primary_that_came_back_by_itself_is_where_clients_are_led_to() -> None:
    at = {"10.0.0.9": "pay-1", "10.0.0.2": "pay-2", "10.0.0.3": "pay-3"}
    found = provider(Servers(at, leads="10.0.0.9", service="10.0.0.9")).look()
    assert (found.primary, found.members[0].host) == ("pay-1", "10.0.0.9")


def test_nobody_is_taken_for_another() -> None:
    """Two are silent, or the Service leads to one that is known, or the login may not see who follows."""
    gone = provider(Servers({"10.0.0.9": "pay-1", "10.0.0.2": "pay-2"}, leads="10.0.0.9", service="10.0.0.9"))
    assert gone.look().primary is None
    stale = provider(Servers({"10.0.0.2": "pay-2", "10.0.0.3": "pay-3"}, leads=None, service="10.0.0.2"))
    found = stale.look()
    assert found.primary is None
    assert next(one for one in found.members if one.name == "pay-1").role is MemberRole.UNKNOWN
    at = {"10.0.0.9": "pay-1", "10.0.0.2": "pay-2", "10.0.0.3": "pay-3"}
    blind = provider(Servers(at, leads="10.0.0.2", told=False)).look()
    assert next(one for one in blind.members if one.name == "pay-1").role is MemberRole.UNKNOWN
