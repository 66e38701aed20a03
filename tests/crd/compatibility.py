"""Whether a new CRD takes all that an older one took, and means the same by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_AT_LEAST = ("minimum", "minLength", "minItems", "minProperties")
_AT_MOST = ("maximum", "maxLength", "maxItems", "maxProperties")
_FIXED = (
    "type",
    "format",
    "default",
    "pattern",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)


def breaks(old: Schema, new: Schema) -> list[str]:
    """One sentence for everything that an object, a writer or a reader of the older CRD would stumble over."""
    return [*_names(old["spec"], new["spec"]), *_versions(old["spec"], new["spec"])]


def _names(old: Schema, new: Schema) -> Iterator[str]:
    for key in ("group", "scope"):
        if old[key] != new[key]:
            yield f"{key} was {old[key]}, is {new[key]}"
    for key in ("kind", "listKind", "plural", "singular"):
        if old["names"][key] != new["names"][key]:
            yield f"names.{key} was {old['names'][key]}, is {new['names'][key]}"
    for key in ("shortNames", "categories"):
        for lost in sorted(set(old["names"][key]) - set(new["names"][key])):
            yield f"names.{key} lost {lost}"


def _versions(old: Schema, new: Schema) -> Iterator[str]:
    versions = {version["name"]: version for version in new["versions"]}
    for before in old["versions"]:
        after = versions.get(before["name"])
        if after is None or not after["served"]:
            yield f"version {before['name']} is served no more"
            continue
        if "subresources" in before and "subresources" not in after:
            yield f"version {before['name']} lost its status subresource"
        fields = [one["jsonPath"] for one in after.get("selectableFields", ())]
        for lost in (one["jsonPath"] for one in before.get("selectableFields", ())):
            if lost not in fields:
                yield f"version {before['name']} cannot be selected by {lost} any more"
        yield from schema_breaks(before["schema"]["openAPIV3Schema"], after["schema"]["openAPIV3Schema"], "")


def schema_breaks(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """The same for a part of a schema; `path` names it."""
    yield from _bounds(old, new, path)
    yield from _rules(old, new, path)
    for name, child in old.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        if name in new.get("properties", {}):
            yield from schema_breaks(child, new["properties"][name], below)
        else:
            yield f"{below}: the field is gone"
    for key, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if key in old and key in new:
            yield from schema_breaks(old[key], new[key], f"{path}{sign}")
        elif (key in old) != (key in new):
            yield f"{path}: {key} came or went"


def _bounds(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for key in _FIXED:
        if old.get(key) != new.get(key):
            yield f"{path}: {key} was {old.get(key)!r}, is {new.get(key)!r}"
    for key in _AT_LEAST:
        if key in new and (key not in old or new[key] > old[key]):
            yield f"{path}: {key} was {old.get(key)}, is {new[key]}"
    for key in _AT_MOST:
        if key in new and (key not in old or new[key] < old[key]):
            yield f"{path}: {key} was {old.get(key)}, is {new[key]}"
    if "enum" in new:
        for lost in sorted(set(old.get("enum", ("any value",))) - set(new["enum"])):
            yield f"{path}: {lost} is taken no more"
    if old.get("x-kubernetes-preserve-unknown-fields") and not new.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{path}: unknown fields are kept no more"


def _rules(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield f"{path}.{name}: the field became required"
    before = {rule["rule"] for rule in old.get("x-kubernetes-validations", ())}
    for rule in new.get("x-kubernetes-validations", ()):
        if rule["rule"] not in before:
            yield f"{path}: a rule is new: {rule['rule']}"
