"""What is proven to be wrong fails a test; what could not be measured fails nothing, and passes nothing either."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from databosun.api.failover import FailoverVerdict
from databosun.domain.ledger import Claim, Fate, Write
from databosun.domain.ledgerjudge import Gap, Judged, Losses, Tally
from databosun.domain.ledgerpaths import PathFigures
from databosun.domain.ledgerturns import SplitBrain
from databosun.domain.ledgerverdict import FailoverReason, MoveFacts, Objectives, decide_verdict, split_brain_lines

ONE = Write("service-0", 7, 1.0, 1.1, Fate.ACKNOWLEDGED, "a", None)
GOOD = Judged(
    acknowledged=100, failed=3, unknown=2, before=50, downtime=Gap(2.0, 9.0, resumed=True), blind=0.05,
    losses=Losses(), unexplained=0, split_brain=None, clients=(),
)  # fmt: skip
FACTS = MoveFacts(Objectives(10.0, 0, 60.0), GOOD, 3.0, None, 2)


def losing(count: int, **more: object) -> MoveFacts:
    losses = Losses(lost=Tally(count, [ONE]), **more)  # type: ignore[arg-type]
    return replace(FACTS, judged=replace(GOOD, losses=losses))


def test_all_well_passes_and_says_the_figures() -> None:
    decided = decide_verdict(FACTS)
    assert (decided.verdict, decided.reason) == (FailoverVerdict.PASSED, FailoverReason.PASSED)
    assert "2.00 s" in decided.message
    assert "0 of 100" in decided.message


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (losing(1), FailoverReason.WRITES_LOST),
        (losing(0, rejoin_lost=Tally(1, [ONE])), FailoverReason.WRITES_LOST),
        (replace(FACTS, divergence=["n2 holds 0-2-17, which n1 never had"]), FailoverReason.SPLIT_BRAIN),
        (replace(FACTS, switch_fault="NotCaughtUp: n2 is behind"), FailoverReason.SWITCH_FAILED),
        (replace(FACTS, rejoin_seconds=None, missing="n1 has no link"), FailoverReason.NOT_REJOINED),
        (replace(FACTS, judged=replace(GOOD, downtime=Gap(10.6, 9.0, resumed=True))), FailoverReason.DOWNTIME_EXCEEDED),
        (replace(FACTS, judged=replace(GOOD, downtime=Gap(30.0, 9, resumed=False))), FailoverReason.DOWNTIME_EXCEEDED),
    ],
)  # fmt: skip
def test_what_is_proven_to_be_wrong_fails(facts: MoveFacts, reason: FailoverReason) -> None:
    decided = decide_verdict(facts)
    assert (decided.verdict, decided.reason) == (FailoverVerdict.FAILED, reason)


def way(name: str, seconds: float, **more: Any) -> PathFigures:
    """One path, of which nothing is wrong but what is said."""
    figures: dict[str, Any] = {
        "clients": 4, "acknowledged": 50, "failed": 0, "unknown": 0, "before": 20, "blind": 0.05, "first": 1.0,
        "all": 2.0, "errors": (), **more,
    }  # fmt: skip
    return PathFigures(name=name, downtime=Gap(seconds, 9.0, resumed=True), **figures)


def test_each_path_is_held_to_the_objective_whatever_others_could() -> None:
    slow = replace(FACTS, paths=[way("service", 2.0), way("pooler", 10.6)])
    decided = decide_verdict(slow)
    assert (decided.verdict, decided.reason) == (FailoverVerdict.FAILED, FailoverReason.DOWNTIME_EXCEEDED)
    assert "by path pooler no client could write for 10.60 s" in decided.message
    blind = decide_verdict(replace(FACTS, paths=[way("service", 2.0), way("pooler", 12.0, blind=5.0)]))
    assert (blind.verdict, blind.reason) == (FailoverVerdict.INCONCLUSIVE, FailoverReason.PROBE_STALLED)
    passed = decide_verdict(replace(FACTS, paths=[way("service", 2.0), way("pooler", 3.0)]))
    assert passed.verdict is FailoverVerdict.PASSED
    assert "(3.00 s by path pooler)" in passed.message


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(FACTS, judged=replace(GOOD, before=0)), FailoverReason.NO_BASELINE),
        (replace(FACTS, judged=None), FailoverReason.NO_BASELINE),
        (replace(FACTS, read_backs=1), FailoverReason.NOT_READ_BACK),
        (replace(FACTS, judged=replace(GOOD, losses=Losses(unchecked=4))), FailoverReason.NOT_READ_BACK),
        (replace(FACTS, judged=replace(GOOD, downtime=Gap(12.0, 9.0, resumed=True), blind=5.0)),
         FailoverReason.PROBE_STALLED),
    ],
)  # fmt: skip
def test_what_was_not_measured_proves_nothing(facts: MoveFacts, reason: FailoverReason) -> None:
    decided = decide_verdict(facts)
    assert (decided.verdict, decided.reason) == (FailoverVerdict.INCONCLUSIVE, reason)


def test_a_fault_that_nobody_noticed_proves_nothing_and_one_that_cost_too_much_fails() -> None:
    unseen = replace(FACTS, unseen="the server has gone on", read_backs=0)
    assert decide_verdict(unseen).reason is FailoverReason.FAULT_UNSEEN
    assert decide_verdict(unseen).verdict is FailoverVerdict.INCONCLUSIVE
    slow = replace(FACTS, again="a", judged=replace(GOOD, downtime=Gap(10.6, 9.0, resumed=True)))
    assert decide_verdict(slow).reason is FailoverReason.DOWNTIME_EXCEEDED


def test_where_nobody_was_promoted_that_is_said_and_the_objectives_decide() -> None:
    decided = decide_verdict(replace(FACTS, again="a"))
    assert decided.verdict is FailoverVerdict.PASSED
    assert "nobody was promoted: a took writes again" in decided.message
    ill = decide_verdict(replace(FACTS, again="a", rejoin_seconds=None, missing="b: away"))
    assert (ill.reason, ill.message) == (FailoverReason.NOT_REJOINED, "not all was as before within 60 s: b: away")


def test_losses_are_told_before_all_else() -> None:
    facts = replace(losing(5), switch_fault="broken", rejoin_seconds=None, missing="away", read_backs=1)
    assert decide_verdict(facts).reason is FailoverReason.WRITES_LOST


def test_as_many_lost_as_allowed_pass() -> None:
    allowed = replace(losing(2), objectives=Objectives(10.0, 2, 60.0))
    assert decide_verdict(allowed).verdict is FailoverVerdict.PASSED
    assert decide_verdict(replace(losing(3), objectives=Objectives(10.0, 2, 60.0))).verdict is FailoverVerdict.FAILED


def test_two_nodes_that_took_writes_are_named() -> None:
    turns = (Claim("a", 1.0, 1.1), Claim("b", 2.0, 2.1), Claim("a", 3.0, 3.1))
    facts = replace(FACTS, judged=replace(GOOD, split_brain=SplitBrain(turns, 2, 1.5)))
    assert decide_verdict(facts).reason is FailoverReason.SPLIT_BRAIN
    (line,) = split_brain_lines(facts)
    assert "a at 1.00 s, then b at 2.00 s, then a at 3.00 s" in line
    assert "1.50 s" in line
