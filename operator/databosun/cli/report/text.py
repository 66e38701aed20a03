"""Reports as HTML, Markdown and JSON."""

from __future__ import annotations

import json
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from databosun.api.report import Report
from databosun.api.v1alpha1.common import Model
from databosun.cli.report import words
from databosun.cli.report.plot import points_of, svg
from databosun.domain.controls import DISCLAIMER

_MARKS = str.maketrans({one: f"\\{one}" for one in "\\`*_[]<>|"})


def as_json(report: Model) -> str:
    """For programs."""
    return json.dumps(report.dump(), indent=2, ensure_ascii=False) + "\n"


def as_html(report: Report) -> str:
    """One file with all that it needs; whatever a name or a message holds, it is shown as text."""
    return rendered("report.html.j2", report=report, picture=_picture)


def as_markdown(report: Report) -> str:
    """For a ticket, a wiki or a terminal."""
    return rendered("report.md.j2", report=report)


def rendered(template: str, **values: object) -> str:
    """A template with these values, and what all of them use."""
    return _environment().get_template(template).render(w=words, disclaimer=DISCLAIMER, **values)


def _picture(database: object, which: str) -> Markup:
    title = {"rto": "Time to restore (RTO)", "rpo": "Span of lost writes (RPO)"}[which]
    return Markup(svg(title, points_of(database, which)))  # type: ignore[arg-type]  # noqa: S704 (figures and dates only)


def marked(value: object) -> str:
    """Text inside Markdown: nothing in it is taken for a mark, and it stays on its line."""
    return words.clean(value).translate(_MARKS)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("databosun.cli.report", "templates"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else words.clean(value),
    )
    found.filters["md"] = marked
    return found
