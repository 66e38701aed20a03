"""A Cluster of CloudNativePG is moved only where its own operator is done with all else, and told once whom to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode
from databosun.domain.failoveract import ActFacts, HandOver, decide_act, hands_over, is_asked
from databosun.domain.failovercnpg import ClusterFacts, cluster_guards, handover, read_cluster
from databosun.domain.failoverplan import make_plan

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("pay-1", "pay-2", "pay-3")
PLAN = make_plan("u", "CloudNativePG", FailoverMode.PLANNED_SWITCHOVER, "pay-1", "pay-2", NAMES)
ASKED = ActAsked(plan_hash=PLAN.hash, member="pay-1", host="10.0.0.7", not_after=NOW + timedelta(seconds=90))
HEALTHY: dict[str, Any] = {
    "metadata": {"name": "pay", "uid": "c-1", "resourceVersion": "7"},
    "spec": {"instances": 3},
    "status": {
        "currentPrimary": "pay-1", "targetPrimary": "pay-1", "instanceNames": list(NAMES), "readyInstances": 3,
        "phase": "Cluster in healthy state", "timelineID": 4,
    },
}  # fmt: skip
CLUSTER = read_cluster(HEALTHY)
FACTS = ActFacts(ASKED, PLAN, None, begun=None, denied=None, against=None, cluster=CLUSTER)


def failing(**more: Any) -> list[str]:
    """Names of the guards that do not hold, where parts of the Cluster are others."""
    body = {part: {**HEALTHY[part], **more.get(part, {})} for part in HEALTHY}
    return [one.name for one in cluster_guards(read_cluster(body)) if not one.ok]


def test_a_cluster_at_rest_may_be_moved() -> None:
    assert failing() == []
    assert (
        ClusterFacts(
            "pay", "c-1", "7", "pay-1", "pay-1", NAMES, wanted=3, ready=3, phase="Cluster in healthy state", busy=None
        )
        == CLUSTER
    )


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"status": {"phase": "Upgrading cluster"}}, ["clusterHealthy"]),
        ({"status": {"readyInstances": 2}}, ["clusterHealthy"]),
        ({"status": {"targetPrimary": "pay-2"}}, ["primarySettled"]),
        ({"status": {"targetPrimary": "pending"}}, ["primarySettled"]),
        ({"status": {"currentPrimary": "pay-9", "targetPrimary": "pay-9"}}, ["primarySettled"]),
        ({"metadata": {"annotations": {"cnpg.io/fencedInstances": '["pay-3"]'}}}, ["notHeld"]),
        ({"metadata": {"annotations": {"cnpg.io/fencedInstances": "[]", "cnpg.io/hibernation": "off"}}}, []),
        ({"metadata": {"annotations": {"cnpg.io/hibernation": "on"}}}, ["notHeld"]),
        ({"spec": {"replica": {"enabled": True, "source": "x"}}}, ["notHeld"]),
        ({"spec": {"replica": {"primary": "dc-a", "self": "dc-b"}}}, ["notHeld"]),
        ({"spec": {"replica": {"primary": "dc-a", "self": "dc-a"}}}, []),
    ],
)
def test_one_that_is_busy_or_held_may_not(more: dict[str, Any], names: list[str]) -> None:
    assert failing(**more) == names


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "currentPrimary": st.sampled_from(NAMES), "targetPrimary": st.sampled_from((*NAMES, "pending")),
            "instanceNames": st.none() | st.lists(st.sampled_from(NAMES)), "readyInstances": st.integers(0, 4),
            "phase": st.sampled_from(["Cluster in healthy state", "Failing over"]),
        },
    )
)  # fmt: skip
def test_whatever_its_status_lacks_it_is_moved_only_where_all_is_said(status: dict[str, Any]) -> None:
    facts = read_cluster({**HEALTHY, "status": status})
    if all(one.ok for one in cluster_guards(facts)):
        assert status["phase"] == "Cluster in healthy state"
        assert status["readyInstances"] == 3
        assert status["currentPrimary"] == status["targetPrimary"]
        assert status["currentPrimary"] in (status["instanceNames"] or ())


def test_it_is_told_as_its_own_plugin_tells_it() -> None:
    assert handover("pay-2", NOW) == {
        "targetPrimary": "pay-2", "targetPrimaryTimestamp": "2026-03-01T00:00:00.000000Z",
        "phase": "Switchover in progress", "phaseReason": "Switching over to pay-2",
    }  # fmt: skip


def test_only_a_planned_switchover_is_told_and_the_rest_is_the_end_of_a_pod() -> None:
    for provider in ("CloudNativePG", "Patroni", "StatefulSet"):
        for mode in FailoverMode:
            plan = make_plan("u", provider, mode, "pay-1", "pay-2", NAMES)
            assert hands_over(plan) is ((provider, mode) == ("CloudNativePG", FailoverMode.PLANNED_SWITCHOVER))
            assert is_asked(plan) is (hands_over(plan) or mode is FailoverMode.FORCED_FAILOVER)


def test_the_candidate_of_the_plan_is_named_and_told_once() -> None:
    assert decide_act(FACTS, NOW) == HandOver(CLUSTER, "pay-2", first=True)
    assert decide_act(replace(FACTS, begun="c-1"), NOW) == HandOver(CLUSTER, "pay-2", first=False)
    for there in ({"target": "pay-2"}, {"target": "pay-2", "current": "pay-2"}):
        told = replace(FACTS, begun="c-1", cluster=replace(CLUSTER, **there), against="the cluster is not at rest")
        said = decide_act(told, NOW + timedelta(hours=1))
        assert isinstance(said, ActAnswer)
        assert said.done


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(FACTS, cluster=None), "not there any more"),
        (replace(FACTS, cluster=replace(CLUSTER, current="pay-3", target="pay-3")), "is led by pay-3"),
        (replace(FACTS, cluster=replace(CLUSTER, target="pay-2")), "to be led by pay-2"),  # by somebody else
        (replace(FACTS, cluster=replace(CLUSTER, names=("pay-1", "pay-3"))), "of pay-1, pay-3"),
        (replace(FACTS, against="no window is open"), "no window is open"),
        (replace(FACTS, denied="set rbac.cloudNativePG"), "set rbac.cloudNativePG"),
        (replace(FACTS, asked=ASKED.model_copy(update={"member": "pay-3"})), "pay-3 of plan"),
        (replace(FACTS, asked=ASKED.model_copy(update={"not_after": NOW - timedelta(seconds=1)})), "too late"),
    ],
)
def test_what_is_not_as_planned_is_not_told(found: ActFacts, words: str) -> None:
    said = decide_act(found, NOW)
    assert isinstance(said, ActAnswer)
    assert not said.done
    assert words in said.message
