"""What a simulated agent does: it answers as a real one would, and what it stores is in a `Bucket`."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections import Counter
from dataclasses import dataclass, field

from databosun.api.backuptasks import (
    BackupTask,
    CatalogTask,
    DeleteTask,
    DropSlotTask,
    ExpireLogTask,
    HoldTask,
    ParentBackup,
    ProbeTask,
    RecoverTask,
    SweepTask,
    ValidateTask,
)
from databosun.api.comparison import Comparison
from databosun.api.drill import Level, Rpo, RpoSource, Rto, Verdict
from databosun.api.failover import FailoverTask
from databosun.api.lifecycletasks import EraseTask, ExportTask, LifecycleTask
from databosun.api.recordtasks import JointTask
from databosun.api.remains import RemainsResult, RemainsTask
from databosun.api.request import Request
from databosun.api.restoretasks import BridgeTask, DrillTask, InquireTask, RestoreTask
from databosun.api.result import (
    BackupResult,
    CatalogPage,
    DeletedBackup,
    DrillResult,
    JointMemberResult,
    JointResult,
    Outcome,
    PlacedResult,
    ProbeResult,
    RestoreResult,
    Result,
    StorageResult,
)
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.inquiry import RecordsFound
from databosun.domain.joint import GroupFacts, MemberFacts, judge_joint, measure_joint
from databosun.domain.remains import copy_mark
from databosun.domain.wal import format_lsn
from databosun.runtime.clock import Clock
from support.archiversim import Archivers, position_at
from support.erasuresim import People
from support.failoversim import Nodes
from support.lifecyclesim import OldTable


@dataclass(slots=True)
class Bucket:
    """What is stored, by database and backup id, and every agent that was started to write or delete there."""

    backups: dict[tuple[str, str], BackupResult] = field(default_factory=dict)
    agents: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Agents started, by task, backup id (or object) and attempt."""
    deleted: list[str] = field(default_factory=list)
    held: dict[str, str | None] = field(default_factory=dict)
    evidence: dict[str, DrillResult] = field(default_factory=dict)
    """What drills found, by run."""
    joint: dict[str, JointResult] = field(default_factory=dict)
    """What drills of many databases came to, by run."""
    nodes: Nodes = field(default_factory=Nodes)
    """What fails over, and the evidence of that."""
    restores: dict[str, RestoreResult] = field(default_factory=dict)
    """What restores brought back, by run."""
    old: OldTable = field(default_factory=OldTable)
    people: People = field(default_factory=People)
    """The table that lifecycle runs are about, and what they left in the store."""
    old_logs: list[str] = field(default_factory=list)
    """Logs that reach back to before any erasure."""


