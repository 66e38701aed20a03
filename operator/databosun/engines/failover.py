"""The seam between the agent and what moves a primary: who is what, the move itself, and clients that write meanwhile.

The provider looks, moves and puts in order. The probe is what applications are: sessions that write numbered rows into
a table of their own, and are told what any application would be told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from databosun.api.failover import FailoverMode, FailoverPlan, GuardResult, ProviderTarget, Topology
from databosun.api.failoverprobe import ErrorName, ProbePath
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.ledger import Fate
from databosun.engines.base import Credentials, Target
from databosun.engines.clienterrors import name_by_word

STATEFUL_SET = "StatefulSet"
CLOUD_NATIVE_PG = "CloudNativePG"


class FailoverFault(StrEnum):
    """Why a move was not made, or not to its end. Never renamed; `docs/how-to/failover-tests.md` says what to do."""

    MODE_UNSUPPORTED = "ModeUnsupported"
    PROVIDER_UNSUPPORTED = "ProviderUnsupported"
    PROVIDER_UNREACHABLE = "ProviderUnreachable"
    PROVIDER_REFUSED = "ProviderRefused"
    TOPOLOGY_CHANGED = "TopologyChanged"
    NO_PRIMARY = "NoPrimary"
    NOT_CAUGHT_UP = "NotCaughtUp"
    NOT_PROMOTED = "NotPromoted"
    NOT_ENDED = "NotEnded"
    NOT_ANSWERED = "NotAnswered"
    FAULT_UNSEEN = "FaultUnseen"


class Declined(UserFault):
    """Nothing was moved, and nothing will be: a test that ends so is refused. `guard`: the one that did not hold, where
    it was one that only the operator can ask."""

    def __init__(self, reason: str, message: str, guard: GuardResult | None = None) -> None:
        super().__init__(reason, message)
        self.guard = guard


@dataclass(frozen=True, slots=True)
class Operator:
    """Who may move the primary. The login to a Sentinel, and that of a replica to its primary, may be others."""

    login: Credentials
    sentinel: Credentials | None = None
    replication: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a server answers: its name, which TLS checks, and the address that the name led to."""

    host: str
    port: int
    address: str


def _nobody(engine: EngineName, _: Any) -> Writers:
    raise TypeError(engine)


@dataclass(frozen=True, slots=True)
class Site:
    """What is to fail over. `probe`: the way clients take, and their login, which is no administrator's.

    `run`: what is made at the database is named after it. `until`: nothing that is made may outlive it, where the
    engine can see to that. `pulse` raises where the agent is to stop: call it at least every second. `writers`: clients
    of a kind of server, for a provider that is none itself.
    """

    probe: Target
    operator: Operator
    provider: ProviderTarget
    table: str
    run: str
    until: datetime
    pulse: Callable[[], None] = field(default=lambda: None)
    writers: Callable[[EngineName, Site], Writers] = field(default=_nobody)


class ProbeError(Exception):
    """What a client was told. `kind`: the engine's own code or word, `name`: what it is in the words that all share.
    `broken`: the session is of no use any more."""

    def __init__(self, kind: str, said: str, fate: Fate, *, broken: bool, name: ErrorName | None = None) -> None:
        super().__init__(f"{kind}: {said}")
        self.kind = kind
        self.name = name or name_by_word(kind)
        self.fate = fate
        self.broken = broken


class ProbeSession(Protocol):
    """One connection of a client. `node`: the member that acknowledged the last write, by its name in the topology;
    None: not known. A pooler may send each write to another one: so where an engine can ask, the write itself does."""

    node: str | None

    def write(self, seq: int) -> None:
        """Write one row, and wait until it is acknowledged. ProbeError with its fate."""
        ...

    def read(self) -> None:
        """Read what this client wrote last. ProbeError."""
        ...

    def close(self) -> None:
        """Hang up; never raises."""
        ...


class Watcher(Protocol):
    """One connection to one member, past every Service."""

    def takes_writes(self) -> bool:
        """What the member says of itself. ProbeError."""
        ...

    def close(self) -> None:
        """Hang up; never raises."""
        ...


class WriterSession(ProbeSession, Watcher, Protocol):
    """One connection of one client, or of a watcher."""

    def close(self) -> None:
        """Hang up; never raises."""
        ...


