"""Asks the operator for its part in a plan, and waits for its answer: the agent has no rights in the cluster.

The operator follows the agent's log while a test is under way. Its answer is an annotation of the agent's pod, which
the kubelet brings into a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from databosun.agent.context import Context
from databosun.api.failover import ActAnswer, ActAsked, FailoverPlan
from databosun.domain.errors import WorldFault
from databosun.engines.failover import Declined, FailoverFault

ASK_SECONDS = 90.0
"""So long the operator may take to do it."""
ANSWER_SECONDS = 90.0
"""And so long its answer may be on its way, after it can do nothing any more."""
LOOK_SECONDS = 0.1
ACT = "act"


@dataclass(frozen=True, slots=True)
class Asking:
    """Of one plan. `pulse` raises where the agent is to stop."""

    ctx: Context
    plan: FailoverPlan
    pulse: Callable[[], None]

    def strike(self, member: str, host: str) -> str | None:
        """Returns once the operator has done to the member's pod what the plan says; where it may have done it, why
        nobody knows. Declined where it did not; WorldFault where it does not answer."""
        ctx = self.ctx
        until = ctx.clock() + timedelta(seconds=ASK_SECONDS)
        asked = ActAsked(plan_hash=self.plan.hash, member=member, host=host, not_after=until)
        ctx.log.document(ACT, asked.dump())
        limit = time.monotonic() + ASK_SECONDS + ANSWER_SECONDS
        while (answer := self._answer()) is None:
            self.pulse()
            if time.monotonic() > limit:
                message = (
                    f"the operator was asked to strike {member}, and has not answered for "
                    f"{ASK_SECONDS + ANSWER_SECONDS:.0f} s: look whether it runs"
                )
                raise WorldFault(FailoverFault.NOT_ANSWERED, message)
            time.sleep(LOOK_SECONDS)
        ctx.log.info("answered", done=answer.done, uncertain=answer.uncertain, message=answer.message)
        if not answer.done and not answer.uncertain:
            message = f"{member} was not struck, and nothing was moved: {answer.message}"
            raise Declined(FailoverFault.NOT_ENDED, message, answer.guard)
        return answer.message if answer.uncertain else None

    def _answer(self) -> ActAnswer | None:
        try:
            answer = ActAnswer.model_validate_json(self.ctx.paths.answer.read_text())
        except (OSError, ValueError):  # not there yet, empty, or half of it
            return None
        return answer if answer.plan_hash == self.plan.hash else None
