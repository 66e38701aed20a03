"""What all providers of PostgreSQL have in common: the probe, and a primary that is found by `topology`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from databosun.api.failover import FailbackWhen, FailoverPlan, GuardResult, Member, MemberRole, Topology
from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.failover import FailoverFault, ProbeError, ProbeSession, Site, Watcher, probe_error
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.failover.guards import reach_guard, table_guards
from databosun.engines.postgresql.failover.probe import Clients, endpoint_of

SETTLE_LOOK_SECONDS = 0.5
SETTLE_WATCH_SECONDS = 1.0


@dataclass
class SqlProvider(ABC):
    """Members that are asked by SQL what they hold. `seen`: as they were looked at last."""

    site: Site
    clients: Clients
    seen: Topology | None = None

    @abstractmethod
    def look(self) -> Topology:
        """Ask everybody anew."""

    def topology(self) -> Topology:
        """All asked anew."""
        self.seen = found = self.look()
        for one in found.members:
            self.clients.know(one.name, one.host, one.port)
        return found

    def probe_guards(self, topology: Topology) -> list[GuardResult]:
        """Whether each member can be asked, and the primary takes the probe's table."""
        guards = [reach_guard(self.clients, topology.members)]
        if guards[-1].ok and topology.primary is not None:
            with self._primary("looking at the probe's rights") as connection:
                guards += table_guards(connection, self.clients.dbname, self.site.probe.credentials.username)
        return guards

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """Who decides carries out, or gives up, what it was ordered, whoever is there to see it: wait until one member
        leads and takes writes by its own word, for as long as an order may be under way that was not carried out."""
        begin = time.monotonic()
        led, since, said = None, begin, "nobody leads"
        while (now := time.monotonic()) < begin + seconds:
            try:
                topology = self.topology()
                leads = topology.primary if topology.primary and self._takes_writes(topology.primary) else None
                if leads is None or leads != led:
                    led, since = leads, now
                waited = now - since >= min(self.order_seconds(), seconds / 2)
                if leads is not None and (waited or _carried_out(plan, leads)):
                    return ()
                said = "; ".join(topology.notes) or said
            except DatabosunError as fault:
                led, said = None, fault.message
            except ProbeError as error:
                led, said = None, str(error)
            time.sleep(SETTLE_LOOK_SECONDS)
        return (f"no member leads and takes writes after {seconds:.0f} s: {said}",)

    def order_seconds(self) -> float:
        """How long an order that was given may be under way, and nothing of it be seen."""
        return 0.0

    def prepare_probe(self) -> None:
        """Make the table at the primary."""
        with self._primary("making the probe's table") as connection:
            self.clients.table.make(connection)

    def remove_probe(self) -> None:
        """Remove it at the primary, and so at its replicas."""
        with self._primary("removing the probe's table") as connection:
            self.clients.table.remove(connection)

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where a client is sent."""
        return self.clients.connect(path, client, seconds)

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session at a member itself."""
        one = self._member(self.seen or self.topology(), member)
        if one is None:
            raise probe_error(WorldFault(FailoverFault.TOPOLOGY_CHANGED, f"{member} is no member just now"))
        return self.clients.watch(member, one.host, one.port, seconds)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the primary holds."""
        with self._primary("reading the probe's rows back") as connection:
            return self.clients.table.rows(connection, clients)

    def _takes_writes(self, member: str) -> bool:
        session = self.watch(member, SETTLE_WATCH_SECONDS)
        try:
            return session.takes_writes()
        finally:
            session.close()

    @staticmethod
    def _member(topology: Topology, name: str | None) -> Member | None:
        return next((one for one in topology.members if one.name == name), None)

    @contextmanager
    def _primary(self, doing: str) -> Iterator[Connection]:
        topology = self.topology()
        one = self._member(topology, topology.primary)
        if one is None or one.role is not MemberRole.PRIMARY:
            told = "; ".join(topology.notes) or "no member leads and takes writes"
            raise WorldFault(FailoverFault.NO_PRIMARY, f"{doing}: {told}")
        with self.clients.administer(endpoint_of(one.host, one.port), f"{doing} at {one.name}") as connection:
            yield connection


def _carried_out(plan: FailoverPlan | None, leads: str) -> bool:
    """Whether no order can be under way any more; one to move it back may follow the first."""
    return plan is None or (plan.failback is FailbackWhen.NEVER and leads != plan.primary)
