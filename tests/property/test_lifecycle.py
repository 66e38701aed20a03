"""The plan of a lifecycle: one plan has one hash, whatever is counted; whatever matters makes it another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from databosun.api.lifecycle import (
    ActionType,
    CallFact,
    ColumnFact,
    ForeignKeys,
    HoldOrder,
    LifecycleOrder,
    LimitsOrder,
    PartitionFact,
    PartitioningFact,
    Preconditions,
    ReferenceFact,
    RuleCounts,
    RuleFacts,
    RuleOrder,
    ServerOrder,
    TableFact,
    TriggerFact,
)
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.lifecycle import make_plan
from databosun.domain.lifecycleguards import droppable, keeps, verdicts

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)

NAMES = st.sampled_from(["a", "b", "c", "d"])
LIMITS = st.builds(
    LimitsOrder,
    max_rows_per_run=st.integers(1, 1000),
    max_percent=st.integers(1, 100),
    keep_newest=st.integers(0, 1000),
    min_retention_seconds=st.integers(0, 10**8),
)
TABLE_NAMES = st.sampled_from(["public.a", "public.b", "public.c", "public.d"])
REFERENCES = st.builds(
    ReferenceFact,
    name=NAMES,
    table=TABLE_NAMES,
    columns=st.just(["ref"]),
    target_columns=st.just(["id"]),
    on_delete=st.sampled_from(["NoAction", "Restrict", "Cascade", "SetNull"]),
)
TRIGGERS = st.builds(
    TriggerFact,
    name=NAMES,
    table=TABLE_NAMES,
    events=st.sampled_from([["DELETE"], ["UPDATE"], ["DELETE", "UPDATE"]]),
    definition_sha256=st.sampled_from(["0" * 64, "1" * 64]),
)
COLUMNS = [
    ColumnFact(name="id", type="bigint", not_null=True),
    ColumnFact(name="at", type="timestamptz", time=True),
    ColumnFact(name="name", type="text"),
]


@st.composite
def tables(draw: st.DrawFn) -> list[TableFact]:
    names = draw(st.lists(TABLE_NAMES, min_size=1, max_size=4, unique=True))
    return [
        TableFact(
            name=name,
            kind="Table",
            columns=draw(st.permutations(COLUMNS)),
            primary_key=["id"],
            references=draw(st.lists(REFERENCES, max_size=3)),
            triggers=draw(st.lists(TRIGGERS, max_size=2)),
        )
        for name in names
    ]


CALLS = st.lists(
    st.builds(CallFact, name=NAMES, definition_sha256=st.sampled_from(["0" * 64, "1" * 64])),
    max_size=3,
    unique_by=lambda one: one.name,
)
COUNTS = st.builds(
    RuleCounts,
    rows=st.integers(0, 10**6),
    eligible=st.integers(0, 10**6),
    held=st.integers(0, 100),
    oldest=st.sampled_from([None, NOW, NOW - DAY]),
    bytes=st.integers(0, 10**9),
    inflow_per_day=st.integers(0, 1000),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[LifecycleOrder, list[RuleFacts]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    rules, facts = [], []
    for name in names:
        found = draw(tables())
        rule = RuleOrder(
            name=name,
            table=found[0].name,
            action=draw(st.sampled_from([ActionType.ARCHIVE, ActionType.DELETE, ActionType.PURGE])),
            column="at",
            older_than_seconds=draw(st.integers(1, 10**8)),
            where=draw(st.sampled_from([None, "name = 'x'"])),
            cascades=draw(st.lists(TABLE_NAMES, max_size=4)),
            triggers=draw(st.lists(NAMES, max_size=4)),
            foreign_keys=draw(st.sampled_from(list(ForeignKeys))),
            limits=draw(LIMITS),
        )
        rules.append(rule)
        facts.append(RuleFacts(rule=name, tables=found, calls=draw(CALLS), counts=draw(COUNTS)))
    holds = draw(
        st.lists(
            st.builds(
                HoldOrder,
                name=NAMES,
                table=st.one_of(st.none(), TABLE_NAMES),
                reason=st.just("case 7"),
                until=st.sampled_from([None, NOW - DAY, NOW + DAY]),
            ),
            max_size=2,
        )
    )
    return LifecycleOrder(database_uid="u", storage="prod", rules=rules, holds=holds), facts


def shuffled(draw: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return list(draw(st.permutations(list(items))))


@given(cases(), st.data())
def test_the_hash_covers_no_count_no_date_and_no_order_of_lists(
    case: tuple[LifecycleOrder, list[RuleFacts]], data: st.DataObject
) -> None:
    order, facts = case
    plan = make_plan(order, facts)
    rules = [
        rule.model_copy(
            update={
                "cascades": shuffled(data.draw, rule.cascades) + rule.cascades,
                "triggers": shuffled(data.draw, rule.triggers),
            }
        )
        for rule in shuffled(data.draw, order.rules)
    ]
    holds = [
        hold.model_copy(update={"reason": data.draw(st.text(max_size=9))}) for hold in shuffled(data.draw, order.holds)
    ]
    again = [
        RuleFacts(
            rule=one.rule,
            tables=[
                one.tables[0].model_copy(
                    update={
                        "columns": shuffled(data.draw, one.tables[0].columns),
                        "references": shuffled(data.draw, one.tables[0].references),
                        "triggers": shuffled(data.draw, one.tables[0].triggers),
                    }
                ),
                *shuffled(data.draw, one.tables[1:]),
            ],
            calls=shuffled(data.draw, one.calls),
            counts=data.draw(COUNTS),
            partitions=[PartitionFact(name="p", rows=data.draw(st.integers(0, 9)))],
        )
        for one in shuffled(data.draw, facts)
    ]
    other = make_plan(order.model_copy(update={"rules": rules, "holds": holds}), again)
    assert other.hash == plan.hash
    assert [step.rule.name for step in other.steps] == [step.rule.name for step in plan.steps]


def changed_rule(**update: Any) -> Callable[[LifecycleOrder, list[RuleFacts]], Any]:
    def change(order: LifecycleOrder, facts: list[RuleFacts]) -> tuple[LifecycleOrder, list[RuleFacts]]:
        first, *rest = order.rules
        return order.model_copy(update={"rules": [first.model_copy(update=update), *rest]}), facts

    return change


def changed_limit(**update: Any) -> Callable[[LifecycleOrder, list[RuleFacts]], Any]:
    def change(order: LifecycleOrder, facts: list[RuleFacts]) -> tuple[LifecycleOrder, list[RuleFacts]]:
        return changed_rule(limits=order.rules[0].limits.model_copy(update=update))(order, facts)

    return change


def changed_order(**update: Any) -> Callable[[LifecycleOrder, list[RuleFacts]], Any]:
    return lambda order, facts: (order.model_copy(update=update), facts)


def changed_table(**update: Any) -> Callable[[LifecycleOrder, list[RuleFacts]], Any]:
    def change(order: LifecycleOrder, facts: list[RuleFacts]) -> tuple[LifecycleOrder, list[RuleFacts]]:
        first, *rest = facts
        table = first.tables[-1].model_copy(update=update)
        return order, [first.model_copy(update={"tables": [*first.tables[:-1], table]}), *rest]

    return change


def changed_calls(*calls: CallFact) -> Callable[[LifecycleOrder, list[RuleFacts]], Any]:
    def change(order: LifecycleOrder, facts: list[RuleFacts]) -> tuple[LifecycleOrder, list[RuleFacts]]:
        first, *rest = facts
        return order, [first.model_copy(update={"calls": list(calls)}), *rest]

    return change


NEW_TRIGGER = TriggerFact(name="new", table="public.z", events=["DELETE"], definition_sha256="9" * 64)
NEW_REFERENCE = ReferenceFact(name="new", table="public.z", columns=["z"], target_columns=["id"], on_delete="Cascade")
SUBSTANCE: dict[str, Callable[[LifecycleOrder, list[RuleFacts]], Any]] = {
    "action": changed_rule(action=ActionType.ANONYMIZE),
    "column": changed_rule(column="name"),
    "age": changed_rule(older_than_seconds=10**8 + 1),
    "where": changed_rule(where="name = 'y'"),
    "cascades": changed_rule(cascades=["public.z"]),
    "triggers": changed_rule(triggers=["z"]),
    "rows": changed_limit(max_rows_per_run=1001),
    "percent": changed_limit(max_percent=101),
    "newest": changed_limit(keep_newest=1001),
    "floor": changed_limit(min_retention_seconds=10**8 + 1),
    "holds": changed_order(holds=[HoldOrder(name="z", reason="case 8")]),
    "database": changed_order(database_uid="v"),
    "of-server": changed_order(database="shop"),
    "storage": changed_order(storage="other"),
    "server": changed_order(server=ServerOrder(hosts=["z"], port=5432)),
    "place": changed_order(place="bucket z"),
    "preconditions": changed_order(preconditions=Preconditions(backup_within_seconds=1)),
    "columns-of-table": changed_table(columns=[*COLUMNS, ColumnFact(name="new", type="text")]),
    "key-of-table": changed_table(primary_key=["id", "at"]),
    "triggers-of-table": changed_table(triggers=[NEW_TRIGGER]),
    "references-of-table": changed_table(references=[NEW_REFERENCE]),
    "partitioning": changed_table(partitioning=PartitioningFact(strategy="Range", columns=["at"])),
    "row-security": changed_table(row_security=True),
    "kind-of-table": changed_table(kind="Partitioned"),
    "functions": changed_calls(CallFact(name="function public.f()", definition_sha256="9" * 64)),
}


@given(what=st.sampled_from(sorted(SUBSTANCE)), case=cases())
def test_whatever_matters_makes_another_hash(what: str, case: tuple[LifecycleOrder, list[RuleFacts]]) -> None:
    order, facts = case
    other_order, other_facts = SUBSTANCE[what](order, facts)
    assert make_plan(other_order, other_facts).hash != make_plan(order, facts).hash


@given(cases())
def test_every_rule_is_there_once_and_children_come_first(case: tuple[LifecycleOrder, list[RuleFacts]]) -> None:
    order, facts = case
    steps = make_plan(order, facts).steps
    assert sorted(step.rule.name for step in steps) == sorted(rule.name for rule in order.rules)
    assume(not any(step.cyclic for step in steps))
    targets = [step.table.name for step in steps if step.table]
    assume(len(set(targets)) == len(targets))
    below = {step.table.name: {child.table.name for child in step.children} for step in steps if step.table}
    assume(not any(one in below[other] and other in below[one] for one in targets for other in targets))
    for place, step in enumerate(steps):
        left = {one.table.name for one in steps[place + 1 :] if one.table}
        left_below = {child.table.name for child in step.children} & left
        # Of a cycle between rules any order is as good; each of them is refused, if its rows would go.
        assert all(_leads_back(below, name, targets[place]) for name in left_below)


def _leads_back(below: dict[str, set[str]], begin: str, end: str) -> bool:
    seen: set[str] = set()
    todo = [begin]
    while todo:
        name = todo.pop()
        if name == end:
            return True
        todo += [one for one in below.get(name, ()) if one not in seen]
        seen |= below.get(name, set())
    return False


@given(cases(), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_plan_that_grew_beyond_its_ceiling_does_nothing(
    case: tuple[LifecycleOrder, list[RuleFacts]], eligible: int, rows: int
) -> None:
    order, facts = case
    first, *rest = facts
    grown = [first.model_copy(update={"counts": RuleCounts(rows=rows, eligible=eligible)}), *rest]
    plan = make_plan(order, grown)
    limit = next(rule for rule in order.rules if rule.name == first.rule).limits.max_percent
    found = {one.reason for one in verdicts(plan, order, grown, NOW)[first.rule]}
    assert (Reason.PLAN_GREW in found) == (eligible * 100 > limit * rows)


@given(cases())
def test_what_is_not_listed_is_never_set_off(case: tuple[LifecycleOrder, list[RuleFacts]]) -> None:
    order, facts = case
    plan = make_plan(order, facts)
    against = verdicts(plan, order, facts, NOW)
    for step in plan.steps:
        if against[step.rule.name]:
            continue
        listed = set(step.rule.cascades)
        assert {child.table.name for child in step.children} <= listed
        assert not step.cyclic
        assert step.table is not None
        fired = [one for one in step.table.triggers if "DELETE" in one.events]
        assert all(one.name in step.rule.triggers for one in fired)
        for hold in order.holds:
            stands = hold.until is None or hold.until > NOW
            touched = {step.table.name, *(child.table.name for child in step.children)}
            assert not stands or (hold.table is not None and hold.table not in touched)


@given(cases(), st.sampled_from([None, NOW + DAY]))
def test_a_hold_in_force_stops_every_rule_on_its_table(
    case: tuple[LifecycleOrder, list[RuleFacts]], until: datetime | None
) -> None:
    order, facts = case
    plan = make_plan(order, facts)
    for step in plan.steps:
        assert step.table is not None
        for table in (step.table.name, None):
            held = order.model_copy(update={"holds": [HoldOrder(name="h", table=table, reason="case", until=until)]})
            found = verdicts(make_plan(held, facts), held, facts, NOW)[step.rule.name]
            assert Reason.BLOCKED_BY_HOLD in {one.reason for one in found}


PARTITIONS = st.lists(
    st.builds(
        PartitionFact,
        name=st.uuids().map(str),
        default=st.booleans(),
        upper=st.one_of(st.none(), st.integers(-100, 100).map(lambda days: NOW + days * DAY)),
        rows=st.integers(0, 1000),
        young=st.sampled_from([0, 0, 1]),
        held=st.sampled_from([0, 0, 1]),
    ),
    max_size=12,
)


@given(PARTITIONS, st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 60), st.integers(1, 60))
def test_only_partitions_that_are_wholly_old_and_free_go_and_within_the_limits(
    partitions: list[PartitionFact], most: int, newest: int, floor: int, age: int
) -> None:
    seconds = int(DAY.total_seconds())
    limits = LimitsOrder(
        max_rows_per_run=most, max_percent=100, keep_newest=newest, min_retention_seconds=floor * seconds
    )
    rule = RuleOrder(
        name="a",
        table="public.a",
        action=ActionType.DROP_PARTITION,
        column="at",
        older_than_seconds=age * seconds,
        limits=limits,
    )
    table = TableFact(name="public.a", kind="Partitioned", columns=COLUMNS)
    facts = RuleFacts(rule="a", tables=[table], partitions=partitions)
    order = LifecycleOrder(database_uid="u", storage="prod", rules=[rule])
    step = make_plan(order, [facts]).steps[0]
    cutoff = NOW - max(age, floor) * DAY
    going = droppable(step, facts, NOW)
    for one in going:
        assert keeps(one, cutoff) is None
        assert one.upper is not None
        assert one.upper <= cutoff
        assert (one.default, one.young, one.held) == (False, 0, 0)
    assert sum(one.rows for one in going) <= most
    if going:
        assert sum(one.rows for one in partitions) - sum(one.rows for one in going) >= newest
