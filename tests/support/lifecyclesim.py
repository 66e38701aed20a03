"""A simulated database with one old table, and the agent that looks at it and takes rows of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from databosun.api.lifecycle import (
    ActionType,
    ColumnFact,
    LifecycleMode,
    RuleCounts,
    RuleFacts,
    RuleOrder,
    TableFact,
)
from databosun.api.lifecycleresult import LifecycleResult, RuleFailure, RuleOutcome, RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.result import Outcome, Result
from databosun.api.tiering import BucketFacts
from databosun.domain.lifecycle import make_plan
from databosun.domain.lifecycleguards import verdicts

OLD = datetime.fromisoformat("2020-01-01T00:00:00Z")


def orders_table() -> TableFact:
    """`public.orders`, with a key and an age."""
    return TableFact(
        name="public.orders",
        kind="Table",
        columns=[
            ColumnFact(name="id", type="bigint", not_null=True),
            ColumnFact(name="created_at", type="timestamptz", not_null=True, time=True),
        ],
        primary_key=["id"],
    )


@dataclass(slots=True)
class OldTable:
    """What the server holds: `eligible` of `rows` are old. `results`: what lies in the bucket, by run."""

    rows: int = 10_000
    eligible: int = 250
    inflow: int = 100
    table: TableFact = field(default_factory=orders_table)
    results: dict[str, LifecycleResult] = field(default_factory=dict)
    taken: int = 0
    due: list[str] = field(default_factory=list)
    archived_until: datetime | None = None

    def facts(self, task: LifecycleTask) -> list[RuleFacts]:
        """What a look finds for every rule."""
        order = task.order
        if order.rules[0].action is ActionType.STORAGE_TRANSITION:
            bucket = BucketFacts(place="bucket backups", prefix="shop/orders/backups/", moves=self.due[:32])
            due = RuleCounts(rows=10, eligible=len(self.due))
            found = RuleFacts(rule=order.rules[0].name, counts=due, bucket=bucket, conflicts=task.tiering.conflicts)
            return [found]
        counts = RuleCounts(
            rows=self.rows, eligible=self.eligible, oldest=OLD if self.eligible else None, inflow_per_day=self.inflow
        )
        return [RuleFacts(rule=rule.name, tables=[self.table], counts=counts) for rule in order.rules]

    def work(self, task: LifecycleTask, now: Callable[[], datetime]) -> Result:
        """Look, or carry out the plan that was approved: what an agent does, at once."""
        if (known := self.results.get(task.id)) is not None:
            return Result(outcome=Outcome.SUCCEEDED, reason="AlreadyDone", lifecycle=known)
        facts = self.facts(task)
        plan = make_plan(task.order, facts)
        found = LifecycleResult(
            id=task.id,
            mode=task.mode,
            at=task.at,
            engine_version="18.1",
            order=task.order,
            plan_hash=plan.hash,
            facts=facts,
            completed_at=now(),
        )
        if task.mode is LifecycleMode.DRY_RUN:
            return Result(outcome=Outcome.SUCCEEDED, reason="Looked", lifecycle=found)
        if plan.hash != task.approved:
            message = f"the plan is {plan.hash} now; {task.approved} was approved"
            return Result(outcome=Outcome.REFUSED, reason="PlanChanged", message=message, lifecycle=found)
        against = verdicts(plan, task.order, facts, task.at)
        outcomes = []
        for step in plan.steps:
            rule, refusals = step.rule, against[step.rule.name]
            if refusals:
                failure = RuleFailure(reason=refusals[0].reason, message=refusals[0].message)
                outcomes.append(
                    RuleOutcome(name=rule.name, action=rule.action, state=RuleState.REFUSED, failure=failure)
                )
                continue
            outcomes.append(self._move(rule.name) if rule.transitions else self._take(rule))
        found = found.model_copy(
            update={
                "outcomes": outcomes,
                "audit": f"file:///orders/lifecycle/{task.id}/audit",
                "audit_sha256": hashlib.sha256(task.id.encode()).hexdigest(),
            }
        )
        self.results[task.id] = found
        done = any(one.state is not RuleState.REFUSED for one in outcomes)
        outcome = Outcome.SUCCEEDED if done else Outcome.REFUSED
        return Result(outcome=outcome, reason="LifecycleDone" if done else "RulesRefused", lifecycle=found)

    def _move(self, name: str) -> RuleOutcome:
        moved, self.due = len(self.due), []
        action = ActionType.STORAGE_TRANSITION
        return RuleOutcome(
            name=name,
            action=action,
            state=RuleState.COMPLETED,
            moved=moved,
            remaining=0,
            bucket_rules=["databosun/x"],
            archived_until=self.archived_until,
        )

    def _take(self, rule: RuleOrder) -> RuleOutcome:
        took = min(rule.limits.max_rows_per_run, self.eligible)
        self.eligible -= took
        self.rows -= took
        self.taken += took
        return RuleOutcome(
            name=rule.name,
            action=rule.action,
            state=RuleState.LIMITED if self.eligible else RuleState.COMPLETED,
            archived=took if rule.action is ActionType.ARCHIVE else 0,
            deleted=took,
            batches=1,
            remaining=self.eligible,
            oldest=OLD if self.eligible else None,
        )
