"""The move as if the primary were gone: nobody waits for what it has not sent.

Where it still answers it is made read-only first, so that it takes no write more than one that died would have. Then
the candidate gets what any other replica has got, and is promoted. The old primary is taken back when it answers, and
only where it holds nothing that the new one never had: what it acknowledged and did not send is lost, and shows there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.failover import FailoverFault
from databosun.engines.mysql.failover.base import FOLLOW_SECONDS
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.switch import CATCH_UP_SECONDS, LOCK_SECONDS, Switch
from databosun.engines.mysql.failover.words import run
from databosun.engines.mysql.faults import guarded, number_of

_LOST = (0, 1053, 1927, 2006, 2013, 2055)
"""The server ended in the midst of it."""


@dataclass(frozen=True, slots=True)
class ForcedSwitch(Switch):
    """One move that asks nothing of the old primary."""

    def move(self, old: Place, new: Place, others: Sequence[Place], ordered: Callable[[], None]) -> None:
        """Promote the candidate. What was begun is undone where it does not come about."""
        self.mark(old, new)
        marked = self.nodes.ask(old).position
        with self.nodes.open(new) as candidate, guarded(f"promoting {new} in place of {old}"):
            if not self.words.come_to(candidate, marked, CATCH_UP_SECONDS):
                message = f"{new} has not come to {marked} within {CATCH_UP_SECONDS} s; nothing was moved"
                raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message)
            ordered()
            try:
                self._stop(old)
                self._gather(candidate, new, others)
                run(candidate, self.words.stop, self.words.forget, self.words.thaw)
            except BaseException:
                self.make_good(old, new, others)
                raise
        self.point(others, new)

    def keep(self, replica: Connection[Any], place: Place, primary: Place) -> str | None:
        """It received what the primary never had, and has not applied it: pointed elsewhere, it would lose that."""
        following = self.words.ask(replica).following
        if following is None or self.words.come_to(replica, following.received, FOLLOW_SECONDS):
            return None
        alone = self.words.errant(following.received, self.nodes.ask(primary).state)
        if not alone:
            return None
        return (
            f"{place} received {', '.join(alone)}, which {primary} never had, and has not applied that: it is not "
            f"pointed to {primary}, or that would be gone: have it applied ({self.words.start} SQL_THREAD), and keep it"
        )

    def _stop(self, old: Place) -> None:
        """Only a primary that answers needs to be stopped."""
        try:
            former = self.nodes.connect(old, LOCK_SECONDS + 1)
        except WorldFault:
            return
        try:
            self.stop_writes(former, old, self.words.freeze)
        except (pymysql.MySQLError, OSError) as error:
            if number_of(error) not in _LOST:
                raise
        finally:
            former._force_close()

    def _gather(self, candidate: Connection[Any], new: Place, others: Iterable[Place]) -> None:
        """No event arrives any more; the candidate gets what another replica has and it has not."""
        run(candidate, self.words.stop_receiving)
        if not self._applied(candidate):
            message = f"{new} has not applied what it got within {CATCH_UP_SECONDS} s; nothing was moved"
            raise WorldFault(FailoverFault.NOT_CAUGHT_UP, message)
        for place in others:
            with suppress(DatabosunError), self.nodes.open(place) as other, guarded(f"asking {place} for what it got"):
                if not self._applies(other):  # MariaDB throws away what was received where both threads stand still
                    continue
                run(other, self.words.stop_receiving)
                if not self._applied(other):
                    continue
                theirs = self.words.ask(other)
                if self.words.errant(theirs.state, self.words.ask(candidate).state):
                    self.words.repoint(candidate, place)
                    self.words.come_to(candidate, theirs.position, CATCH_UP_SECONDS)

    def _applies(self, replica: Connection[Any]) -> bool:
        following = self.words.ask(replica).following
        return following is not None and following.applies

    def _applied(self, replica: Connection[Any]) -> bool:
        """Whether it has all that it received, once it has; not where it applies nothing."""
        following = self.words.ask(replica).following
        if following is None or not following.applies:
            return False
        return self.words.come_to(replica, following.received, CATCH_UP_SECONDS)
