"""What Patroni says, understood: `/cluster` of all members, `/patroni` of one, `/config` of how they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from databosun.domain.errors import WorldFault
from databosun.engines.failover import FailoverFault

# Patroni 3.0 calls a primary leader in /cluster and master in /patroni; 4 calls it primary.
_LEADERS = ("leader", "master", "primary")
_STREAMS = ("streaming", "running")
_SYNCHRONOUS = ("sync_standby", "quorum_standby")


@dataclass(frozen=True, slots=True)
class Listed:
    """A member by the word of the cluster. `url`: its own REST API."""

    name: str
    role: str
    state: str
    url: str | None
    host: str
    port: int
    timeline: int | None
    tags: Mapping[str, Any]

    @property
    def leads(self) -> bool:
        """It holds the lease, and its cluster follows no other."""
        return self.role in _LEADERS

    @property
    def synchronous(self) -> bool:
        """A commit waits for it, or for one like it."""
        return self.role in _SYNCHRONOUS

    @property
    def streams(self) -> bool:
        """As far as the cluster knows."""
        return self.state in _STREAMS

    @property
    def priority(self) -> int:
        """Of being promoted; 0: never."""
        try:
            priority = int(self.tags.get("failover_priority", 1))
        except (TypeError, ValueError):
            priority = 1
        return 0 if self.tags.get("nofailover") is True else priority


@dataclass(frozen=True, slots=True)
class Cluster:
    """All members, by name. `scheduled`: a switchover that somebody else has ordered for later."""

    scope: str
    members: tuple[Listed, ...]
    paused: bool
    scheduled: str | None

    @property
    def leader(self) -> Listed | None:
        """Who holds the lease."""
        return next((one for one in self.members if one.leads), None)

    @property
    def follows_another(self) -> Listed | None:
        """The leader of a standby cluster, which takes no writes."""
        return next((one for one in self.members if one.role == "standby_leader"), None)

    def named(self, name: str) -> Listed | None:
        """One of them."""
        return next((one for one in self.members if one.name == name), None)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A member by its own word. `position`: what it has written, or received; `replayed` of that, a replica."""

    name: str
    primary: bool
    running: bool
    state: str
    timeline: int | None
    position: int | None
    replayed: int | None
    replayed_at: datetime | None
    replay_paused: bool
    streams: bool
    followers: frozenset[str]
    failsafe: bool
    watchdog_failed: bool
    unlocked: bool


def parse_cluster(said: Mapping[str, Any]) -> Cluster:
    """Understand `/cluster`. WorldFault where it is of another form."""
    try:
        members = tuple(sorted((_listed(one) for one in said["members"]), key=lambda one: one.name))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"Patroni's /cluster is of a form that is not known: {type(error).__name__}: {error}"
        raise WorldFault(FailoverFault.PROVIDER_UNREACHABLE, message) from error
    planned = said.get("scheduled_switchover")
    return Cluster(
        scope=str(said.get("scope", "")),
        members=members,
        paused=said.get("pause") is True,
        scheduled=str(planned.get("at")) if isinstance(planned, Mapping) else None,
    )


def parse_node(name: str, said: Mapping[str, Any]) -> NodeFacts:
    """Understand `/patroni`."""
    place = said.get("xlog")
    where: Mapping[str, Any] = place if isinstance(place, Mapping) else {}
    primary = said.get("role") in _LEADERS
    followers = said.get("replication")
    return NodeFacts(
        name=name,
        primary=primary,
        running=said.get("state") == "running",
        state=str(said.get("replication_state") or said.get("state") or "unknown"),
        timeline=_number(said.get("timeline")),
        position=_number(where.get("location" if primary else "received_location")),
        replayed=_number(where.get("replayed_location")),
        replayed_at=_instant(where.get("replayed_timestamp")),
        replay_paused=where.get("paused") is True,
        streams=said.get("replication_state") == "streaming",
        followers=frozenset(
            str(one.get("application_name")) for one in followers or () if one.get("state") == "streaming"
        ),
        failsafe=said.get("failsafe_mode_is_active") is True,
        watchdog_failed=said.get("watchdog_failed") is True,
        unlocked=said.get("cluster_unlocked") is True,
    )


def parse_history(said: Sequence[Any]) -> Mapping[int, int]:
    """Understand `/history`: where each timeline was left."""
    return {
        line[0]: line[1]
        for line in said
        if isinstance(line, list) and len(line) > 1 and isinstance(line[0], int) and isinstance(line[1], int)
    }


def lsn(position: int) -> str:
    """As PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def replication_mode(config: Mapping[str, Any]) -> str:
    """Whether a commit waits for a replica, by `/config`."""
    mode = config.get("synchronous_mode")
    if mode == "quorum":
        return "synchronous (quorum)"
    if mode in (True, "on"):
        strict = config.get("synchronous_mode_strict") in (True, "on")
        return "synchronous, strict" if strict else "synchronous, until no replica is there"
    return "asynchronous"


def fencing(config: Mapping[str, Any], facts: NodeFacts | None) -> str:
    """What keeps an old primary from taking writes, by `/config` and by itself."""
    lease = f"a primary that cannot renew its lease of {config.get('ttl', 30)} s demotes itself"
    if config.get("failsafe_mode") in (True, "on"):
        lease += ", unless every member answers it (failsafe_mode)"
    dog = "its watchdog does not work" if facts and facts.watchdog_failed else "Patroni does not tell of a watchdog"
    return f"{lease}; {dog}"


def _listed(one: Mapping[str, Any]) -> Listed:
    tags = one.get("tags")
    return Listed(
        name=str(one["name"]),
        role=str(one["role"]),
        state=str(one.get("state", "unknown")),
        url=str(one["api_url"]) if one.get("api_url") else None,
        host=str(one.get("host", "")),
        port=int(one.get("port", 5432)),
        timeline=_number(one.get("timeline")),
        tags=tags if isinstance(tags, Mapping) else {},
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
