"""The CRDs as a whole: what every field has, and what cannot be said in one is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.crd import crd_documents, crds_yaml, structural_schema
from databosun.api.v1alpha1.kind import Kind
from databosun.api.v1alpha1.kinds import KINDS
from databosun.api.v1alpha1.schema import cel, checks, found_instead, matches, rules

Schema = dict[str, Any]


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _fields(child, f"{path}.{name}")
    for key, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from _fields(schema[key], f"{path}{sign}")


def _all() -> dict[str, Schema]:
    """Every field of every kind by its path."""
    return {
        path: schema
        for document in crd_documents()
        for path, schema in _fields(
            document["spec"]["versions"][0]["schema"]["openAPIV3Schema"], document["spec"]["names"]["kind"]
        )
        if not path.endswith((".apiVersion", ".kind", ".metadata"))
    }


def _bounded(schema: Schema) -> bool:
    match schema.get("type"):
        case "string":
            return "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time"
        case "array":
            return "maxItems" in schema and "x-kubernetes-list-type" in schema
        case "object":
            return "additionalProperties" not in schema or "maxProperties" in schema
    return schema["type"] in ("integer", "boolean") if "type" in schema else schema["x-kubernetes-int-or-string"]


def test_everything_is_bounded() -> None:
    assert not [path for path, schema in _all().items() if not _bounded(schema)]


def test_nothing_closes_the_door_on_fields_to_come() -> None:
    assert not [path for path, schema in _all().items() if schema.get("additionalProperties") is False]


def test_nothing_is_left_of_pydantics_own_words() -> None:
    assert not [path for path, schema in _all().items() if {"title", "$ref", "$defs", "anyOf"} & _own(schema)]


def _own(schema: Schema) -> set[str]:
    return set(schema) - ({"anyOf"} if "x-kubernetes-int-or-string" in schema else set())


def test_every_field_explains_itself() -> None:
    fields = {path: schema for path, schema in _all().items() if not path.endswith(("[]", "{}"))}
    assert not [path for path, schema in fields.items() if not re.search(r"\w\W+\w.*[.?]$", schema["description"])]


def test_every_rule_has_a_sentence_without_a_full_stop() -> None:
    messages = {
        f"{path}: {rule['message']}"
        for path, schema in _all().items()
        for rule in schema.get("x-kubernetes-validations", ())
        if len(rule["message"].split()) < 4 or rule["message"].endswith(".")
    }
    assert not messages


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_kind_has_a_status_subresource_where_it_has_a_status(kind: Kind) -> None:
    document = next(one for one in crd_documents() if one["spec"]["names"]["kind"] == kind.kind)
    version = document["spec"]["versions"][0]
    has_status = "status" in version["schema"]["openAPIV3Schema"]["properties"]
    assert has_status == ("subresources" in version) == (kind.status is not None)


def test_writing_twice_gives_the_same_bytes() -> None:
    assert crds_yaml() == crds_yaml()
    assert [yaml.safe_load(text) for text in crds_yaml().values()] == crd_documents()


def test_no_file_uses_anchors() -> None:
    assert not [name for name, text in crds_yaml().items() if "&id" in text or "*id" in text]


def test_no_short_name_is_a_plain_word_that_others_use() -> None:
    assert not {kind.short_name for kind in KINDS} & {"backup", "backups", "db", "database", "schedule", "approval"}


class _Part(Model):
    """A part."""

    model_config = rules(cel("of the type", "a"))
    name: Annotated[str, Field(max_length=3)] = Field(description="Its name.")


class _Whole(Model):
    """A whole."""

    part: Annotated[_Part, checks(cel("of the field", "b"))] = Field(description="One part.")
    maybe: _Part | None = None
    texts: dict[str, str] | None = None
    word: Annotated[str, Field(pattern="^a$"), matches("^a$", "the letter a")] = "a"


def test_what_a_reference_names_is_put_in_its_place() -> None:
    part = structural_schema(_Whole)["properties"]["part"]
    assert part["description"] == "One part."
    assert part["properties"]["name"] == {"type": "string", "maxLength": 3, "description": "Its name."}
    assert [rule["rule"] for rule in part["x-kubernetes-validations"]] == ["of the type", "of the field"]


def test_none_means_absent() -> None:
    schema = structural_schema(_Whole)
    assert schema["required"] == ["part"]
    assert schema["properties"]["maybe"]["type"] == "object"
    assert "default" not in schema["properties"]["maybe"]
    assert schema["properties"]["texts"]["additionalProperties"] == {"type": "string"}


def test_a_pattern_with_a_sentence_gives_way_to_the_rule() -> None:
    word = structural_schema(_Whole)["properties"]["word"]
    assert word == {
        "type": "string",
        "default": "a",
        "x-kubernetes-validations": [found_instead("self.matches('^a$')", "the letter a")],
    }


@pytest.mark.parametrize(
    "annotation",
    [float, int | str, dict[str, Any], tuple[int, str], Annotated[dict[Annotated[str, Field(max_length=3)], int], 0]],
)
def test_what_a_crd_cannot_say_is_an_error_that_names_the_field(annotation: object) -> None:
    model = type("Odd", (Model,), {"__annotations__": {"odd_one": annotation}, "__module__": __name__})
    with pytest.raises(TypeError, match=r"Odd\.oddOne"):
        structural_schema(model)
