"""The move itself.

`SENTINEL FAILOVER` acts as if the master were gone: it goes on taking writes until a Sentinel demotes it, some ten
seconds later, and every one of them is lost (830 to 900 in 4 to 5 s, as measured). So a planned move stops writes
first, waits until the replicas have all, and demotes the old master before it may take writes again. The pause ends by
itself, also where this process is killed: longer than a Sentinel takes to demote a master that it has replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from databosun.domain.errors import DatabosunError, SafetyStop, WorldFault
from databosun.engines.failover import FailoverFault
from databosun.engines.redis.failover.nodes import Nodes, Place, ask_node
from databosun.engines.redis.failover.sentinels import Order, Sentinels, go_on
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.resp import ReplyError, Wire

PAUSE_SECONDS = 30
CATCH_UP_SECONDS = 10.0
PROMOTION_SECONDS = 20.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Switch:
    """One move of one master. `pulse` raises where the agent is to stop."""

    nodes: Nodes
    sentinels: Sentinels
    pulse: Callable[[], None]

    def planned(self, old: Place, replicas: Iterable[Place], ordered: Callable[[], None]) -> Place:
        """Move without losing a write; the new master. What was begun is undone where it does not come about."""
        with self.nodes.open(old) as wire, guarded(f"stopping writes on {old}", self.nodes.user):
            ordered()
            until = time.monotonic() + PROMOTION_SECONDS
            with _paused(wire):
                self._catch_up(wire, old, replicas)
                wire.pulse = go_on  # half a move is worse than a whole one
                order = self.sentinels.order_failover(until)
            # From here on the old master may be replaced at any moment, and then what it took would be lost: writes go
            # on once it is a replica, or, where it never becomes one, when the pause runs out.
            new = self._promoted(old, order, until)
            self._demote(wire, new)
            wire.call("CLIENT", "UNPAUSE")
        return new

    def forced(self, old: Place, ordered: Callable[[], None]) -> Place:
        """Move as if the master were gone; the new one. The Sentinels demote the old one when they get to it."""
        ordered()
        until = time.monotonic() + PROMOTION_SECONDS
        return self._promoted(old, self.sentinels.order_failover(until), until)

    def _catch_up(self, wire: Wire, old: Place, replicas: Iterable[Place]) -> None:
        """Until each replica has all that the master wrote. WorldFault(NotCaughtUp)."""
        wanted = ask_node(wire).offset
        until = time.monotonic() + CATCH_UP_SECONDS
        for place in replicas:
            with self.nodes.open(place) as replica, guarded(f"asking {place}", self.nodes.user):
                while (offset := ask_node(replica).offset) < wanted:
                    self.pulse()
                    if time.monotonic() > until:
                        message = (
                            f"{place} has {offset} of the {wanted} bytes that {old} streamed, {CATCH_UP_SECONDS:.0f} s "
                            "after writes were stopped; nothing was moved, and writes go on"
                        )
                        raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message)
                    time.sleep(LOOK_SECONDS)

    def _promoted(self, old: Place, order: Order, until: float) -> Place:
        """Wait until it has come about. Not stopped on the way."""
        sentinels, nodes = replace(self.sentinels, pulse=go_on), replace(self.nodes, pulse=go_on)
        while time.monotonic() < until:
            for new in sentinels.others(old):
                with suppress(DatabosunError):
                    if nodes.ask(new).master:
                        return new
            time.sleep(LOOK_SECONDS)
        silence = f" (which it did not answer: {order.silence})" if order.silence else ""
        message = (
            f"the Sentinel {order.place} has not replaced {old} within {PROMOTION_SECONDS:.0f} s of SENTINEL "
            f"FAILOVER{silence}; look at its log"
        )
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def _demote(self, wire: Wire, new: Place) -> None:
        """As a Sentinel does it: follow, keep that for the next start, and have clients look for the new master."""
        try:
            wire.call("REPLICAOF", new.host, new.port)
        except ReplyError as error:
            message = (
                f"{new} is master, and the old one refused REPLICAOF: {error}; its writes are stopped for up to "
                f"{PAUSE_SECONDS} s, by when the Sentinels should have demoted it: look at it now"
            )
            raise SafetyStop(FailoverFault.NOT_PROMOTED, message) from error
        for words in (("CONFIG", "REWRITE"), ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")):
            with suppress(ReplyError):  # the Sentinels do both again
                wire.call(*words)


@contextmanager
def _paused(wire: Wire) -> Iterator[None]:
    """Writes wait. They go on where the block raises, and are left waiting where it does not."""
    wire.call("CLIENT", "PAUSE", PAUSE_SECONDS * 1000, "WRITE")
    try:
        yield
    except BaseException:
        wire.pulse = go_on
        wire.call("CLIENT", "UNPAUSE")
        raise
