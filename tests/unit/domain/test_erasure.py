"""Erasures as pure functions: hashes that name nobody, plans that name one request, and what a restore repeats."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.erasure import ErasureDone, ErasureEntry
from databosun.api.lifecycle import (
    ActionType,
    ColumnFact,
    HoldOrder,
    LifecycleOrder,
    LimitsOrder,
    MaskMethod,
    MaskOrder,
    ReferenceFact,
    RuleCounts,
    RuleFacts,
    RuleOrder,
    TableFact,
)
from databosun.api.v1alpha1.erasurerequest import ErasureRequestSpec, StoreSearch
from databosun.domain.erasure import (
    MARGIN,
    Erased,
    erasure_hash,
    erasure_verdicts,
    key_check,
    subject_hash,
    to_repeat,
)
from databosun.domain.erasureorder import erasure_order, wait_of
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import make_plan
from databosun.domain.remains import NEWEST, UNDER_WAY, Kept, proven, remains
from databosun.domain.whereabouts import Whereabouts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SEARCHED = (StoreSearch(place="bucket b", storage="prod", validated=True, tried=NOW, at=NOW),)
THERE = frozenset({"bucket b"})
KEY = b"0123456789abcdef0123456789abcdef"
SPEC: dict[str, Any] = {
    "databaseRef": {"name": "orders"},
    "storageRef": {"name": "prod"},
    "subjectSecretRef": {"name": "s", "key": "subject"},
    "rules": [{"name": "customers", "table": "public.customers", "column": "email", "action": {"type": "Delete"}}],
    "notAfter": NOW.isoformat(),
}


def order(**more: Any) -> LifecycleOrder:
    """One table."""
    values: dict[str, Any] = {
        "name": "customers",
        "table": "public.customers",
        "subject_column": "email",
        "action": ActionType.DELETE,
        "limits": LimitsOrder(max_rows_per_run=10, max_percent=100),
    }
    return LifecycleOrder(database_uid="d", storage="prod", rules=[RuleOrder(**{**values, **more})])


def facts(**counts: Any) -> list[RuleFacts]:
    """What was found of it."""
    columns = [ColumnFact(name="id", type="bigint"), ColumnFact(name="email", type="text")]
    table = TableFact(name="public.customers", kind="Table", columns=columns, primary_key=["id"])
    return [RuleFacts(rule="customers", tables=[table], counts=RuleCounts(**counts))]


def reasons(of: LifecycleOrder, found: list[RuleFacts]) -> list[str]:
    """Why nothing of it may be erased."""
    against = erasure_verdicts(make_plan(of, found), of, found, NOW)
    return [str(one.reason) for refusals in against.values() for one in refusals]


def erased(name: str = "a", *, verified: datetime | None = NOW, **more: Any) -> Erased:
    """One of the ledger."""
    values: dict[str, Any] = {
        "id": name,
        "uid": "u",
        "database": "orders",
        "database_uid": "d",
        "system": "7",
        "dbname": "shop",
        "subject": "0" * 64,
        "key_check": key_check(KEY),
        "at": NOW - HOUR,
        "approved": "0" * 32,
        "order": order(),
    }
    entry = ErasureEntry(**{**values, **more})
    done = ErasureDone(id=name, uid="u", entry_sha256="0", verified_at=verified) if verified is not None else None
    return Erased(entry, done)


def test_a_hash_depends_on_key_and_subject_and_says_neither() -> None:
    hashed = subject_hash(KEY, "ada")
    assert hashed == hmac.digest(KEY, b"databosun erasure subject\0ada", "sha256").hex()
    assert hashed == subject_hash(KEY, "ada")
    assert len({hashed, subject_hash(KEY, "Ada"), subject_hash(KEY[::-1], "ada"), key_check(KEY)}) == 4


def test_what_is_approved_is_this_request_this_subject_and_these_tables_whatever_the_counts() -> None:
    plan = erasure_hash(order(), facts(rows=9, eligible=1), "s", "u")
    assert plan == erasure_hash(order(), facts(rows=700, eligible=3), "s", "u")
    others = [
        erasure_hash(order(), facts(), "t", "u"),
        erasure_hash(order(), facts(), "s", "v"),
        erasure_hash(order(subject_column="id"), facts(), "s", "u"),
        erasure_hash(order(limits=LimitsOrder(max_rows_per_run=11, max_percent=100)), facts(), "s", "u"),
        erasure_hash(
            order().model_copy(update={"holds": [HoldOrder(name="h", table="t", reason="r")]}), facts(), "s", "u"
        ),
    ]
    assert len({plan, *others}) == 6


def test_an_erasure_is_whole_or_it_is_none() -> None:
    assert reasons(order(), facts(eligible=10, rows=10)) == []
    assert reasons(order(), facts(eligible=11, rows=500)) == ["PlanGrew"]
    assert reasons(order(), facts(eligible=1, held=1, rows=500)) == ["BlockedByHold"]
    assert reasons(order(subject_column="mail"), facts()) == ["ColumnNotFound"]
    assert reasons(order(), []) == ["TableNotFound"]
    body = [MaskOrder(column="id2", method=MaskMethod.NULL)]
    assert "SubjectStays" in reasons(order(action=ActionType.ANONYMIZE, masks=body), facts())
    whole = [MaskOrder(column="email", method=MaskMethod.FIXED, value="-")]
    assert reasons(order(action=ActionType.ANONYMIZE, masks=whole), facts()) == []


def test_a_table_that_keeps_what_is_deleted_from_it_does_not_go_along() -> None:
    by = ReferenceFact(name="fk", table="public.orders", columns=["c"], target_columns=["id"], on_delete="Cascade")
    (found,) = facts()
    parent = found.tables[0].model_copy(update={"references": [by]})
    cascading = order(cascades=["orders"])
    for kind, expected in (("SystemVersioned", ["NotATable"]), ("Table", []), ("Partitioned", [])):
        child = TableFact(name="public.orders", kind=kind, columns=[ColumnFact(name="c", type="bigint")])
        assert reasons(cascading, [found.model_copy(update={"tables": [parent, child]})]) == expected
        letting_go = parent.model_copy(update={"references": [by.model_copy(update={"on_delete": "SetNull"})]})
        assert reasons(cascading, [found.model_copy(update={"tables": [letting_go, child]})]) == []


def test_data_from_before_the_end_of_an_erasure_need_it_and_later_data_do_not() -> None:
    one = erased()
    assert to_repeat([one], NOW - DAY) == to_repeat([one], NOW + MARGIN) == (one,)
    assert to_repeat([one], NOW + MARGIN + timedelta(seconds=1)) == ()
    assert to_repeat([erased(verified=None)], NOW + 1000 * DAY) != ()


def test_erasures_are_repeated_in_the_order_in_which_they_were_made() -> None:
    later, sooner = erased("a", at=NOW), erased("b", at=NOW - DAY)
    assert [one.entry.id for one in to_repeat([later, sooner], NOW)] == ["b", "a"]


def test_an_erasure_concerns_backups_of_its_database_by_folder_and_by_server() -> None:
    one = erased()
    assert one.concerns("orders", None)
    assert one.concerns("other", "7")
    assert not one.concerns("other", "8")
    assert not one.concerns("other", None)
    assert not erased(system=None).concerns("other", None)


def test_an_order_takes_rows_by_the_key_alone_and_heeds_holds_of_others() -> None:
    held = HoldOrder(name="policy/case", table="public.customers", reason="case")
    made = erasure_order(ErasureRequestSpec.model_validate(SPEC), Whereabouts("d"), [held])
    (rule,) = made.rules
    assert (rule.subject_column, rule.column, rule.where, rule.older_than_seconds) == ("email", None, None, None)
    assert (rule.limits.max_rows_per_run, rule.limits.max_percent) == (10_000, 100)
    assert made.holds == [held]


def test_more_holds_than_an_order_takes_are_refused_and_none_is_left_out() -> None:
    def held(number: int) -> list[HoldOrder]:
        return [HoldOrder(name=f"policy/{one}", where=f"id = {one}", reason="case") for one in range(number)]

    spec = ErasureRequestSpec.model_validate({**SPEC, "holds": [{"name": "own", "where": "id = -1", "reason": "case"}]})
    assert len(erasure_order(spec, Whereabouts("d"), held(63)).holds) == 64
    with pytest.raises(UserFault, match=r"spec\.holds.* are 65; expected 64 or fewer"):
        erasure_order(spec, Whereabouts("d"), held(64))


def test_a_plan_waits_a_month_at_most() -> None:
    assert wait_of(ErasureRequestSpec.model_validate(SPEC)) == 7 * DAY
    with pytest.raises(UserFault, match=r"spec\.approveWithin"):
        wait_of(ErasureRequestSpec.model_validate({**SPEC, "approveWithin": "60d"}))


def test_the_last_backup_with_the_person_says_when_all_is_cleared() -> None:
    kept = [
        Kept("one", NOW - 2 * DAY, NOW + 5 * DAY),
        Kept("two", NOW - DAY, NOW + 9 * DAY),
        Kept("after", NOW + DAY, NOW + 90 * DAY),
    ]
    found = remains(kept, NOW, NOW, SEARCHED, THERE)
    assert (found.backups, found.cleared_after, found.lasting) == (2, "2026-03-10T12:00:00Z", [])


def test_a_backup_for_ever_outweighs_all_dates_and_one_without_a_date_is_not_known() -> None:
    dated, undated = Kept("one", NOW - DAY, NOW + DAY), Kept("two", NOW - HOUR, undated=NEWEST)
    found = remains([dated, undated], NOW, NOW, SEARCHED, THERE)
    assert (found.cleared_after, found.lasting) == ("Unknown", ["two: it is the newest; the next one lets it go"])
    held = Kept("three", NOW - HOUR, for_ever="under a legal hold")
    assert remains([dated, undated, held], NOW, NOW, SEARCHED, THERE).cleared_after == "Never"
    assert remains([], NOW, NOW, SEARCHED, THERE).cleared_after == "Cleared"


def test_a_backup_that_is_being_taken_since_before_holds_the_person() -> None:
    found = remains([Kept("one", NOW - HOUR, undated=UNDER_WAY)], NOW, NOW, SEARCHED, THERE)
    assert (found.cleared_after, found.lasting) == ("Unknown", ["one: it is being taken since before the erasure"])


@pytest.mark.parametrize(
    ("search", "there", "cleared", "said"),
    [
        (None, THERE, "Unknown", "no BackupStorage was looked through yet"),
        ({"at": None}, THERE, "Unknown", "BackupStorage prod: it is still to be looked through"),
        ({"known": 1}, THERE, "Unknown", "BackupStorage prod: it is still to be looked through"),
        ({"error": "AccessDenied: no"}, THERE, "Unknown", "BackupStorage prod: not looked through: AccessDenied: no"),
        ({}, (), "Unknown", "BackupStorage prod: it does not name bucket b any more"),
        ({"copies": 7, "named": ["a/b"]}, THERE, "Never", "7 backups that no Backup object stands for (a/b)"),
        ({"leftovers": 1, "named": ["a/c"]}, THERE, "Unknown", "data of 1 failed or half-deleted runs (a/c)"),
        ({"logs": ["the log in x reaches back"]}, THERE, "Unknown", "BackupStorage prod: the log in x reaches back"),
    ],
)
def test_cleared_is_not_said_of_a_store_that_is_not_known_to_be_clean(
    search: dict[str, Any] | None, there: Collection[str], cleared: str, said: str
) -> None:
    searches = [SEARCHED[0].model_copy(update=search)] if search is not None else []
    found = remains([], NOW, NOW, searches, there)
    assert found.cleared_after == cleared
    assert said in found.lasting[0]
    assert not proven(found)
    dated = remains([Kept("one", NOW - DAY, NOW + DAY)], NOW, NOW, searches, there)
    # While an object holds the person, a look that left it out is as good as any.
    assert dated.cleared_after == ("2026-03-02T12:00:00Z" if search == {"known": 1} else cleared)


def test_what_an_older_release_said_of_objects_alone_proves_nothing() -> None:
    found = remains([], NOW, NOW, SEARCHED, THERE)
    assert proven(found)
    assert not proven(found.model_copy(update={"stores": []}))
