"""What every provider of MariaDB and MySQL has: members that answer at the hosts of a Database, and clients."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pymysql

from databosun.api.failover import Topology
from databosun.api.failoverprobe import ProbePath
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.failover import FailoverFault, ProbeError, ProbeSession, Site, Watcher, probe_error
from databosun.engines.mysql.connect import one
from databosun.engines.mysql.failover.facts import NodeFacts, Place
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.probe import Clients, Session, Tables, read_rows, told
from databosun.engines.mysql.failover.words import Words
from databosun.engines.mysql.faults import guarded

SETTLE_LOOK_SECONDS = 0.5
FOLLOW_SECONDS = 0.5
WATCH_SECONDS = 1.0


@dataclass
class SqlProvider(ABC):
    """`ways`: where clients look for the one that takes writes. `members`: who answers with which server id."""

    site: Site
    nodes: Nodes
    probe: Nodes
    tables: Tables
    places: tuple[Place, ...]
    ways: tuple[Place, ...]
    members: dict[int, str] = field(default_factory=dict)

    @property
    def words(self) -> Words:
        """How the servers are spoken to."""
        return self.nodes.words

    @abstractmethod
    def topology(self) -> Topology:
        """Ask everybody anew."""

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The planned one, or the first that could take over, in the order of spec.connection.hosts."""
        fit = [one.name for one in topology.members if one.promotable]
        return planned if planned in fit else next(iter(fit), None) if planned is None else None

    def prepare_probe(self) -> None:
        """Make the tables at the primary."""
        with self.probe.open(self._primary()) as connection, guarded("making the probe's tables"):
            self.tables.make(connection)

    def remove_probe(self) -> None:
        """Remove them at the primary, and so at its replicas."""
        with self.probe.open(self._primary()) as connection, guarded("removing the probe's tables"):
            self.tables.remove(connection)

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """Where a client is sent."""
        connection = Clients(self.probe, self.ways).open(path, seconds)
        try:
            (server_id,) = one(connection, "SELECT @@server_id")
        except (pymysql.MySQLError, OSError) as error:
            connection._force_close()
            raise told(error) from error
        return Session(connection, self.tables, client, self.members.get(int(server_id)))

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session at a server itself."""
        try:
            connection = self.probe.connect(Place.parse(member), seconds)
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        connection._read_timeout = connection._write_timeout = seconds
        return Session(connection, self.tables, 0, member)

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """What the primary holds."""
        with self.probe.open(self._primary()) as connection, guarded("reading the probe's rows back"):
            return read_rows(connection, self.tables, clients)

    def _wait_for_a_primary(self, seconds: float) -> str | None:
        """Nothing here is this run's: wait until one takes writes. What was found where none does."""
        until = time.monotonic() + seconds
        said = "no server takes writes"
        while time.monotonic() < until:
            try:
                topology = self.topology()
                if topology.primary is not None and self._takes_writes(topology.primary):
                    return None
                said = "; ".join(topology.notes) or "no server takes writes"
            except DatabosunError as fault:
                said = fault.message
            except ProbeError as error:
                said = str(error)
            time.sleep(SETTLE_LOOK_SECONDS)
        return f"no server takes writes after {seconds:.0f} s: {said}"

    def _takes_writes(self, member: str) -> bool:
        session = self.watch(member, WATCH_SECONDS)
        try:
            return session.takes_writes()
        finally:
            session.close()

    def _lacking(self, place: Place, wanted: str) -> str | None:
        """What a member has not, of a position, within a moment."""
        with self.nodes.open(place) as connection, guarded(f"asking {place}"):
            there = self.words.come_to(connection, wanted, FOLLOW_SECONDS)
        return None if there else f"{place} has not come to {wanted}"[:500]

    def _held_alone(self, new: Place) -> Sequence[str]:
        """What any other server has logged that the new primary has not."""
        held = {place: said for place in self.places if isinstance(said := self._ask(place), NodeFacts)}
        leader = self.nodes.ask(new)
        return [
            f"{place} holds {', '.join(own)}, which {new} never had"
            for place, facts in held.items()
            if place != new and (own := self.words.errant(facts.state, leader.state))
        ]

    def _primary(self) -> Place:
        topology = self.topology()
        if topology.primary is None:
            told = "; ".join(topology.notes) or "no server takes writes"
            raise WorldFault(FailoverFault.NO_PRIMARY, told)
        return Place.parse(topology.primary)

    def advised(self, fault: UserFault, grant: str) -> UserFault:
        """The same, with what to grant to who asks where that is what it lacks."""
        if fault.reason != Reason.PERMISSION_DENIED:
            return fault
        return UserFault(fault.reason, f"{fault.message}: run `GRANT {grant} TO '{self.nodes.user}'@'%';`")

    def _ask(self, place: Place) -> NodeFacts | str:
        try:
            return self.nodes.ask(place)
        except UserFault as fault:
            raise self.advised(fault, f"{', '.join(self.words.looker)} ON *.*") from fault
        except DatabosunError as fault:
            return fault.message
