"""What a server says of itself, as far as a failover is concerned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is; its text is the name of the member."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """`host:port`."""
        host, _, port = text.rpartition(":")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class Following:
    """Its place as a replica. `problem`: why it does not follow; `seconds`: how far it is behind, where it does.
    `received`: up to where, applied or not; `applies`: what it received."""

    host: str
    port: int
    gtid: bool
    received: str
    applies: bool
    problem: str | None
    seconds: float | None

    @property
    def source(self) -> Place:
        """Whom it follows, as it was told."""
        return Place(self.host, self.port)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One look. `state`: all that it has logged; `position`: what another one must have to have that."""

    server_id: int
    read_only: bool
    state: str
    position: str
    logs: bool
    semi_sync: bool
    following: Following | None
    channels: int

    @property
    def primary(self) -> bool:
        """It takes writes, and follows nobody."""
        return not self.read_only and self.following is None