class AgentWork:
    """The work of all agents, one task at a time."""

    def __init__(self, clock: Clock, archivers: Archivers) -> None:
        self._clock = clock
        self.archivers = archivers
        self.bucket = Bucket()

    def work(self, request: Request) -> Result:
        """Do the work, and say what it came to."""
        task = request.job
        good = Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", attempt=request.attempt)
        if isinstance(task, BackupTask | DropSlotTask):
            return good.model_copy(update=self._at_the_server(request, task))
        if isinstance(task, FailoverTask):
            return self.bucket.nodes.serve(task, self._clock.now())
        if isinstance(task, RecoverTask) and task.durable != "manifest":
            return self._recover(good, task)
        if isinstance(task, RecoverTask):
            found = self.bucket.backups.get((task.database, task.id))
            if found is None:
                return Result(outcome=Outcome.FAILED, reason="NoManifest", message="there is no manifest")
            return good.model_copy(update={"backup": found})
        if isinstance(task, DrillTask):
            return self._drill(good, task)
        if isinstance(task, LifecycleTask | EraseTask | ExportTask):
            return self._of_people(task).model_copy(update={"attempt": request.attempt})
        if isinstance(task, JointTask):
            return self._write_down(good, task)
        if isinstance(task, RestoreTask | BridgeTask):
            return self._restore(good, task) if isinstance(task, RestoreTask) else self._bridge(good, task)
        return self._tend(request, good, task)

    def _of_people(self, task: LifecycleTask | EraseTask | ExportTask) -> Result:
        if isinstance(task, ExportTask):
            return self.bucket.people.export(task, self._clock.now)
        if isinstance(task, EraseTask):
            return self.bucket.people.work(task, self._clock.now)
        return self.bucket.old.work(task, self._clock.now)

    def _tend(self, request: Request, good: Result, task: object) -> Result:
        """What is no run: deleting, holding, looking."""
        if isinstance(task, RemainsTask):
            return good.model_copy(update={"remains": self._remains(request, task)})
        if isinstance(task, DeleteTask):
            for id in task.ids:
                self.bucket.backups.pop((task.database, id), None)
                self.bucket.deleted.append(id)
            return good.model_copy(update={"deleted": [DeletedBackup(id=id, deleted=True) for id in task.ids]})
        if isinstance(task, HoldTask):
            there = [id for id in task.ids if (task.database, id) in self.bucket.backups]
            self.bucket.held |= dict.fromkeys(there, task.reason)
            return good.model_copy(update={"held": there})
        return good.model_copy(update=self._look(task))

    def _at_the_server(self, request: Request, task: BackupTask | DropSlotTask) -> dict[str, object]:
        if isinstance(task, BackupTask):
            return {"backup": self._back_up(request, task)}
        self.archivers.source.slots -= set(request.database.hosts if request.database else ())
        return {}

    def _recover(self, good: Result, task: RecoverTask) -> Result:
        if task.durable == "failover" and (failover := self.bucket.nodes.evidence.get(task.id)) is not None:
            return good.model_copy(update={"failover": failover})
        if task.durable == "joint" and (joint := self.bucket.joint.get(task.id)) is not None:
            return good.model_copy(update={"joint": joint})
        if task.durable == "lifecycle" and (lifecycle := self.bucket.old.results.get(task.id)) is not None:
            return good.model_copy(update={"lifecycle": lifecycle})
        if task.durable == "erasure" and (erasure := self.bucket.people.receipts.get(task.id)) is not None:
            return good.model_copy(update={"erasure": erasure})
        if task.durable == "export" and (export := self.bucket.people.exports.get(task.id)) is not None:
            return good.model_copy(update={"dataexport": export})
        drill, restore = self.bucket.evidence.get(task.id), self.bucket.restores.get(task.id)
        if task.durable == "failover" or (drill if task.durable == "evidence" else restore) is None:
            return Result(outcome=Outcome.FAILED, reason="NoResult", message="there is no record", retryable=True)
        return good.model_copy(update={"drill": drill} if task.durable == "evidence" else {"restore": restore})

    def _drill(self, good: Result, task: DrillTask) -> Result:
        """The verdict, or that of the drill that was done already under this name."""
        found = self.bucket.evidence.get(task.id) or self.drilled(task)
        self.bucket.evidence[task.id] = found
        return good.model_copy(update={"reason": found.reason, "message": found.message, "drill": found})

    def _write_down(self, good: Result, task: JointTask) -> Result:
        """The verdict of many, or the one that was written down already under this name."""
        found = self.bucket.joint.setdefault(task.id, self._joint(task))
        return good.model_copy(update={"reason": found.reason, "message": found.message, "joint": found})

    def _joint(self, task: JointTask) -> JointResult:
        """What the agent makes of the members; it demands that their evidence is what they reported."""
        for member in (one for group in task.groups for one in group.members):
            if member.evidence_sha256 is not None and member.here:
                assert self.bucket.evidence[member.run].evidence_sha256 == member.evidence_sha256
        facts = [
            GroupFacts(
                group.started_at,
                [
                    MemberFacts(
                        one.database, one.verdict, one.reason, one.message, one.ordered_at, one.seconds, one.objective
                    )
                    for one in group.members
                ],
            )
            for group in task.groups
        ]
        verdict, times = judge_joint([one for group in facts for one in group.members]), measure_joint(facts)
        ready = {one.database: one for one in times.ready}
        return JointResult(
            id=task.id,
            verdict=verdict.verdict,
            reason=verdict.reason,
            message=verdict.message,
            seconds=times.seconds,
            met=times.met,
            groups=list(times.groups),
            members=[
                JointMemberResult(database=name, ready_seconds=found.seconds, met=found.met)
                for name, found in ready.items()
            ],
            completed_at=self._clock.now(),
            evidence=f"file:///_drills/{task.id}/evidence.json",
            evidence_sha256=hashlib.sha256(task.id.encode()).hexdigest(),
        )

    def drilled(self, task: DrillTask, verdict: Verdict = Verdict.PASSED) -> DrillResult:
        """What a drill finds of a backup: that it restores in 90 s, or that it is not there."""
        there = (task.backup.database, task.backup.id) in self.bucket.backups
        verdict = verdict if there else Verdict.FAILED
        passed = verdict is Verdict.PASSED
        now = self._clock.now()
        return DrillResult(
            id=task.id,
            verdict=verdict,
            reason="Passed" if passed else "RecoveryFailed" if there else "BackupMissing",
            message="all checks passed" if passed else "the copy does not come up",
            backup=task.backup.id,
            level_asked=task.level,
            level_reached=task.level if passed else None,
            rto=Rto(seconds=90.0, objective=task.rto_seconds, met=True, fetch=80.0, start=10.0) if passed else None,
            rpo=Rpo(
                seconds=60.0, objective=task.rpo_seconds, met=True, source=RpoSource.MANIFEST, newest=now, exact=False
            )
            if passed
            else None,
            until=task.until,
            ordered_at=task.ordered_at if passed else None,
            proven=passed and task.level is not Level.ARTIFACT,
            evidence=f"file:///{task.backup.database}/drills/{task.id}/evidence.json",
            evidence_sha256=hashlib.sha256(task.id.encode()).hexdigest(),
            evidence_storage=task.record.storage.name if task.record.storage else "prod",
        )

    def _restore(self, good: Result, task: RestoreTask) -> Result:
        ref = next((one for one in task.candidates if (one.database, one.id) in self.bucket.backups), None)
        if ref is None:
            return Result(outcome=Outcome.FAILED, reason="BackupMissing", message="no candidate is there")
        if (known := self.bucket.restores.get(task.id)) is not None:
            return good.model_copy(update={"restore": known})
        restored = RestoreResult(
            id=task.id,
            backup=ref.id,
            chosen=f"{ref.id}, the newest whose artefacts verify",
            data_directory="data",
            until=task.until,
            engine_version="18.1",
            bytes=1000,
            hand_over=["Start a server on it."],
            record=f"file:///{ref.database}/restores/{task.id}/result.json",
            record_sha256=hashlib.sha256(task.id.encode()).hexdigest(),
        )
        self.bucket.restores[task.id] = restored
        return good.model_copy(update={"restore": restored})

    def _bridge(self, good: Result, task: BridgeTask) -> Result:
        """Staged first where that was asked for; put in place, or removed, when it is told to."""
        if (known := self.bucket.restores.get(task.id)) is not None and not known.staged:
            return good.model_copy(update={"restore": known})
        if task.mode == "Discard":
            self.bucket.restores.pop(task.id, None)
            return Result(outcome=Outcome.REFUSED, reason="NotPromoted", message="nobody consented in time")
        staged = task.stage_first and task.mode == "Restore"
        names = task.selection.databases or ["shop"]
        restored = RestoreResult(
            id=task.id,
            target=task.target.name,
            staged=staged,
            backup=task.candidates[0].id,
            chosen=f"{task.candidates[0].id}, the newest whose artefacts verify",
            placed=[PlacedResult(database=name, at=f"{name}_restore_1" if staged else name) for name in names],
            until=task.until,
            engine_version="18.1",
            bytes=1000,
            hand_over=[] if staged else ["Let the applications connect again."],
            record="" if staged else f"file:///orders/restores/{task.id}/result.json",
            record_sha256="" if staged else hashlib.sha256(task.id.encode()).hexdigest(),
        )
        self.bucket.restores[task.id] = restored
        return good.model_copy(update={"restore": restored, "reason": "Staged" if staged else "Succeeded"})

    def _answer(self, task: InquireTask) -> dict[str, object]:
        if task.compare is not None:
            found = Comparison(backup=task.compare.backup.id, live_at=self._clock.now(), host="db:5432")
            return {"comparison": found.model_copy(update={"counts": {"Same": 3}})}
        page = zlib.compress(json.dumps(["file:///evidence.json", "{}"]).encode() + b",")
        return {"records": RecordsFound(count=1, content=base64.b64encode(page).decode())}

    def _look(self, task: object) -> dict[str, object]:
        if isinstance(task, ProbeTask):
            now = self._clock.now()
            source = self.archivers.source
            seen = ProbeResult(
                reachable=True,
                host="db",
                engine_version="18.1",
                system_identifier=source.system,
                now=now,
                findings=[source.finding] if task.continuous and source.finding else [],
            )
            return {"probe": seen}
        if isinstance(task, ValidateTask):
            return {"storage": StorageResult(owner="tests")}
        if isinstance(task, SweepTask | ExpireLogTask):
            return {"swept": []}
        if isinstance(task, InquireTask):
            return self._answer(task)
        assert isinstance(task, CatalogTask)
        return {"catalog": CatalogPage(entries=[])}

    def _remains(self, request: Request, task: RemainsTask) -> RemainsResult:
        """All that lies under the database's name from before, but for what it is told to leave out; all of it lies in
        storage prod."""
        if request.storage is None or request.storage.name != "prod":
            return RemainsResult()
        there = [at for at, one in self.bucket.backups.items() if one.started_at <= task.until]
        copies = sorted(
            f"{name}/{id}" for name, id in there if name == task.database and copy_mark(name, id) not in task.marks
        )
        return RemainsResult(looked_at=len(there), copies=len(copies), named=copies, logs=self.bucket.old_logs)

    def _back_up(self, request: Request, task: BackupTask) -> BackupResult:
        database = request.database.name if request.database else ""
        known = self.bucket.backups.get((database, task.id))
        if known is not None:
            return known  # the agent looks for the manifest first, and reports it
        return self.stored(database, task.id, request.attempt, task.type, task.parent)

    def stored(
        self,
        database: str,
        id: str,
        attempt: int = 1,
        kind: BackupType = BackupType.FULL,
        parent: ParentBackup | None = None,
    ) -> BackupResult:
        """Put a backup into the bucket, whoever took it."""
        now = self._clock.now()
        taken = BackupResult(
            id=id,
            attempt=attempt,
            location=f"{database}/backups/{id}",
            checksum=hashlib.sha256(id.encode()).hexdigest(),
            type=kind if parent is not None else BackupType.FULL,
            method=Method.PHYSICAL,
            logical_bytes=1000,
            stored_bytes=500,
            started_at=now,
            snapshot_time=now,
            completed_at=now,
            engine_version="18.1",
            system_identifier=self.archivers.source.system,
            position=Position(start_lsn=format_lsn(position_at(now)), lsn=format_lsn(position_at(now)), timeline=1),
            parent=parent.id if parent else None,
            base=parent.base if parent else id,
            chain_length=parent.chain_length + 1 if parent else 0,
        )
        self.bucket.backups[database, id] = taken
        return taken
