"""When the next step of a rule may begin, how large it may be, and what is done about one that failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from databosun.agent.context import Context
from databosun.api.lifecycle import BatchOrder, ThrottleOrder
from databosun.domain.errors import WorldFault
from databosun.domain.pacing import Pace
from databosun.engines.lifecycle import LifecycleSession, RuleFault, Trouble

MOST_ROWS = 100_000
MOST_TRIES = 8
LONGEST_REST = 30.0
LOOK_SECONDS = 1.0  # the lag of replicas is asked for no more often

Step = TypeVar("Step")


class TimeIsUp(Exception):
    """No step may begin any more; what was done stands."""


class Pacemaker:
    """Of one rule. `throttled`: seconds that were spent waiting for replicas and for others' locks."""

    def __init__(
        self,
        ctx: Context,
        session: LifecycleSession,
        batch: BatchOrder,
        throttle: ThrottleOrder,
        stop_at: datetime | None,
    ) -> None:
        self._ctx = ctx
        self._session = session
        self._batch = batch
        self._throttle = throttle
        self._stop_at = stop_at
        self._looked = float("-inf")
        self.pace = Pace(batch.rows, batch.target_milliseconds / 1000, MOST_ROWS, least=batch.rows // 10)
        self.throttled = 0.0
        self.lost = 0
        self.unseen = 0
        self.advice = ""

    def step(self, do: Callable[[int], tuple[int, Step]], most: int) -> Step:
        """One step of at most `most` rows. `do` is told how many and says how many it looked at.

        What passes by itself is tried again, smaller and later; what does not is raised, as is what goes on too long.
        """
        tries = 0
        while True:
            self._may_begin()
            rows = min(self.pace.rows, most)
            began = time.monotonic()
            try:
                looked, done = do(rows)
            except (RuleFault, WorldFault) as fault:
                tries += 1
                self._give_way(fault, tries)
                continue
            took = time.monotonic() - began
            # A step that `most` kept small says nothing about larger ones.
            if rows == self.pace.rows:
                self.pace = self.pace.after(looked, took)
            if looked:
                self._rest(self._batch.pause_milliseconds / 1000)
            return done

    def ask(self, what: Callable[[], Step]) -> Step:
        """Ask the server something, also when the time is up; tried again as a step is."""
        tries = 0
        while True:
            try:
                return what()
            except (RuleFault, WorldFault) as fault:
                tries += 1
                self._give_way(fault, tries)

    def _may_begin(self) -> None:
        self._ctx.stop.check()
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            while not self._up() and self._behind():
                self.wait(LOOK_SECONDS)
        if self._up():
            raise TimeIsUp

    def _up(self) -> bool:
        return self._stop_at is not None and self._ctx.clock() >= self._stop_at

    def _behind(self) -> bool:
        limit = self._throttle.max_replica_lag_seconds
        if limit is None:
            return False
        strain = self.ask(self._session.strain)
        self._looked = time.monotonic()
        self.unseen, self.advice = max(self.unseen, strain.unseen), strain.advice
        if strain.busy:
            self._ctx.log.info("throttled", message=strain.busy)
        return strain.replica_lag_seconds > limit or bool(strain.busy)

    def _give_way(self, fault: RuleFault | WorldFault, tries: int) -> None:
        trouble = fault.trouble if isinstance(fault, RuleFault) else Trouble.PERMANENT
        if trouble is Trouble.PERMANENT or tries > MOST_TRIES:
            raise fault
        self._ctx.log.warning("step", reason=fault.reason, message=fault.message, tries=tries)
        if trouble is Trouble.BUSY:
            self.pace = self.pace.eased()
        self.wait(min(LONGEST_REST, 0.1 * 2**tries))
        if trouble is Trouble.LOST:
            self.lost += 1
            self._connect(fault, tries)

    def _connect(self, fault: RuleFault | WorldFault, tries: int) -> None:
        """A server that restarts, or fails over, is away for a while."""
        for again in range(tries, MOST_TRIES + 1):
            try:
                self._session.renew()
            except WorldFault as error:
                self._ctx.log.warning("connect", reason=error.reason, message=error.message, tries=again)
                self.wait(min(LONGEST_REST, 0.5 * 2**again))
            else:
                return
        raise fault

    def wait(self, seconds: float) -> None:
        """For others. Stopped ends it."""
        began = time.monotonic()
        self._rest(seconds)
        self.throttled += time.monotonic() - began

    def _rest(self, seconds: float) -> None:
        if seconds > 0:
            woken = threading.Event()
            ended = self._ctx.stop.subscribe(lambda _: woken.set())
            woken.wait(seconds)
            ended()
        self._ctx.stop.check()
