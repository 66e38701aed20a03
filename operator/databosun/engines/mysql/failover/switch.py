"""The planned move, in an order in which no acknowledged write is lost, and what a lost process left is put in order.

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
from databosun.engines.mysql.failover.facts import NodeFacts, Place
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.probe import Tables
from databosun.engines.mysql.failover.words import Words, run
from databosun.engines.mysql.faults import guarded, number_of

LOCK_SECONDS = 5
CATCH_UP_SECONDS = 8
"""Less than a session waits for an answer."""
IDLE_SECONDS = 20
"""After that the server ends the session, and with it the lock, where this process is cut off from it."""
LOOK_SECONDS = 2
"""How long a server is waited for that has no part in the move."""
_LOCK_TIMEOUT = 1205
_FAULTS = (pymysql.MySQLError, OSError, DatabosunError)


@dataclass(frozen=True, slots=True)
class Switch:
    """One move. `replication`: what the old primary follows the new one with."""

    nodes: Nodes
    probe: Nodes
    tables: Tables
    replication: Credentials
    tls: TLSMode

    @property
    def words(self) -> Words:
        """How the servers are spoken to."""
        return self.nodes.words

    def move(self, old: Place, new: Place, others: Sequence[Place], ordered: Callable[[], None]) -> None:
        """Move without losing a write. What was begun is undone where it does not come about."""
        with self.nodes.open(old) as former, self.nodes.open(new) as candidate:
            self.mark(old, new)
            with guarded(f"moving {old} to {new}"):
                ordered()
                self._lock(former, old)
                try:
                    self._catch_up(former, candidate, new)
                    run(former, self.words.freeze)
                    run(candidate, self.words.stop, self.words.forget, self.words.thaw)
                except BaseException:
                    with suppress(*_FAULTS):  # else it goes with its session; what was made read-only stays so
                        run(former, "UNLOCK TABLES")
                    self.make_good(old, new, others)
                    raise
                run(former, "UNLOCK TABLES")
                self.words.follow(former, new, self.replication, self.tls)
        self.point(others, new)  # whom it does not reach, settling names

    def settle(self, old: Place, new: Place, others: Sequence[Place]) -> Sequence[str]:
        """What is left of this very move is put in order, unless somebody else has moved the primary since."""
        if not self._marked(old) and not self._marked(new):
            return ()
        told = self._repointed_since(old, new) or self._led_by(others)
        return (told,) if told else self._put_in_order(old, new, others)

    def make_good(self, old: Place, new: Place, others: Sequence[Place]) -> None:
        """After a fault: by what the servers say.

        A candidate whose promotion was not answered may have taken writes, and is not simply undone. Where a server
        cannot be asked, the old primary stays as it is, and settling tries again.
        """
        with suppress(DatabosunError):
            self._put_in_order(old, new, others)

    def settle_without(self, old: Place, new: Place, others: Sequence[Place]) -> Sequence[str]:
        """The same, where the old primary cannot be asked: a candidate that was let go is primary by now; one that
        was not is not made one, because the old one may take writes."""
        if told := self._led_by(others):
            return (told,)
        with self.nodes.open(new) as candidate, guarded(f"putting {new} in order"):
            facts = self.words.ask(candidate)
            if facts.following is not None:
                return (_not_promoted(old, new, facts.following.source),)
            if not self._marked(new):
                return (_unmarked(old, new, facts),)
            run(candidate, self.words.thaw)
        left = f"{new} is the primary; {_must_follow(old, new)}"
        return [left, *self.point(others, new)]

    def mark(self, old: Place, new: Place) -> None:
        """Write down what is about to be done."""
        with self.probe.open(old) as marking, guarded(f"writing down that {old} is moved to {new}"):
            self.tables.mark(marking, old, new)

    def take_back(self, old: Place, new: Place) -> Sequence[str]:
        """The old primary follows the new one. Why it cannot, a sentence each: then it takes no writes."""
        with (
            self.nodes.open(old) as former,
            self.nodes.open(new) as leader,
            guarded(f"having {old} follow {new}"),
        ):
            was = self.words.ask(former)
            if was.following is not None:
                return ()
            if not was.read_only:
                run(former, self.words.freeze)
                was = self.words.ask(former)
            if own := self.words.errant(was.state, self.words.ask(leader).state):
                told = f"it holds {', '.join(own)}, which {new} never had: make it anew"
                return (f"{old} is read-only and follows nobody: {told}",)
            self.words.follow(former, new, self.replication, self.tls)
        return ()

    def back(self, old: Place, new: Place, others: Iterable[Place]) -> Sequence[str]:
        """Replicas follow the old primary again, and it takes writes again. Whom that did not reach."""
        with self.nodes.open(new) as candidate, guarded(f"having {new} follow {old} again"):
            self._let_follow(candidate, old)
        left = self.point(others, old)
        with self.nodes.open(old) as former, guarded(f"having {old} take writes"):
            was = self.words.ask(former)
            if was.following is None and was.read_only:
                run(former, self.words.thaw)
        return left

    def point(self, replicas: Iterable[Place], primary: Place) -> Sequence[str]:
        """Replicas follow a primary, each on its own. Whom that did not reach."""
        left = []
        for place in replicas:
            try:
                with self.nodes.open(place) as connection, guarded(f"pointing {place} to {primary}"):
                    known = self.words.ask(connection).following
                    if known and known.source != primary:
                        if told := self.keep(connection, place, primary):
                            left.append(told)
                        else:
                            self.words.repoint(connection, primary)
                    elif known and known.applies:  # one that somebody stopped stays so
                        run(connection, self.words.start)
            except DatabosunError as fault:
                left.append(f"{place} may not follow {primary}: {fault.message}")
        return left

    def keep(self, replica: Connection[Any], place: Place, primary: Place) -> str | None:
        """Why a replica is not to be pointed to that primary; here, that it never is."""
        return None

    def stop_writes(self, connection: Connection[Any], old: Place, statement: str) -> None:
        """Stop writes. WorldFault(NotCaughtUp) where a long statement is in the way: others would wait behind it."""
        run(connection, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}, SESSION wait_timeout = {IDLE_SECONDS}")
        try:
            run(connection, statement)
        except pymysql.MySQLError as error:
            if number_of(error) != _LOCK_TIMEOUT:
                raise
            message = (
                f"writes on {old} could not be stopped within {LOCK_SECONDS} s: a long statement holds its tables; "
                "nothing was moved, and writes go on"
            )
            raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message) from error

    def _put_in_order(self, old: Place, new: Place, others: Sequence[Place]) -> Sequence[str]:
        """Done to its end where the candidate was let go, else undone."""
        with (
            self.nodes.open(old) as former,
            self.nodes.open(new) as candidate,
            guarded(f"putting {old} and {new} in order"),
        ):
            was, is_ = self.words.ask(former), self.words.ask(candidate)
            if is_.following is not None or (is_.read_only and self.words.errant(was.state, is_.state)):
                return self.back(old, new, others)
            left = self.take_back(old, new)
            run(candidate, self.words.thaw)
            return [*left, *self.point(others, new)]

    def _repointed_since(self, old: Place, new: Place) -> str | None:
        """The old primary follows nobody but the new one, and that only once the new one follows nobody; what else is
        found is somebody else's doing."""
        was, is_ = self.nodes.ask(old).following, self.nodes.ask(new).following
        if was is None or (was.source == new and is_ is None):
            return None
        their = f"{new} follows {is_.source if is_ else 'nobody'}"
        return f"{old} follows {was.source}, and {their}: somebody else saw to that since, so nothing was changed"

    def _led_by(self, others: Iterable[Place]) -> str | None:
        """One that no move of ours makes a primary is one."""
        for place in others:
            with suppress(DatabosunError):
                if self.nodes.ask(place, LOOK_SECONDS).primary:
                    return f"{place} takes writes and follows nobody: it leads by now, so nothing was changed"
        return None

    def _marked(self, place: Place) -> bool:
        with self.probe.open(place) as connection, guarded(f"looking for a move's mark at {place}"):
            return self.tables.marked(connection)

    def _let_follow(self, candidate: Connection[Any], old: Place) -> None:
        asked = self.words.ask(candidate)
        if not asked.read_only:  # where it is, MySQL would wait for whoever has locked a table there
            run(candidate, self.words.freeze)
        known = asked.following
        if known is None:
            self.words.follow(candidate, old, self.replication, self.tls)
        elif known.source != old:
            self.words.repoint(candidate, old)
        else:
            run(candidate, self.words.start)

    def _lock(self, former: Connection[Any], old: Place) -> None:
        self.stop_writes(former, old, "FLUSH TABLES WITH READ LOCK")

    def _catch_up(self, former: Connection[Any], candidate: Connection[Any], new: Place) -> None:
        wanted = self.words.ask(former).position
        if not self.words.come_to(candidate, wanted, CATCH_UP_SECONDS):
            message = (
                f"{new} has not come to {wanted} within {CATCH_UP_SECONDS} s after writes were stopped; nothing was "
                "moved, and writes go on"
            )
            raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message)


def _not_promoted(old: Place, new: Place, source: Place) -> str:
    """Of a candidate that follows somebody."""
    if source == old:
        return f"{new} was not promoted: start {old}, or promote {new} by hand"
    return f"{new} was not promoted, and follows {source}: start {old}, or promote {new} by hand, unless {source} leads"


def _unmarked(old: Place, new: Place, facts: NodeFacts) -> str:
    """Of a candidate that follows nobody, while it does not say that this run has let it go."""
    if facts.primary:
        return f"{new} is the primary; {_must_follow(old, new)}"
    return f"{new} follows nobody and takes no writes: look who was the last to take some, and let that one"


def _must_follow(old: Place, new: Place) -> str:
    return f"{old} must not take writes when it is back: set read_only = 1 there, and have it follow {new}"
