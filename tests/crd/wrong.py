"""Wrong values for every field of every kind, made from the schemas: each has to be refused by the field's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from crd.objects import (
    Object,
    Place,
    Schema,
    good_objects,
    pattern_of,
    places,
    schema_of,
    value_at,
    with_value,
    without,
    written,
)

NONSENSE = "?! =://"
"""Breaks every rule on texts: it has a blank, signs that no name has, and is neither duration, size nor time."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One object with one wrong value, where it is wrong, and what the refusal has to say besides."""

    id: str
    body: Object
    field: str
    says: str = ""


@cache
def wrong_objects(kind: str, part: str) -> tuple[Wrong, ...]:
    """Wrong values for each field of a kind below `part`: spec or status."""
    cases: dict[str, Wrong] = {}
    for body in good_objects(kind):
        for place, schema in places(schema_of(kind), body):
            if place and place[0] == part:
                for case in _of_place(kind, body, place, schema):
                    cases.setdefault(case.id, case)
    return tuple(cases.values())


def _of_place(kind: str, body: Object, place: Place, schema: Schema) -> Iterator[Wrong]:
    name = f"{kind}-{pattern_of(kind, place)}"
    for label, value, says in _values(schema, value_at(body, place)):
        yield Wrong(f"{name}-{label}", with_value(body, place, value), written(place), says)
    for child in schema.get("required", ()):
        missing = (*place, child)
        yield Wrong(f"{name}.{child}-missing", without(body, missing), written(missing), "Required value")
    if "properties" in schema:
        unknown = (*place, "notAField")
        yield Wrong(f"{name}-unknown", with_value(body, unknown, 1), written(unknown), "unknown field")


def _values(schema: Schema, value: Any) -> Iterator[tuple[str, Any, str]]:
    if schema.get("x-kubernetes-int-or-string"):
        yield from (("boolean", True, ""), ("negative", -1, "expected"), ("nonsense", NONSENSE, "expected"))
        return
    match schema["type"]:
        case "string":
            yield from _texts(schema)
        case "integer":
            yield from (("text", "seven", "integer"), ("fraction", 1.5, "integer"))
            if "minimum" in schema:
                yield "low", schema["minimum"] - 1, "greater than or equal"
            if "maximum" in schema:
                yield "high", schema["maximum"] + 1, "less than or equal"
        case "boolean":
            yield "text", "yes please", "boolean"
        case "array":
            yield "text", "text", "array"
            yield "many", (value * (schema["maxItems"] + 1))[: schema["maxItems"] + 1], ""
            if "minItems" in schema:
                yield "few", [], "at least"
        case "object":
            yield "text", "text", "object"
            yield from _maps(schema)


def _texts(schema: Schema) -> Iterator[tuple[str, Any, str]]:
    yield "integer", 7, schema.get("format", "string")
    if "enum" in schema:
        yield "nonsense", NONSENSE, "supported values"
    if "format" in schema:
        yield "nonsense", NONSENSE, "date-time"
    if "maxLength" in schema:
        yield "long", "a" * (schema["maxLength"] + 1), "may not be more than"
    if schema.get("minLength"):
        yield "empty", "", "at least"
    if "x-kubernetes-validations" in schema:
        yield "nonsense", NONSENSE, "expected"


def _maps(schema: Schema) -> Iterator[tuple[str, Any, str]]:
    if "maxProperties" in schema:
        yield "many", {f"key{i}": "a" for i in range(schema["maxProperties"] + 1)}, "at most"
    if schema.get("minProperties"):
        yield "few", {}, "at least"
    if "x-kubernetes-validations" in schema and "additionalProperties" in schema:
        yield "key", {NONSENSE: "a"}, "expected keys"
