"""What a server says about itself: product and version, role, replicas, keys. Read once, decided upon elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from databosun.domain.errors import UserFault
from databosun.engines.base import Target
from databosun.engines.redis.connect import Endpoint
from databosun.engines.redis.faults import reply_fault
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, Wire

SENTINEL_CHANNEL = "__sentinel__:hello"
FIRST_VERSION = 6
# Built into the server, and without a type of data.
_HARMLESS_MODULES = frozenset({"lua"})
_REPLICA = re.compile(r"slave\d+")


@dataclass(frozen=True, slots=True)
class Node:
    """A replica as its master or a Sentinel names it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server as one login saw it at `now` (the server's clock, where it tells it).

    `good_replicas`: None where the server takes writes without any (`min-replicas-to-write 0`).
    `watched`: whether Sentinels watch it; None where the user may not ask. `replid2`: the history before the last
    failover, which this one shares to before `second_offset`. `backlog_begin`: the oldest offset that a replica may
    still ask for; None where no commands are kept. `above`: whom a replica follows.
    """

    endpoint: Endpoint
    product: str
    version: str
    mode: str
    master: bool
    now: datetime
    loading: bool
    cluster: bool
    link_up: bool
    silent_seconds: int
    replid: str
    offset: int
    replicas: tuple[Node, ...]
    good_replicas: int | None
    modules: tuple[str, ...]
    memory: int
    keys: Mapping[int, int]
    watched: bool | None = False
    replid2: str = ""
    second_offset: int = -1
    backlog_begin: int | None = None
    backlog_bytes: int = 0
    above: Node | None = None

    @property
    def usable_replica(self) -> bool:
        """A replica that follows its master."""
        return not self.master and self.link_up and not self.loading


def gather_server(wire: Wire, target: Target, endpoint: Endpoint) -> ServerFacts:
    """Ask. UserFault(PermissionDenied, UnsupportedVersion)."""
    user = target.credentials.username
    try:
        said = wire.call("INFO")
    except ReplyError as error:
        raise reply_fault(error, f"reading the facts of {endpoint}", user) from error
    facts = parse_info(said if isinstance(said, bytes) else b"", endpoint)
    if int(facts.version.split(".")[0] or 0) < FIRST_VERSION and facts.mode != "sentinel":
        message = f"{endpoint} runs {facts.product} {facts.version}; expected Redis 6.0 or later, or Valkey"
        raise UserFault(Reason.UNSUPPORTED_VERSION, message)
    return facts


def identity_of(target: Target) -> str:
    """What backups and log are known to be of: a server has no identity of its own, since the id of its history
    changes with each failover; so it is the Database's."""
    return target.database.uid.replace("-", "")


def ask_watched(wire: Wire) -> bool | None:
    """Whether Sentinels listen at this server; None where the user may not ask."""
    try:
        said = wire.call("PUBSUB", "NUMSUB", SENTINEL_CHANNEL)
    except ReplyError as error:
        if str(error).startswith("NOPERM"):
            return None
        raise
    return isinstance(said, list) and any(isinstance(one, int) and one > 0 for one in said)


def parse_info(text: bytes, endpoint: Endpoint) -> ServerFacts:
    """Understand the answer to INFO."""
    lines = text.decode("utf-8", "replace").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line and not line.startswith("#")]
    said = {name: value for name, value in pairs if name != "module"}
    modules = [dict(_fields(value)).get("name", "?") for name, value in pairs if name == "module"]
    valkey = said.get("server_name") == "valkey" or "valkey_version" in said
    good = said.get("min_slaves_good_slaves", said.get("min_replicas_good_replicas"))
    return ServerFacts(
        endpoint=endpoint,
        product="Valkey" if valkey else "Redis",
        version=said.get("valkey_version") or said.get("redis_version", "0"),
        mode=said.get("server_mode") or said.get("redis_mode", "standalone"),
        master=said.get("role", "master") == "master",
        now=_clock(said.get("server_time_usec")),
        loading=said.get("loading", "0") != "0" or said.get("async_loading", "0") != "0",
        cluster=said.get("cluster_enabled", "0") == "1",
        link_up=said.get("master_link_status") == "up",
        silent_seconds=max(0, int(said.get("master_last_io_seconds_ago", "0"))),
        replid=said.get("master_replid", ""),
        offset=int(said.get("master_repl_offset", "0")),
        replid2=said.get("master_replid2", ""),
        second_offset=int(said.get("second_repl_offset", "-1")),
        backlog_bytes=int(said.get("repl_backlog_size", "0")),
        backlog_begin=int(said["repl_backlog_first_byte_offset"]) if said.get("repl_backlog_active") == "1" else None,
        above=Node(said["master_host"], int(said.get("master_port", "0"))) if said.get("master_host") else None,
        replicas=tuple(_node(value) for name, value in said.items() if _REPLICA.fullmatch(name) and "online" in value),
        good_replicas=int(good) if good is not None else None,
        modules=tuple(name for name in modules if name not in _HARMLESS_MODULES),
        memory=int(said.get("used_memory", "0")),
        keys={int(name[2:]): int(dict(_fields(value)).get("keys", "0")) for name, value in said.items()
              if re.fullmatch(r"db\d+", name)},
    )  # fmt: skip


def _node(value: str) -> Node:
    found = dict(_fields(value))
    return Node(found.get("ip", ""), int(found.get("port", "0")))


def _fields(value: str) -> list[tuple[str, str]]:
    return [(name, text) for name, _, text in (part.partition("=") for part in value.split(","))]


def _clock(microseconds: str | None) -> datetime:
    if microseconds is None:  # before 6.2
        return datetime.now(UTC)
    return datetime.fromtimestamp(int(microseconds) / 1_000_000, UTC)
