"""Carry out a rule by an index: the server deletes from then on, and nobody is asked any more."""

from __future__ import annotations

from databosun.agent.lifecycle.ledger import Event
from databosun.agent.lifecycle.pacemaker import TimeIsUp
from databosun.agent.lifecycle.work import RuleWork
from databosun.api.lifecycleresult import RuleState
from databosun.engines.lifecycle import Left


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
