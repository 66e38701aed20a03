"""Between the runs of many databases and the status of the one run that owns them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from databosun.api.quantities import parse_duration
from databosun.api.recordtasks import JointMember
from databosun.api.result import JointMemberResult, JointResult
from databosun.api.v1alpha1.proving import MeasuredRpo, MeasuredRto, StoredRecord
from databosun.api.v1alpha1.restoredrillrun import (
    DRILL_FINAL,
    DrillGroupResult,
    DrillMember,
    DrillPhase,
    RestoreDrillRunStatus,
)
from databosun.domain.drillrun import PHASES
from databosun.domain.joint import MemberFacts
from databosun.domain.measured import for_people

VERDICTS = {phase: verdict for verdict, phase in PHASES.items()}


def told(member: DrillMember, found: RestoreDrillRunStatus) -> DrillMember:
    """What its own run came to."""
    if found.phase not in DRILL_FINAL:
        return member
    return member.model_copy(
        update={
            "phase": found.phase,
            "reason": found.failure.reason if found.failure else None,
            "message": found.failure.message[:500] if found.failure else None,
            "backup": found.backup.name if found.backup else None,
            "storage": _holds_evidence(found),
            "ordered_at": found.ordered_at,
            "rto": found.rto,
            "rpo": found.rpo,
            "evidence_sha256": found.evidence.sha256 if found.evidence else None,
        }
    )


def _holds_evidence(found: RestoreDrillRunStatus) -> str | None:
    """Records of earlier releases lie beside the backup."""
    record = found.evidence
    return (record.storage if record else None) or (found.backup.storage if found.backup else None)


def reported(member: DrillMember, storage: str) -> JointMember:
    """As the agent is told of it; its evidence is read where it lies in that storage."""
    rto, rpo = member.rto, member.rpo
    return JointMember(
        database=member.database,
        run=member.run,
        verdict=VERDICTS[member.phase or DrillPhase.ERROR],
        reason=member.reason or "Passed",
        message=member.message or "",
        ordered_at=member.ordered_at,
        seconds=rto.milliseconds / 1000 if rto else None,
        objective=_seconds(rto.objective) if rto else None,
        rpo_seconds=rpo.milliseconds / 1000 if rpo else None,
        rpo_met=rpo.met if rpo else None,
        evidence_sha256=member.evidence_sha256,
        here=member.storage == storage,
    )


def _seconds(span: str | None) -> float | None:
    return parse_duration(span).total_seconds() if span else None


def replaced(group: DrillGroupResult, **changes: Any) -> DrillGroupResult:
    """The same with these changes."""
    return group.model_copy(update=changes)


def facts_of(member: DrillMember) -> MemberFacts:
    """What its verdict adds to that of the whole."""
    verdict = VERDICTS[member.phase or DrillPhase.ERROR]
    return MemberFacts(member.database, verdict, member.reason or "Passed", member.message or "")


def found_in(found: JointResult, groups: Sequence[DrillGroupResult], members: Sequence[DrillMember]) -> dict[str, Any]:
    """What the whole came to, as its status has it."""
    ready = {one.database: one for one in found.members}
    seen = [_measured(one, ready.get(one.database)) for one in members]
    spans = [
        replaced(
            group,
            milliseconds=round(seconds * 1000) if seconds is not None else None,
            took=for_people(seconds) if seconds is not None else None,
        )
        for group, seconds in zip(groups, found.groups, strict=False)
    ]
    return {
        "completion_time": found.completed_at.replace(microsecond=0),
        "members": seen,
        "groups": spans,
        "rto": _whole_rto(found),
        "rpo": _worst_rpo(seen),
        "evidence": StoredRecord(uri=found.evidence, sha256=found.evidence_sha256),
    }


def _measured(member: DrillMember, found: JointMemberResult | None) -> DrillMember:
    if found is None or found.ready_seconds is None:
        return member
    return member.model_copy(
        update={
            "ready_milliseconds": round(found.ready_seconds * 1000),
            "ready": for_people(found.ready_seconds),
            "met": found.met,
        }
    )


def _whole_rto(found: JointResult) -> MeasuredRto | None:
    """How long until all were back; there is no objective of the whole, each member has its own."""
    if found.seconds is None:
        return None
    return MeasuredRto(
        milliseconds=round(found.seconds * 1000),
        seconds=math.ceil(found.seconds),
        took=for_people(found.seconds),
        met=found.met,
    )


def _worst_rpo(members: Sequence[DrillMember]) -> MeasuredRpo | None:
    """The longest span of lost writes of any; met only where each one's was."""
    known = [one.rpo for one in members if one.rpo is not None]
    if not known:
        return None
    met = [one.met for one in known if one.met is not None]
    worst = max(known, key=lambda one: one.milliseconds)
    return worst.model_copy(update={"objective": None, "met": all(met) if met else None})
