"""Each refusal to end a pod has a test that would have ended the wrong one, or one that nobody agreed to end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode
from databosun.api.injection import FaultKind, InjectedFault
from databosun.domain.failoveract import (
    ActFacts,
    EndPod,
    Inject,
    LookAgain,
    PodFound,
    Withdraw,
    decide_act,
    fault_of,
    pod_names,
)
from databosun.domain.failoverchaos import Injection, injection_body, read_injection
from databosun.domain.failoverkept import claims_of
from databosun.domain.failoverplan import make_plan

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = make_plan("u", "Patroni", FailoverMode.FORCED_FAILOVER, "orders-0", "orders-1", ["orders-0", "orders-1"])
ASKED = ActAsked(plan_hash=PLAN.hash, member="orders-0", host="10.0.0.7", not_after=NOW + timedelta(seconds=90))
POD = PodFound(
    "orders-0", "uid-1", ("10.0.0.7", "orders-0.orders.shop.svc"), "StatefulSet orders", deleting=False, agent=False,
    claims=frozenset({"postgresql"}),
)  # fmt: skip
FACTS = ActFacts(ASKED, PLAN, POD, begun=None, denied=None, against=None)


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
        (facts(denied="set rbac.deletePods"), "rbac.deletePods"),
        (facts(pod=None), "no pod orders-0"),
    ],
)
def test_any_other_is_not(found: ActFacts, words: str) -> None:
    answer = decide_act(found, NOW)
    assert isinstance(answer, ActAnswer)
    assert not answer.done
    assert words in answer.message


def test_the_primary_of_a_replica_set_is_the_pod_that_its_address_begins_with() -> None:
    name, host = "orders-0.orders.shop.svc:27017", "orders-0.orders.shop.svc"
    plan = make_plan("u", "ReplicaSet", FailoverMode.FORCED_FAILOVER, name, "o", [name, "o"])
    asked = {"asked_member": name, "asked_host": host, "asked_plan_hash": plan.hash}
    assert "orders-0" in pod_names(facts(**asked).asked).names
    assert decide_act(facts(plan=plan, **asked), NOW) == EndPod("orders-0", "uid-1", first=True)


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


# --- faults


CUT = InjectedFault(kind=FaultKind.NETWORK_PARTITION, duration="1m30s")
KILL = InjectedFault(kind=FaultKind.CONTAINER_KILL, container="postgresql")
MADE = Injection("NetworkChaos", "databosun-x", "c-1", "7", begun=False, done=False)
LATE = NOW + timedelta(seconds=91)


def faulty(fault: InjectedFault, primary: str = "orders-0", **more: Any) -> ActFacts:
    """What was found of a plan with a fault."""
    nodes = [primary, "orders-1"]
    plan = make_plan("u", "Sentinel", FailoverMode.FAULT_INJECTION, primary, "orders-1", nodes, fault)
    pod = replace(POD, containers=("postgresql", "metrics"))
    asked = ASKED.model_copy(update={"plan_hash": plan.hash, "member": primary})
    return replace(FACTS, **{"plan": plan, "asked": asked, "pod": pod, **more})


def test_a_pod_is_deleted_by_whatever_provider_where_that_is_the_fault() -> None:
    assert decide_act(faulty(InjectedFault(kind=FaultKind.POD_DELETE)), NOW) == EndPod("orders-0", "uid-1", first=True)


@pytest.mark.parametrize("mode", FailoverMode)
def test_without_a_fault_nothing_but_a_forced_failover_of_patroni_is_the_operators(mode: FailoverMode) -> None:
    for provider in ("Patroni", "Sentinel", "MariaDBReplication", "MySQLReplication", "GroupReplication"):
        plan = make_plan("u", provider, mode, "orders-0", "orders-1", ["orders-0"])
        mine = provider in ("Patroni", "GroupReplication") and mode is FailoverMode.FORCED_FAILOVER
        assert (fault_of(plan) is not None) is mine


def test_a_fault_of_chaos_mesh_is_done_once_it_says_so() -> None:
    begun = faulty(CUT, begun="uid-1")
    assert decide_act(faulty(CUT), NOW) == Inject("orders-0", "uid-1", None, first=True)
    assert decide_act(begun, NOW) == Inject("orders-0", "uid-1", None, first=False)
    assert decide_act(replace(begun, injection=MADE), NOW) == LookAgain()
    said = decide_act(replace(begun, injection=replace(MADE, begun=True, done=True)), LATE)
    assert isinstance(said, ActAnswer)
    assert said.done


@pytest.mark.parametrize("fault", [CUT, KILL])
def test_one_that_it_does_not_say_it_began_is_taken_back_and_may_have_been_done(fault: InjectedFault) -> None:
    """It does it first, and says so afterwards."""
    begun = faulty(fault, begun="uid-1")
    assert decide_act(replace(begun, injection=MADE), LATE) == Withdraw(MADE)
    half = replace(begun, injection=replace(MADE, begun=True))
    for said in (decide_act(begun, LATE), decide_act(half, LATE)):
        assert isinstance(said, ActAnswer)
        assert (said.done, said.uncertain) == (False, True)
    never = decide_act(faulty(fault), LATE)
    assert isinstance(never, ActAnswer)
    assert (never.done, never.uncertain) == (False, False), "nobody was told to do it"


def test_what_speaks_against_it_once_it_was_ordered_does_not_undo_it() -> None:
    begun = faulty(CUT, begun="uid-1", against="no window is open")
    other = faulty(CUT, begun="uid-0")
    for found in (begun, other, replace(begun, pod=None)):
        said = decide_act(found, NOW)
        assert isinstance(said, ActAnswer)
        assert (said.done, said.uncertain) == (False, True)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (faulty(CUT, denied="networkchaos.chaos-mesh.org is not served"), "is not served"),
        (faulty(KILL, pod=replace(POD, containers=("a", "b"))), "has no container postgresql, but a, b"),
        (faulty(KILL.model_copy(update={"container": None})), "say which in spec.fault.container"),
        (faulty(CUT, against="no window is open"), "no window is open"),
    ],
)
def test_what_cannot_be_done_is_refused_and_says_why(found: ActFacts, words: str) -> None:
    said = decide_act(found, NOW)
    assert isinstance(said, ActAnswer)
    assert not said.done
    assert words in said.message


@pytest.mark.parametrize(
    ("fault", "claims"),
    [
        (InjectedFault(kind=FaultKind.POD_DELETE), frozenset[str]()),
        (KILL, frozenset[str]()),
        (KILL, frozenset({"metrics"})),  # the container that is killed is another one
    ],
)
def test_what_would_take_the_data_with_it_is_refused_by_a_guard(fault: InjectedFault, claims: frozenset[str]) -> None:
    found = faulty(fault)
    assert found.pod
    said = decide_act(replace(found, pod=replace(found.pod, claims=claims)), NOW)
    assert isinstance(said, ActAnswer)
    assert (said.done, said.guard and (said.guard.name, said.guard.ok)) == (False, ("dataOnClaim", False))
    assert "writes to no persistentVolumeClaim" in said.message
    assert not isinstance(decide_act(found, NOW), ActAnswer)


def test_a_partition_ends_nothing_and_needs_no_claim() -> None:
    found = faulty(CUT)
    assert found.pod
    assert isinstance(decide_act(replace(found, pod=replace(found.pod, claims=frozenset())), NOW), Inject)


@pytest.mark.parametrize(
    ("provider", "candidate", "ended"),
    [
        ("Patroni", "orders-1", True),  # made anew from the one that leads then
        ("Patroni", "orders-0", False),  # the only one
        ("StatefulSet", "orders-1", False),
        ("ReplicaSet", "orders-1", False),  # empty, it may vote all the same
        ("CloudNativePG", "orders-1", False),
    ],
)
def test_a_forced_failover_takes_data_with_it_only_where_an_empty_member_never_leads(
    provider: str, candidate: str, ended: bool
) -> None:
    plan = make_plan("u", provider, FailoverMode.FORCED_FAILOVER, "orders-0", candidate, ["orders-0", "orders-1"])
    found = facts(plan=plan, asked_plan_hash=plan.hash, pod_claims=frozenset())
    assert isinstance(decide_act(found, NOW), EndPod) is ended


def test_a_claim_counts_where_a_container_may_write_to_it() -> None:
    claim = {"persistentVolumeClaim": {"claimName": "c"}}
    volumes = [
        {"name": "data", **claim}, {"name": "fixed", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"name": "tmp", "emptyDir": {}}, {"name": "gone", "ephemeral": {"volumeClaimTemplate": {}}},
    ]  # fmt: skip
    mounts = {
        "db": [{"name": "tmp"}, {"name": "data"}], "reads": [{"name": "data", "readOnly": True}],
        "fixed": [{"name": "fixed"}], "scratch": [{"name": "tmp"}, {"name": "gone"}], "bare": [],
    }  # fmt: skip
    containers = [{"name": name, "volumeMounts": of} for name, of in mounts.items()]
    assert claims_of({"volumes": volumes, "containers": containers}) == {"db"}
    assert claims_of({"containers": [{"name": "db"}]}) == frozenset()


def test_members_named_by_an_address_are_found_and_the_address_must_be_the_members_own() -> None:
    host = "orders-0.orders.shop.svc"
    kill = InjectedFault(kind=FaultKind.POD_DELETE)
    named = faulty(kill, f"{host}:6379")
    named = replace(named, asked=named.asked.model_copy(update={"host": host}))
    assert pod_names(named.asked).names == (f"{host}:6379", "orders-0")
    assert decide_act(named, NOW) == EndPod("orders-0", "uid-1", first=True)
    other = decide_act(replace(named, asked=named.asked.model_copy(update={"host": "10.0.0.7"})), NOW)
    assert isinstance(other, ActAnswer)
    assert "has orders-0.orders.shop.svc:6379 at 10.0.0.7" in other.message


def test_a_pod_known_by_its_ip_is_cut_off_and_not_deleted_since_another_one_would_have_another() -> None:
    cut, end = (faulty(fault, "10.0.0.7:6379") for fault in (CUT, InjectedFault(kind=FaultKind.POD_DELETE)))
    assert pod_names(cut.asked).address == "10.0.0.7"
    assert decide_act(cut, NOW) == Inject("orders-0", "uid-1", None, first=True)
    said = decide_act(end, NOW)
    assert isinstance(said, ActAnswer)
    assert "announced by host names" in said.message


def test_what_chaos_mesh_is_told_is_of_one_pod_ends_by_itself_and_goes_with_its_run() -> None:
    plan = faulty(CUT).plan
    owner = {"apiVersion": "v", "kind": "FailoverTestRun", "name": "mine", "uid": "r-1", "namespace": "shop"}
    body = injection_body(plan, CUT, "orders-0", None, owner)
    assert body["spec"] == {
        "mode": "all", "selector": {"namespaces": ["shop"], "pods": {"shop": ["orders-0"]}},
        "action": "partition", "direction": "both", "duration": "90s",
    }  # fmt: skip
    assert body["metadata"]["ownerReferences"] == [
        {name: owner[name] for name in ("apiVersion", "kind", "name", "uid")}
    ]
    kill = injection_body(plan, KILL, "orders-0", "postgresql", owner)
    assert (kill["kind"], kill["spec"]["action"]) == ("PodChaos", "container-kill")
    assert kill["spec"]["containerNames"] == ["postgresql"]


@pytest.mark.parametrize(
    ("records", "begun", "done"),
    [
        ([], False, False),
        ([{"phase": "Not Injected", "injectedCount": 0}], False, False),
        ([{"phase": "Not Injected/Wait Apply Sync", "injectedCount": 0}], True, False),
        ([{"phase": "Injected", "injectedCount": 1}], True, True),
        ([{"phase": "Not Injected", "injectedCount": 1}], True, True),  # done, and over by now
    ],
)
def test_what_chaos_mesh_says_is_understood(records: list[dict[str, Any]], begun: bool, done: bool) -> None:
    body = {
        "metadata": {"name": "x", "uid": "u", "resourceVersion": "1"},
        "status": {"experiment": {"containerRecords": records}},
    }
    found = read_injection("NetworkChaos", body)
    assert (found.begun, found.done) == (begun, done)
