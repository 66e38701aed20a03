"""How a failover test ends: with the agent's verdict, refused, or without a word."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from databosun.api.failover import FailoverResult
from databosun.api.v1alpha1.failovertestrun import FailoverPhase
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Ending
from databosun.domain.failoverorder import FailoverFacts
from databosun.domain.failoverstatus import PHASES, found
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.run import Conclude
from databosun.domain.running import with_success, without_success

TOLD = {
    FailoverPhase.PASSED: Reason.FAILOVER_PASSED,
    FailoverPhase.FAILED: Reason.FAILOVER_FAILED,
    FailoverPhase.REFUSED: Reason.FAILOVER_REFUSED,
    FailoverPhase.ABORTED: Reason.FAILOVER_ABORTED,
    FailoverPhase.INCONCLUSIVE: Reason.FAILOVER_INCONCLUSIVE,
}


def conclude(facts: FailoverFacts, step: Conclude, result: FailoverResult, now: datetime) -> Plan:
    """The agent's verdict; what has none proves nothing."""
    phase = PHASES[result.verdict] if result.verdict is not None else FailoverPhase.INCONCLUSIVE
    changes = found(result, facts.order.storage.name if facts.order else None)
    if phase is not FailoverPhase.PASSED:
        ending = Ending(result.reason, result.message, certain=True)
        return _over(facts, step.attempt, phase, ending, now, **changes)
    more, said = changes | {"phase": phase}, result.message
    status = with_success(facts.state, step.attempt, step.ending, now, reason=Reason.PASSED, message=said, **more)
    return Plan(status=status, after=(PostEvent(TOLD[phase], result.message[:1024]),), wake_at=now)


def refuse(facts: FailoverFacts, attempt: int, ending: Ending, now: datetime, **changes: Any) -> Plan:
    """Nothing was moved, and nothing will be."""
    return _over(facts, attempt, FailoverPhase.REFUSED, ending, now, **changes)


def without_word(facts: FailoverFacts, step: Conclude, now: datetime, **changes: Any) -> Plan:
    """No verdict was reported: it never began for want of something, or the cluster failed."""
    phase = FailoverPhase.REFUSED if step.refused else FailoverPhase.INCONCLUSIVE
    return _over(facts, step.attempt, phase, step.ending, now, **changes)


def _over(
    facts: FailoverFacts, attempt: int, phase: FailoverPhase, ending: Ending, now: datetime, **changes: Any
) -> Plan:
    status = without_success(facts.state, attempt, ending, now, phase=phase, **changes)
    event = PostEvent(TOLD[phase], f"{ending.reason}: {ending.message}"[:1024], warning=True)
    return Plan(status=status, after=(event,), wake_at=now)
