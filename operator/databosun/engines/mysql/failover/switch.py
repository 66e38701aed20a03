"""The move itself, in an order in which no acknowledged write is lost, and each step can be undone or done to its end.

The lock is held in a session: it is gone with it, also where this process is killed. `read_only` outlives it, so it is
set last, right before the candidate takes writes; what a killed process left of that is told by the mark of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.base import Credentials
from databosun.engines.failover import FailoverFault
from databosun.engines.mysql.connect import one
from databosun.engines.mysql.failover.gtids import errant
from databosun.engines.mysql.failover.nodes import NodeFacts, Nodes, Place, ask_node, follow, repoint, run
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.faults import guarded, number_of

LOCK_SECONDS = 5
CATCH_UP_SECONDS = 10
IDLE_SECONDS = 20
"""After that the server ends the session, and with it the lock, where this process is cut off from it."""
_LOCK_TIMEOUT = 1205


@dataclass(frozen=True, slots=True)
class Switch:
    """One move. `replication`: what the old primary follows the new one with."""

    nodes: Nodes
    probe: Nodes
    tables: Tables
    replication: Credentials
    tls: TLSMode

    def planned(self, old: Place, new: Place, others: Iterable[Place], ordered: Callable[[], None]) -> None:
        """Move without losing a write. What was begun is undone where it does not come about."""
        with self.nodes.open(old) as former, self.nodes.open(new) as candidate:
            with self.probe.open(old) as marking, guarded(f"writing down that {old} is moved to {new}"):
                self.tables.mark(marking, old, new)
            with guarded(f"moving {old} to {new}"):
                ordered()
                self._lock(former, old)
                try:
                    self._catch_up(former, candidate, new)
                    run(former, "SET GLOBAL read_only = 1")
                    run(candidate, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
                except BaseException:
                    self._undo(former, candidate, old)
                    raise
                run(former, "UNLOCK TABLES")
                follow(former, new, self.replication, self.tls)
        for place in others:
            with self.nodes.open(place) as connection, guarded(f"pointing {place} to {new}"):
                repoint(connection, new)

    def settle(self, old: Place, new: Place, others: Iterable[Place]) -> Sequence[str]:
        """What a lost process left of this very move: done to its end where the candidate was let go, else undone."""
        if not self._marked(old, new):
            return ()
        with (
            self.nodes.open(old) as former,
            self.nodes.open(new) as candidate,
            guarded(f"putting {old} and {new} in order"),
        ):
            was, is_ = ask_node(former), ask_node(candidate)
            if is_.following is not None:
                return self._back(former, candidate, was)
            if is_.read_only and errant(was.state, is_.state):
                follow(candidate, old, self.replication, self.tls)
                run(former, "SET GLOBAL read_only = 0")
                return ()
            return self._forward(former, candidate, old, new, others)

    def _marked(self, old: Place, new: Place) -> bool:
        with self.probe.open(old) as former, self.probe.open(new) as candidate, guarded("looking for a move's mark"):
            return self.tables.marked(former, old, new) or self.tables.marked(candidate, old, new)

    def _back(self, former: Connection[Any], candidate: Connection[Any], was: NodeFacts) -> Sequence[str]:
        run(candidate, "START SLAVE")
        if was.following is None and was.read_only:
            run(former, "SET GLOBAL read_only = 0")
        return ()

    def _forward(
        self, former: Connection[Any], candidate: Connection[Any], old: Place, new: Place, others: Iterable[Place]
    ) -> Sequence[str]:
        run(former, "SET GLOBAL read_only = 1")
        run(candidate, "SET GLOBAL read_only = 0")
        was, is_ = ask_node(former), ask_node(candidate)
        own = errant(was.state, is_.state)
        if own and was.following is None:
            return (f"{old} is read-only and follows nobody: it holds {', '.join(own)}, which {new} never had",)
        if was.following is None:
            follow(former, new, self.replication, self.tls)
        for place in others:
            with self.nodes.open(place) as connection:
                known = ask_node(connection).following
                if known is None or (known.host, known.port) != (new.host, new.port):
                    repoint(connection, new)
        return ()

    def _lock(self, former: Connection[Any], old: Place) -> None:
        """Stop writes. WorldFault(NotCaughtUp) where a long statement is in the way: others would wait behind it."""
        run(former, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}, SESSION wait_timeout = {IDLE_SECONDS}")
        try:
            run(former, "FLUSH TABLES WITH READ LOCK")
        except pymysql.MySQLError as error:
            if number_of(error) != _LOCK_TIMEOUT:
                raise
            message = (
                f"writes on {old} could not be stopped within {LOCK_SECONDS} s: a long statement holds its tables; "
                "nothing was moved, and writes go on"
            )
            raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message) from error

    def _catch_up(self, former: Connection[Any], candidate: Connection[Any], new: Place) -> None:
        (wanted,) = one(former, "SELECT @@GLOBAL.gtid_binlog_pos")
        (waited,) = one(candidate, "SELECT MASTER_GTID_WAIT(%s, %s)", (wanted, CATCH_UP_SECONDS))
        if waited != 0:
            message = (
                f"{new} has not come to {wanted} within {CATCH_UP_SECONDS} s after writes were stopped; nothing was "
                "moved, and writes go on"
            )
            raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message)

    def _undo(self, former: Connection[Any], candidate: Connection[Any], old: Place) -> None:
        """Each step on its own: where one side cannot be reached, the other is put in order all the same."""
        with suppress(pymysql.MySQLError, OSError, DatabosunError):
            facts = ask_node(candidate)
            run(candidate, "SET GLOBAL read_only = 1")
            if facts.following is None:
                follow(candidate, old, self.replication, self.tls)
            else:
                run(candidate, "START SLAVE")
        run(former, "SET GLOBAL read_only = 0", "UNLOCK TABLES")
