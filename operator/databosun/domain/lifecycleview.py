"""What a lifecycle run found and did, in the words of its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from databosun.api.lifecycle import CallFact, RuleFacts
from databosun.api.lifecycleresult import LifecycleResult, RuleOutcome, RuleState
from databosun.api.v1alpha1.lifecyclestatus import (
    MAX_CHILDREN,
    LifecyclePlanStatus,
    PatternReport,
    PlannedCall,
    PlannedChild,
    PlannedRule,
    RuleResult,
)
from databosun.domain.lifecycle import BY_PARTITION, MOST_SHOWN, LifecyclePlan, Step, make_plan, things_of
from databosun.domain.lifecycleguards import droppable, keeps, verdicts
from databosun.domain.lifecycleindex import index_words
from databosun.domain.lifecycleorder import order_digest
from databosun.domain.refusal import Refusal
from databosun.domain.whereabouts import server_words

MOST_TOLD = 128


def plan_status(found: LifecycleResult, run: str) -> LifecyclePlanStatus:
    """The plan as it is shown, in the order in which its rules run."""
    plan = make_plan(found.order, found.facts)
    return LifecyclePlanStatus(
        hash=plan.hash,
        order_hash=order_digest(found.order),
        run=run,
        at=found.at,
        server=server_words(found.order.server),
        place=found.order.place,
        rules=planned_rules(plan, found, verdicts(plan, found.order, found.facts, found.at)),
    )


def planned_rules(
    plan: LifecyclePlan, found: LifecycleResult, against: Mapping[str, Iterable[Refusal]]
) -> list[PlannedRule]:
    """Every rule as it is shown, with what stands against it."""
    facts = {one.rule: one for one in found.facts}
    names = [step.rule.name for step in plan.steps]
    known = [facts.get(name) or RuleFacts(rule=name) for name in names]
    return [
        _planned(step, one, against[name], found.at) for step, one, name in zip(plan.steps, known, names, strict=True)
    ]


def approved_calls(rules: Sequence[PlannedRule]) -> dict[str, list[CallFact]]:
    """What the agent is told of the functions and views of a plan that was approved; bounded, as requests are."""
    found: dict[str, list[CallFact]] = {}
    left = MOST_TOLD
    for rule in rules:
        if rule.calls and len(rule.calls) <= left:
            found[rule.name] = [CallFact(name=one.name, definition_sha256=one.sha256) for one in rule.calls]
            left -= len(rule.calls)
    return found


def rule_results(outcomes: Iterable[RuleOutcome]) -> list[RuleResult]:
    """What each rule did."""
    return [
        RuleResult(
            name=one.name,
            action=one.action,
            state=one.state,
            archived=one.archived,
            deleted=one.deleted,
            anonymized=one.anonymized,
            expiring=one.expiring,
            children=sum(one.children.values()),
            partitions=one.partitions,
            moved=one.moved,
            bucket_rules=one.bucket_rules,
            index=one.index,
            changed=one.changed,
            batches=one.batches,
            remaining=one.remaining,
            oldest=one.oldest,
            seconds=round(one.seconds),
            throttled_seconds=round(one.throttled_seconds),
            bytes_logical=one.bytes_logical,
            bytes_reclaimed=one.bytes_reclaimed,
            artefacts=len(one.artefacts),
            reason=one.failure.reason if one.failure else None,
            message=one.failure.message if one.failure else None,
        )
        for one in outcomes
    ]


def rule_state(outcomes: Iterable[RuleOutcome]) -> RuleState:
    """How a run ended by its rules: one that failed fails it; only where all were refused was nothing done."""
    states = {one.state for one in outcomes}
    if RuleState.FAILED in states:
        return RuleState.FAILED
    if states == {RuleState.REFUSED}:
        return RuleState.REFUSED
    return RuleState.LIMITED if RuleState.LIMITED in states else RuleState.COMPLETED


def processed_by(outcomes: Iterable[RuleOutcome]) -> int:
    """Rows that went or were overwritten, keys that got an end, or backups whose objects were tagged."""
    return sum(one.deleted + one.anonymized + one.expiring + one.moved for one in outcomes)


def looked(found: LifecycleResult) -> str:
    """What a dry run saw, in one line."""
    eligible = sum(one.counts.eligible for one in found.facts)
    if any(one.bucket is not None for one in found.facts):
        return f"{eligible} backups are due to go to another storage class; nothing was changed"
    return f"{eligible} {_things(found)} match the rules; nothing was changed"


def done(found: LifecycleResult) -> str:
    """What an enforced run did, in one line."""
    counts = {
        "archived": sum(one.archived for one in found.outcomes),
        "deleted": sum(one.deleted for one in found.outcomes),
        "anonymised": sum(one.anonymized for one in found.outcomes),
        "given a time to live": sum(one.expiring for one in found.outcomes),
    }
    refused = sum(one.state is RuleState.REFUSED for one in found.outcomes)
    things = _things(found)
    said = ", ".join(f"{count} {things} {what}" for what, count in counts.items() if count)
    said = said or f"no {things[:-1]} taken"
    if any(one.bucket is not None for one in found.facts):
        said = f"{sum(one.moved for one in found.outcomes)} backups tagged, so that the bucket moves their objects"
    return f"{said}; {refused} of {len(found.outcomes)} rules refused" if refused else said


def _things(found: LifecycleResult) -> str:
    return things_of(found.order.rules[0])


def _planned(step: Step, facts: RuleFacts, against: Iterable[Refusal], at: datetime) -> PlannedRule:
    rule, counts = step.rule, facts.counts
    return PlannedRule(
        name=rule.name,
        action=rule.action,
        table=step.table.name if step.table else facts.bucket.place if facts.bucket else rule.table,
        eligible=counts.eligible,
        rows=counts.rows,
        bytes=counts.bytes,
        held=counts.held,
        kept_newest=counts.kept_newest,
        alike=counts.alike,
        oldest=counts.oldest,
        newest=counts.newest,
        inflow_per_day=counts.inflow_per_day,
        pattern=PatternReport(**counts.pattern.model_dump()) if counts.pattern else None,
        samples=counts.samples,
        children=[
            PlannedChild(
                table=child.table.name,
                key=child.by.name,
                parent=child.parent,
                on_delete=child.by.on_delete,
                rows=counts.children.get(child.table.name),
            )
            for child in step.children[:MAX_CHILDREN]
        ],
        calls=[PlannedCall(name=one.name, sha256=one.definition_sha256) for one in facts.calls[:MOST_SHOWN]],
        partitions=[f"{one.name} ({one.rows} rows)" for one in droppable(step, facts, at)],
        kept=facts.bucket.stays if facts.bucket else list(_kept(step, facts, at)),
        moves=facts.bucket.moves if facts.bucket else [],
        index=index_words(facts.index) if facts.index is not None else None,
        refusals=[f"{one.reason}: {one.message}" for one in against],
    )


def _kept(step: Step, facts: RuleFacts, at: datetime) -> Iterable[str]:
    """Partitions that a name, or a lower bound, would let one expect to go."""
    if step.rule.action not in BY_PARTITION:
        return
    cutoff = step.cutoff(at)
    for one in facts.partitions:
        if cutoff is not None and (one.lower is None or one.lower < cutoff) and (why := keeps(one, cutoff)):
            yield f"{one.name}: {why}"
