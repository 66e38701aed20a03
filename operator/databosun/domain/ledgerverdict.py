"""The verdict of a failover test: what the ledger proves, held against the objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from databosun.api.failover import FailoverVerdict
from databosun.domain.ledger import Claim
from databosun.domain.ledgerjudge import Judged
from databosun.domain.ledgerpaths import PathFigures


class FailoverReason(StrEnum):
    """Why a test ended as it did; never renamed."""

    PASSED = "Passed"
    WRITES_LOST = "WritesLost"
    SPLIT_BRAIN = "SplitBrain"
    DOWNTIME_EXCEEDED = "DowntimeExceeded"
    NOT_REJOINED = "NotRejoined"
    SWITCH_FAILED = "SwitchFailed"
    NO_BASELINE = "NoBaseline"
    NOT_READ_BACK = "NotReadBack"
    PROBE_STALLED = "ProbeStalled"
    PLAN_CHANGED = "PlanChanged"
    GUARD_FAILED = "GuardFailed"
    WINDOW_CLOSED = "WindowClosed"
    SETTLED = "Settled"
    FAULT_UNSEEN = "FaultUnseen"


@dataclass(frozen=True, slots=True)
class Objectives:
    """In seconds, and writes."""

    write_downtime: float
    lost_writes: int
    rejoin: float


@dataclass(frozen=True, slots=True)
class MoveFacts:
    """What was found. `judged`: None where nothing was written. `rejoin_seconds`: None where it did not come about.

    `read_backs`: how many of the two there are. `divergence`: proofs beside the ledger's. `switch_fault`: why the move
    was not made to its end, after clients may have noticed it. `unseen`: why a fault was none. `again`: the primary
    that took writes again after a fault, nobody else having been promoted. `paths`: each is held to the objective.
    """

    objectives: Objectives
    judged: Judged | None
    rejoin_seconds: float | None
    missing: str | None
    read_backs: int
    divergence: Sequence[str] = ()
    switch_fault: str | None = None
    unseen: str | None = None
    again: str | None = None
    paths: Sequence[PathFigures] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict, in words."""

    verdict: FailoverVerdict
    reason: FailoverReason
    message: str


def decide_verdict(facts: MoveFacts) -> Decided:
    """What is proven to be wrong comes first, the worst of it; then what keeps the rest from being proven."""
    return _proven_wrong(facts) or _unproven(facts) or _passed(facts)


def split_brain_lines(facts: MoveFacts) -> list[str]:
    """Each proof that two nodes took writes, or hold what the other never had."""
    found = facts.judged.split_brain if facts.judged else None
    lines = list(facts.divergence)
    if found is not None:
        turns = ", then ".join(f"{claim.node} at {_at(claim)}" for claim in found.turns[-3:])
        lines.insert(0, f"took writes in turn: {turns}; both took some for {found.overlap:.2f} s")
    return lines


def _proven_wrong(facts: MoveFacts) -> Decided | None:
    judged, objectives = facts.judged, facts.objectives
    if judged is not None:
        losses = judged.losses
        lost = losses.lost.count + losses.rejoin_lost.count
        if lost > objectives.lost_writes:
            message = (
                f"{lost} of {judged.acknowledged} acknowledged writes are lost ({losses.lost.count} by the switch, "
                f"{losses.rejoin_lost.count} by the rejoin); at most {objectives.lost_writes} may be"
            )
            return _failed(FailoverReason.WRITES_LOST, message)
    if lines := split_brain_lines(facts):
        return _failed(FailoverReason.SPLIT_BRAIN, lines[0])
    if facts.switch_fault is not None:
        return _failed(FailoverReason.SWITCH_FAILED, facts.switch_fault)
    if judged is not None and judged.before and judged.downtime.seconds - judged.blind > objectives.write_downtime:
        never = "" if judged.downtime.resumed else ", and could not until the end"
        message = (
            f"no client could write for {judged.downtime.seconds:.2f} s{never}; at most "
            f"{objectives.write_downtime:g} s are allowed"
        )
        return _failed(FailoverReason.DOWNTIME_EXCEEDED, message)
    if (too_long := _too_long_by_a_path(facts)) is not None:
        return too_long
    if facts.rejoin_seconds is None and facts.missing is not None:
        late = "the old primary did not rejoin" if facts.again is None else "not all was as before"
        message = f"{late} within {objectives.rejoin:g} s: {facts.missing}"
        return _failed(FailoverReason.NOT_REJOINED, message)
    return None


def _too_long_by_a_path(facts: MoveFacts) -> Decided | None:
    """An application knows one way only: that others could write is of no use to it."""
    allowed = facts.objectives.write_downtime
    for path in facts.paths:
        if path.before and path.downtime.seconds - path.blind > allowed:
            never = "" if path.downtime.resumed else ", and could not until the end"
            message = (
                f"by path {path.name} no client could write for {path.downtime.seconds:.2f} s{never}; at most "
                f"{allowed:g} s are allowed"
            )
            return _failed(FailoverReason.DOWNTIME_EXCEEDED, message)
    return None


def _unproven(facts: MoveFacts) -> Decided | None:
    judged = facts.judged
    if judged is None or not judged.before:
        return _inconclusive(FailoverReason.NO_BASELINE, "no write was acknowledged before the switch")
    if facts.unseen is not None:
        return _inconclusive(FailoverReason.FAULT_UNSEEN, facts.unseen)
    if facts.read_backs < 2 or judged.losses.unchecked:
        message = (
            f"{judged.losses.unchecked} acknowledged writes were never looked for; {facts.read_backs} of 2 read-backs"
        )
        return _inconclusive(FailoverReason.NOT_READ_BACK, message)
    seen = [(judged.downtime, judged.blind), *((one.downtime, one.blind) for one in facts.paths)]
    late = next((one for one in seen if one[0].seconds > facts.objectives.write_downtime), None)
    if late is not None:
        message = (
            f"no write was acknowledged for {late[0].seconds:.2f} s, and none was on its way for "
            f"{late[1]:.2f} s of the test: the agent had too little CPU, or wrote too seldom, to tell"
        )
        return _inconclusive(FailoverReason.PROBE_STALLED, message)
    return None


def _passed(facts: MoveFacts) -> Decided:
    judged = facts.judged
    if judged is None:
        raise TypeError(judged)
    lost = judged.losses.lost.count + judged.losses.rejoin_lost.count
    seconds = facts.rejoin_seconds or 0
    then = (
        f"the old primary followed after {seconds:.1f} s"
        if facts.again is None
        else f"nobody was promoted: {facts.again} took writes again, and all was as before after {seconds:.1f} s"
    )
    worst = max(facts.paths, key=lambda one: one.downtime.seconds, default=None)
    by_path = f" ({worst.downtime.seconds:.2f} s by path {worst.name})" if worst and len(facts.paths) > 1 else ""
    message = (
        f"no client could write for {judged.downtime.seconds:.2f} s{by_path}; {lost} of {judged.acknowledged} "
        f"acknowledged writes are lost; {then}"
    )
    return Decided(FailoverVerdict.PASSED, FailoverReason.PASSED, message)


def _failed(reason: FailoverReason, message: str) -> Decided:
    return Decided(FailoverVerdict.FAILED, reason, message)


def _inconclusive(reason: FailoverReason, message: str) -> Decided:
    return Decided(FailoverVerdict.INCONCLUSIVE, reason, message)


def _at(claim: Claim) -> str:
    return f"{claim.began:.2f} s"
