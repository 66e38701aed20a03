"""Carry out one rule on whole partitions."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.agent.lifecycle.ledger import Event
from databosun.agent.lifecycle.pacemaker import TimeIsUp
from databosun.agent.lifecycle.work import RuleWork
from databosun.api.lifecycle import PartitionFact
from databosun.api.lifecycleresult import RuleState
from databosun.domain.lifecycleguards import droppable
from databosun.engines.lifecycle import Batch, Left, PartitionWork, RuleFault, Trouble


def work_on_partitions(work: RuleWork) -> tuple[RuleState, Left]:
    """Each one that may go, oldest first."""
    partitions = work.session.partitions(work.step)
    state = RuleState.COMPLETED
    for part in droppable(work.step, work.facts, work.at):
        if part.rows > work.room():
            state = RuleState.LIMITED
            break
        work.demand_same()
        granted = work.ledger.write(work.name, Event.GRANTED, rows=part.rows, partition=part.name)
        removal = _Removal(partitions, part)
        done: Batch | None = None
        try:
            done = work.pacemaker.step(removal, 1)
        except TimeIsUp:
            state = RuleState.LIMITED
        rows = done.looked if done is not None else 0
        gone = [part.name] if done is not None else []
        uncertain = removal.lost if done is None else 0
        work.ledger.write(
            work.name, Event.DONE, of=granted, deleted=rows, uncertain=uncertain, partitions=gone, batches=len(gone)
        )
        if state is RuleState.LIMITED:
            break
    left = work.pacemaker.ask(partitions.left)
    return (state if not left.eligible else RuleState.LIMITED), left


@dataclass
class _Removal:
    """Of one partition. `lost`: its rows, where an answer was lost: it may be gone, and is not found again then."""

    partitions: PartitionWork
    part: PartitionFact
    lost: int = 0

    def __call__(self, _: int) -> tuple[int, Batch | None]:
        try:
            return 1, self.partitions.remove(self.part.name, self.part.rows)
        except RuleFault as fault:
            if fault.trouble is Trouble.LOST:
                self.lost = self.part.rows
            raise
