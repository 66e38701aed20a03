"""Carry out an approved plan, rule by rule; one that fails does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from databosun.agent.context import Context
from databosun.agent.lifecycle.indexing import work_on_index
from databosun.agent.lifecycle.ledger import Account, Ledger
from databosun.agent.lifecycle.names import Names
from databosun.agent.lifecycle.pacemaker import Pacemaker
from databosun.agent.lifecycle.partitions import work_on_partitions
from databosun.agent.lifecycle.work import RuleWork, work_on_rows
from databosun.agent.reasons import AgentReason
from databosun.agent.stop import Stopped
from databosun.api.lifecycle import ActionType, RuleFacts
from databosun.api.lifecycleresult import ArchiveArtefact, RuleFailure, RuleOutcome, RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.lifecycle import BY_PARTITION, LifecyclePlan, Step
from databosun.domain.refusal import Refusal
from databosun.engines.lifecycle import Left, LifecycleSession, RuleFault, Trouble
from databosun.storage.layout import LifecycleFolder

MOST_ARTEFACTS = 32  # of one rule in a result; the audit has all


@dataclass
class Runner:
    """One attempt of one run. `notes`: what people should know besides."""

    ctx: Context
    task: LifecycleTask
    session: LifecycleSession
    ledger: Ledger
    folder: LifecycleFolder
    key: bytes | None = field(repr=False)
    notes: list[str] = field(default_factory=list)

    def run(
        self, plan: LifecyclePlan, facts: Sequence[RuleFacts], refusals: Mapping[str, tuple[Refusal, ...]]
    ) -> list[RuleOutcome]:
        """Every rule in the order of the plan. Stopped ends it, and so does another attempt that took over."""
        found = {one.rule: one for one in facts}
        outcomes = []
        with Names(self.key) as names:
            for step in plan.steps:
                against = refusals.get(step.rule.name, ())
                if against:
                    failure = RuleFailure(reason=against[0].reason, message=against[0].message)
                    outcomes.append(self._outcome(step, RuleState.REFUSED, None, failure))
                    continue
                outcomes.append(self._carry_out(step, found[step.rule.name], names))
        return outcomes

    def _carry_out(self, step: Step, facts: RuleFacts, names: Names) -> RuleOutcome:
        self.ctx.log.info("rule", rule=step.rule.name, action=step.rule.action.value)
        self.ctx.progress.stage(step.rule.name, total_bytes=facts.counts.eligible)
        pacemaker = Pacemaker(self.ctx, self.session, self.task.batch, self.task.throttle, self.task.stop_at)
        work = RuleWork(self.ctx, self.ledger, self.session, step, facts, self.folder, pacemaker, self.task.at, names)
        began, before = time.monotonic(), self._size(step)
        left: Left | None = None
        failure: RuleFailure | None = None
        try:
            carry_out = work_on_partitions if step.rule.action in BY_PARTITION else work_on_rows
            carry_out = work_on_index if step.rule.action is ActionType.ENSURE_TTL else carry_out
            state, left = carry_out(work)
        except Stopped:
            raise
        except DatabosunError as error:
            if error.reason == AgentReason.ATTEMPT_TAKEN:
                raise
            self.ctx.log.error("rule", rule=step.rule.name, reason=error.reason, message=error.message)
            state, failure = RuleState.FAILED, failure_of(error)
        if pacemaker.unseen:
            self._note(f"the lag of {pacemaker.unseen} replicas was not seen and not heeded: {pacemaker.advice}")
        if work.passed_over:
            self._note(
                f"rule {step.rule.name}: {work.passed_over} rows were locked or changed by others each time they were"
                " come to, and stay for the next run"
            )
        outcome = self._outcome(step, state, left, failure)
        average = facts.counts.bytes // facts.counts.eligible if facts.counts.eligible else 0
        return outcome.model_copy(
            update={
                "seconds": round(time.monotonic() - began, 3),
                "throttled_seconds": round(pacemaker.throttled, 3),
                "bytes_logical": average * outcome.deleted,
                "bytes_reclaimed": self._shrunk(step, before),
            }
        )

    def _outcome(self, step: Step, state: RuleState, left: Left | None, failure: RuleFailure | None) -> RuleOutcome:
        account = self.ledger.account(step.rule.name)
        if account.uncertain:
            self._note(
                f"rule {step.rule.name}: connections were lost in the middle of steps of {account.uncertain} rows in"
                " all, which may be done besides those that are counted"
            )
        return RuleOutcome(
            name=step.rule.name,
            action=step.rule.action,
            state=state,
            archived=account.archived,
            deleted=account.deleted,
            anonymized=account.anonymized,
            expiring=account.expiring,
            children=account.children,
            partitions=account.partitions,
            index=account.index or None,
            changed=account.changed,
            batches=account.batches,
            remaining=left.eligible if left is not None else None,
            oldest=left.oldest if left is not None else None,
            artefacts=_artefacts(account),
            failure=failure,
        )

    def _size(self, step: Step) -> int | None:
        try:
            return self.session.size(step)
        except DatabosunError:  # the rule itself says what is wrong
            return None

    def _shrunk(self, step: Step, before: int | None) -> int:
        after = self._size(step) if before is not None else None
        return max(0, before - after) if before is not None and after is not None else 0

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def failure_of(error: DatabosunError) -> RuleFailure:
    """Whether another attempt may do better: what is permanent by its SQLSTATE will not."""
    if isinstance(error, RuleFault):
        retryable = error.trouble is not Trouble.PERMANENT
        return RuleFailure(reason=error.reason, message=error.message, sqlstate=error.sqlstate, retryable=retryable)
    return RuleFailure(reason=error.reason, message=error.message, retryable=isinstance(error, WorldFault))


def _artefacts(account: Account) -> list[ArchiveArtefact]:
    archived = [one for one in account.artefacts if one["rows"]]
    return [_artefact(one) for one in archived[:MOST_ARTEFACTS]]


def _artefact(one: Mapping[str, Any]) -> ArchiveArtefact:
    return ArchiveArtefact(
        name=one["name"],
        table=one["table"],
        rows=one["rows"],
        bytes=one["bytes"],
        stored_bytes=one["storedBytes"],
        sha256=one["sha256"],
        stored_sha256=one["storedSha256"],
    )
