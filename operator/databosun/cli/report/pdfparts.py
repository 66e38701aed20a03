"""What a PDF is put together from: fonts, styles, tables that break across pages, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

import ttf_opensans
from reportlab.graphics.shapes import Circle, Drawing, PolyLine, String
from reportlab.lib import colors
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, Paragraph, Table, TableStyle

from databosun.cli.report.plot import COLOURS, HEIGHT, WIDTH, Dot, Line, Point, lay_out
from databosun.cli.report.words import clean

REGULAR, BOLD = "OpenSans", "OpenSans-Bold"
INK, SOFT, RULE, HEAD = (colors.HexColor(one) for one in ("#1f2937", "#5b6675", "#dfe4ea", "#f4f6f8"))
_STROKES = {"grid": "#e3e7ed", "axis": "#8a94a3", "objective": "#b45309", "series": "#7c8da6"}


@cache
def _glyphs() -> frozenset[int]:
    """Register the fonts, and say which characters they have."""
    regular = TTFont(REGULAR, str(ttf_opensans.OPENSANS_REGULAR.path))
    pdfmetrics.registerFont(regular)
    pdfmetrics.registerFont(TTFont(BOLD, str(ttf_opensans.OPENSANS_SEMIBOLD.path)))
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)
    return frozenset(regular.face.charToGlyph)


def plain(value: object) -> str:
    """Text as the fonts can show it; what they have no form for is written out."""
    known = _glyphs()
    return "".join(one if ord(one) in known else f"\\u{ord(one):04x}" for one in clean(value))


def style(name: str) -> ParagraphStyle:
    """One of the few styles that there are."""
    return _styles()[name]


@cache
def _styles() -> dict[str, ParagraphStyle]:
    _glyphs()
    common: dict[str, Any] = {"fontName": REGULAR, "textColor": INK, "splitLongWords": 1}
    made = (
        ParagraphStyle("title", fontSize=20, leading=25, **{**common, "fontName": BOLD}),
        ParagraphStyle(
            "h2", keepWithNext=1, fontSize=13, leading=17, spaceBefore=14, spaceAfter=5, **{**common, "fontName": BOLD}
        ),
        ParagraphStyle(
            "h3", keepWithNext=1, fontSize=11, leading=14, spaceBefore=10, spaceAfter=2, **{**common, "fontName": BOLD}
        ),
        ParagraphStyle("body", fontSize=8.5, leading=12, spaceAfter=3, **common),
        ParagraphStyle("soft", fontSize=7.5, leading=10.5, spaceAfter=2, **{**common, "textColor": SOFT}),
        ParagraphStyle("cell", fontSize=7.2, leading=9.4, **common),
        ParagraphStyle("head", fontSize=7.2, leading=9.4, **{**common, "fontName": BOLD, "textColor": SOFT}),
        ParagraphStyle("tile", fontSize=16, leading=19, **{**common, "fontName": BOLD}),
        ParagraphStyle("code", fontSize=6.2, leading=8, **{**common, "textColor": SOFT}),
    )
    return {one.name: one for one in made}


def words(value: object, tone: str = "plain", *, bold: bool = False) -> str:
    """Text for a paragraph: escaped, in its colour."""
    text = escape(plain(value), quote=False)
    text = f"<b>{text}</b>" if bold else text
    return text if tone == "plain" else f'<font color="{COLOURS[tone]}">{text}</font>'


def says(markup: str, name: str = "body") -> Paragraph:
    """A paragraph of text that went through `words`."""
    return Paragraph(markup, style(name))


def table(
    head: Sequence[str], rows: Sequence[Sequence[str | Flowable]], shares: Sequence[float], width: float
) -> Table:
    """A table of `width`, its head on every page, its cells broken wherever they must."""
    total = sum(shares)
    body = [[one if isinstance(one, Flowable) else says(one, "cell") for one in row] for row in rows]
    made = Table(
        [[says(words(one), "head") for one in head], *body],
        colWidths=[width * share / total for share in shares],
        repeatRows=1,
        splitInRow=1,
    )
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.9, INK),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return made


def tiles(figures: Sequence[tuple[object, str, str]], width: float) -> Table:
    """Figures side by side: value, what it is, its tone."""
    per_row = 4
    rows = [figures[start : start + per_row] for start in range(0, len(figures), per_row)]
    cells = [
        [[says(words(value, tone), "tile"), says(words(what), "soft")] for value, what, tone in row]
        + [""] * (per_row - len(row))
        for row in rows
    ]
    made = Table(cells, colWidths=[width / per_row] * per_row)
    made.setStyle(
        TableStyle(
            [
                ("BOX", (0, 0), (-1, -1), 0.5, RULE),
                ("INNERGRID", (0, 0), (-1, -1), 0.5, RULE),
                ("BACKGROUND", (0, 0), (-1, -1), HEAD),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 8),
            ]
        )
    )
    return made


def alarm(lines: Sequence[str], width: float) -> Table:
    """What is wrong, where nobody overlooks it."""
    made = Table([[[says(line) for line in lines]]], colWidths=[width], splitInRow=1)
    made.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), colors.HexColor("#fef2f2")),
                ("LINEBEFORE", (0, 0), (0, -1), 2.5, colors.HexColor(COLOURS["bad"])),
                ("LEFTPADDING", (0, 0), (-1, -1), 8),
            ]
        )
    )
    return made


def picture(title: str, points: Sequence[Point], width: float) -> Drawing:
    """A plot, as wide as it is told."""
    scale = width / WIDTH
    drawn = Drawing(width, HEIGHT * scale)
    for shape in lay_out(title, points):
        if isinstance(shape, Line):
            flat = [value for x, y in shape.points for value in (x * scale, (HEIGHT - y) * scale)]
            stroke = colors.HexColor(_STROKES[shape.style])
            line = PolyLine(flat, strokeColor=stroke, strokeWidth=0.8)
            if shape.style == "objective":
                line.strokeDashArray = [3, 2]
            drawn.add(line)
        elif isinstance(shape, Dot):
            fill = colors.HexColor(COLOURS[shape.style])
            drawn.add(Circle(shape.x * scale, (HEIGHT - shape.y) * scale, 2, fillColor=fill, strokeColor=None))
        else:
            size = 8.5 if shape.style == "title" else 6.6
            fill = {"title": INK, "objective": colors.HexColor(COLOURS["warn"])}.get(shape.style, SOFT)
            font = BOLD if shape.style == "title" else REGULAR
            place = (shape.x * scale, (HEIGHT - shape.y) * scale)
            drawn.add(String(*place, shape.text, fontName=font, fontSize=size, fillColor=fill, textAnchor=shape.anchor))
    return drawn


def pair(left: Flowable, right: Flowable, width: float) -> Table:
    """Two pictures beside each other."""
    made = Table([[left, right]], colWidths=[width / 2, width / 2])
    made.setStyle(TableStyle([("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 4 * mm)]))
    return made
