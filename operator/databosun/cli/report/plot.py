"""A measured time against its objective, as shapes: laid out once, drawn as SVG or into a PDF.

The scale of the spans is logarithmic, since an objective of hours and a restore of seconds belong into one picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

from databosun.api.report import ReportDatabase, Trust
from databosun.cli.report.words import limit

WIDTH, HEIGHT = 440.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 14.0, 22.0, 22.0
FLOOR = 0.5  # seconds; what is shorter is drawn here
STEPS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 604_800, 2_592_000)
MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement. `met` None: there was no objective."""

    at: datetime
    seconds: float
    objective: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line or a run of them. `style`: grid, axis, objective, series."""

    points: tuple[tuple[float, float], ...]
    style: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One measurement. `style`: good, bad, plain."""

    x: float
    y: float
    style: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text. `anchor`: start, middle, end."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"]
    style: str = "label"


Shape = Line | Dot | Label


def points_of(database: ReportDatabase, which: str) -> list[Point]:
    """What the drills of a database measured, oldest first. Records that are not as written are left out."""
    found = []
    for drill in reversed(database.drills):
        measured = drill.rto if which == "rto" else drill.rpo
        if measured is not None and drill.record.trust is not Trust.BROKEN:
            found.append(Point(drill.at, measured.seconds, measured.objective, measured.met))
    return found


def lay_out(title: str, points: Sequence[Point]) -> list[Shape]:
    """The picture, in a box of WIDTH by HEIGHT, its origin at the top left."""
    shapes: list[Shape] = [Label(0, 11, title, "start", "title")]
    if not points:
        return [*shapes, Label(WIDTH / 2, HEIGHT / 2, "nothing was measured in this period", "middle")]
    limits = [one.objective for one in points if one.objective is not None]
    low = max(FLOOR, min([one.seconds for one in points] + limits)) / 1.6
    high = max(FLOOR, max([one.seconds for one in points] + limits)) * 1.6
    first, last = points[0].at, points[-1].at
    if last - first < timedelta(hours=1):
        first, last = first - timedelta(hours=12), last + timedelta(hours=12)

    def x_of(at: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((at - first) / (last - first))

    def y_of(seconds: float) -> float:
        share = math.log(max(FLOOR, seconds) / low) / math.log(high / low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    for tick in _ticks(low, high):
        shapes.append(Line(((LEFT, y_of(tick)), (WIDTH - RIGHT, y_of(tick))), "grid"))
        shapes.append(Label(LEFT - 5, y_of(tick) + 3, limit(tick) if tick >= 1 else f"{tick}s", "end"))
    shapes.append(Line(((LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)), "axis"))
    shapes += _dates(first, last, x_of)
    shapes += _objective(points, (x_of(first), x_of(last)), x_of, y_of)
    shapes.append(Line(tuple((x_of(one.at), y_of(one.seconds)) for one in points), "series"))
    styles = {True: "good", False: "bad", None: "plain"}
    shapes += [Dot(x_of(one.at), y_of(one.seconds), styles[one.met]) for one in points]
    return shapes


def _ticks(low: float, high: float) -> list[float]:
    fit = [step for step in STEPS if low <= step <= high]
    while len(fit) > MOST_TICKS:
        fit = fit[::2]
    return fit


def _dates(first: datetime, last: datetime, x_of: Callable[[datetime], float]) -> list[Shape]:
    pattern = (
        "%H:%M" if last - first <= timedelta(days=2) else "%d %b" if last - first < timedelta(days=300) else "%b %Y"
    )
    count = 4
    shapes: list[Shape] = []
    for number in range(count + 1):
        at = first + (last - first) * number / count
        anchor: Literal["start", "middle", "end"]
        anchor = "start" if number == 0 else "end" if number == count else "middle"
        shapes.append(Label(x_of(at), HEIGHT - 8, f"{at.astimezone(UTC):{pattern}}", anchor))
    return shapes


def _objective(
    points: Sequence[Point],
    ends: tuple[float, float],
    x_of: Callable[[datetime], float],
    y_of: Callable[[float], float],
) -> list[Shape]:
    """The objective as it was at each drill: steps, since it may be changed."""
    known = [(one.at, one.objective) for one in points if one.objective is not None]
    if not known:
        return []
    path: list[tuple[float, float]] = [(ends[0], y_of(known[0][1]))]
    for (_, before), (at, now) in pairwise(known):
        if before != now:
            path += [(x_of(at), y_of(before)), (x_of(at), y_of(now))]
    path.append((ends[1], y_of(known[-1][1])))
    return [
        Line(tuple(path), "objective"),
        Label(WIDTH - RIGHT, 11, f"objective {limit(known[-1][1])}", "end", "objective"),
    ]


# --- SVG

_STROKES = {"grid": "#e3e7ed", "axis": "#8a94a3", "objective": "#b45309", "series": "#7c8da6"}
COLOURS = {"good": "#15803d", "bad": "#b91c1c", "plain": "#475569", "warn": "#b45309"}


def svg(title: str, points: Sequence[Point]) -> str:
    """The picture as an SVG element. Its texts are ours alone: figures, dates and the title."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{title}" xmlns="http://www.w3.org/2000/svg">'
    ]
    parts += [_element(shape) for shape in lay_out(title, points)]
    return "".join([*parts, "</svg>"])


def _element(shape: Shape) -> str:
    if isinstance(shape, Line):
        dash = ' stroke-dasharray="5 3"' if shape.style == "objective" else ""
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        width = 1.4 if shape.style in {"objective", "series"} else 1
        return (
            f'<polyline points="{points}" fill="none" stroke="{_STROKES[shape.style]}" stroke-width="{width}"{dash}/>'
        )
    if isinstance(shape, Dot):
        return f'<circle cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="3" fill="{COLOURS[shape.style]}"/>'
    bold = ' font-weight="600" font-size="11"' if shape.style == "title" else ' font-size="9"'
    fill = {"title": "#1f2937", "objective": "#b45309"}.get(shape.style, "#5b6675")
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{shape.anchor}"'
    return f'<text {place} fill="{fill}"{bold}>{shape.text}</text>'
