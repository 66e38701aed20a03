"""`databosun report`: gather what is at hand, decide in `domain`, write it down."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from databosun import __version__
from databosun.api.quantities import parse_duration
from databosun.api.report import Report
from databosun.cli import asking
from databosun.cli.reasons import CliReason
from databosun.cli.report import cluster, files
from databosun.cli.running import FAILED, OK, explain
from databosun.cli.session import Session
from databosun.controllers.seen import SeenStorage
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.records import Found
from databosun.domain.report import ReportFacts, build_report


class Format(StrEnum):
    """The forms of a report."""

    HTML = "html"
    PDF = "pdf"
    JSON = "json"
    MD = "md"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for."""

    databases: tuple[str, ...]
    since: str
    form: Format | None
    file: Path | None
    evidence: Path | None
    keys: tuple[Path, ...]
    restore: str | None = None
    records: bool = True

    @property
    def format(self) -> Format:
        """The form that is asked for, else that of the file's name, else Markdown."""
        if self.form is not None:
            return self.form
        suffix = self.file.suffix.lstrip(".").lower() if self.file is not None else ""
        return Format(suffix) if suffix in set(Format) else Format.MD


def start_of(since: str, now: datetime) -> datetime:
    """The instant that a period begins at: a duration back from now, or a date. UserFault."""
    try:
        return now - parse_duration(since)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(since)
    except ValueError as error:
        message = f"--since is {since!r}; expected a duration such as 90d or 1y, or a date such as 2026-01-01"
        raise UserFault(CliReason.BAD_USAGE, message) from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def offline(wish: Wish, folder: Path, now: datetime) -> Report:
    """The report from files alone. UserFault where they cannot be read."""
    keys = files.read_keys(wish.keys)
    seen = files.read_folder(folder, keys)
    sources = [f"{len(seen.evidence)} records in {folder}, each with its form and place in the chain looked at"]
    signed = f"signatures were demanded, by the keys in {', '.join(map(str, wish.keys))}"
    sources.append(signed if keys else "no public key was given, so nothing says who wrote the records")
    if seen.backups is None:
        sources.append("the folder holds no manifests: which backups there are, and so the coverage, is not known")
    else:
        sources.append(f"{len(seen.backups)} manifests of backups in the folder: the coverage is of these")
    facts = ReportFacts(
        scope=_scope(f"records in {folder}", wish.databases),
        since=start_of(wish.since, now),
        found=seen.evidence,
        backups=seen.backups,
        manifests=seen.manifests,
        only=frozenset(wish.databases),
        sources=sources,
    )
    report = build_report(facts, now, __version__)
    return report.model_copy(update={"problems": [*report.problems, *seen.skipped]}) if seen.skipped else report


async def online(session: Session, wish: Wish) -> Report:
    """The report of what a cluster knows, and of the records in its stores."""
    now = session.clock.now()
    since = start_of(wish.since, now)
    known = await cluster.ask(session)
    stored = await _stored(session, wish, known.storages, since) if wish.records else Stored((), frozenset(), _NOT_READ)
    runs = [replace(run, looked_for=(run.namespace, run.storage) in stored.read) for run in known.runs]
    tests = [replace(one, looked_for=(one.shown.namespace, one.storage) in stored.read) for one in known.failovers]
    where = "all namespaces" if session.scope is None else f"namespace {session.scope}"
    facts = ReportFacts(
        scope=_scope(where, wish.databases),
        since=since,
        found=stored.found,
        databases=known.databases,
        runs=runs,
        failovers=tests,
        backups=known.backups,
        manifests=known.manifests,
        only=frozenset(wish.databases),
        sources=[*stored.notes, *_of_cluster(), *known.notes],
    )
    return build_report(facts, now, __version__)


@dataclass(frozen=True, slots=True)
class Stored:
    """Records that were handed over. `read`: namespace and name of the storages that were read to their end."""

    found: tuple[Found, ...]
    read: frozenset[tuple[str, str | None]]
    notes: tuple[str, ...]


_NOT_READ = ("the records in the stores were not read: what is shown is what the cluster remembers of them",)


