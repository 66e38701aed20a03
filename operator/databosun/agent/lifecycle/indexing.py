"""Carry out a rule by an index: the server deletes from then on, and nobody is asked any more."""

from __future__ import annotations

from databosun.agent.lifecycle.ledger import Event
from databosun.agent.lifecycle.pacemaker import TimeIsUp
from databosun.agent.lifecycle.work import RuleWork
from databosun.api.lifecycle import IndexFact, RuleFacts
from databosun.api.lifecycleresult import RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.domain.errors import DatabosunError
from databosun.domain.lifecycle import holds_of, make_plan
from databosun.engines.lifecycle import Left, LifecycleSession


def stop_under_hold(session: LifecycleSession, task: LifecycleTask, facts: RuleFacts) -> RuleFacts:
    """A hold that came after an index ends it: the server asks nobody, and a hold outweighs what was approved before.

    A dry run does so too, and nothing else: who lays a hold must not have to wait for an approval. One that nobody can
    understand may be on its documents, and is a hold. Facts of an index that was stopped, or could not be, say so.
    """
    if facts.index is None or facts.index.found is None:
        return facts
    step = next(one for one in make_plan(task.order, [facts]).steps if one.rule.name == facts.rule)
    index, work = facts.index, session.indexes(step)
    holds = [*holds_of(task.order, step, task.at), *work.adrift()]
    named = [f"hold {one.name} ({one.reason})" for one in holds]
    why = ", ".join(named if task.held is None else [*named, task.held])
    if not why:
        return facts
    try:
        stopped = work.stop()
    except DatabosunError as error:
        said = f"{index.name} deletes still, and could not be dropped for {why}: {error.message}; run {index.drop}"
        return _with(facts, index.model_copy(update={"stopped": said}))
    if not stopped:
        said = f"{index.name} deletes still, in spite of {why}: it is none of ours; run {index.drop}"
        return _with(facts, index.model_copy(update={"stopped": said}))
    said = f"{index.name} was dropped for {why}; an approved run makes it anew once that is over"
    return _with(facts, index.model_copy(update={"stopped": said, "found": None}))


def _with(facts: RuleFacts, index: IndexFact) -> RuleFacts:
    # Of a rule with a fault nobody reads more than that.
    fault = f"{facts.fault}; {index.stopped}" if facts.fault is not None else None
    return facts.model_copy(update={"index": index, "fault": fault})


def work_on_index(work: RuleWork) -> tuple[RuleState, Left]:
    """Written down before and after. What is old enough by then goes within a minute or two, and is told as left."""
    indexes = work.session.indexes(work.step)
    work.demand_same()
    granted = work.ledger.write(work.name, Event.GRANTED, rows=0)
    state, said = RuleState.COMPLETED, ""
    try:
        said = work.pacemaker.step(lambda _: (0, indexes.ensure()), 1)
    except TimeIsUp:
        state = RuleState.LIMITED
    work.ledger.write(work.name, Event.DONE, of=granted, index=said)
    return state, work.pacemaker.ask(indexes.left)
