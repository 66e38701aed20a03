"""What a replica set says of itself, read: its configuration, its status, and what each member answers to `hello`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson.timestamp import Timestamp

from databosun.engines.mongodb.positions import Mark

SECONDARY, ROLLBACK = 2, 9
_STATES = (
    "STARTUP", "PRIMARY", "SECONDARY", "RECOVERING", "FATAL", "STARTUP2", "UNKNOWN", "ARBITER", "DOWN", "ROLLBACK",
    "REMOVED",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Configured:
    """A member as the set's configuration has it. `number`: its place there."""

    number: int
    name: str
    priority: float
    votes: int
    arbiter: bool
    hidden: bool
    delay: int

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.name.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Config:
    """The set. `election`: seconds without a primary after which another one stands for election."""

    name: str
    version: int
    election: float
    members: tuple[Configured, ...]
    config_servers: bool

    @property
    def bearing(self) -> list[Configured]:
        """Those that hold data."""
        return [one for one in self.members if not one.arbiter]

    def named(self, name: str) -> Configured | None:
        """One of them."""
        return next((one for one in self.members if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """A member as another one sees it by its heartbeats."""

    state: int
    healthy: bool
    config_version: int | None

    @property
    def word(self) -> str:
        """The server's own for its state."""
        return word_of(self.state)


@dataclass(frozen=True, slots=True)
class Status:
    """The set as one member sees it. `needed`: votes that an election takes; `writing`: members that a write with
    majority takes. `began`: up to where the primary had the oplog when it was elected, and nothing came after that."""

    term: int
    needed: int
    writing: int
    members: Mapping[str, Standing]
    began: Mark | None


@dataclass(frozen=True, slots=True)
class Hello:
    """What a member says of itself. `primary`: whom it takes for the primary."""

    name: str
    set_name: str | None
    writable: bool
    secondary: bool
    primary: str | None
    mark: Mark | None
    written: datetime | None


def parse_config(said: Mapping[str, Any]) -> Config:
    """Of `replSetGetConfig`."""
    config = said["config"]
    settings = config.get("settings") or {}
    return Config(
        name=str(config["_id"]),
        version=int(config["version"]),
        election=float(settings.get("electionTimeoutMillis") or 10_000) / 1000,
        members=tuple(_configured(number, one) for number, one in enumerate(config["members"])),
        config_servers=bool(config.get("configsvr")),
    )


def _configured(number: int, one: Mapping[str, Any]) -> Configured:
    return Configured(
        number=number,
        name=str(one["host"]),
        priority=float(one.get("priority", 1)),
        votes=int(one.get("votes", 1)),
        arbiter=bool(one.get("arbiterOnly")),
        hidden=bool(one.get("hidden")),
        delay=int(one.get("secondaryDelaySecs") or 0),
    )


def parse_status(said: Mapping[str, Any]) -> Status:
    """Of `replSetGetStatus`."""
    voters = int(said.get("votingMembersCount") or len(said["members"]))
    elected = said.get("electionCandidateMetrics") or {}
    behind = int(elected.get("numCatchUpOps") or 0) > 0  # then it began further on than it says
    return Status(
        term=int(said.get("term") or 0),
        needed=int(said.get("majorityVoteCount") or voters // 2 + 1),
        writing=int(said.get("writeMajorityCount") or voters // 2 + 1),
        members={
            str(one["name"]): Standing(
                int(one["state"]), bool(one.get("health")), _number(one.get("configVersion"))
            )
            for one in said["members"]
        },
        began=None if behind else parse_mark(elected.get("lastSeenOpTimeAtElection")),
    )  # fmt: skip


def parse_hello(said: Mapping[str, Any], asked: str) -> Hello:
    """`asked`: the name by which it was reached, for one that has none."""
    last = said.get("lastWrite") or {}
    written = last.get("lastWriteDate")
    return Hello(
        name=str(said.get("me") or asked),
        set_name=said.get("setName"),
        writable=bool(said.get("isWritablePrimary")),
        secondary=bool(said.get("secondary")),
        primary=said.get("primary"),
        mark=parse_mark(last.get("opTime")),
        written=written if isinstance(written, datetime) else None,
    )


def parse_mark(said: Mapping[str, Any] | None) -> Mark | None:
    """An optime, where it is one."""
    if not said or not isinstance(said.get("ts"), Timestamp):
        return None
    return Mark(said["ts"], int(said.get("t", -1)))


def order(mark: Mark) -> tuple[int, int, int]:
    """Optimes in the order in which a set has them: by term first."""
    return mark.term, int(mark.ts.time), int(mark.ts.inc)


def word_of(state: int) -> str:
    """The server's own for a state."""
    return _STATES[state] if 0 <= state < len(_STATES) else f"state {state}"


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))