async def _stored(session: Session, wish: Wish, storages: Iterable[SeenStorage], since: datetime) -> Stored:
    """A storage that cannot be read leaves the report without its records, and is named in it."""
    found: list[Found] = []
    read_ones: set[tuple[str, str | None]] = set()
    notes: list[str] = []
    only = wish.databases[0] if len(wish.databases) == 1 else None
    for one in storages:
        name = f"BackupStorage {one.meta.namespace}/{one.meta.name}"
        try:
            handed, skipped = await asking.records(session, one, only, since)
        except DatabosunError as error:
            notes.append(
                f"{name} could not be read, so its drills are shown as the cluster remembers: {explain(error)}"
            )
            continue
        found += handed
        read_ones.add((one.meta.namespace, one.meta.name))
        signed = "signatures were demanded" if one.spec.signing else "it does not sign, so nothing says who wrote them"
        notes.append(f"{len(handed)} records in {name}, each looked at to the byte; {signed}")
        if skipped:
            notes.append(f"{skipped} objects in {name} were too large for a record, or no text, and were left out")
    return Stored(tuple(found), frozenset(read_ones), tuple(notes))


def _of_cluster() -> Iterable[str]:
    yield "Databases, Backups, RestoreDrillRuns and FailoverTestRuns of the cluster, as they stand now"


def _scope(where: str, databases: tuple[str, ...]) -> str:
    return f"{where}, {', '.join(databases)}" if databases else where


def from_files(wish: Wish, folder: Path, now: datetime) -> int:
    """Report on a copy of a store; the exit code."""
    from databosun.cli.report import lookback

    if wish.restore is not None:
        found = lookback.offline(wish, wish.restore, folder, now)
        deliver(wish, lookback.render(found, wish.format))
        return _code(sound=found.record is not None and not found.record.problems)
    return _finish(wish, offline(wish, folder, now))


async def from_cluster(session: Session, wish: Wish) -> int:
    """Report on what a cluster knows; the exit code."""
    from databosun.cli.report import lookback

    if wish.restore is not None:
        found = await lookback.online(session, wish.restore, records=wish.records)
        deliver(wish, lookback.render(found, wish.format))
        return _code(sound=found.record is None or not found.record.problems)
    return _finish(wish, await online(session, wish))


def _finish(wish: Wish, report: Report) -> int:
    deliver(wish, render(report, wish.format))
    sys.stderr.write(f"{verdict(report)}\n")
    return _code(sound=is_sound(report))


def _code(*, sound: bool) -> int:
    return OK if sound else FAILED


def render(report: Report, form: Format) -> bytes:
    """The report in one of its forms."""
    from databosun.cli.report import text

    match form:
        case Format.JSON:
            return text.as_json(report).encode()
        case Format.MD:
            return text.as_markdown(report).encode()
        case Format.HTML:
            return text.as_html(report).encode()
        case Format.PDF:
            from databosun.cli.report.pdf import as_pdf

            return as_pdf(report)


def deliver(wish: Wish, data: bytes) -> None:
    """Write it to its file, else to standard output. UserFault."""
    if wish.file is not None:
        try:
            wish.file.write_bytes(data)
        except OSError as error:
            message = f"-o {wish.file}: {error.strerror}"
            raise UserFault(CliReason.BAD_USAGE, message) from error
        return
    if wish.format is Format.PDF and sys.stdout.isatty():
        message = "a PDF is nothing for a terminal; say where it is to go with -o FILE"
        raise UserFault(CliReason.BAD_USAGE, message)
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def verdict(report: Report) -> str:
    """What is on the first page, in one line."""
    t = report.totals
    wrong = f"; records missing or not as written: {t.broken}" if t.broken else ""
    return (
        f"{t.databases} databases: {t.proven} proven, {t.failing} failing, {t.not_proven + t.never_drilled} not proven"
        f" or never drilled; {t.drills} drills{wrong}"
    )


def is_sound(report: Report) -> bool:
    """Whether every record was what was written."""
    return not report.totals.broken and not report.problems
