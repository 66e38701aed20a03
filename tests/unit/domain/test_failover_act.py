"""Each refusal to end a pod has a test that would have ended the wrong one, or one that nobody agreed to end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode
from databosun.domain.failoveract import ActFacts, EndPod, PodFound, decide_act
from databosun.domain.failoverplan import make_plan

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = make_plan("u", "Patroni", FailoverMode.FORCED_FAILOVER, "orders-0", "orders-1", ["orders-0", "orders-1"])
ASKED = ActAsked(plan_hash=PLAN.hash, member="orders-0", host="10.0.0.7", not_after=NOW + timedelta(seconds=90))
POD = PodFound(
    "orders-0", "uid-1", ("10.0.0.7", "orders-0.orders.shop.svc"), "StatefulSet orders", deleting=False, agent=False
)
FACTS = ActFacts(ASKED, PLAN, POD, begun=None, allowed=True, against=None)


def facts(**more: Any) -> ActFacts:
    """`pod_*` and `asked_*` are of the pod and of what is asked."""
    pod = {name.removeprefix("pod_"): value for name, value in more.items() if name.startswith("pod_")}
    asked = {name.removeprefix("asked_"): value for name, value in more.items() if name.startswith("asked_")}
    rest = {name: value for name, value in more.items() if not name.startswith(("pod_", "asked_"))}
    return replace(FACTS, **{"pod": replace(POD, **pod), "asked": ASKED.model_copy(update=asked), **rest})


def test_the_primary_of_the_plan_is_ended_and_that_is_written_down_before() -> None:
    assert decide_act(FACTS, NOW) == EndPod("orders-0", "uid-1", first=True)
    assert decide_act(facts(asked_host="orders-0.orders.shop.svc"), NOW) == EndPod("orders-0", "uid-1", first=True)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (facts(asked_plan_hash="another"), "of plan another was asked for"),
        (facts(asked_member="orders-1"), "orders-1 of plan"),
        (facts(plan=PLAN.model_copy(update={"mode": FailoverMode.PLANNED_SWITCHOVER})), "PlannedSwitchover"),
        (facts(against="no window is open"), "no window is open"),
        (facts(pod_addresses=("10.0.0.8",)), "is at 10.0.0.8; Patroni has orders-0 at 10.0.0.7"),
        (facts(pod_owner=None), "nothing would bring it back"),
        (facts(pod_agent=True), "Databosun's own"),
        (facts(pod_deleting=True), "being deleted by somebody else"),
        (facts(allowed=False), "rbac.deletePods"),
        (facts(pod=None), "no pod orders-0"),
    ],
)
def test_any_other_is_not(found: ActFacts, words: str) -> None:
    answer = decide_act(found, NOW)
    assert isinstance(answer, ActAnswer)
    assert not answer.done
    assert words in answer.message


def test_too_late_nothing_is_done() -> None:
    answer = decide_act(FACTS, NOW + timedelta(seconds=91))
    assert isinstance(answer, ActAnswer)
    assert not answer.done
    assert "too late" in answer.message


@pytest.mark.parametrize("pod", [None, replace(POD, uid="uid-2"), replace(POD, deleting=True)])
def test_what_was_begun_is_answered_and_never_done_to_the_one_that_came_after(pod: PodFound | None) -> None:
    answer = decide_act(replace(FACTS, begun="uid-1", pod=pod), NOW + timedelta(seconds=300))
    assert isinstance(answer, ActAnswer)
    assert answer.done


def test_what_was_begun_and_did_not_come_about_is_gone_on_with_while_somebody_waits() -> None:
    begun = replace(FACTS, begun="uid-1")
    assert decide_act(begun, NOW) == EndPod("orders-0", "uid-1", first=False)
    late = decide_act(begun, NOW + timedelta(seconds=91))
    assert isinstance(late, ActAnswer)
    assert not late.done
