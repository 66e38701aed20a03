"""Writing to the terminal: tables as kubectl prints them, JSON, YAML. Colours only where a person looks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from databosun.cli.options import Output

# What goes into a pipe or a file is not wrapped: the next program reads lines.
UNWRAPPED = 10_000


class Screen:
    """Standard output and standard error of one command. NO_COLOR is honoured."""

    def __init__(self, out: Console | None = None, err: Console | None = None) -> None:
        self.out = out or _console(stderr=False)
        self.err = err or _console(stderr=True)

    def say(self, what: RenderableType) -> None:
        """Write a result."""
        self.out.print(what)

    def note(self, text: str) -> None:
        """Write what is no result, so that a pipe does not see it."""
        self.err.print(text, markup=False)

    def document(self, output: Output, document: Any) -> None:
        """Write a result for programs. Never coloured, never wrapped."""
        as_json = output is Output.JSON
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n" if as_json else yaml_of(document)
        self.out.file.write(text)
        self.out.file.flush()


def yaml_of(document: Any) -> str:
    """A document as YAML, in the order that it was built in."""
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def table(header: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table without lines, as kubectl has it."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for name in header:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else escape(cell) for cell in row))
    return made


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else UNWRAPPED)
