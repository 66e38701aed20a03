"""The move of one shard's master, by the cluster's own manual failover.

`CLUSTER FAILOVER`, told to a replica: that has its master stop writes and say how far it is, waits until it has all of
it, and asks the masters to vote; where that is not done in five seconds, writes go on and nothing was moved. With
`FORCE` it asks for the vote at once, without a word to its master, as where that is gone; what the master had not sent,
or takes until it hears of the new one, is lost. `TAKEOVER`, which asks nobody, is never sent: of a cluster that is
parted it makes two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.failover import Declined, FailoverFault
from databosun.engines.redis.failover.clusterlook import Cluster
from databosun.engines.redis.failover.nodes import Place, ask_node
from databosun.engines.redis.failover.sentinels import go_on
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.resp import ReplyError

ANSWER_SECONDS = 5.0
"""A replica answers before it begins."""
PROMOTION_SECONDS = 20.0
"""Longer than any of the cluster's own waits, after each of which nothing has been moved."""
CATCH_UP_SECONDS = 5.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ClusterSwitch:
    """One move. `slot`: of the shard."""

    cluster: Cluster
    slot: int

    def planned(self, old: Place, new: Place, ordered: Callable[[], None]) -> Place:
        """Move without losing a write. Declined(NotCaughtUp) where the replica lacks what its master had before: its
        master would stop writes in vain. Else as `forced`."""
        self._catch_up(old, new)
        return self._order(old, new, ordered, "CLUSTER", "FAILOVER")

    def forced(self, old: Place, new: Place, ordered: Callable[[], None]) -> Place:
        """Returns once the replica serves the slot by its own word. Declined where it says no: then nothing was begun.
        WorldFault(NotPromoted)."""
        return self._order(old, new, ordered, "CLUSTER", "FAILOVER", "FORCE")

    def _catch_up(self, old: Place, new: Place) -> None:
        nodes = self.cluster.nodes
        wanted = nodes.ask(old).offset
        until = time.monotonic() + CATCH_UP_SECONDS
        with nodes.open(new) as wire, guarded(f"asking {new}", nodes.user):
            while (facts := ask_node(wire)).offset < wanted or not facts.link_up:
                nodes.pulse()
                if time.monotonic() > until:
                    link = "" if facts.link_up else ", and has no link to it"
                    message = (
                        f"{new} has {facts.offset} of the {wanted} bytes that {old} had streamed "
                        f"{CATCH_UP_SECONDS:.0f} s before{link}; nothing was moved"
                    )
                    raise Declined(FailoverFault.NOT_CAUGHT_UP, message)
                time.sleep(LOOK_SECONDS)

    def _order(self, old: Place, new: Place, ordered: Callable[[], None], *words: str) -> Place:
        silence = None
        with self.cluster.nodes.open(new) as wire:
            ordered()
            wire.pulse = go_on  # half a move is worse than a whole one
            try:
                wire.call(*words, seconds=ANSWER_SECONDS)
            except ReplyError as error:
                message = f"{new} refused {' '.join(words)}, and nothing was moved: {error}"
                raise Declined(FailoverFault.PROVIDER_REFUSED, message) from error
            except WorldFault as fault:
                silence = fault.message
        if self._promoted(new):
            return new
        told = f" (which it did not answer: {silence})" if silence else ""
        message = (
            f"{new} has not replaced {old} within {PROMOTION_SECONDS:.0f} s of {' '.join(words)}{told}: it had not all "
            "of its master's writes in time, or the masters did not vote for it; look at its log"
        )
        raise WorldFault(FailoverFault.NOT_PROMOTED, message)

    def _promoted(self, new: Place) -> bool:
        """Not stopped on the way."""
        cluster = replace(self.cluster, nodes=replace(self.cluster.nodes, pulse=go_on))
        until = time.monotonic() + PROMOTION_SECONDS
        while time.monotonic() < until:
            with suppress(DatabosunError):
                view = cluster.view(new)
                shard = view.shard_of(self.slot)
                if shard is not None and shard.master is view.myself:
                    return True
            time.sleep(LOOK_SECONDS)
        return False
