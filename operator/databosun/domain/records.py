"""Whether records of drills are what was written: each by itself, then all of one database as a chain."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from databosun.api.evidence import SCHEMA, Evidence, JointEvidence
from databosun.api.failoverevidence import FailoverEvidence
from databosun.domain.sealing import SIGNATURE, digest_of, is_canonical, is_signed

EDITED = "the file is not in the form in which it was written (sorted keys, no spaces): it was edited"
UNSIGNED = f"no valid signature by this public key ({SIGNATURE} is wrong, missing, or of another key)"


@dataclass(frozen=True, slots=True)
class Found:
    """One file or object, as found. `where` is its path or URL; with `keys` a valid signature by one is demanded."""

    where: str
    data: bytes
    keys: tuple[Ed25519PublicKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """What the path of a record says that it is of."""

    namespace: str
    database: str
    run: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a drill, read. `problems` say why it counts for nothing."""

    where: str
    sha256: str
    evidence: Evidence
    namespace: str
    database: str
    signed: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """The drill's run."""
        return self.evidence.run

    @property
    def of(self) -> tuple[str, str]:
        """Namespace and name of its database."""
        return self.namespace, self.database


@dataclass(frozen=True, slots=True)
class JointRecord:
    """One record of a drill of many databases, read."""

    where: str
    sha256: str
    evidence: JointEvidence
    signed: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailoverRecord:
    """One record of a failover test, read."""

    where: str
    sha256: str
    evidence: FailoverEvidence
    signed: bool = False
    problems: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """Of its database."""
        return self.evidence.database.namespace

    @property
    def database(self) -> str:
        """Whose primary it moved."""
        return self.evidence.database.name


@dataclass(frozen=True, slots=True)
class Read:
    """What came of reading files: records, and sentences about those that are none."""

    records: tuple[Record, ...] = ()
    joint: tuple[JointRecord, ...] = ()
    failovers: tuple[FailoverRecord, ...] = ()
    problems: tuple[str, ...] = ()


def place_of(where: str) -> Place | None:
    """`…/<namespace>/<database>/drills/<run>/evidence.json`, taken apart; None for any other path."""
    match where.replace("\\", "/").split("/"):
        case [*_, namespace, database, "drills", run, "evidence.json"] if namespace:
            return Place(namespace, database, run)
        case _:
            return None


def parse_record(data: bytes) -> Evidence:
    """The evidence in these bytes. ValueError says why it is none."""
    try:
        return Evidence.model_validate_json(data)
    except ValidationError as error:
        msg = f"this is no evidence of schema {SCHEMA}: {error.errors()[0]['msg']}"
        raise ValueError(msg) from error


AnyEvidence = Evidence | JointEvidence | FailoverEvidence
_OTHERS: Mapping[str, tuple[type[JointEvidence | FailoverEvidence], str]] = {
    "JointDrill": (JointEvidence, "a joint drill"),
    "Failover": (FailoverEvidence, "a failover test"),
}


def parse_any(data: bytes) -> AnyEvidence:
    """The evidence in these bytes, whatever it is of. ValueError says why it is none."""
    known = _OTHERS.get(_kind(data))
    if known is None:
        return parse_record(data)
    kind, what = known
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        msg = f"this is no evidence of {what} of schema {SCHEMA}: {error.errors()[0]['msg']}"
        raise ValueError(msg) from error


def _kind(data: bytes) -> str:
    """What this claims to be the record of."""
    try:
        document = json.loads(data)
    except ValueError:
        return ""
    return str(document.get("kind")) if isinstance(document, dict) else ""


def read_records(found: Iterable[Found]) -> Read:
    """Every record, each looked at by itself."""
    records: dict[tuple[str, str, str, str], Record] = {}
    joint: dict[str, JointRecord] = {}
    failovers: dict[str, FailoverRecord] = {}
    problems: list[str] = []
    for one in found:
        try:
            evidence = parse_any(one.data)
        except ValueError as error:
            problems.append(f"{one.where}: {error}")
            continue
        if isinstance(evidence, JointEvidence):
            whole = _look_joint(one, evidence)
            joint.setdefault(whole.sha256, whole)
        elif isinstance(evidence, FailoverEvidence):
            test = _look_failover(one, evidence)
            failovers.setdefault(test.sha256, test)
        else:
            record = _look(one, evidence)
            records.setdefault((*record.of, record.run, record.sha256), record)
    return Read(tuple(records.values()), tuple(joint.values()), tuple(failovers.values()), tuple(problems))


def _look_failover(one: Found, evidence: FailoverEvidence) -> FailoverRecord:
    signed, problems = _seal(one)
    about = (evidence.database.namespace, evidence.database.name, evidence.run)
    match one.where.replace("\\", "/").split("/"):
        case [*_, namespace, database, "failovers", run, "evidence.json"] if (namespace, database, run) != about:
            lies = f"{namespace}/{database}, run {run}"
            says = f"{about[0]}/{about[1]}, run {about[2]}"
            problems.append(f"it lies in the place of {lies}, and says it is of {says}")
    return FailoverRecord(one.where, digest_of(one.data), evidence, signed, tuple(problems))


