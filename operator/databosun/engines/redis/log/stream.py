"""The connection that a replica would have: the commands from an offset on, and what is acknowledged of them."""

from __future__ import annotations

import time

from databosun.domain.errors import WorldFault
from databosun.engines.base import Target
from databosun.engines.redis.connect import open_wire
from databosun.engines.redis.faults import reply_fault
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, Wire, encode
from databosun.engines.redis.server import ServerFacts

ACK_SECONDS = 1.0
_ANSWER_SECONDS = 60.0
# A master pings its replicas each ten seconds (repl-ping-replica-period), and gives up those that are silent for 60.
SILENT_SECONDS = 60.0


class CommandStream:
    """Open it with `start`; `close` in the end. A full synchronisation is never waited for, only partial ones."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._heard = self._acknowledged = time.monotonic()

    def start(self, replid: str, offset: int, user: str) -> str:
        """Ask for what follows on `offset`; the id of the history that goes on. WorldFault(Overrun)."""
        wire = self._wire
        doing = f"following {wire.where}"
        try:
            wire.call("REPLCONF", "capa", "psync2")
            said = wire.call("PSYNC", replid, offset + 1, seconds=_ANSWER_SECONDS)
        except ReplyError as error:
            raise reply_fault(error, doing, user) from error
        words = said.split() if isinstance(said, bytes) else []
        if words[:1] != [b"CONTINUE"]:
            message = f"{doing}: it answered PSYNC with {said!r:.80}; expected CONTINUE; the next attempt looks anew"
            raise WorldFault(Reason.CONNECTION_LOST, message)
        return words[1].decode() if len(words) > 1 else replid

    def next(self, seconds: float) -> bytes:
        """What came, after that time at most; empty where nothing did. WorldFault(ConnectionLost)."""
        found = self._wire.poll(seconds)
        now = time.monotonic()
        if found is None:
            if now - self._heard > SILENT_SECONDS:
                message = f"{self._wire.where} has been silent for {SILENT_SECONDS:.0f} s; it is asked anew"
                raise WorldFault(Reason.CONNECTION_LOST, message)
            return b""
        self._heard = now
        return bytes(found)

    def acknowledge(self, offset: int) -> None:
        """Say each second what is kept for good: never more."""
        now = time.monotonic()
        if now - self._acknowledged >= ACK_SECONDS:
            self._wire.send(encode("REPLCONF", "ACK", offset))
            self._acknowledged = now


def make_backlog(target: Target, facts: ServerFacts) -> None:
    """Have a master without replicas keep its commands: it begins to when a replica asks, before it copies anything.

    We hang up at once, so that nothing is copied; the backlog stays for `repl-backlog-ttl` (an hour).
    """
    with open_wire(target, facts.endpoint) as wire:
        wire.send(encode("REPLCONF", "capa", "eof", "capa", "psync2") + encode("PING"))
        wire.answers(2)
        wire.send(encode("PSYNC", "?", "-1"))
        wire.poll(ACK_SECONDS)
