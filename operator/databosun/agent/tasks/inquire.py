"""Answer a question, and change nothing: hand over records, or compare a database with a copy from the past."""

from __future__ import annotations

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.agent.tasks import compare, records
from databosun.api.restoretasks import InquireTask
from databosun.api.result import Outcome, Result
from databosun.domain.errors import UserFault


def run(ctx: Context) -> Result:
    """The answer."""
    task = ctx.request.job
    if not isinstance(task, InquireTask):
        raise TypeError(task)
    if task.records is not None:
        found = records.read(ctx, task.records)
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, records=found)
    if task.compare is not None:
        compared = compare.compare(ctx, task.compare)
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, comparison=compared)
    raise UserFault(AgentReason.BAD_REQUEST, "the inquiry asks nothing")
