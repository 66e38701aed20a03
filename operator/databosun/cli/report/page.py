"""A page of facts, tables and lists, in all forms: what is less than a report of many databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reportlab.platypus import Flowable

from databosun.api.postmortem import PostMortem
from databosun.api.quantities import humanize_bytes
from databosun.cli.report import words as w
from databosun.cli.report.pdf import INSIDE, make
from databosun.cli.report.pdfparts import alarm, says, table, words
from databosun.cli.report.text import rendered


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with rows below it. `shares`: how wide the columns are to each other."""

    title: str
    head: tuple[str, ...]
    shares: tuple[float, ...]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """`wrong`: what must not be overlooked."""

    title: str
    subtitle: str
    version: str
    wrong: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def page_of(found: PostMortem) -> Page:
    """The page of one restore."""
    facts = [
        ("Verdict", f"{found.verdict}{f', {found.message}' if found.message else ''}"),
        ("Database", found.database),
        ("Restored into", found.target),
        ("Backup", found.backup),
        ("Why this one", found.chosen),
        ("Asked for", found.asked),
        ("Recovered", found.until),
        ("Position reached", found.reached.lsn if found.reached else None),
        ("Newest transaction", w.instant(found.last_commit) if found.last_commit else None),
        ("Took", w.span(found.took_seconds) if found.took_seconds is not None else None),
        ("Data", humanize_bytes(found.bytes) if found.bytes is not None else None),
        ("SHA-256 of its manifest", found.manifest_sha256),
    ]
    if found.record is not None:
        facts.append(("Record", f"{w.TRUSTS[found.record.trust]}, {found.record.where}, SHA-256 {found.record.sha256}"))
    if found.review is not None:
        noted = f"{found.review.findings or 'no findings'} ({found.review.by or 'nobody named'})"
        facts += [("Findings", noted), ("Runbooks updated", found.review.runbooks)]
    sections = [
        Section("What was restored", ("", ""), (16, 84), [[name, text] for name, text in facts if text]),
        Section("Timeline", ("When", "What"), (16, 84), [[w.instant(one.at), one.what] for one in found.timeline]),
        Section(
            "Where the time went",
            ("Phase", "Seconds"),
            (16, 84),
            [[name, w.span(seconds)] for name, seconds in found.phases.items()],
        ),
        Section(
            "Checks of the copy",
            ("Check", "Looks at", "Severity", "Result", "Found", "Expected"),
            (18, 14, 10, 9, 40, 26),
            [
                [one.name, one.type, one.severity, one.outcome, one.observed or one.message, one.expected or w.NONE]
                for one in found.checks
            ],
        ),
        Section("Hand-over", ("", "Step"), (4, 96), [[str(n), step] for n, step in enumerate(found.hand_over, 1)]),
        Section("Otherwise than in the original", ("",), (100,), [[note] for note in found.notes]),
        Section("Made from", ("",), (100,), [[source] for source in found.sources]),
    ]
    return Page(
        title=f"Restore {found.namespace}/{found.name}",
        subtitle=f"{found.verdict}; page made {w.instant(found.generated_at)}",
        version=found.databosun_version,
        wrong=found.record.problems if found.record else (),
        sections=[one for one in sections if one.rows],
    )


def as_html(page: Page) -> str:
    """One file with all that it needs."""
    return rendered("page.html.j2", page=page)


def as_markdown(page: Page) -> str:
    """For a ticket or a terminal."""
    return rendered("page.md.j2", page=page)


def as_pdf(page: Page) -> bytes:
    """The document."""
    story: list[Flowable] = [says(words(page.title), "title"), says(words(page.subtitle))]
    if page.wrong:
        story.append(alarm([words("The record is not as written", bold=True), *map(words, page.wrong)], INSIDE))
    for one in page.sections:
        rows = [[words(text, w.tone(text)) for text in row] for row in one.rows]
        story += [says(words(one.title), "h2"), table(one.head, rows, one.shares, INSIDE)]
    return make(page.title, story, page.version)
