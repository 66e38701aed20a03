"""The project's pages for users: their code blocks, links and the words that they take for names of ours."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "charts").glob("*/README.md"),
        *(ROOT / "hack").rglob("README.md"),
    ]
)
VALUES = "# values.yaml"
"""First line of a block that holds values of the chart databosun."""

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_WORD = re.compile(r"`([^`\n]+)`")
_OURS = "databosun.io/v1alpha1"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page, without its indentation."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """For messages and test names."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def documents(self) -> list[Any]:
        """What a YAML block holds."""
        return [one for one in yaml.safe_load_all(self.text) if one is not None]

    @property
    def is_values(self) -> bool:
        """Whether it holds values of the chart instead of objects."""
        return self.text.startswith(VALUES)


def blocks(*languages: str) -> list[Block]:
    """Every fenced block in these languages."""
    return [one for page in PAGES for one in _blocks_of(page) if one.language in languages]


def own_objects() -> list[tuple[str, dict[str, Any]]]:
    """Every object of our kinds in a YAML block, with where it stands."""
    return [
        (block.where, one)
        for block in blocks("yaml")
        if not block.is_values
        for one in block.documents
        if one.get("apiVersion") == _OURS
    ]


def broken_links(page: Path) -> list[str]:
    """Links of a page to files or headings that are not there."""
    targets = [
        target for target in _LINK.findall(_prose(page)) if "://" not in target and not target.startswith("mailto")
    ]
    return [target for target in targets if not _leads_somewhere(page, target)]


def words(page: Path) -> Iterator[str]:
    """What stands in backticks in the prose of a page."""
    yield from _WORD.findall(_prose(page))


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[2], textwrap.dedent(match[3]))


def _prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text())


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    if not found.exists():
        return False
    return not anchor or anchor in {_slug(heading) for heading in _HEADING.findall(_prose(found))}


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
