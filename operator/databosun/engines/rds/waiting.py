"""Waiting for something that AWS does: it is looked at again and again, never without bound or asleep for long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from databosun.domain.errors import WorldFault
from databosun.engines.rds.cloud import AnswerError
from databosun.engines.rds.reasons import Reason

T = TypeVar("T")
# The agent's own deadline is mostly the same instant, and says more: `pulse` raises it first.
MARGIN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Patience:
    """`every`: seconds between two looks. `pulse` is called at least once a second, and raises where to stop."""

    until: datetime
    pulse: Callable[[], None]
    every: float = 5.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep

    def wait(self, what: str, look: Callable[[], T | None]) -> T:
        """What `look` gives once it gives something; an API that asks for patience is asked again.

        WorldFault(CloudFailed) where time is over before.
        """
        while True:
            self.pulse()
            try:
                found = look()
            except AnswerError as error:
                if not error.throttled:
                    raise
                found = None
            if found is not None:
                return found
            if self.now() >= self.until + MARGIN:
                message = f"waited until {self.until.isoformat()} for {what}; raise spec.deadline if it needs longer"
                raise WorldFault(Reason.CLOUD_FAILED, message)
            self._rest()

    def _rest(self) -> None:
        left = self.every
        while left > 0:
            self.sleep(min(1.0, left))
            left -= 1.0
            self.pulse()
