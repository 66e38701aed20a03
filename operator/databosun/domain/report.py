"""From records of drills, and what a cluster knows, to the report: pure, and total over whatever was found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from databosun.api.drill import Verdict
from databosun.api.report import (
    JointDrill,
    RecordSeen,
    Report,
    ReportCondition,
    ReportDatabase,
    ReportDrill,
    ReportObjectives,
    State,
    Totals,
    Trust,
)
from databosun.domain.controls import CONTROLS
from databosun.domain.records import Found, JointRecord, Record, chained, read_records
from databosun.domain.reportcoverage import KnownBackup, coverage_of
from databosun.domain.reportdrill import KnownRun, drill_of_record, drill_of_status, joint_of, missing_drill
from databosun.domain.reportfailover import KnownFailover, failovers_of

Of = tuple[str, str]
"""Namespace and name of a database."""


@dataclass(frozen=True, slots=True)
class KnownDatabase:
    """A Database as the cluster knows it."""

    namespace: str
    name: str
    engine: str
    engine_version: str | None
    objectives: ReportObjectives
    conditions: tuple[ReportCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """All that is at hand.

    `backups` None: nothing says which backups there are. `only`: names of the databases that are wanted; none: all.
    """

    scope: str
    since: datetime
    found: Sequence[Found] = ()
    databases: Sequence[KnownDatabase] = ()
    runs: Sequence[KnownRun] = ()
    failovers: Sequence[KnownFailover] = ()
    backups: Sequence[KnownBackup] | None = None
    manifests: Mapping[str, frozenset[str]] = field(default_factory=dict)
    only: frozenset[str] = frozenset()
    sources: Sequence[str] = ()


def build_report(facts: ReportFacts, now: datetime, version: str) -> Report:
    """The report; the same for the same facts. What is wrong is shown as such, and counts for nothing."""
    read = read_records(facts.found)
    told = {(run.namespace, run.name): run.sha256 for run in facts.runs if run.sha256 is not None}
    records, missing = chained(read.records, told)
    drills = _drills(facts, records)
    known = {(one.namespace, one.name): one for one in facts.databases}
    names = sorted(of for of in {*known, *drills, *missing} if not facts.only or of[1] in facts.only)
    databases = [_database(facts, of, known.get(of), drills.get(of, []), missing.get(of, [])) for of in names]
    joint = _joint(facts, read.joint, records)
    failovers = failovers_of(read.failovers, facts.failovers, facts.since, facts.only)
    return Report(
        generated_at=now,
        since=facts.since,
        scope=facts.scope,
        sources=list(facts.sources),
        totals=_totals(databases, [*(one.record for one in joint), *(one.record for one in failovers)]),
        problems=list(read.problems),
        databases=databases,
        joint=joint,
        failovers=failovers,
        controls=list(CONTROLS),
        databosun_version=version,
    )


def _joint(facts: ReportFacts, found: Sequence[JointRecord], records: Sequence[Record]) -> list[JointDrill]:
    """Drills of many databases within the period; with names asked for, those that any of them was part of."""
    digests = {(one.namespace, one.run): one.sha256 for one in records}
    made = [joint_of(one, digests) for one in found if one.evidence.completed_at >= facts.since]
    wanted = [one for one in made if not facts.only or facts.only & {member.database for member in one.members}]
    return sorted(wanted, key=lambda one: (one.at, one.run), reverse=True)


def _drills(facts: ReportFacts, records: Sequence[Record]) -> dict[Of, list[ReportDrill]]:
    """All drills of the period, by database, newest first: those with a record, and those that only a status tells."""
    runs = {(run.namespace, run.name): run for run in facts.runs}
    found: dict[Of, list[ReportDrill]] = defaultdict(list)
    told = set()
    for record in records:
        told.add((record.namespace, record.run))
        if record.evidence.completed_at >= facts.since:
            run = runs.get((record.namespace, record.run))
            found[record.of].append(drill_of_record(record, run, facts.manifests))
    for at, run in runs.items():
        if at in told or run.verdict is None or run.completed_at is None or run.completed_at < facts.since:
            continue
        if run.looked_for and run.sha256 is not None:
            found[run.namespace, run.database].append(missing_drill(run, run.verdict, run.completed_at))
        else:
            found[run.namespace, run.database].append(drill_of_status(run, run.verdict, run.completed_at))
    return {of: sorted(own, key=lambda one: (one.at, one.run), reverse=True) for of, own in found.items()}


def _database(
    facts: ReportFacts, of: Of, known: KnownDatabase | None, drills: list[ReportDrill], missing: list[str]
) -> ReportDatabase:
    trusted = [one for one in drills if one.record.trust is not Trust.BROKEN]
    proven = next((one.at for one in trusted if one.proven), None)
    backups = None if facts.backups is None else [one for one in facts.backups if (one.namespace, one.database) == of]
    silent = Counter(run.phase for run in facts.runs if (run.namespace, run.database) == of and _silent(facts, run))
    problems = [*missing, *(f"{one.run}: {problem}" for one in drills for problem in one.record.problems)]
    return ReportDatabase(
        namespace=of[0],
        name=of[1],
        engine=known.engine if known else None,
        engine_version=known.engine_version if known else None,
        objectives=known.objectives if known else _objectives(trusted),
        state=_state(drills, trusted),
        last_proven=proven,
        failing_since=_failing_since(trusted),
        drills=drills,
        not_said=dict(sorted(silent.items())),
        coverage=coverage_of(backups, trusted),
        conditions=list(known.conditions) if known else [],
        problems=problems,
    )


def _silent(facts: ReportFacts, run: KnownRun) -> bool:
    over = run.completed_at is not None and run.completed_at >= facts.since
    return over and run.verdict is None


def _objectives(drills: Sequence[ReportDrill]) -> ReportObjectives:
    """Those that the newest drill was measured against, where no Database says what is in force."""
    rto = next((one.rto.objective for one in drills if one.rto is not None and one.rto.objective is not None), None)
    rpo = next((one.rpo.objective for one in drills if one.rpo is not None and one.rpo.objective is not None), None)
    return ReportObjectives(rto=rto, rpo=rpo, source="Unknown" if rto is None and rpo is None else "Evidence")


def _state(drills: Sequence[ReportDrill], trusted: Sequence[ReportDrill]) -> State:
    if not drills:
        return State.NEVER_DRILLED
    for one in trusted:
        if one.verdict is Verdict.FAILED:
            return State.FAILING
        if one.proven:
            return State.PROVEN
    return State.NOT_PROVEN


def _failing_since(trusted: Sequence[ReportDrill]) -> datetime | None:
    """The first failure behind the newest proof; None where nothing failed since."""
    since = None
    for one in trusted:
        if one.proven:
            break
        if one.verdict is Verdict.FAILED:
            since = one.at
    return since


def _totals(databases: Sequence[ReportDatabase], others: Sequence[RecordSeen]) -> Totals:
    states = Counter(one.state for one in databases)
    drills = [drill for one in databases for drill in one.drills]
    trusted = [one for one in drills if one.record.trust is not Trust.BROKEN]
    newest = [_newest(one) for one in databases]
    gone = sum(len(one.problems) - sum(len(drill.record.problems) for drill in one.drills) for one in databases)
    return Totals(
        databases=len(databases),
        proven=states[State.PROVEN],
        failing=states[State.FAILING],
        not_proven=states[State.NOT_PROVEN],
        never_drilled=states[State.NEVER_DRILLED],
        drills=len(drills),
        passed=sum(one.verdict is Verdict.PASSED for one in trusted),
        rto_missed=sum(one is not None and one.rto is not None and one.rto.met is False for one in newest),
        rpo_missed=sum(one is not None and one.rpo is not None and one.rpo.met is False for one in newest),
        signed=sum(one.record.trust is Trust.SIGNED for one in drills),
        broken=len(drills) - len(trusted) + gone + sum(one.trust is Trust.BROKEN for one in others),
        backups=sum(one.coverage.backups for one in databases),
        drilled=sum(one.coverage.drilled for one in databases),
    )


def _newest(database: ReportDatabase) -> ReportDrill | None:
    return next((one for one in database.drills if one.record.trust is not Trust.BROKEN), None)
