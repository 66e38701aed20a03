"""The reference of the API as Markdown: every field, condition and reason, from the same models as the CRDs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from databosun.api.v1alpha1.common import API_VERSION, PodTemplate
from databosun.api.v1alpha1.conditions import Condition, ConditionType
from databosun.api.v1alpha1.crd import build_crd, structural_schema
from databosun.api.v1alpha1.kind import Kind
from databosun.api.v1alpha1.kinds import CATEGORY, KINDS
from databosun.api.v1alpha1.reasons import WHAT_TO_DO
from databosun.api.v1alpha1.schema import VALIDATIONS

Schema = Mapping[str, Any]

_APART = {"podTemplate": "pod-template", "conditions": "conditions"}
"""Parts that many kinds share, each described once, in a section of its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field. `rules` are sentences about how its fields go together."""

    path: str
    takes: str
    default: str
    meaning: str
    rules: tuple[str, ...]


def reference() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# API reference",
            "",
            f"All kinds of `{API_VERSION}`, their fields, conditions and reasons. All are namespaced;"
            f" `kubectl get {CATEGORY}` lists them all. `kubectl explain` says the same:"
            " try `kubectl explain bpol.spec.retention`.",
            "",
            "This page is generated from the models by `hack/crds/crds sync`; do not edit it.",
            "",
            *_table(
                ("Kind", "Short", "Is"),
                [(f"[{kind.kind}](#{kind.singular})", f"`{kind.short_name}`", kind.description) for kind in KINDS],
            ),
            *(line for kind in KINDS for line in _kind(kind)),
            *_section("Pod template", PodTemplate.__doc__ or "", structural_schema(PodTemplate), "podTemplate"),
            *_conditions(),
            *_reasons(),
        ]
    )


def _kind(kind: Kind) -> Iterator[str]:
    schema = build_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield from (f"## {kind.kind}", "", kind.description, "")
    if kind.name_limit is not None:
        yield from (f"Its name has at most {kind.name_limit} characters and no dots.", "")
    columns = [
        (f"`{column.name.upper()}`", f"`{column.path}`", "`-o wide`" if column.wide else "", column.description)
        for column in kind.columns
    ]
    yield from (f"### `kubectl get {kind.short_name}`", "")
    yield from _table(("Column", "Shows", "With", "Says"), columns)
    for part in ("spec", "status"):
        if part in schema["properties"]:
            yield from _fields(f"### {kind.kind} {part}", schema["properties"][part], part)


def _section(title: str, text: str, schema: Schema, path: str) -> Iterator[str]:
    yield from _fields(f"## {title}", schema, path, text)


def _fields(heading: str, schema: Schema, path: str, text: str | None = None) -> Iterator[str]:
    yield from (heading, "", text or schema["description"], "")
    rows = list(_rows(schema, path, top=True))
    yield from _table(
        ("Field", "Takes", "Default", "Meaning"),
        [(f"`{row.path}`", row.takes, row.default, row.meaning) for row in rows if row.takes],
    )
    rules = [f"- `{row.path}`: {rule}." for row in rows for rule in row.rules]
    if rules:
        yield from ("The API server refuses what breaks one of these:", "", *rules, "")


def _rows(schema: Schema, path: str, *, top: bool = False, required: bool = False) -> Iterator[Row]:
    name = path.rpartition(".")[2].removesuffix("[]")
    rules = tuple(
        rule["message"] for rule in schema.get(VALIDATIONS, ()) if not rule["message"].startswith("expected ")
    )
    if top:
        yield Row(path, "", "", "", rules)
    else:
        takes = f"**required**, {_takes(schema)}" if required else _takes(schema)
        default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
        apart = _APART.get(name)
        link = f" See [{apart.replace('-', ' ')}](#{apart})." if apart else ""
        yield Row(path, takes, default, schema["description"] + link, rules)
        if apart:
            return
    inner = schema.get("items", schema)
    if "items" in schema:
        path += "[]"
        rules = tuple(rule["message"] for rule in inner.get(VALIDATIONS, ()) if not _expected(inner))
        if rules:
            yield Row(path, "", "", "", rules)
    for child, below in inner.get("properties", {}).items():
        yield from _rows(below, f"{path}.{child}", required=child in inner.get("required", ()))


def _expected(schema: Schema) -> str | None:
    """What a value has to be, in the words of the rule that refuses others."""
    messages = (rule["message"] for rule in schema.get(VALIDATIONS, ()))
    found = next((message for message in messages if message.startswith("expected ")), None)
    return re.sub(r" \(.*", "", found.removeprefix("expected ")) if found else None


def _takes(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "items" in schema:
        return f"list{_range(schema, 'minItems', 'maxItems', ' of ')}: {_takes(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map: {_takes(schema['additionalProperties'])}"
    if expected := _expected(schema):
        return expected
    if schema.get("format") == "date-time":
        return "a time such as `2026-03-01T02:00:00Z`"
    if schema["type"] == "string":
        return f"text{_range(schema, 'minLength', 'maxLength', ' of ')} characters"
    return {"boolean": "`true`, `false`", "object": "object"}.get(
        schema["type"], f"integer{_range(schema, 'minimum', 'maximum', ' ')}"
    )


def _range(schema: Schema, low: str, high: str, lead: str) -> str:
    if high not in schema:
        return f"{lead}at least {schema[low]}" if low in schema else ""
    return f"{lead}{schema[low]} to {schema[high]}" if low in schema else f"{lead}at most {schema[high]}"


def _conditions() -> Iterator[str]:
    yield from _section("Conditions", Condition.__doc__ or "", structural_schema(Condition), "conditions[]")
    yield from _table(("Type", "True means"), [(f"`{kind}`", kind.meaning) for kind in ConditionType])


def _reasons() -> Iterator[str]:
    yield from ("## Reasons", "", "What conditions, failures and Events give as `reason`, and what to do about it.", "")
    yield from _table(("Reason", "What to do"), [(f"`{reason}`", text) for reason, text in sorted(WHAT_TO_DO.items())])


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield _line(head)
    yield _line(("---",) * len(head))
    for row in rows:
        yield _line(row)
    yield ""


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
