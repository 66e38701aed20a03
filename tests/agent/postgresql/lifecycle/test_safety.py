"""What must not go: rows that changed since they were archived, children and triggers that nobody listed."""

from __future__ import annotations

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from support.lifecycling import Keeper, result_of, rule

pytestmark = pytest.mark.servers
ELIGIBLE = "created_at < timestamptz '2025-12-01 12:00Z' AND status = 'closed'"
ARCHIVE = rule(action=ActionType.ARCHIVE)


def test_triggers_at_delete_are_refused_unless_listed(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE TABLE log (id bigint);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "'BEGIN INSERT INTO public.log VALUES (OLD.id); RETURN OLD; END';"
        "CREATE TRIGGER noting AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION note();"
        "CREATE TRIGGER unrelated AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note()"
    )
    refused = keeper.carry_out(rule())["old-orders"]
    assert refused.failure is not None
    assert refused.failure.reason == "TriggerNotAllowed"
    assert "noting" in refused.failure.message
    assert keeper.sql("SELECT count(*) FROM log") == [(0,)]
    done = keeper.carry_out(rule(triggers=["noting"]))["old-orders"]
    assert keeper.sql("SELECT count(*) FROM log") == [(done.deleted,)]


def test_rewrite_rules_count_as_triggers(keeper: Keeper) -> None:
    keeper.sql("CREATE RULE keepall AS ON DELETE TO orders DO INSTEAD NOTHING")
    refused = keeper.carry_out(rule())["old-orders"]
    assert refused.failure is not None
    assert "keepall" in refused.failure.message


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("status = 'closed') OR (true", "syntax error"),
        ("status = 'closed' UNION SELECT 1", "syntax error"),
        ("status = 'closed'; DELETE FROM orders", "cannot insert multiple commands|syntax error"),
        ("nosuchcolumn = 1", "nosuchcolumn"),
        ("random() < 0.5", "random"),
        ("status", "boolean"),
        ("status = 'closed' /* and more", "comment"),
    ],
)
def test_a_condition_that_is_no_single_one_touches_nothing(keeper: Keeper, where: str, words: str) -> None:
    before = keeper.ids()
    facts = keeper.look(rule(where=where)).facts[0]
    assert facts.fault is not None
    assert any(word in facts.fault for word in words.split("|")), facts.fault
    refused = keeper.carry_out(rule(where=where))["old-orders"]
    assert refused.state is RuleState.REFUSED
    assert keeper.ids() == before


def test_a_rule_that_fails_does_not_stop_the_others(keeper: Keeper) -> None:
    keeper.sql(
        "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''never''; END';"
        "CREATE TABLE other (LIKE orders INCLUDING ALL); INSERT INTO other (id, created_at, status) "
        "SELECT id, created_at, status FROM orders;"
        "CREATE TRIGGER denying BEFORE DELETE ON other FOR EACH ROW EXECUTE FUNCTION deny()"
    )
    ran = keeper.enforce(
        rule("a-denied", table="public.other", triggers=["denying"]),
        rule("b-missing", table="public.nowhere"),
        rule("c-good"),
    )
    done = {one.name: one for one in result_of(ran).outcomes}
    assert (ran.summary.outcome, ran.summary.reason, ran.summary.retryable) == (Outcome.FAILED, "RulesFailed", False)
    assert done["a-denied"].failure is not None
    assert (done["a-denied"].failure.sqlstate, done["a-denied"].failure.retryable) == ("P0001", False)
    assert "deny()" in done["a-denied"].failure.message
    assert done["b-missing"].state is RuleState.REFUSED
    assert (done["c-good"].state, done["c-good"].remaining) == (RuleState.COMPLETED, 0)
    assert keeper.sql("SELECT count(*) FROM other") == [(3000,)]
