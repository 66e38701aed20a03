"""A forced failover in pods whose operator, or whose agent, is killed on the way: it ends with a verdict that says what
was seen, at most the primary's pod was ended, and nothing is left behind. Takes minutes: `make soak`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from support.patronipods import PatroniPods
from support.stack import SYSTEM
from support.stackfaults import kill
from support.stackplace import Place

pytestmark = [pytest.mark.e2e, pytest.mark.soak]

TEST = "payments-forced"


@pytest.fixture(scope="module")
def payments(place: Place) -> PatroniPods:
    pods = PatroniPods(place)
    pods.start()
    for file in ("database.yaml", "forced.yaml"):
        pods.example(file)
    place.ready("failovertests", TEST)
    return pods


@dataclass(frozen=True, slots=True)
class Case:
    """One run, planned and not yet consented to."""

    payments: PatroniPods
    run: str
    primary: str
    uid: str

    def decided(self) -> bool:
        """The switch is decided on."""
        return self.payments.status(self.run).get("step") == "Switch"

    def writes(self) -> bool:
        """Its clients write."""
        return "WritesBegan" in self.payments.log(self.run)

    def asked(self) -> bool:
        """Its agent asks for the end of the pod."""
        return '"act"' in self.payments.log(self.run)

    def ended(self) -> bool:
        """The pod is gone, or on its way."""
        pod = self.payments.place.stack.api.get("pods", self.payments.place.namespace, self.primary)
        return pod is None or pod["metadata"]["uid"] != self.uid or "deletionTimestamp" in pod["metadata"]

    def answered(self) -> bool:
        """Its agent knows that it was ended."""
        return '"answered"' in self.payments.log(self.run)


MOMENTS: dict[str, Callable[[Case], bool]] = {
    "decided": Case.decided, "writes": Case.writes, "asked": Case.asked, "ended": Case.ended, "answered": Case.answered,
}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_operator_that_is_killed_ends_the_pod_once_and_the_run_goes_on(payments: PatroniPods, moment: str) -> None:
    case = begin(payments, f"operator-{moment}")
    before = payments.uids()
    kill_when(case, moment, lambda: end_operator(payments))
    found = payments.ended(case.run)
    assert found["phase"] == "Passed", found
    assert changed(payments, before) == {case.primary}
    nothing_is_left(payments)


@pytest.mark.parametrize("moment", ["writes", "asked", "answered"])
def test_an_agent_that_is_killed_leaves_order_and_the_run_says_what_is_known(
    payments: PatroniPods, moment: str
) -> None:
    case = begin(payments, f"agent-{moment}")
    before = payments.uids()
    kill_when(case, moment, lambda: end_agent(case))
    found = payments.ended(case.run)
    assert (found["phase"], found["failure"]["reason"]) == ("Inconclusive", "Settled"), found
    nothing_is_left(payments)
    leader = payments.leader()
    assert f"{leader} is the primary" in found["failure"]["message"]
    assert ("movedAt" in found) is (leader != case.primary)
    assert changed(payments, before) <= {case.primary}
    assert moment != "writes" or changed(payments, before) == set()


def begin(payments: PatroniPods, run: str) -> Case:
    payments.place.wait("all members are there", payments.whole, 300)
    plan = payments.plan(TEST, run)
    return Case(payments, run, plan["primary"], payments.uids()[plan["primary"]])


def kill_when(case: Case, moment: str, kill_it: Callable[[], None]) -> None:
    case.payments.consent(case.run)
    case.payments.place.wait(f"{case.run} is {moment}", lambda: MOMENTS[moment](case), 300)
    kill_it()


def end_operator(payments: PatroniPods) -> None:
    """Its pod goes at once; another one comes."""
    argv = ("pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=databosun", "--force", "--grace-period=0")
    payments.place.stack.kubectl("delete", *argv, "--wait=false")


def end_agent(case: Case) -> None:
    """As the kernel does it when memory is short."""
    agent = case.payments.agent(case.run)
    assert agent is not None
    kill(agent, "databosun agent")


def changed(payments: PatroniPods, before: dict[str, str]) -> set[str]:
    """Members whose pod is another one."""
    return {member for member, uid in payments.uids().items() if before[member] != uid}


def nothing_is_left(payments: PatroniPods) -> None:
    payments.place.wait("all members are there", payments.whole, 300)
    assert payments.left() == ""
    assert "pause" not in payments.settings()
