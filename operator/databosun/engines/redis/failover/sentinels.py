"""The Sentinels: who the master is by their word, what replicas it has, whether they could agree on another one."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverFault
from databosun.engines.reaching import combined
from databosun.engines.redis.connect import endpoints_of, open_wire
from databosun.engines.redis.failover.nodes import Place, entries
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.resp import Reply, ReplyError, Wire

ORDER_SECONDS = 5.0
"""A Sentinel answers before it begins."""
_GONE = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True, slots=True)
class KnownReplica:
    """A replica as a Sentinel knows it."""

    place: Place
    gone: bool
    priority: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Word:
    """What the Sentinels say. `masters`: one of each that answered. `quorum`: None where they could agree; else why
    not."""

    masters: Counter[Place]
    replicas: tuple[KnownReplica, ...]
    quorum: str | None
    silent: tuple[str, ...]

    @property
    def master(self) -> Place | None:
        """The master, where they are of one mind."""
        return next(iter(self.masters)) if len(self.masters) == 1 else None


@dataclass(frozen=True, slots=True)
class Order:
    """A failover that a Sentinel was told to make. `silence`: why its answer is not known; None where it said yes."""

    place: Place
    silence: str | None


def go_on() -> None:
    """The pulse of what must be done to its end: nothing stops it."""


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The Sentinels of one master set. `login`: None where they have no users."""

    target: Target
    places: Sequence[Place]
    name: str
    login: Credentials | None
    pulse: Callable[[], None]

    def ask(self) -> Word:
        """Ask each of them. WorldFault(ProviderUnreachable) where none answers; UserFault where none knows the set."""
        masters, errors = Counter[Place](), list[DatabosunError]()
        replicas: tuple[KnownReplica, ...] = ()
        quorum: str | None = None
        for place in self.places:
            try:
                with self.open(place) as wire, guarded(f"asking the Sentinel {place}"):
                    masters[self._master(wire, place)] += 1
                    if masters.total() == 1:
                        replicas, quorum = self._replicas(wire), self._quorum(wire)
            except DatabosunError as fault:
                errors.append(fault)
        if not masters:
            why = combined(errors)
            kind = UserFault if isinstance(why, UserFault) else WorldFault
            raise kind(FailoverFault.PROVIDER_UNREACHABLE, f"no Sentinel could be asked: {why.message}")
        return Word(masters, replicas, quorum, tuple(fault.message for fault in errors))

    def open(self, place: Place) -> Wire:
        """Connect to one. UserFault, WorldFault."""
        endpoint = endpoints_of(place.host, place.port)[0]
        if self.login is None:
            return open_wire(self.target, endpoint, self.pulse, login=False)
        return open_wire(replace(self.target, credentials=self.login), endpoint, self.pulse)

    def order_failover(self, until: float) -> Order:
        """Have one of them promote a replica, whatever the master says. WorldFault(ProviderRefused), others.

        One that was told and does not answer may be at it: no other is told. None is told after `until` (monotonic).
        """
        errors = []
        for place in self.places:
            try:
                with self.open(place) as wire:
                    if time.monotonic() > until:
                        break
                    return self._order(wire, place)
            except DatabosunError as fault:
                if fault.reason == FailoverFault.PROVIDER_REFUSED:
                    raise
                errors.append(fault)
        why = combined(errors).message if errors else "none was asked"
        raise WorldFault(FailoverFault.PROVIDER_UNREACHABLE, f"no Sentinel took an order in time: {why}")

    def _order(self, wire: Wire, place: Place) -> Order:
        wire.pulse = go_on
        try:
            wire.call("SENTINEL", "FAILOVER", self.name, seconds=ORDER_SECONDS)
        except ReplyError as error:
            message = f"the Sentinel {place} refused SENTINEL FAILOVER {self.name}: {error}"
            raise WorldFault(FailoverFault.PROVIDER_REFUSED, message) from error
        except WorldFault as fault:
            return Order(place, fault.message)
        return Order(place, None)

    def others(self, old: Place) -> Iterator[Place]:
        """Masters besides the old one, by the word of those that answer: a promoted one from when it takes writes."""
        for place in self.places:
            with suppress(DatabosunError), self.open(place) as wire, guarded(f"asking the Sentinel {place}"):
                if (master := self._master(wire, place)) != old:
                    yield master

    def _master(self, wire: Wire, place: Place) -> Place:
        said = wire.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        if not (isinstance(said, list) and len(said) == 2 and all(isinstance(one, bytes) for one in said)):
            message = f"the Sentinel {place} watches no master named {self.name}; correct spec.replication.masterName"
            raise UserFault(FailoverFault.PROVIDER_REFUSED, message)
        host, port = (one.decode() for one in said if isinstance(one, bytes))
        return Place(host, int(port))

    def _replicas(self, wire: Wire) -> tuple[KnownReplica, ...]:
        found = entries(_either(wire, "REPLICAS", "SLAVES", self.name))
        return tuple(
            KnownReplica(
                Place(one["ip"], int(one["port"])),
                any(word in one.get("flags", "") for word in _GONE),
                int(one.get("slave-priority") or one.get("replica-priority") or "100"),
                one.get("runid", ""),
            )
            for one in found
            if one.get("ip") and one.get("port")
        )

    def _quorum(self, wire: Wire) -> str | None:
        try:
            wire.call("SENTINEL", "CKQUORUM", self.name)
        except ReplyError as error:
            return re.sub(r"^\w+ ", "", str(error))
        return None


def _either(wire: Wire, word: str, older: str, name: str) -> Reply:
    try:
        return wire.call("SENTINEL", word, name)
    except ReplyError:
        return wire.call("SENTINEL", older, name)
