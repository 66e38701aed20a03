"""The clients of a failover test: the ways that they take, and what they were told by each."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Line, first

MAX_CLIENTS = 112
"""Of five paths, sixteen each, and more than any result tells of."""
MAX_CLIENTS_TOLD = 64
MAX_PATHS = 8
MAX_INSTANCES = 32
MAX_ERRORS = 32
SERVICE = "service"
"""The path of the Database's own connection."""


class PathKind(StrEnum):
    """Service: a session stays with the server that it met. Pooler: each of its writes may be sent to another one."""

    SERVICE = "Service"
    POOLER = "Pooler"


class ErrorName(StrEnum):
    """What a client was told, by what its retries must survive. The same words for every engine; never renamed."""

    CONNECTION_REFUSED = "ConnectionRefused"
    CONNECTION_LOST = "ConnectionLost"
    UNREACHABLE = "Unreachable"
    TIMEOUT = "Timeout"
    READ_ONLY = "ReadOnly"
    NO_PRIMARY = "NoPrimary"
    SHUTTING_DOWN = "ShuttingDown"
    STARTING = "Starting"
    NO_SERVER_BEHIND = "NoServerBehind"
    TOO_MANY_CONNECTIONS = "TooManyConnections"
    NOT_CONFIRMED = "NotConfirmed"
    CONFLICT = "Conflict"
    OTHER = "Other"


class ProbePath(Model):
    """A way that clients take to the database, beside that of its connection."""

    name: str
    host: str
    port: int
    kind: PathKind = PathKind.SERVICE


class ProbeOrder(Model):
    """How the writers write. `table`: of its own; a prefix of keys in Redis."""

    writes_per_second: float = Field(default=20.0, description="Of each client.")
    clients: int = Field(default=4, description="Of each path.")
    table: str = "databosun_probe"
    paths: list[ProbePath] = Field(default_factory=list, max_length=MAX_PATHS)


class ErrorClass(Model):
    """Errors of one sort that clients saw."""

    kind: Line = Field(description="The engine's own code or word: 57P01, READONLY, ConnectionReset.")
    name: ErrorName = Field(default=ErrorName.OTHER, description="What it is, in words that all engines share.")
    count: int
    unknown: int = Field(default=0, description="Of these, writes of which nobody knows whether they are done.")
    example: Line | None = None


Errors = Annotated[list[ErrorClass], Field(max_length=MAX_ERRORS), first(MAX_ERRORS)]


class ClientSeen(Model):
    """One writer."""

    client: Line
    path: Line = Field(description="Name of the path that it wrote through.")
    acknowledged: int
    longest_gap_seconds: float | None = Field(default=None, description="Between two acknowledgements.")
    first_success_seconds: float | None = Field(
        default=None, description="From the order to switch to its first write that the new primary acknowledged."
    )
    errors: Errors = Field(default_factory=list)


class PathSeen(Model):
    """All writers of one path: what an application there would have lived through."""

    name: Line
    kind: PathKind
    clients: int
    acknowledged: int
    failed: int = Field(description="Refused: known to be not done.")
    unknown: int = Field(description="Neither acknowledged nor refused.")
    broken_connections: int = Field(description="Sessions that ended under a client.")
    write_downtime_seconds: float | None = Field(
        default=None, description="Longest time in which none of its clients was acknowledged a write."
    )
    resumed: bool = Field(default=True, description="Whether writes went on before the end of the test.")
    first_success_seconds: float | None = Field(
        default=None, description="From the order until the new primary acknowledged a write of any of its clients."
    )
    all_succeeded_seconds: float | None = Field(
        default=None, description="The same for the last of its clients; None where one never wrote again."
    )
    errors: Errors = Field(default_factory=list)


class InstanceSeen(Model):
    """One node, asked past every Service and pooler whether it takes writes. It is asked and not written to: what a
    node takes that should take nothing would be the very harm that is looked for."""

    name: Line
    asked: int
    took_writes: int = Field(description="How often it said that it takes writes.")
    last_seconds: float | None = Field(default=None, description="From the order until it said so last.")
    first_seconds: float | None = Field(default=None, description="From the order until it said so for the first time.")
    errors: Errors = Field(default_factory=list)
