"""A simulated database with one table of customers, and the agent that finds one of them and erases them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from databosun.api.dataexport import ExportFile, ExportResult
from databosun.api.erasure import ErasureResult
from databosun.api.lifecycle import ColumnFact, LifecycleMode, RuleCounts, RuleFacts, TableFact
from databosun.api.lifecycleresult import RuleOutcome, RuleState
from databosun.api.lifecycletasks import EraseTask, ExportTask
from databosun.api.result import Outcome, Result
from databosun.domain.erasure import erasure_hash, subject_hash


def customers_table() -> TableFact:
    """`public.customers`, with a key and an address."""
    return TableFact(
        name="public.customers",
        kind="Table",
        columns=[
            ColumnFact(name="id", type="bigint", not_null=True),
            ColumnFact(name="email", type="text", not_null=True),
        ],
        primary_key=["id"],
    )


@dataclass(slots=True)
class People:
    """What the server holds of the person of the Secret. `receipts`: what lies in the bucket, by request."""

    rows: int = 3
    key: str = "a key to hash with, of some length"
    subject: str = "ada@example.org"
    table: TableFact = field(default_factory=customers_table)
    receipts: dict[str, ErasureResult] = field(default_factory=dict)
    exports: dict[str, ExportResult] = field(default_factory=dict)
    left: int = 0
    erased: int = 0

    def export(self, task: ExportTask, now: Callable[[], datetime]) -> Result:
        """Write the person's rows and a receipt, or find that of before."""
        if (known := self.exports.get(task.id)) is not None:
            return Result(outcome=Outcome.SUCCEEDED, reason="AlreadyDone", dataexport=known)
        folder, digest = f"file:///orders/exports/{task.id}", hashlib.sha256(task.id.encode()).hexdigest()
        files = [
            ExportFile(
                rule=rule.name, table=rule.table, rows=self.rows, name="001.jsonl.zst", bytes=90, sha256=digest,
                stored_bytes=60, stored_sha256=digest, objects=[f"orders/exports/{task.id}/a1/001.jsonl.zst.0000"],
            )
            for rule in task.rules
        ]  # fmt: skip
        found = self.exports[task.id] = ExportResult(
            id=task.id,
            uid=task.uid,
            database="orders",
            dbname="shop",
            engine_version="18.1",
            at=now(),
            subject=subject_hash(self.key.encode(), self.subject),
            rules=task.rules,
            folder=f"{folder}/a1",
            files=files,
            notes=["rule customers: rows of public.visits may refer to public.customers, and were left out"],
            completed_at=now(),
            expires_at=now() + timedelta(seconds=task.expires_seconds),
            receipt=f"{folder}/result.json",
            receipt_sha256=digest,
        )
        return Result(outcome=Outcome.SUCCEEDED, reason="Exported", dataexport=found)

    def work(self, task: EraseTask, now: Callable[[], datetime]) -> Result:
        """Look, or erase exactly what was approved: what an agent does, at once."""
        if (known := self.receipts.get(task.id)) is not None:
            return Result(outcome=Outcome.SUCCEEDED, reason="AlreadyDone", erasure=known)
        counts = RuleCounts(rows=500, eligible=self.rows)
        facts = [RuleFacts(rule=rule.name, tables=[self.table], counts=counts) for rule in task.order.rules]
        subject = subject_hash(self.key.encode(), self.subject)
        found = ErasureResult(
            id=task.id,
            uid=task.uid,
            mode=task.mode,
            at=task.at,
            engine_version="18.1",
            order=task.order,
            subject=subject,
            plan_hash=erasure_hash(task.order, facts, subject, task.uid),
            facts=facts,
            completed_at=now(),
        )
        if task.mode is LifecycleMode.DRY_RUN:
            return Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", erasure=found)
        if found.plan_hash != task.approved:
            message = f"the plan is {found.plan_hash} now; {task.approved} was approved"
            return Result(outcome=Outcome.REFUSED, reason="PlanChanged", message=message, erasure=found)
        return self._erase(task, found, now())

    def _erase(self, task: EraseTask, found: ErasureResult, at: datetime) -> Result:
        done = [
            RuleOutcome(name=rule.name, action=rule.action, state=RuleState.COMPLETED, deleted=self.rows, remaining=0)
            for rule in task.order.rules
        ]
        self.erased += self.rows
        self.rows = self.left
        digest = hashlib.sha256(task.id.encode()).hexdigest()
        found = found.model_copy(
            update={"outcomes": done, "audit": f"file:///orders/erasures/{task.id}/audit", "audit_sha256": digest}
        )
        if self.left:
            message = f"rows with the subject are there still: {self.left} of public.customers"
            return Result(outcome=Outcome.FAILED, reason="SubjectLeft", message=message, retryable=True, erasure=found)
        receipt = {"receipt": f"file:///orders/erasures/{task.id}/result.json", "receipt_sha256": digest}
        found = found.model_copy(update={"verified_at": at, **receipt})
        self.receipts[task.id] = found
        return Result(outcome=Outcome.SUCCEEDED, reason="Erased", erasure=found)
