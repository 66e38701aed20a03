"""The good objects of `good/`, and where in them each field of the schemas stands."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from databosun.api.v1alpha1.crd import crd_documents

GOOD = Path(__file__).parent / "good"

Object = dict[str, Any]
Schema = dict[str, Any]
Place = tuple[str | int, ...]

CRDS: dict[str, Object] = {document["spec"]["names"]["kind"]: document for document in crd_documents()}
PLURALS: dict[str, str] = {kind: document["spec"]["names"]["plural"] for kind, document in CRDS.items()}


def good_objects(kind: str | None = None) -> list[Object]:
    """All of them, or those of one kind; the first of a kind says everything that can be said."""
    return [copy.deepcopy(one) for one in _documents() if kind in (None, one["kind"])]


@cache
def _documents() -> tuple[Object, ...]:
    return tuple(one for path in sorted(GOOD.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text()))


def good(kind: str, name: str) -> Object:
    """One of them, by name."""
    return next(one for one in good_objects(kind) if one["metadata"]["name"] == name)


def schema_of(kind: str) -> Schema:
    """The schema of the kind's only version."""
    schema: Schema = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def fields(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every field of a schema with its path: `spec.schedules[].cron`, `spec.podTemplate.labels{}`."""
    if path:
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from fields(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields(schema["additionalProperties"], f"{path}{{}}")


def places(schema: Schema, value: Any, place: Place = ()) -> Iterator[tuple[Place, Schema]]:
    """Every place of an object that its schema describes."""
    yield place, schema
    if isinstance(value, dict):
        for name, child in value.items():
            below = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(below, dict):
                yield from places(below, child, (*place, name))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(schema["items"], item, (*place, index))


def pattern_of(kind: str, place: Place) -> str:
    """The path of a place as `fields` writes it."""
    schema, path = schema_of(kind), ""
    for step in place:
        if isinstance(step, int):
            schema, path = schema["items"], f"{path}[]"
        elif step in schema.get("properties", {}):
            schema, path = schema["properties"][step], f"{path}.{step}" if path else step
        else:
            schema, path = schema["additionalProperties"], f"{path}{{}}"
    return path


def written(place: Place) -> str:
    """The path of a place as the API server writes it: `spec.schedules[0].cron`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def value_at(body: Object, place: Place) -> Any:
    """What stands there."""
    value: Any = body
    for step in place:
        value = value[step]
    return value


def with_value(body: Object, place: Place, value: Any) -> Object:
    """A copy of the object with another value in one place."""
    changed = copy.deepcopy(body)
    value_at(changed, place[:-1])[place[-1]] = value
    return changed


def without(body: Object, place: Place) -> Object:
    """A copy of the object without one field."""
    changed = copy.deepcopy(body)
    del value_at(changed, place[:-1])[place[-1]]
    return changed
