"""What applications are: sessions that set bits of their own key, one bit a write, where a client is sent.

A key a client, named after the run; it expires by itself, so that it goes even where nobody is left to remove it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from databosun.api.failoverprobe import MAX_CLIENTS, ErrorName, ProbePath
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.ledger import Bits, Fate
from databosun.engines.base import Target
from databosun.engines.failover import FailoverFault, ProbeError, Site, probe_error
from databosun.engines.redis.connect import Endpoint, endpoints_of, open_wire
from databosun.engines.redis.failover.nodes import NodeFacts, Place, ask_node
from databosun.engines.redis.resp import Reply, ReplyError, Wire, encode

GRANTS = "~{table}:* +setbit +getbit +get +expireat +del +info +ping"
CLUSTER_GRANTS = f"{GRANTS} +asking"
WATCHED = "watch"
# What a client does about: it looks for another node.
_NAMES: Mapping[str, ErrorName] = {
    "READONLY": ErrorName.READ_ONLY,
    "LOADING": ErrorName.STARTING,
    "MASTERDOWN": ErrorName.NO_PRIMARY,
    "CLUSTERDOWN": ErrorName.NO_PRIMARY,
    "MOVED": ErrorName.NO_PRIMARY,
    "NOREPLICAS": ErrorName.NOT_CONFIRMED,
}
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "MOVED", "CLUSTERDOWN")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one run, and when they go by themselves. `together`: all in one slot of a cluster."""

    table: str
    run: str
    expires: int
    together: bool = False

    @classmethod
    def of(cls, site: Site, *, together: bool = False) -> Keys:
        """Those of a site."""
        return cls(site.table, site.run, int(site.until.timestamp()) + 3600, together)

    def key(self, client: int | str) -> str:
        """The key of a client."""
        run = f"{{{self.run}}}" if self.together else self.run
        return f"{self.table}:{run}:{client}"

    def all(self) -> list[str]:
        """Every key that a run may have made."""
        return [self.key(client) for client in (*range(MAX_CLIENTS), WATCHED)]


class Session:
    """One connection of one client. `asked`: it was sent here by ASK, and says so before each command."""

    def __init__(
        self, wire: Wire, keys: Keys, client: int | str, node: str | None, seconds: float, *, asked: bool = False
    ) -> None:
        self.node = node
        self._asked = asked
        self._wire = wire
        self._keys = keys
        self._key = keys.key(client)
        self._seconds = seconds
        self._expires = False

    def write(self, seq: int) -> None:
        """Set one bit."""
        self._call("SETBIT", self._key, seq, 1)
        if not self._expires:
            self._call("EXPIREAT", self._key, self._keys.expires)
            self._expires = True

    def read(self) -> None:
        """Look at the first bit."""
        self._call("GETBIT", self._key, 0)

    def takes_writes(self) -> bool:
        """By writing: a master whose writes are stopped says that it is one, and takes none."""
        try:
            self.write(0)
        except ProbeError as error:
            if error.kind in _ELSEWHERE:
                return False
            raise
        return True

    def close(self) -> None:
        """Hang up."""
        self._wire.close()

    def _call(self, *words: str | int) -> Reply:
        try:
            if self._asked:
                self._wire.call("ASKING", seconds=self._seconds)
            return self._wire.call(*words, seconds=self._seconds)
        except ReplyError as error:
            kind = str(error).partition(" ")[0]
            name = _NAMES.get(kind)
            raise ProbeError(kind, str(error), Fate.FAILED, broken=kind in _ELSEWHERE, name=name) from error
        except WorldFault as fault:
            raise ProbeError(fault.reason, fault.message, Fate.UNKNOWN, broken=True) from fault


@dataclass(frozen=True, slots=True)
class Clients:
    """How a client gets to the master: where it is sent, asking a Sentinel where it is sent to one."""

    target: Target
    master_name: str

    def open(self, path: ProbePath | None, seconds: float) -> tuple[Wire, NodeFacts]:
        """A session at the master, as far as the way leads there; else at what answers. ProbeError."""
        database = self.target.database
        hosts = [(path.host, path.port)] if path else [(host, database.port) for host in database.hosts]
        try:
            return self._first_master(hosts, seconds)
        except DatabosunError as fault:
            raise probe_error(fault) from fault
        except ReplyError as error:
            raise ProbeError(str(error).partition(" ")[0], str(error), Fate.FAILED, broken=True) from error

    def _first_master(self, hosts: Iterable[tuple[str, int]], seconds: float) -> tuple[Wire, NodeFacts]:
        endpoints, fault = list[Endpoint](), None
        for host, port in hosts:
            endpoints += endpoints_of(host, port)
        for number, endpoint in enumerate(endpoints):
            try:
                wire, facts = self._open(endpoint, seconds)
            except DatabosunError as error:
                fault = error
                continue
            if facts.master or len(endpoints) == 1:
                return wire, facts
            wire.close()
            fault = WorldFault(FailoverFault.NO_PRIMARY, f"none of {number + 1} nodes is master")
        raise fault or WorldFault(FailoverFault.NO_PRIMARY, "no node is named")

    def _open(self, endpoint: Endpoint, seconds: float) -> tuple[Wire, NodeFacts]:
        wire = self._let_in(endpoint, seconds)
        try:
            facts = ask_node(wire, seconds)
            if not facts.sentinel:
                return wire, facts
            place = self._told(wire, seconds)
        except BaseException:
            wire.close()
            raise
        wire.close()
        wire = open_wire(self.target, endpoints_of(place.host, place.port)[0], seconds=seconds)
        try:
            return wire, ask_node(wire, seconds)
        except BaseException:
            wire.close()
            raise

    def _let_in(self, endpoint: Endpoint, seconds: float) -> Wire:
        """A Sentinel that has no users is asked without a login."""
        try:
            return open_wire(self.target, endpoint, seconds=seconds)
        except DatabosunError:
            wire = open_wire(self.target, endpoint, login=False, seconds=seconds)
            try:
                if ask_node(wire, seconds).sentinel:
                    return wire
            except (ReplyError, DatabosunError):
                pass
            wire.close()
            raise

    def _told(self, wire: Wire, seconds: float) -> Place:
        said = wire.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master_name, seconds=seconds)
        if isinstance(said, list) and len(said) == 2 and isinstance(said[0], bytes) and isinstance(said[1], bytes):
            return Place(said[0].decode(), int(said[1]))
        message = f"the Sentinel {wire.where} knows no master {self.master_name}"
        raise WorldFault(FailoverFault.NO_PRIMARY, message)


def read_bits(wire: Wire, keys: Keys, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
    """What the node holds."""
    found = {}
    for client in clients:
        said = wire.call("GET", keys.key(client))
        found[client] = Bits.of(said if isinstance(said, bytes) else b"")
    return found


def remove_keys(wire: Wire, keys: Keys) -> None:
    """All that a run may have made."""
    wire.call("DEL", *keys.all())


def lacking(wire: Wire, keys: Keys) -> list[str]:
    """What a client may not do, found without doing it: grants are looked at before a bit's number is."""
    asked = [("SETBIT", keys.key(WATCHED), "x", 1), ("GETBIT", keys.key(WATCHED), "x"),
             ("EXPIREAT", keys.key(WATCHED), "x"), ("GET", keys.key(WATCHED))]  # fmt: skip
    if keys.together:
        asked.append(("ASKING",))
    wire.send(b"".join(encode(*words) for words in asked))
    return [
        str(one) for one in wire.answers(len(asked)) if isinstance(one, ReplyError) and str(one).startswith("NOPERM")
    ]
