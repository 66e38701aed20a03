"""What `charts/` repeats of what stands elsewhere: copies of the CRDs, and the table of values in each README."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"
CHARTS = ROOT / "charts"
BEGIN = "<!-- values: written by hack/charts/charts sync -->"
END = "<!-- end of values -->"


def wanted() -> dict[Path, bytes | None]:
    """What the repeated files should hold; None for one that should not be there."""
    copies = CHARTS / "databosun-crds" / "files"
    files: dict[Path, bytes | None] = dict.fromkeys(copies.glob("*.yaml"))
    files |= {copies / source.name: source.read_bytes() for source in sorted(CRDS.glob("*.yaml"))}
    for chart in ("databosun", "databosun-crds"):
        readme = CHARTS / chart / "README.md"
        files[readme] = _with_table(readme.read_text(), values_table(CHARTS / chart)).encode()
    return files


def drifted() -> list[Path]:
    """The files that are not as they should be, relative to the repository."""
    return [
        path.relative_to(ROOT)
        for path, content in wanted().items()
        if (path.read_bytes() if path.exists() else None) != content
    ]


def write() -> list[Path]:
    """Put right what has drifted; returns it."""
    changed = drifted()
    for path, content in wanted().items():
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return changed


def values_table(chart: Path) -> str:
    """A Markdown table of every value of a chart: name, default, description."""
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    rows = ["| Value | Default | Meaning |", "| --- | --- | --- |"]
    for path, description in described(schema):
        default = json.dumps(_at(values, path), ensure_ascii=False)
        rows.append(f"| `{'.'.join(path)}` | `{default}` | {description} |")
    return "\n".join(rows)


def described(schema: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every value that may be set by itself, with the schema's description; not what only parent charts use."""
    for name, part in schema["properties"].items():
        if not path and name in ("global", "enabled"):
            continue
        if "properties" in part:
            yield from described(part, (*path, name))
        else:
            yield (*path, name), part["description"]


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values[name]
    return values


def _with_table(text: str, table: str) -> str:
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        message = f"README.md of a chart needs the lines {BEGIN!r} and {END!r}"
        raise ValueError(message)
    return f"{before}{begin}\n{table}\n{end}{after}"
