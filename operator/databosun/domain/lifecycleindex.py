"""EnsureTTL: an index by which the server deletes documents by itself. It asks nobody, and so knows neither holds nor
limits: it is made only where none of them would say anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from databosun.api.lifecycle import IndexFact, LifecycleOrder, RuleFacts
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.lifecycle import Step, holds_of
from databosun.domain.refusal import Refusal

LONGEST_SECONDS = 2_147_483_647  # what the server takes


def index_against(step: Step, order: LifecycleOrder, facts: RuleFacts, at: datetime) -> Iterator[Refusal]:
    """What stands against it besides what stands against every rule."""
    rule, index = step.rule, facts.index
    if index is None:
        yield Refusal(Reason.RULE_NOT_READABLE, f"rule {rule.name}: nobody looked at the indexes")
        return
    for hold in holds_of(order, step, at):
        stop = f"; {index.stopped}" if index.stopped is not None else ""
        message = f"rule {rule.name}: hold {hold.name} is on documents of it, and an index knows no holds{stop}"
        yield Refusal(Reason.BLOCKED_BY_HOLD, f"{message} ({hold.reason})")
    if rule.limits.keep_newest:
        message = (
            f"rule {rule.name}: limits.keepNewest is {rule.limits.keep_newest}, and an index keeps none; use Delete"
        )
        yield Refusal(Reason.INDEX_CLASH, message)
    if index.clash is not None:
        yield Refusal(Reason.INDEX_CLASH, f"rule {rule.name}: {index.clash}")
    if index.seconds > LONGEST_SECONDS:
        message = f"rule {rule.name}: {index.seconds} s are more than an index can have, {LONGEST_SECONDS}; use Delete"
        yield Refusal(Reason.INDEX_CLASH, message)
    most, eligible = rule.limits.max_rows_per_run, facts.counts.eligible
    if eligible > most and index.found != index.seconds:
        message = (
            f"rule {rule.name}: the index would delete {eligible} documents at once, more than limits.maxRowsPerRun"
            f" ({most}); have a rule of type Delete take them first"
        )
        yield Refusal(Reason.PLAN_GREW, message)


def index_words(index: IndexFact) -> str:
    """What a run would do."""
    if index.stopped is not None:
        return index.stopped
    what = f"{index.name} on {index.column}, which deletes after {index.seconds} s"
    if index.found is None:
        return f"make {what}"
    return f"keep {what}" if index.found == index.seconds else f"change {what} (by now after {index.found} s)"
