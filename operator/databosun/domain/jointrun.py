"""A RestoreDrillRun of many databases: it owns a run for each, group after group, and then writes down one verdict.

Its members are runs like any other. Its own Job comes last, and only writes the evidence of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import RecoverTask
from databosun.api.recordtasks import JointGroup, JointTask, PreviousEvidence
from databosun.api.result import JointResult
from databosun.api.v1alpha1.common import API_VERSION
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrillrun import (
    DrillGroupResult,
    DrillMember,
    DrillPhase,
    RestoreDrillRunSpec,
    RestoreDrillRunStatus,
)
from databosun.domain.attempt import Ending
from databosun.domain.drillrun import DRILL_RUN, PHASES, TOLD, phase_without_word
from databosun.domain.joint import judge_joint
from databosun.domain.jointstatus import facts_of, found_in, replaced, reported, told
from databosun.domain.measured import for_people
from databosun.domain.names import run_now_name
from databosun.domain.plan import CreateRun, Owner, Plan, PostEvent
from databosun.domain.requests import Named
from databosun.domain.run import Conclude, Recover, Start
from databosun.domain.runjobs import JobOrder, Unfinished, attempt_job, follow, look_for
from databosun.domain.running import ended, references, started, with_success, without_success

# Members tell when they end; this is for the day on which they do not.
LOOK_AGAIN = timedelta(minutes=1)
MOST_MEMBERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class JointOrder(JobOrder):
    """What the Job that writes the evidence is told of its own."""

    drill: str | None = None
    previous: PreviousEvidence | None = None
    lock_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class JointFacts(Unfinished[RestoreDrillRunSpec, RestoreDrillRunStatus, JointOrder]):
    """One unfinished run of many databases. `groups`: its databases as they are now, which count until they are written
    down. `there`: the members' runs that exist; `known`: the statuses of those that have their verdict.

    `order` is None while a member has none, and where none left evidence."""

    groups: tuple[tuple[Named, ...], ...] = ()
    there: frozenset[str] = frozenset()
    known: Mapping[str, RestoreDrillRunStatus] = field(default_factory=dict)
    drill_uid: str | None = None

    @property
    def members(self) -> list[DrillMember]:
        """Its members, with what is known of each by now."""
        written = self.status.members or []
        return [told(one, self.known[one.run]) if one.run in self.known else one for one in written]


def decide_joint_run(facts: JointFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished run of many databases; total, deterministic."""
    return follow(facts, now, start=_start, recover=_recover, conclude=_conclude)


def _start(facts: JointFacts, step: Start, now: datetime) -> Plan:
    if not facts.status.members:
        return _choose(facts, now)
    if any(one.phase is None for one in facts.members):
        return _drill_on(facts, now)
    return _conclude_without_evidence(facts, now) if facts.order is None else _write_down(facts, step, now)


# --- its members


def _choose(facts: JointFacts, now: datetime) -> Plan:
    """Write the databases down, and that the first group begins: what changes from here on is of the next drill."""
    members = [
        DrillMember(database=one.name, group=number, run=member_name(facts.state.ref, one))
        for number, group in enumerate(facts.groups, 1)
        for one in group
    ]
    groups = [
        DrillGroupResult(number=number, databases=len(group), started_at=now if number == 1 else None)
        for number, group in enumerate(facts.groups, 1)
    ]
    message = f"{len(members)} databases in {len(groups)} groups are to be drilled"
    return _working(facts, now, message, wake_at=now, members=members, groups=groups)


def member_name(whole: Named, database: Named) -> str:
    """The run of one database in the run of many: the same two, the same name."""
    return run_now_name(database.name, whole.uid, database.uid, "part")


def _drill_on(facts: JointFacts, now: datetime) -> Plan:
    """Start the group whose turn it is, or wait for those of its members that have no verdict yet."""
    members, groups = facts.members, facts.status.groups or []
    open_ones = [one for one in members if one.phase is None]
    number = min(one.group for one in open_ones)
    over = len(members) - len(open_ones)
    message = f"group {number} of {len(groups)} is drilled; {over} of {len(members)} databases have a verdict"
    turn = next(group for group in groups if group.number == number)
    if turn.started_at is None:
        begun = [replaced(group, started_at=now) if group.number == number else group for group in groups]
        return _working(facts, now, message, wake_at=now, members=members, groups=begun)
    missing = [one for one in open_ones if one.group == number and one.run not in facts.there]
    create = tuple(_create(facts, one, turn.started_at) for one in missing)
    plan = _working(facts, now, message, wake_at=now + LOOK_AGAIN, members=members)
    return replace(plan, before=create)