def _look_joint(one: Found, evidence: JointEvidence) -> JointRecord:
    signed, problems = _seal(one)
    match one.where.replace("\\", "/").split("/"):
        case [*_, namespace, "_drills", run, "evidence.json"] if (namespace, run) != (evidence.namespace, evidence.run):
            problems.append(f"it lies in the place of {namespace}, run {run}, and says it is run {evidence.run}")
    return JointRecord(one.where, digest_of(one.data), evidence, signed, tuple(problems))


def _seal(one: Found) -> tuple[bool, list[str]]:
    """Whether it is signed, and what is wrong with form and signature."""
    problems = [] if is_canonical(one.data) else [EDITED]
    signed = any(is_signed(one.data, key) for key in one.keys)
    if one.keys and not signed:
        problems.append(UNSIGNED)
    return signed, problems


def _look(one: Found, evidence: Evidence) -> Record:
    place, about = place_of(one.where), evidence.database
    namespace = about.namespace if about else place.namespace if place else "unknown"
    database = about.name if about else place.database if place else "unknown"
    signed, problems = _seal(one)
    if place is not None and (place.namespace, place.database, place.run) != (namespace, database, evidence.run):
        lies = f"{place.namespace}/{place.database}, run {place.run}"
        problems.append(f"it lies in the place of {lies}, and says it is of {namespace}/{database}, run {evidence.run}")
    return Record(one.where, digest_of(one.data), evidence, namespace, database, signed, tuple(problems))


def chained(
    records: Iterable[Record], told: Mapping[tuple[str, str], str]
) -> tuple[list[Record], dict[tuple[str, str], list[str]]]:
    """The records with what their chains say of them, and what is missing, by database.

    `told`: the SHA-256 that the cluster remembers of a run's record, by namespace and run. What a record names as the
    one before it must be there, unless it is the first of those at hand: older ones may not have been asked for.
    """
    by_database: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        by_database[record.of].append(record)
    done: list[Record] = []
    missing: dict[tuple[str, str], list[str]] = {}
    for of, own in by_database.items():
        ordered = sorted(own, key=lambda one: (one.evidence.completed_at, one.run, one.sha256))
        judged, gone = _judge_chain(ordered, told)
        done += judged
        if gone:
            missing[of] = gone
    return done, missing


def _judge_chain(ordered: list[Record], told: Mapping[tuple[str, str], str]) -> tuple[list[Record], list[str]]:
    by_digest = {one.sha256: one for one in ordered}
    by_run: dict[str, list[Record]] = defaultdict(list)
    for one in ordered:
        by_run[one.run].append(one)
    problems: dict[str, list[str]] = defaultdict(list)
    notes: dict[str, list[str]] = defaultdict(list)
    gone: list[str] = []
    for number, one in enumerate(ordered):
        wanted = told.get((one.namespace, one.run))
        if wanted is not None and wanted.lower() != one.sha256:
            problems[one.sha256].append(f"the cluster remembers SHA-256 {wanted} of it: it was changed or replaced")
        if len(by_run[one.run]) > 1:
            problems[one.sha256].append(f"{len(by_run[one.run])} different records bear the name of run {one.run}")
        _judge_link(one, number == 0, by_digest, by_run, problems, notes, gone)
    _note_forks(ordered, notes)
    judged = [
        replace(
            one,
            problems=(*one.problems, *dict.fromkeys(problems[one.sha256])),
            notes=(*one.notes, *notes[one.sha256]),
        )
        for one in ordered
    ]
    return judged, gone


def _judge_link(
    one: Record,
    first: bool,
    by_digest: Mapping[str, Record],
    by_run: Mapping[str, list[Record]],
    problems: dict[str, list[str]],
    notes: dict[str, list[str]],
    gone: list[str],
) -> None:
    before = one.evidence.previous
    if before is None:
        if not first:
            notes[one.sha256].append("it begins a chain anew: the cluster knew of no record before it")
        return
    if before.sha256.lower() in by_digest:
        return
    for other in by_run.get(before.run, ()):
        problems[other.sha256].append(
            f"run {one.run} names it with SHA-256 {before.sha256}: it was changed or replaced after it was written"
        )
    if before.run in by_run:
        return
    if first:
        notes[one.sha256].append(f"the record before it, of run {before.run}, is older than those at hand")
    else:
        gone.append(f"the record of run {before.run} is missing: run {one.run} names it (SHA-256 {before.sha256})")


def _note_forks(ordered: Iterable[Record], notes: dict[str, list[str]]) -> None:
    named: dict[str, list[Record]] = defaultdict(list)
    for one in ordered:
        if one.evidence.previous is not None:
            named[one.evidence.previous.sha256.lower()].append(one)
    for several in named.values():
        for one in several[1:]:
            notes[one.sha256].append(f"run {several[0].run} names the same record before it: they ran at one time")
