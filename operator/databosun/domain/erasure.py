"""Erasures, as pure functions: the keyed hash of a subject, what a person approves, what a restore repeats."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.erasure import ErasureDone, ErasureEntry
from databosun.api.lifecycle import ActionType, LifecycleOrder, RuleFacts, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.hashing import Keyed
from databosun.domain.lifecycle import DELETING, HASH_CHARACTERS, UNKNOWN, LifecyclePlan, Step, make_plan, things_of
from databosun.domain.lifecycleguards import verdicts
from databosun.domain.refusal import Refusal

FEWEST_KEY_BYTES = 32
"""A shorter key could be found by trying, and with it everyone whose key can be guessed, such as an address."""
_SUBJECT, _CHECK = b"databosun erasure subject\x00", b"databosun erasure key check"
# Clocks of Jobs and servers differ by a little; erasing once more what is not there harms nobody.
MARGIN = timedelta(minutes=10)


def hasher(key: bytes) -> Callable[[str], str]:
    """`subject_hash` of one key, for millions of values."""
    keyed = Keyed(key)
    return lambda subject: keyed(_SUBJECT + subject.encode()).hex()


def subject_hash(key: bytes, subject: str) -> str:
    """What stands for the subject wherever it must be named."""
    return hasher(key)(subject)


def key_check(key: bytes) -> str:
    """The same for one key always, and says nothing about it."""
    return hmac.digest(key, _CHECK, hashlib.sha256).hex()[:HASH_CHARACTERS]


def erasure_hash(order: LifecycleOrder, facts: Sequence[RuleFacts], subject: str, uid: str) -> str:
    """What an Approval names: this request, this subject, and the plan of its rules."""
    document = json.dumps({"plan": make_plan(order, facts).hash, "subject": subject, "uid": uid}, sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:HASH_CHARACTERS]


def erasure_verdicts(
    plan: LifecyclePlan, order: LifecycleOrder, facts: Sequence[RuleFacts], at: datetime
) -> dict[str, tuple[Refusal, ...]]:
    """Of every rule what stands against it. Of an erasure one is enough: it is whole, or it is none."""
    found, steps = {one.rule: one for one in facts}, {step.rule.name: step for step in plan.steps}
    return {
        name: (*_of_subject(steps[name], found.get(name)), *against)
        for name, against in verdicts(plan, order, facts, at).items()
    }


def _of_subject(step: Step, facts: RuleFacts | None) -> Iterator[Refusal]:
    """What would leave a row with the subject."""
    rule, table, column = step.rule, step.table, step.rule.subject_column
    if table is None or facts is None:
        return
    if column is not None:
        yield from _of_column(step, table, column)
    counts, things = facts.counts, things_of(rule)
    if counts.held:
        message = f"rule {rule.name}: {counts.held} {things} of the subject are under a hold; nothing of it is erased"
        yield Refusal(Reason.BLOCKED_BY_HOLD, message)
    if counts.eligible > rule.limits.max_rows_per_run:
        message = (
            f"rule {rule.name}: {counts.eligible} {things} of {table.name} have that key, more than maxRows"
            f" ({rule.limits.max_rows_per_run}); see whether it is the key of one person, and raise maxRows if it is"
        )
        yield Refusal(Reason.PLAN_GREW, message)


def _of_column(step: Step, table: TableFact, column: str) -> Iterator[Refusal]:
    rule = step.rule
    if column not in {one.name for one in table.columns}:
        yield Refusal(Reason.COLUMN_NOT_FOUND, f"rule {rule.name}: {table.name} has no column {column}")
    if rule.action is ActionType.ANONYMIZE and column not in {mask.column for mask in rule.masks}:
        message = (
            f"rule {rule.name}: {table.name}.{column}, which holds the subject's key, is not among the columns that are"
            " overwritten, so the subject would stay; list it, or delete the rows"
        )
        yield Refusal(Reason.SUBJECT_STAYS, message)
    for child in step.children if rule.action in DELETING else ():
        if child.goes and child.table.kind not in ("Table", "Partitioned", UNKNOWN):
            message = (
                f"rule {rule.name}: {child.table.name}, whose rows would go along, is a {child.table.kind}, which keeps"
                " what is deleted from it; erase there by hand, and take its foreign key away"
            )
            yield Refusal(Reason.NOT_A_TABLE, message)


@dataclass(frozen=True, slots=True)
class Erased:
    """One erasure of the ledger. `done`: None where nobody saw it come to its end."""

    entry: ErasureEntry
    done: ErasureDone | None = None

    @property
    def verified_at(self) -> datetime | None:
        """When no row with the subject was left; None where that was never seen."""
        return self.done.verified_at if self.done is not None else None

    def concerns(self, database: str, system: str | None) -> bool:
        """Whether a backup may be of that database: by the folder it lies in, or by the server it was taken of."""
        return self.entry.database == database or (system is not None and self.entry.system == system)

    def outlives(self, instant: datetime) -> bool:
        """Whether data as of `instant` may hold the subject still. Later data may hold a person who came back."""
        return self.verified_at is None or instant <= self.verified_at + MARGIN


def to_repeat(erased: Iterable[Erased], instant: datetime) -> tuple[Erased, ...]:
    """Those that data as of `instant` need, oldest first."""
    return tuple(sorted((one for one in erased if one.outlives(instant)), key=lambda one: (one.entry.at, one.entry.id)))