def _create(facts: JointFacts, member: DrillMember, at: datetime) -> CreateRun:
    spec, ref = facts.spec, facts.state.ref
    passed_on = {
        "drillRef": spec.drill_ref,
        "selection": spec.selection,
        "objectives": spec.objectives,
    }
    body: dict[str, Any] = {
        "databaseRef": {"name": member.database},
        "partOf": {"name": ref.name},
        "scheduledFor": at.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
        **{name: value.dump() for name, value in passed_on.items() if value is not None},
        **({"level": str(spec.level)} if spec.level else {}),
        **({"checks": [one.dump() for one in spec.checks]} if spec.checks is not None else {}),
        **({"negativeControl": True} if spec.negative_control else {}),
    }
    uid = next((one.uid for group in facts.groups for one in group if one.name == member.database), None)
    return CreateRun(
        kind=DRILL_RUN.kind,
        namespace=ref.namespace,
        name=member.run,
        spec=body,
        labels=references(uid, facts.drill_uid, None),
        owner=Owner(API_VERSION, DRILL_RUN.kind, ref.name, ref.uid),
    )


def _working(facts: JointFacts, now: datetime, message: str, *, wake_at: datetime, **changes: Any) -> Plan:
    begun = facts.status.start_time or now.replace(microsecond=0)
    more = {"phase": DrillPhase.RUNNING, "start_time": begun, **changes}
    status = facts.state.under_way(Reason.RUNNING, message, now, **more)
    return Plan(status=status, wake_at=wake_at)


# --- its evidence


def _write_down(facts: JointFacts, step: Start, now: datetime) -> Plan:
    order = facts.ordered
    task = JointTask(
        id=facts.state.ref.name,
        drill=order.drill,
        groups=[
            JointGroup(
                started_at=group.started_at or now,
                members=[reported(one, order.storage.name) for one in facts.members if one.group == group.number],
            )
            for group in facts.status.groups or []
        ],
        previous=order.previous,
        lock_seconds=order.lock_seconds,
    )
    job = attempt_job(facts.state, order, step, task)
    return started(facts.state, job, now, members=facts.members)


def _recover(facts: JointFacts, step: Recover, now: datetime) -> Plan:
    """Read the evidence, where nobody heard that it was written."""
    task = RecoverTask(database="", id=facts.state.ref.name, durable="joint")
    return look_for(facts.state, facts.ordered, step, task, now)


# --- its verdict


def _conclude(facts: JointFacts, step: Conclude, now: datetime) -> Plan:
    ending = step.ending
    found = ending.result.joint if ending.result is not None else None
    phase = PHASES[found.verdict] if found is not None else phase_without_word(step)
    if found is not None:
        ending = replace(ending, reason=found.reason, message=found.message)
    changes = (
        found_in(found, facts.status.groups or [], facts.members)
        if found is not None
        else {"members": facts.members or None}
    )
    if phase is DrillPhase.PASSED:
        more = {"phase": phase, "attempts": ended(facts.state, step.attempt, ending, now)} | changes
        status = with_success(
            facts.state, step.attempt, ending, now, reason=Reason.PASSED, message=ending.message, **more
        )  # fmt: skip
    else:
        status = without_success(facts.state, step.attempt, ending, now, phase=phase, **changes)
    return Plan(status=status, after=(_event(phase, ending, found),), wake_at=now)


def _conclude_without_evidence(facts: JointFacts, now: datetime) -> Plan:
    """No member's drill said anything of its backup, so there is nothing to write down in the store."""
    verdict = judge_joint([facts_of(one) for one in facts.members])
    phase = PHASES[verdict.verdict]
    ending = Ending(verdict.reason, verdict.message, certain=True)
    status = without_success(facts.state, 0, ending, now, phase=phase, members=facts.members)
    return Plan(status=status, after=(_event(phase, ending, None),), wake_at=now)


def _event(phase: DrillPhase, ending: Ending, found: JointResult | None) -> PostEvent:
    message = f"{ending.reason}: {ending.message}"[:1024]
    if phase is DrillPhase.PASSED and found is not None and found.seconds is not None:
        message = f"all databases were back in {for_people(found.seconds)}: {ending.message}"
    return PostEvent(TOLD[phase], message, warning=phase is not DrillPhase.PASSED)
