"""What a node says of itself, as far as a failover is concerned."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import Target
from databosun.engines.reaching import combined
from databosun.engines.redis.connect import CONNECT_SECONDS, endpoints_of, open_wire
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import Wire

_REPLICA = re.compile(r"slave\d+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is, as the Sentinels announce it; its text is the name of the member."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, port: int | None = None) -> Place:
        """`host:port`, or `host` where a port is given. UserFault(BadRequest)."""
        host, colon, number = text.rpartition(":")
        if colon and number.isdigit():
            return cls(host.strip("[]"), int(number))
        if port is None:
            message = f"{text} has no port; write host:port"
            raise UserFault(Reason.UNKNOWN_HOST, message)
        return cls(text, port)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One look. `offset`: what it has of its master's stream, or has streamed itself; `forgets`: why it may come back
    with less than it acknowledged when it is started again, None: it writes all of it to a file."""

    run_id: str
    sentinel: bool
    master: bool
    link_up: bool
    master_place: Place | None
    silent_seconds: int
    replid: str
    offset: int
    read_only: bool
    priority: int
    demands_replicas: bool
    evicts: str | None
    forgets: str | None


def ask_node(wire: Wire, seconds: float = CONNECT_SECONDS) -> NodeFacts:
    """What INFO says. ReplyError, WorldFault."""
    said = wire.call("INFO", seconds=seconds)
    return parse_node(said if isinstance(said, bytes) else b"")


def parse_node(text: bytes) -> NodeFacts:
    """Understand INFO."""
    lines = text.decode("utf-8", "replace").splitlines()
    said = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    master = said.get("role", "master") == "master"
    host, policy = said.get("master_host"), said.get("maxmemory_policy", "noeviction")
    return NodeFacts(
        run_id=said.get("run_id", ""),
        sentinel=(said.get("server_mode") or said.get("redis_mode")) == "sentinel",
        master=master,
        link_up=master or said.get("master_link_status") == "up",
        master_place=Place(host, int(said.get("master_port", "0"))) if host else None,
        silent_seconds=max(0, int(said.get("master_last_io_seconds_ago", "0"))),
        replid=said.get("master_replid", ""),
        offset=int(said.get("master_repl_offset" if master else "slave_repl_offset", "0")),
        read_only=master or said.get("slave_read_only", "1") == "1",
        priority=int(said.get("slave_priority", "100")),
        demands_replicas="min_slaves_good_slaves" in said or "min_replicas_good_replicas" in said,
        evicts=policy if policy != "noeviction" and said.get("maxmemory", "0") != "0" else None,
        forgets=_forgets(said),
    )


def _forgets(said: Mapping[str, str]) -> str | None:
    """While the append-only file is written anew, the old one may be of a time when it was off, or of another master:
    INFO does not tell those from a rewrite that does no harm."""
    if said.get("aof_enabled") != "1":
        return "appendonly no"
    if said.get("aof_last_write_status", "ok") != "ok":
        return f"aof_last_write_status {said['aof_last_write_status']}"
    busy = [name for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled") if said.get(name, "0") != "0"]
    return f"{busy[0]} {said[busy[0]]}" if busy else None


@dataclass(frozen=True, slots=True)
class Nodes:
    """Opens sessions to nodes with one login."""

    target: Target
    pulse: Callable[[], None]

    def open(self, place: Place, seconds: float = CONNECT_SECONDS) -> Wire:
        """Connect to the first of its addresses that answers. UserFault, WorldFault."""
        errors = list[DatabosunError]()
        for endpoint in endpoints_of(place.host, place.port):
            try:
                return open_wire(self.target, endpoint, self.pulse, seconds=seconds)
            except DatabosunError as fault:
                errors.append(fault)
        raise combined(errors)

    def ask(self, place: Place) -> NodeFacts:
        """Look once."""
        with self.open(place) as wire, guarded(f"asking {place}", self.user):
            return ask_node(wire)

    @property
    def user(self) -> str:
        """Who asks."""
        return self.target.credentials.username


def entries(reply: object) -> list[Mapping[str, str]]:
    """A list of what Sentinel says of nodes."""
    found: list[Mapping[str, str]] = []
    for entry in reply if isinstance(reply, list) else []:
        words = [word.decode("utf-8", "replace") for word in entry if isinstance(word, bytes)]
        found.append(dict(zip(words[::2], words[1::2], strict=False)))
    return found
