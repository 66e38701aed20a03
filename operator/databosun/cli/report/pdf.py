"""A report as a PDF: pages of A4 with their numbers, tables that go on over pages, the same pictures as in the HTML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import CondPageBreak, Flowable, SimpleDocTemplate, Spacer

from databosun.api.report import Report, ReportDatabase, ReportDrill
from databosun.cli.report import words as w
from databosun.cli.report.pdffailover import failover_story
from databosun.cli.report.pdfparts import REGULAR, SOFT, alarm, pair, picture, plain, says, table, tiles, words
from databosun.cli.report.plot import points_of
from databosun.domain.controls import DISCLAIMER

PAGE = landscape(A4)
MARGIN = 16 * mm
INSIDE = PAGE[0] - 2 * MARGIN - 12  # the frame keeps 6 points on either side
GAP = Spacer(0, 4 * mm)


def as_pdf(report: Report) -> bytes:
    """The document."""
    story: list[Flowable] = [*_first_page(report), *_databases(report)]
    for one in report.databases:
        if one.drills or one.problems:
            story += _database(one)
    story += [*_joint(report), *failover_story(report.failovers, INSIDE), *_controls(report)]
    return make(f"Recovery report: {report.scope}", story, report.databosun_version)


def make(title: str, story: list[Flowable], version: str) -> bytes:
    """Put a story on pages, each with its number and the title at the foot."""
    made = io.BytesIO()
    document = SimpleDocTemplate(
        made,
        pagesize=PAGE,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=14 * mm,
        bottomMargin=16 * mm,
        title=plain(title),
        author=f"Databosun {version}",
        invariant=1,
    )
    foot = plain(title)

    def numbered(canvas: Canvas, _: Any) -> None:
        canvas.setFont(REGULAR, 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(MARGIN + 6, 9 * mm, foot if len(foot) < 150 else f"{foot[:150]}…")
        canvas.drawRightString(PAGE[0] - MARGIN - 6, 9 * mm, f"page {canvas.getPageNumber()}")

    document.build(story, onFirstPage=numbered, onLaterPages=numbered)
    return made.getvalue()


def _first_page(report: Report) -> list[Flowable]:
    t = report.totals
    open_ones = t.not_proven + t.never_drilled
    figures: list[tuple[object, str, str]] = [
        (t.databases, "databases", "plain"),
        (t.proven, "proven", "good" if t.proven else "plain"),
        (t.failing, "failing", "bad" if t.failing else "plain"),
        (open_ones, "not proven or never drilled", "warn" if open_ones else "plain"),
        (t.rto_missed, "miss their RTO", "bad" if t.rto_missed else "plain"),
        (t.rpo_missed, "miss their RPO", "bad" if t.rpo_missed else "plain"),
        (t.drills, f"drills, {t.signed} with a signed record", "plain"),
        (t.broken, "records missing or not as written", "bad" if t.broken else "plain"),
    ]
    story: list[Flowable] = [
        says(words("Recovery report"), "title"),
        says(
            f"{words(report.scope, bold=True)}, {words(w.day(report.since))} to {words(w.instant(report.generated_at))}"
        ),
        *(says(words(source), "soft") for source in report.sources),
        GAP,
        tiles(figures, INSIDE),
    ]
    if report.problems:
        story += [GAP, alarm([words("Files that are no records", bold=True), *map(words, report.problems)], INSIDE)]
    return story


def _databases(report: Report) -> list[Flowable]:
    title = says("Databases", "h2")
    if not report.databases:
        return [title, says("There is no database in this scope, and no record of one.")]
    head = (
        "Database",
        "Objectives",
        "State",
        "Last proven",
        "RTO, newest drill",
        "RPO, newest drill",
        "Backups drilled",
    )
    rows = [_row(one) for one in report.databases]
    return [title, table(head, rows, (26, 20, 18, 11, 17, 17, 10), INSIDE)]


def _row(one: ReportDatabase) -> list[str | Flowable]:
    newest = w.newest(one)
    state = words(w.STATES[one.state], w.tone(one.state), bold=True)
    state += f"<br/>since {words(w.instant(one.failing_since))}" if one.failing_since else ""
    state += f"<br/>{words('records wrong or missing', 'bad')}" if one.problems else ""
    return [
        words(f"{one.namespace}/{one.name}"),
        words(w.objectives(one)),
        state,
        words(w.day(one.last_proven)),
        _measured(newest, "rto"),
        _measured(newest, "rpo"),
        words(w.coverage(one)),
    ]


def _measured(drill: ReportDrill | None, which: str) -> str:
    if drill is None:
        return w.NONE
    found = drill.rto if which == "rto" else drill.rpo
    missed = found is not None and found.met is False
    return words(w.measured(drill, which), "bad" if missed else "plain")


def _database(one: ReportDatabase) -> list[Flowable]:
    about = f"{one.engine or ''} {one.engine_version or ''} · {w.objectives(one)} · {w.coverage(one)} backups drilled"
    about += f" · runs that said nothing: {w.not_said(one)}" if one.not_said else ""
    state = words(w.STATES[one.state], w.tone(one.state), bold=True)
    story: list[Flowable] = [
        CondPageBreak(70 * mm),
        says(f"{words(f'{one.namespace}/{one.name}')} &nbsp; {state}", "h3"),
        says(words(about), "soft"),
    ]
    if one.coverage.oldest_undrilled:
        oldest = one.coverage.oldest_undrilled
        text = f"Oldest backup that was never drilled: {oldest.name}, {w.instant(oldest.completed_at)}"
        story.append(says(words(text), "soft"))
    if one.failing_since:
        story.append(says(words(f"Failing since {w.instant(one.failing_since)}.", "bad", bold=True)))
    if one.problems:
        title = words("Records are missing or not as written; they prove nothing", bold=True)
        story += [alarm([title, *map(words, one.problems)], INSIDE), GAP]
    for condition in one.conditions:
        if condition.status == "False":
            text = words(f"{condition.type} is False", "bad", bold=True)
            story.append(says(f"{text} ({words(condition.reason)}): {words(condition.message)}"))
    return story + (_drills(one) if one.drills else [])


def _drills(one: ReportDatabase) -> list[Flowable]:
    half = INSIDE / 2 - 4 * mm
    left = picture("Time to restore (RTO)", points_of(one, "rto"), half)
    right = picture("Span of lost writes (RPO)", points_of(one, "rpo"), half)
    head = ("When", "Verdict", "Level", "Backup", "RTO", "RPO", "Checks", "Record")
    rows = [_drill_row(drill) for drill in one.drills]
    story: list[Flowable] = [pair(left, right, INSIDE), table(head, rows, (14, 11, 9, 19, 14, 14, 10, 34), INSIDE)]
    newest = one.drills[0]
    if newest.checks:
        measured = f"{words('Checks of ' + newest.run, bold=True)} {words(newest.measured_on)}"
        columns = ("Check", "Looks at", "Severity", "Result", "Found", "Expected")
        checks: list[Sequence[str | Flowable]] = [
            [
                words(check.name),
                words(check.type),
                words(check.severity),
                words(check.outcome, w.tone(check.outcome), bold=True),
                words(check.observed or check.message or w.NONE),
                words(check.expected or w.NONE),
            ]
            for check in newest.checks
        ]
        story += [GAP, CondPageBreak(25 * mm), says(measured), table(columns, checks, (18, 14, 10, 9, 40, 26), INSIDE)]
    remarks = [remark for drill in one.drills for remark in _remarks(drill)]
    return [*story, *([GAP, *remarks] if remarks else [])]


def _drill_row(drill: ReportDrill) -> list[str | Flowable]:
    verdict = words(drill.verdict, w.tone(drill.verdict), bold=True)
    verdict += f"<br/>{words(drill.reason)}" if drill.reason != str(drill.verdict) else ""
    backup = words(drill.backup) + (f"<br/>{words(drill.until)}" if drill.until else "")
    backup += f"<br/>{words('the manifest at hand is another one', 'bad')}" if drill.manifest == "Differs" else ""
    record = words(w.TRUSTS[drill.record.trust], w.tone(drill.record.trust))
    digest = (
        f'<font size="6" color="#5b6675">{words(drill.record.where)}<br/>SHA-256 {drill.record.sha256 or w.NONE}</font>'
    )
    return [
        words(w.instant(drill.at)),
        verdict,
        words(drill.level_reached or w.NONE),
        backup,
        _measured(drill, "rto"),
        _measured(drill, "rpo"),
        words(w.checks(drill)),
        f"{record}<br/>{digest}",
    ]


def _remarks(drill: ReportDrill) -> list[Flowable]:
    story: list[Flowable] = []
    if str(drill.verdict) != "Passed":
        verdict = words(drill.verdict, w.tone(drill.verdict))
        story.append(says(f"{words(drill.run, bold=True)}: {verdict}, {words(drill.message)}"))
    story += [says(words(f"{drill.run}: {note}"), "soft") for note in drill.record.notes]
    if drill.review:
        by = f"{drill.review.by or 'nobody named'}{f', {drill.review.at}' if drill.review.at else ''}"
        findings = words(drill.review.findings or "no findings")
        text = f"{words('Noted about ' + drill.run, bold=True)} by {words(by)}: {findings}"
        if drill.review.runbooks:
            text += f" {words('Runbooks updated:', bold=True)} {words(drill.review.runbooks)}"
        story.append(says(text))
    return story


def _joint(report: Report) -> list[Flowable]:
    if not report.joint:
        return []
    head = ("When", "Run", "Verdict", "All back after", "Databases", "Record")
    rows = []
    for one in report.joint:
        members = "<br/>".join(words(w.member(member), w.tone(member.verdict)) for member in one.members)
        wrong = "".join(f"<br/>{words(problem, 'bad')}" for problem in one.record.problems)
        trust = words(w.TRUSTS[one.record.trust], w.tone(one.record.trust))
        rows.append(
            [
                words(w.instant(one.at)),
                words(f"{one.namespace}/{one.run}"),
                f"{words(one.verdict, w.tone(one.verdict), bold=True)}<br/>{words(one.message)}",
                words(w.joint_time(one), "bad" if one.met is False else "plain"),
                members,
                f"{trust}{wrong}<br/>{words(one.record.where)}<br/>SHA-256 {one.record.sha256}",
            ]
        )
    return [says("Drills of many databases together", "h2"), table(head, rows, (14, 18, 20, 12, 34, 34), INSIDE)]


def _controls(report: Report) -> list[Flowable]:
    head = ("Framework", "Clause", "It asks", "Shown here", "Not shown here")
    rows = [[words(text) for text in (c.framework, c.clause, c.asks, c.shown, c.not_shown)] for c in report.controls]
    check = "databosun verify-evidence evidence.json --public-key public.pem --previous before.json"
    return [
        CondPageBreak(90 * mm),
        says("What this supports", "h2"),
        says(words(DISCLAIMER)),
        table(head, rows, (14, 14, 30, 34, 30), INSIDE),
        says("How to check it", "h2"),
        says(
            "Each record is a file in the store, written once. Download it, compare its SHA-256, and have its form, its"
            f" signature and its place in the chain looked at again, without any cluster: {words(check, bold=True)}"
        ),
        says(
            "“signed, verified”: the signature by the given key, the form and the chain are right. “consistent, not"
            " signed”: form and chain are right, and nothing says who wrote it. “status only”: the record was not read;"
            " the figures are what the cluster remembers. RTO: from the order to the first answered query and"
            " everything on disk, verification apart. RPO: from the newest recovered instant to the start of the drill;"
            " ≤ marks an upper bound. Times are UTC.",
            "soft",
        ),
    ]
