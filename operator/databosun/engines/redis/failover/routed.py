"""What applications of a cluster are: sessions that begin at any node, and go where they are sent by MOVED and ASK."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.ledger import Fate
from databosun.engines.failover import FailoverFault, ProbeError, probe_error
from databosun.engines.redis.failover.nodes import Nodes, Place, ask_node
from databosun.engines.redis.failover.probe import Keys, Session
from databosun.engines.redis.resp import ReplyError

MOST_REDIRECTIONS = 5
MOVED = "MOVED"


@dataclass(frozen=True, slots=True)
class Routes:
    """How clients get to the node that serves their keys. `members`: names by run id. `known`: nodes seen before."""

    nodes: Nodes
    keys: Keys
    members: Mapping[str, str]
    known: Callable[[], Sequence[Place]]

    def open(self, path: ProbePath | None, client: int, seconds: float) -> RoutedSession:
        """A session at the first node that answers: of the path, else of the database's hosts; then of those that
        were seen before, as clients keep a map. ProbeError."""
        database = self.nodes.target.database
        hosts = [Place(path.host, path.port)] if path else [Place(host, database.port) for host in database.hosts]
        fault: ProbeError | None = None
        for place in dict.fromkeys([*hosts, *self.known()]):
            try:
                return RoutedSession(self, client, place, seconds)
            except ProbeError as error:
                fault = fault or error
        raise fault or probe_error(WorldFault(FailoverFault.NO_PRIMARY, "no node is named"))

    def at(self, place: Place, client: int, seconds: float, *, asked: bool = False) -> Session:
        """A session at one node, by the first of its addresses that answers. ProbeError."""
        try:
            return self._at(place, client, seconds, asked=asked)
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        except ReplyError as error:
            raise ProbeError(str(error).partition(" ")[0], str(error), Fate.FAILED, broken=True) from error

    def _at(self, place: Place, client: int, seconds: float, *, asked: bool) -> Session:
        wire = self.nodes.open(place, seconds)
        try:
            run_id = ask_node(wire, seconds).run_id
        except BaseException:
            wire.close()
            raise
        return Session(wire, self.keys, client, self.members.get(run_id), seconds, asked=asked)


class RoutedSession:
    """`ProbeSession` of one client, which stays where it was sent last."""

    def __init__(self, routes: Routes, client: int, place: Place, seconds: float) -> None:
        self._routes = routes
        self._client = client
        self._place = place
        self._seconds = seconds
        self._session = routes.at(place, client, seconds)
        self.node = self._session.node

    def write(self, seq: int) -> None:
        """Set one bit where its key is served."""
        self._routed(lambda session: session.write(seq))

    def read(self) -> None:
        """Look at the first bit there."""
        self._routed(Session.read)

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    def _routed(self, do: Callable[[Session], None]) -> None:
        """A node that sends a client elsewhere has done nothing: so it is done once, at the end of the way."""
        for _ in range(MOST_REDIRECTIONS):
            self.node = self._session.node
            try:
                return do(self._session)
            except ProbeError as error:
                if error.kind == "ASK":
                    return self._asking(self._told(error), do)
                if error.kind != MOVED:
                    raise
                self._move(self._told(error))
        message = f"sent elsewhere {MOST_REDIRECTIONS} times in turn"
        raise ProbeError(MOVED, message, Fate.FAILED, broken=True)

    def _move(self, place: Place) -> None:
        """To stay there."""
        session = self._routes.at(place, self._client, self._seconds)
        self._session.close()
        self._session, self._place = session, place

    def _asking(self, place: Place, do: Callable[[Session], None]) -> None:
        """For this once."""
        session = self._routes.at(place, self._client, self._seconds, asked=True)
        self.node = session.node
        try:
            do(session)
        finally:
            session.close()

    def _told(self, error: ProbeError) -> Place:
        """From `MOVED 3999 127.0.0.1:6381`. A node that does not know its own name leaves out the host: it is that of
        whoever was asked."""
        host, _, port = str(error).split()[-1].rpartition(":")
        if not port.isdigit():
            raise ProbeError(error.kind, str(error), Fate.FAILED, broken=True) from error
        return Place(host or self._place.host, int(port))
