"""Rules on keys: how patterns are read, what a policy of them comes to, and what cannot be kept where nothing has an
age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.lifecycle import ActionType, HoldOrder, KeysFact, LifecycleMode, RuleCounts, RuleFacts, TableFact
from databosun.api.lifecycleresult import LifecycleResult, RuleOutcome, RuleState
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.cli.approve_lifecycle import details_of
from databosun.cli.lifecyclewords import asked_of
from databosun.domain.errors import UserFault
from databosun.domain.keypatterns import PatternFault, matches_everything, read_pattern
from databosun.domain.lifecycle import make_plan
from databosun.domain.lifecycleguards import verdicts
from databosun.domain.lifecycleorder import order_of
from databosun.domain.lifecycleview import done, looked, planned_rules, processed_by, rule_results
from databosun.domain.whereabouts import Whereabouts
from databosun.engines.holding import demand_held
from databosun.engines.lifecycle import LifecycleScope

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86400


def spec(rule: dict[str, Any] | None = None, **more: Any) -> LifecyclePolicySpec:
    """Sessions that nobody used go."""
    one: dict[str, Any] = {"name": "old", "target": {"keyPattern": "session:*"}, "action": {"type": "Delete"}}
    base = {"databaseRef": {"name": "cache"}, "storageRef": {"name": "prod"}, "rules": [{**one, **(rule or {})}]}
    return LifecyclePolicySpec.model_validate({**base, **more})


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("session:*", ["session:", "session:a", "session:a:b\n"], ["session", "a session:", "sessions:"]),
        ("a?c", ["abc", "a?c", "a\nc"], ["ac", "abbc"]),
        ("[a-c^]x", ["ax", "cx", "^x"], ["dx", "x"]),
        ("[^a-c]x", ["dx", "-x"], ["ax", "x"]),
        ("a\\*b", ["a*b"], ["axb", "a\\*b"]),
        ("*a*b*", ["ab", "xaxbx"], ["ba", ""]),
        ("*ab", ["ab", "aab", "abab"], ["aba", ""]),
        ("ü*", ["ü", "üx"], ["u"]),
        (".+", [".+"], ["a", "aa"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, matched: list[str], others: list[str]) -> None:
    read = read_pattern(pattern)
    assert [one for one in matched if not read.matches(one.encode())] == []
    assert [one for one in others if read.matches(one.encode())] == []
    assert read.matches(read.specimen)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "is empty"),
        ("a\\", "ends with a backslash"),
        ("a[b", "not closed"),
        ("a[", "not closed"),
        ("a[b\\", "not closed"),
        ("a[]b", "nothing in its brackets"),
        ("[^]", "nothing in its brackets"),
        ("[a-]", "no plain end"),
        ("[a-\\z]", "no plain end"),
        ("[\\a-z]", "begins with a backslash"),
        ("[z-a]", "runs backwards"),
        ("[äö]", "takes several bytes"),
    ],
)
def test_a_pattern_that_may_be_read_in_two_ways_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(PatternFault, match=why):
        read_pattern(pattern)
    with pytest.raises(UserFault, match=r"spec\.rules\[0\]\.target\.keyPattern") as caught:
        order_of(
            spec(
                {
                    "target": {
                        "keyPattern": pattern or "[",
                    }
                }
            ),
            Whereabouts("uid"),
        )
    assert caught.value.reason == "InvalidSpec"
    with pytest.raises(UserFault, match=r"spec\.holds\[0\]\.keyPattern"):
        order_of(spec(holds=[{"name": "case", "keyPattern": pattern or "[", "reason": "court"}]), Whereabouts("uid"))


def test_a_long_name_does_not_keep_the_matcher_busy() -> None:
    assert not read_pattern("*a" * 20 + "b").matches(b"a" * 20_000)


def test_what_means_every_name_is_known() -> None:
    assert all(matches_everything(one) for one in ("*", "**", "?", "?*"))
    assert not any(matches_everything(one) for one in ("a*", "[a-z]*", "\\*"))


@pytest.mark.parametrize("pattern", ["*", "?**"])
def test_every_key_has_to_be_said(pattern: str) -> None:
    with pytest.raises(UserFault, match=r"spec\.rules\[0\]\.target\.everyKey: true"):
        order_of(spec({"target": {"keyPattern": pattern}}), Whereabouts("uid"))
    order = order_of(spec({"target": {"keyPattern": pattern, "everyKey": True}}), Whereabouts("uid"))
    assert (order.rules[0].keys, order.rules[0].every_key) == (pattern, True)


def test_the_order_says_all_in_seconds() -> None:
    expire = {"type": "Expire", "expire": {"after": "2d", "shorten": True}}
    holds = [{"name": "case", "keyPattern": "session:7*", "reason": "court"}]
    order = order_of(spec({"match": {"idleFor": "30d"}, "action": expire}, holds=holds), Whereabouts("uid"))
    (rule,) = order.rules
    assert (rule.table, rule.keys, rule.action) == ("", "session:*", ActionType.EXPIRE)
    assert (rule.idle_seconds, rule.expire_seconds, rule.shorten) == (30 * DAY, 2 * DAY, True)
    assert (order.holds[0].keys, order.holds[0].table) == ("session:7*", None)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (
            {"limits": {"minRetention": "30d"}},
            r"limits\.minRetention is 30d, and a key does not tell its age; expected",
        ),
        ({"match": {"idleFor": "10d"}, "limits": {"minRetention": "30d"}}, r"expected match\.idleFor to be no less"),
        (
            {"action": {"type": "Expire", "expire": {"after": "7d"}}, "limits": {"minRetention": "30d"}},
            r"expected match\.idleFor and action\.expire\.after together to be no less",
        ),
        ({"match": {"idleFor": "1y"}}, r"match\.idleFor is 1y; expected a duration from 1s to"),
    ],
)
def test_a_floor_that_nothing_keeps_is_refused(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(UserFault, match=rf"spec\.rules\[0\]\..*{says}") as caught:
        order_of(spec(rule), Whereabouts("uid"))
    assert caught.value.reason == "InvalidSpec"


@pytest.mark.parametrize(
    "rule",
    [
        {"match": {"idleFor": "30d"}, "limits": {"minRetention": "30d"}},
        {"action": {"type": "Expire", "expire": {"after": "30d"}}, "limits": {"minRetention": "30d"}},
        {"limits": {"minRetention": "0s"}},
        {
            "match": {"idleFor": "20d"},
            "action": {"type": "Expire", "expire": {"after": "10d"}},
            "limits": {"minRetention": "30d"},
        },
    ],
)
def test_a_floor_is_kept_by_what_is_known_of_a_key(rule: dict[str, Any]) -> None:
    assert order_of(spec(rule), Whereabouts("uid")).rules[0].keys == "session:*"


def result(outcomes: list[RuleOutcome], **counts: Any) -> LifecycleResult:
    """Of a run."""
    order = order_of(spec(), Whereabouts("uid"))
    facts = RuleFacts(
        rule="old",
        tables=[TableFact(name="db0 session:*", kind="Keys")],
        counts=RuleCounts(**{"rows": 100, "eligible": 5, "pattern": KeysFact(keys=9, bytes=2048, lasting=3), **counts}),
    )
    return LifecycleResult(
        id="r", mode=LifecycleMode.ENFORCE, at=NOW, engine_version="7.0", order=order, plan_hash="h", facts=[facts],
        outcomes=outcomes, completed_at=NOW,
    )  # fmt: skip


def test_a_hold_on_keys_holds_no_whole_rule_and_one_on_all_does() -> None:
    found = result([])
    for hold, reasons in (
        (HoldOrder(name="case", keys="session:7", reason="court"), []),
        (HoldOrder(name="case", reason="court"), ["BlockedByHold"]),
    ):
        order = found.order.model_copy(update={"holds": [hold]})
        against = verdicts(make_plan(order, found.facts), order, found.facts, NOW)
        assert [one.reason for one in against["old"]] == reasons


def test_a_hold_on_keys_where_there_are_tables_holds_all_until_it_is_put_right() -> None:
    hold = HoldOrder(name="case", keys="session:7", reason="court", until=NOW)
    order = order_of(spec(), Whereabouts("uid")).model_copy(update={"holds": [hold]})
    with pytest.raises(UserFault, match="hold case is on keys session:7, and this database has tables"):
        demand_held(LifecycleScope(order, NOW - timedelta(seconds=1), 1, 1.0), lambda _: True)
    demand_held(LifecycleScope(order, NOW, 1, 1.0), lambda _: True)


@pytest.mark.parametrize(("eligible", "refused"), [(10, False), (11, True)])
def test_too_many_of_the_keys_of_the_database_are_too_many(eligible: int, refused: bool) -> None:
    found = result([], eligible=eligible)
    against = verdicts(make_plan(found.order, found.facts), found.order, found.facts, NOW)["old"]
    assert [one.reason for one in against] == (["PlanGrew"] if refused else [])


def test_people_are_told_of_keys() -> None:
    one = RuleOutcome(name="old", action=ActionType.EXPIRE, state=RuleState.COMPLETED, expiring=5, deleted=2)
    found = result([one])
    assert looked(found) == "5 keys match the rules; nothing was changed"
    assert done(found) == "2 keys deleted, 5 keys given a time to live"
    assert done(result([])) == "no key taken"
    assert processed_by(found.outcomes) == 7
    assert rule_results(found.outcomes)[0].expiring == 5
    plan = make_plan(found.order, found.facts)
    (shown,) = planned_rules(plan, found, verdicts(plan, found.order, found.facts, NOW))
    assert list(details_of(shown)) == ["old: 9 keys of this pattern take 2.0KiB; 3 have no time to live"]


def test_who_consents_is_told_which_keys() -> None:
    expire = {"match": {"idleFor": "30d"}, "action": {"type": "Expire", "expire": {"after": "2d", "shorten": True}}}
    holds = [{"name": "case", "keyPattern": "session:7*", "reason": "court"}]
    assert list(asked_of(spec(expire, holds=holds))) == [
        "old: keys named session:* that nobody used at the master for 30d without a time to live, or with a longer one,"
        " live for 2d more",
        "old: at most 100,000 keys a run, none where it takes more than 10 % of all keys of the database",
        "hold case: keys named session:7* stays (court)",
    ]
    assert next(iter(asked_of(spec()))) == "old: keys named session:*"
