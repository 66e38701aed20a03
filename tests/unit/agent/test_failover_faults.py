"""What a fault came to: another took over, the same came back, nobody did, or nobody noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from databosun.agent.failovers import faults
from databosun.agent.failovers.faults import Fault, FaultUnseen
from databosun.api.failover import FailoverMode, FailoverPlan, Member, MemberRole, Topology
from databosun.api.injection import FaultKind, InjectedFault
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault, WorldFault
from databosun.domain.failoverplan import make_plan
from databosun.domain.ledger import Fate
from databosun.engines.failover import Declined, FailoverFault, FailoverProvider, ProbeError

PLAN = make_plan(
    "u", "Sentinel", FailoverMode.FAULT_INJECTION, "a", "b", ["a", "b"], InjectedFault(kind=FaultKind.POD_DELETE)
)


@dataclass
class Nodes:
    """Two nodes as a provider has them. `life`: a session is of one, and ends with it."""

    primary: str | None = "a"
    away: set[str] = field(default_factory=set)
    life: int = 0
    rejoined_by: list[str] = field(default_factory=list)
    says: DatabosunError | None = None

    def topology(self) -> Topology:
        if self.says is not None:
            raise self.says
        members = [
            Member(
                name=name, host=f"{name}.svc", port=1, healthy=name not in self.away,
                role=MemberRole.PRIMARY if name == self.primary else MemberRole.REPLICA,
            )
            for name in ("a", "b")
        ]  # fmt: skip
        return Topology(observed_at=datetime.now(UTC), provider="Sentinel", primary=self.primary, members=members)

    def watch(self, member: str, _seconds: float) -> Session:
        if member in self.away:
            raise ProbeError("Refused", "no", Fate.FAILED, broken=True)
        return Session(self, member, self.life)

    def rejoined(self, plan: FailoverPlan) -> str | None:
        self.rejoined_by.append(plan.candidate)
        return None


@dataclass
class Session:
    nodes: Nodes
    member: str
    life: int

    def takes_writes(self) -> bool:
        if self.member in self.nodes.away or self.life != self.nodes.life:
            raise ProbeError("Lost", "gone", Fate.FAILED, broken=True)
        return self.member == self.nodes.primary

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(faults, "UNSEEN_SECONDS", 0.05)


def fault(
    nodes: Nodes,
    strike: Callable[[], None],
    *pulses: Callable[[], None],
    patience: float = 30.0,
    doubt: str | None = None,
) -> Fault:
    """`pulses`: what happens, one after each look; `doubt`: why the operator does not know whether it was done."""
    coming = iter(pulses)

    def struck(member: str, host: str) -> str | None:
        assert (member, host) == ("a", "a.svc")
        strike()
        return doubt

    return Fault(cast(FailoverProvider, nodes), struck, lambda: next(coming, lambda: None)(), patience)


def ends(nodes: Nodes) -> None:
    nodes.life += 1
    nodes.primary = None
    nodes.away.add("a")


def returns(nodes: Nodes) -> None:
    nodes.away.clear()
    nodes.primary = "a"


def test_who_was_promoted_is_told_whoever_was_expected() -> None:
    nodes = Nodes()
    one = fault(nodes, lambda: ends(nodes), lambda: None, lambda: setattr(nodes, "primary", "b"))
    assert one.move(PLAN.model_copy(update={"candidate": "c"}), lambda: None) == "b"
    assert one.rejoined(PLAN) is None
    assert nodes.rejoined_by == ["b"]


def test_what_a_server_says_while_it_is_started_ends_no_failover() -> None:
    """A mongod answers without the name of its set, a server refuses a login, until their settings are loaded."""
    nodes = Nodes()
    says = UserFault(FailoverFault.PROVIDER_UNSUPPORTED, "a is MongoDB without a replica set")

    def starts() -> None:
        nodes.says, nodes.primary = None, "b"

    one = fault(nodes, lambda: ends(nodes), lambda: setattr(nodes, "says", says), lambda: None, starts)
    one.another = True
    assert one.move(PLAN, lambda: None) == "b"
    nodes.says = says
    with pytest.raises(UserFault):  # before anything was done it is the user's to mend
        fault(nodes, lambda: None).move(PLAN, lambda: None)


def test_what_it_says_to_the_end_is_told_and_an_interlock_is_not_looked_past() -> None:
    nodes = Nodes()
    refused = UserFault("AuthenticationFailed", "the login is refused")

    def refuses() -> None:
        ends(nodes)
        nodes.says = refused

    with pytest.raises(WorldFault, match="a is not back; the last look came to nothing: the login is refused"):
        fault(nodes, refuses, patience=0.05).move(PLAN, lambda: None)
    stopped = Nodes()
    with pytest.raises(SafetyStop):
        fault(stopped, lambda: setattr(stopped, "says", SafetyStop("X", "stop"))).move(PLAN, lambda: None)


def test_the_same_primary_counts_only_once_it_was_struck_and_is_back() -> None:
    nodes = Nodes()
    went: list[str] = []
    one = fault(
        nodes, lambda: None, lambda: None, lambda: went.append("ends") or ends(nodes), lambda: None,
        lambda: went.append("is back") or returns(nodes),
    )  # fmt: skip
    assert one.move(PLAN, lambda: None) == "a"
    assert went == ["ends", "is back"]
    nodes.away.add("b")
    assert one.rejoined(PLAN) == "b: None"
    nodes.away.clear()
    assert one.rejoined(PLAN) is None
    nodes.primary = "b"
    assert one.rejoined(PLAN) == "b is the primary now, no more a"


def test_a_forced_failover_is_none_where_the_same_primary_comes_back() -> None:
    nodes = Nodes()
    one = fault(nodes, lambda: ends(nodes), lambda: None, lambda: returns(nodes))
    one.another = True
    with pytest.raises(WorldFault, match="nobody was promoted: a was ended, started again") as error:
        one.move(PLAN, lambda: None)
    assert error.value.reason == FailoverFault.NOT_PROMOTED


def test_one_that_was_started_again_between_two_looks_was_struck() -> None:
    nodes = Nodes()
    one = fault(nodes, lambda: setattr(nodes, "life", 1))
    assert one.move(PLAN, lambda: None) == "a"


def test_a_fault_that_the_server_did_not_notice_is_none() -> None:
    nodes = Nodes()
    with pytest.raises(FaultUnseen, match="PodDelete\\) of a was done"):
        fault(nodes, lambda: None).move(PLAN, lambda: None)


def test_what_may_have_been_done_was_done_if_the_session_broke() -> None:
    nodes = Nodes()
    one = fault(nodes, lambda: setattr(nodes, "life", 1), doubt="it was taken back")
    assert one.move(PLAN, lambda: None) == "a"
    with pytest.raises(FaultUnseen, match="may have been done \\(it was taken back\\)"):
        fault(nodes, lambda: None, doubt="it was taken back").move(PLAN, lambda: None)


def test_an_order_that_nobody_carries_out_fails_and_is_no_fault_that_was_not_noticed() -> None:
    nodes = Nodes()
    one = fault(nodes, lambda: None, patience=0.2)
    one.another = True
    with pytest.raises(WorldFault, match="nobody was promoted, and a has gone on all the time") as error:
        one.move(PLAN, lambda: None)
    assert error.value.reason == FailoverFault.NOT_PROMOTED


def test_where_nobody_takes_writes_any_more_that_is_said() -> None:
    nodes = Nodes()
    with pytest.raises(WorldFault, match="nobody was promoted, and a is not back") as error:
        fault(nodes, lambda: ends(nodes), patience=0.05).move(PLAN, lambda: None)
    assert error.value.reason == FailoverFault.NOT_PROMOTED


def test_what_the_operator_declines_moves_nothing() -> None:
    nodes = Nodes()

    def no() -> None:
        raise Declined(FailoverFault.NOT_ENDED, "it may not")

    with pytest.raises(Declined):
        fault(nodes, no).move(PLAN, lambda: None)
    nodes.away.add("a")
    with pytest.raises(Declined, match="does not let the writers in"):
        fault(nodes, lambda: None).move(PLAN, lambda: None)
