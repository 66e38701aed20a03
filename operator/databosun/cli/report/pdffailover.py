"""The failover tests of a report as a PDF's part."""

from __future__ import annotations

from collections.abc import Sequence

from reportlab.platypus import Flowable

from databosun.api.report import ReportFailover
from databosun.cli.report import words as w
from databosun.cli.report.pdfparts import says, table, words

_HEAD = (
    "When", "Test", "Verdict", "Primary moved", "Nobody could write for", "Acknowledged writes lost",
    "Old primary back after", "Record",
)  # fmt: skip


def failover_story(tests: Sequence[ReportFailover], width: float) -> list[Flowable]:
    """Nothing where there is none."""
    if not tests:
        return []
    rows = [_row(one) for one in tests]
    return [says("Failover tests", "h2"), table(_HEAD, rows, (14, 16, 30, 18, 11, 10, 10, 32), width)]


def _row(one: ReportFailover) -> list[str | Flowable]:
    verdict = f"{words(one.verdict, w.tone(one.verdict), bold=True)}<br/>{words(one.message)}"
    verdict += "".join(f"<br/>{words(f'two primaries: {line}', 'bad')}" for line in one.split_brain)
    trust = words(w.TRUSTS[one.record.trust], w.tone(one.record.trust))
    wrong = "".join(f"<br/>{words(problem, 'bad')}" for problem in one.record.problems)
    return [
        words(w.instant(one.at)),
        f"{words(f'{one.namespace}/{one.database}')}<br/>{words(one.run)}",
        verdict,
        f"{words(one.mode or w.NONE)}<br/>{words(w.moved(one))}",
        words(w.downtime(one)),
        words(w.lost(one), "bad" if one.lost else "plain"),
        words(w.span(one.rejoin)),
        f"{trust}{wrong}<br/>{words(one.record.where)}<br/>SHA-256 {one.record.sha256 or w.NONE}",
    ]
