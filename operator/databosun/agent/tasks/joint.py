"""The joint task: write down what a drill of many databases came to, chained to the evidence of each of them.

It restores nothing: every database had a drill of its own. What their evidence says is not believed of the operator
alone: what lies in this store is read, and must be what the operator was told.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from databosun.agent.context import Context
from databosun.agent.evidence import invalid_record, put_record, read_record
from databosun.agent.reasons import AgentReason
from databosun.api.evidence import Evidence, JointEvidence, JointEvidenceGroup, JointEvidenceMember
from databosun.api.recordtasks import JointMember, JointTask
from databosun.api.result import JointMemberResult, JointResult, Outcome, Result
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.joint import GroupFacts, JointTimes, MemberFacts, judge_joint, measure_joint
from databosun.domain.sealing import digest_of


def run(ctx: Context) -> Result:
    """The verdict of the whole, or the one that was written down already under this name."""
    task = ctx.request.job
    if not isinstance(task, JointTask):
        raise TypeError(task)
    _ = ctx.signing_key  # a wrong key is said before anything is done
    if done := read_joint(ctx, task.id):
        _demand_same(ctx, task, done)
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, joint=done)
    ctx.started = True
    with ctx.phase("evidence"):
        read = {member.run for _, member in _members(task) if _was_read(ctx, member)}
        evidence = _compose(ctx, task, read)
        key = ctx.layout.joint(task.id)
        sha256 = put_record(ctx, key, evidence.dump(), task.lock_seconds)
    return _report(_result(evidence, ctx.store.url(key), sha256))


def read_joint(ctx: Context, run: str) -> JointResult | None:
    """The result of a drill of many databases that was done, from its evidence. SafetyStop where that is not ours."""
    key = ctx.layout.joint(run)
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        evidence = JointEvidence.model_validate_json(data)
    except ValueError as error:
        raise invalid_record(ctx, key, error) from error
    if evidence.run != run:
        raise invalid_record(ctx, key, f"it is the evidence of drill {evidence.run}")
    return _result(evidence, ctx.store.url(key), digest_of(data))


def _demand_same(ctx: Context, task: JointTask, done: JointResult) -> None:
    wanted = [member.database for _, member in _members(task)]
    found = [member.database for member in done.members]
    if wanted != found:
        message = (
            f"a drill of this name was done before, of {', '.join(found)} ({ctx.layout.joint(task.id)}); nothing was "
            "done: give the run a name that none had before"
        )
        raise UserFault(AgentReason.NAME_TAKEN, message)


def _was_read(ctx: Context, member: JointMember) -> bool:
    """Whether its evidence is here, and is what its run reported. SafetyStop where it is here and is not."""
    if member.evidence_sha256 is None or not member.here:
        return False
    key = ctx.layout.drill(member.database, member.run)
    data = read_record(ctx, key)
    if data is None:
        message = f"{key} is not in {ctx.store.describe()}, though drill {member.run} wrote it; find out who deleted it"
        raise SafetyStop(AgentReason.EVIDENCE_INVALID, message)
    if digest_of(data) != member.evidence_sha256:
        raise invalid_record(ctx, key, f"its SHA-256 is {digest_of(data)}, {member.evidence_sha256} was written")
    try:
        evidence = Evidence.model_validate_json(data)
    except ValueError as error:
        raise invalid_record(ctx, key, error) from error
    if evidence.verdict != member.verdict:
        raise invalid_record(ctx, key, f"it says {evidence.verdict}, the run {member.verdict}")
    return True


def _compose(ctx: Context, task: JointTask, read: set[str]) -> JointEvidence:
    facts = [GroupFacts(group.started_at, [_facts(one) for one in group.members]) for group in task.groups]
    verdict = judge_joint([one for group in facts for one in group.members])
    times = measure_joint(facts)
    return JointEvidence.model_validate(
        {
            "run": task.id,
            "drill": task.drill,
            "attempt": ctx.request.attempt,
            "cluster": ctx.storage.cluster_id,
            "storage": ctx.storage.name,
            "namespace": ctx.storage.namespace,
            "started_at": task.groups[0].started_at,
            "completed_at": ctx.clock(),
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "message": verdict.message,
            "seconds": times.seconds,
            "met": times.met,
            "groups": [
                JointEvidenceGroup(started_at=group.started_at, seconds=seconds)
                for group, seconds in zip(task.groups, times.groups, strict=True)
            ],
            "members": list(_evidence_members(task, times, read)),
            "previous": task.previous,
            "databosun_version": version("databosun"),
        }
    )


def _evidence_members(task: JointTask, times: JointTimes, read: set[str]) -> Iterator[JointEvidenceMember]:
    ready = {one.database: one for one in times.ready}
    for number, member in _members(task):
        found = ready.get(member.database)
        yield JointEvidenceMember(
            group=number,
            ready_seconds=found.seconds if found else None,
            met=found.met if found else None,
            evidence_read=member.run in read,
            **member.model_dump(exclude={"here"}),
        )


def _facts(member: JointMember) -> MemberFacts:
    return MemberFacts(
        database=member.database,
        verdict=member.verdict,
        reason=member.reason,
        message=member.message,
        ordered_at=member.ordered_at,
        seconds=member.seconds,
        objective=member.objective,
    )


def _members(task: JointTask) -> Iterator[tuple[int, JointMember]]:
    for number, group in enumerate(task.groups, 1):
        yield from ((number, member) for member in group.members)


def _result(evidence: JointEvidence, uri: str, sha256: str) -> JointResult:
    return JointResult(
        id=evidence.run,
        verdict=evidence.verdict,
        reason=evidence.reason,
        message=evidence.message,
        seconds=evidence.seconds,
        met=evidence.met,
        groups=[group.seconds for group in evidence.groups],
        members=[
            JointMemberResult(database=one.database, ready_seconds=one.ready_seconds, met=one.met)
            for one in evidence.members
        ],
        completed_at=evidence.completed_at,
        evidence=uri,
        evidence_sha256=sha256,
    )


def _report(result: JointResult) -> Result:
    """Writing it down is what this had to do, whatever the verdict of the whole is."""
    return Result(outcome=Outcome.SUCCEEDED, reason=result.reason, message=result.message, joint=result)
