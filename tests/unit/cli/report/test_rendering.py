"""Every form says the same, shows what is wrong, and takes nothing that was found for anything but text."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from databosun.api.drill import Verdict
from databosun.api.report import Report, ReportObjectives, Review
from databosun.cli.report.pdf import as_pdf
from databosun.cli.report.plot import HEIGHT, WIDTH, Dot, Label, Line, lay_out, points_of
from databosun.cli.report.text import as_html, as_json, as_markdown
from databosun.domain.records import Found
from databosun.domain.report import KnownDatabase, ReportFacts, build_report
from databosun.domain.reportcoverage import KnownBackup
from databosun.domain.reportdrill import KnownRun
from support.evidence import START, Chain, chain_of, check, failover, joint

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = "<script>alert(1)</script>|`x` *y* \u202e \x00 [z](http://q) 日本"


def facts(found: list[Found], **more: Any) -> ReportFacts:
    values: dict[str, Any] = {
        "scope": "namespace shop",
        "since": START - timedelta(days=1),
        "found": found,
        "databases": [
            KnownDatabase(
                "shop", name, "PostgreSQL", "18.1", ReportObjectives(tier=1, rto=900, rpo=300, source="Database")
            )
            for name in ("orders", "never-drilled")
        ],
        "sources": ["records in the store"],
        **more,
    }
    return ReportFacts(**values)


def made(found: list[Found], **more: Any) -> Report:
    return build_report(facts(found, **more), START + timedelta(days=60), "0.1.0")


def sample() -> Report:
    chain = chain_of(2)
    chain.drill(
        verdict="Failed",
        reason="ArtefactCorrupt",
        message="a1/base.tar.zst.0000 is not what was stored",
        proven=False,
        rto=None,
        rpo=None,
        checks=[check("orders", "Failed", message="public.orders has 0 rows", expected=">= 1")],
    )
    chain.found[0] = replace(chain.found[0], data=chain.found[0].data.replace(b"6 checks", b"9 checks"))
    run = KnownRun(
        "shop",
        "orders-03",
        "orders",
        "Failed",
        Verdict.FAILED,
        START,
        review=Review(findings="a disk lied", runbooks="RB-1", by="jo", at="2026-03-20T00:00:00Z"),
    )
    backups = [KnownBackup("shop", "orders", name, START) for name in ("backup-of-orders-02", "never")]
    return made(chain.found, runs=[run], backups=backups)


@pytest.mark.parametrize(("form", "write"), [("md", as_markdown), ("json", as_json)])
def test_a_report_reads_as_it_did(form: str, write: Any) -> None:
    """Where a change is meant, write the new text into the golden file, and look at it."""
    assert write(sample()) == (GOLDEN / f"report.{form}").read_text()


def pdf_text(report: Report) -> str:
    pages = PdfReader(io.BytesIO(as_pdf(report))).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


@pytest.mark.parametrize("write", [as_html, as_markdown, pdf_text])
def test_a_drill_of_many_is_in_every_form(write: Any) -> None:
    found = chain_of(1).found
    report = made([*found, joint(found)])
    text = write(report).replace("\\", "")
    for said in (
        "Drills of many databases together",
        "orders: Passed, back after 1m of 15m",
        "gone: Error",
        "1m1s, MISSED",
    ):
        assert said in text, said


@pytest.mark.parametrize("write", [as_html, as_markdown, pdf_text])
def test_failover_tests_are_in_every_form(write: Any) -> None:
    slow = {"write_downtime_seconds": 12.0, "acknowledged": 900, "lost": 31, "split_brain": ["n1 and n2 at once"]}
    worse = failover("worse", verdict="Failed", reason="WritesLost", message="31 of 900 are lost", measured=slow)
    text = write(
        made([failover(), worse, replace(failover("gone"), where="s3://b/shop/orders/failovers/x/evidence.json")])
    )
    for said in (
        "Failover tests", "2.6s of 10s", "0 of 400", "9.1s", "n1 to n2", "PlannedSwitchover",
        "12.0s of 10s, MISSED", "31 of 900", "31 of 900 are lost", "two primaries: n1 and n2 at once",
        "it lies in the place of shop/orders, run x",
    ):  # fmt: skip
        assert said in text.replace("\\", ""), said


@pytest.mark.parametrize("write", [as_html, as_markdown, pdf_text])
def test_every_form_shows_the_failure_the_note_and_what_is_wrong(write: Any) -> None:
    text = write(sample()).replace("\\", "")
    for said in ("ArtefactCorrupt", "a disk lied", "RB-1", "NOT AS WRITTEN", "changed or replaced", "never-drilled"):
        assert said in text, said
    assert "41.5s of 15m" in text
    assert "compliance" in text


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in {"meta", "br", "polyline", "circle", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"polyline", "circle"}:
            assert self.open.pop() == tag


def hostile() -> Report:
    chain = Chain(database="orders")
    chain.drill(
        verdict="Failed",
        reason="X",
        message=HOSTILE,
        backup=HOSTILE,
        proven=False,
        notes=[HOSTILE],
        checks=[check(HOSTILE, "Failed", observed=HOSTILE, expected=HOSTILE, message=HOSTILE)],
    )
    run = KnownRun(
        "shop", "orders-01", "orders", "Failed", Verdict.FAILED, START, review=Review(findings=HOSTILE, by=HOSTILE)
    )
    return made([*chain.found, Found(HOSTILE, b"no record")], runs=[run])


def test_html_takes_nothing_for_a_tag_and_closes_what_it_opens() -> None:
    page = Elements()
    text = as_html(hostile())
    page.feed(text)
    assert "script" not in page.tags
    assert page.open == []
    assert "\x00" not in text
    assert "\u202e" not in text
    assert "\\u202e" in text


def test_markdown_keeps_its_tables_whatever_a_name_holds() -> None:
    rows = [re.findall(r"(?<!\\)\|", line) for line in as_markdown(hostile()).splitlines() if line.startswith("|")]
    heads = [line for line in as_markdown(hostile()).splitlines() if line.startswith("| ---")]
    assert {len(row) for row in rows} == {line.count("|") for line in heads}
    assert not re.search(r"(?<!\\)<", as_markdown(hostile()))


def test_a_pdf_writes_out_what_its_font_has_no_form_for() -> None:
    text = pdf_text(hostile())
    assert "<script>alert(1)</script>" in text
    assert "\\u65e5" in text


def test_a_report_of_nothing_says_so() -> None:
    empty = made([], databases=[])
    for text in (as_html(empty), as_markdown(empty), pdf_text(empty)):
        assert "There is no database in this scope" in text


def test_two_hundred_databases_with_long_names_fit_their_pages() -> None:
    chains = []
    for number in range(200):
        name = f"database-{number:03}-with-a-name-of-forty-chars"[:40]
        chain = Chain(namespace="n" * 63, database=name)
        chain.drill()
        chains += chain.found
    report = made(chains, databases=[])
    pages = PdfReader(io.BytesIO(as_pdf(report))).pages
    assert report.totals.databases == 200
    assert len(pages) > 100
    text = pages[0].extract_text()
    assert "200" in text


def test_json_reads_back_as_the_same_report() -> None:
    report = sample()
    assert Report.model_validate(json.loads(as_json(report))) == report


# --- plots


@pytest.mark.parametrize("drills", [0, 1, 2, 40])
@pytest.mark.parametrize("seconds", [0.0, 0.3, 41.5, 10_000_000.0])
def test_a_plot_stays_inside_its_box(drills: int, seconds: float) -> None:
    chain = Chain()
    for _ in range(drills):
        chain.drill(rto={"seconds": seconds, "objective": 900.0, "met": seconds <= 900})
    report = made(chain.found)
    points = points_of(next(one for one in report.databases if one.name == "orders"), "rto")
    assert len(points) == drills
    for shape in lay_out("t", points):
        places = shape.points if isinstance(shape, Line) else [(shape.x, shape.y)]
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places), shape


def test_a_plot_marks_what_missed_and_steps_where_the_objective_was_changed() -> None:
    chain = Chain()
    chain.drill(rto={"seconds": 60.0, "objective": 900.0, "met": True})
    chain.drill(rto={"seconds": 60.0, "objective": 30.0, "met": False})
    shapes = lay_out("t", points_of(made(chain.found).databases[-1], "rto"))
    assert [one.style for one in shapes if isinstance(one, Dot)] == ["good", "bad"]
    aim = next(one for one in shapes if isinstance(one, Line) and one.style == "objective")
    assert len({y for _, y in aim.points}) == 2
    assert any(isinstance(one, Label) and one.text == "objective 30s" for one in shapes)


def test_a_record_that_is_not_as_written_is_not_drawn() -> None:
    chain = chain_of(2)
    chain.found[1] = replace(chain.found[1], data=chain.found[1].data + b" ")
    assert len(points_of(made(chain.found).databases[-1], "rto")) == 1