class Writers(Protocol):
    """Clients of one kind of server, at whatever address that stands. UserFault, WorldFault, and ProbeError where
    said."""

    def lacking(self, spot: Spot) -> Sequence[GuardResult]:
        """Whether they may have their table, and whether that would harm anybody."""
        ...

    def make(self, spot: Spot) -> None:
        """Make the table; harmless where it is there."""
        ...

    def remove(self, spot: Spot) -> None:
        """Remove it; harmless where it is not there."""
        ...

    def rows(self, spot: Spot, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """The numbers of the rows that the server holds, by client."""
        ...

    def connect(self, spot: Spot, client: int, seconds: float) -> WriterSession:
        """A session, at a node that only the caller may know. ProbeError."""
        ...


class FailoverProvider(Protocol):
    """One look at, or one move of, a primary. Methods raise UserFault, WorldFault or SafetyStop, and ProbeError where
    said."""

    def topology(self) -> Topology:
        """Ask everybody anew. Raises where nobody answers who would know."""
        ...

    def choose(self, topology: Topology, planned: str | None) -> str | None:
        """The member to promote: the planned one while it can be, else the provider's own choice; None: none can."""
        ...

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """What this kind of replication asks besides: grants, quorum, the probe's table, and whether the candidate
        holds only what the primary has."""
        ...

    def move(self, plan: FailoverPlan, ordered: Callable[[], None]) -> str:
        """Promote the candidate. `ordered` is called right before the first step that clients may notice, and may
        raise: then nothing was moved. Returns who is primary once it is.

        Whatever it raises: what it had begun is undone, or done to its end, as far as can be reached."""
        ...

    def rejoined(self, plan: FailoverPlan) -> str | None:
        """What is still missing until the old primary follows the new one and has all it has; None: nothing. One that
        was given up for gone may be taken back by asking."""
        ...

    def divergence(self, plan: FailoverPlan) -> Sequence[str]:
        """Proofs, a sentence each, that members hold what the primary has never had."""
        ...

    def settle(self, plan: FailoverPlan | None, seconds: float) -> Sequence[str]:
        """Put in order what a move of this run may have left: clients paused, no primary that takes writes. Only what
        is known to be this run's is touched. What is left all the same after `seconds`, a sentence each. Harmless to
        repeat."""
        ...

    def prepare_probe(self) -> None:
        """Make the probe's table; harmless where it is there."""
        ...

    def remove_probe(self) -> None:
        """Remove the probe's table; harmless where it is not there."""
        ...

    def connect(self, path: ProbePath | None, client: int, seconds: float) -> ProbeSession:
        """A session of a client that writes its own rows; None: by the way of the database's connection. ProbeError."""
        ...

    def watch(self, member: str, seconds: float) -> Watcher:
        """A session that asks a member itself. ProbeError."""
        ...

    def read_back(self, clients: Iterable[int]) -> Mapping[int, Collection[int]]:
        """The numbers of the rows that the primary holds, by client."""
        ...


class Failover(Protocol):
    """What an engine moves primaries by. `providers`: as spec.replication.provider names them."""

    providers: tuple[str, ...]

    def open(self, site: Site, mode: FailoverMode) -> AbstractContextManager[FailoverProvider]:
        """Begin. UserFault(ProviderUnsupported) before anything is asked of anybody."""
        ...


def stateful_members(site: Site) -> list[tuple[str, int]]:
    """Where each member of a StatefulSet is asked, by host and port. UserFault where nobody says so, or one twice."""
    database = site.probe.database
    found = []
    for text in site.provider.endpoints or database.hosts:
        host, colon, port = text.rpartition(":")
        found.append((host, int(port)) if colon and port.isdigit() else (text, database.port))
    if not found or len(set(found)) != len(found):
        told = ", ".join(f"{host}:{port}" for host, port in found) or "none"
        message = (
            f"provider {STATEFUL_SET} needs every member in spec.replication.endpoints, once and by a name of its own, "
            f"such as orders-0.orders.shop.svc:5432; found {told}"
        )
        raise UserFault(FailoverFault.PROVIDER_UNSUPPORTED, message)
    return found


def probe_error(fault: DatabosunError) -> ProbeError:
    """What a client was told that was not let in: nothing was sent, so it is known that nothing is done."""
    return ProbeError(fault.reason, fault.message, Fate.FAILED, broken=True)
