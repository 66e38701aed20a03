"""Objects that a released CRD took are taken by today's, and mean the same.

`golden/` holds the CRDs of the last release. Where a break is deliberate (alpha versions promise notice alone), say so
in CHANGELOG.md and take today's with `hack/crds/crds accept`; the diff of `golden/` then shows it to the reviewer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from crd.compatibility import breaks
from databosun.api.v1alpha1.crd import crd_documents

GOLDEN = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "golden").glob("*.yaml")}
TODAY = {document["metadata"]["name"]: document for document in crd_documents()}
ADVICE = "If that is deliberate, say so in CHANGELOG.md and run `hack/crds/crds accept`."


def test_there_is_something_to_compare_with() -> None:
    assert set(GOLDEN) >= {"databases.databosun.io", "backups.databosun.io"}


@pytest.mark.parametrize("name", GOLDEN)
def test_todays_schema_takes_what_the_last_release_took(name: str) -> None:
    assert name in TODAY, f"the kind is gone. {ADVICE}"
    broken = breaks(GOLDEN[name], TODAY[name])
    assert not broken, "\n".join([*broken, ADVICE])


def _schema(document: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def _remove_a_field(document: dict[str, Any]) -> None:
    del _schema(document)["properties"]["retries"]


def _tighten_a_maximum(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["retries"]["maximum"] = 3


def _raise_a_minimum(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["retries"]["minimum"] = 1


def _add_a_bound(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["podTemplate"]["properties"]["affinity"]["maxProperties"] = 3


def _require_a_field(document: dict[str, Any]) -> None:
    _schema(document)["required"].append("preset")


def _change_a_default(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["retries"]["default"] = 3


def _drop_a_default(document: dict[str, Any]) -> None:
    del _schema(document)["properties"]["retries"]["default"]


def _take_a_choice_away(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["preset"]["enum"].remove("Critical")


def _change_a_type(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["suspend"]["type"] = "string"


def _add_a_rule(document: dict[str, Any]) -> None:
    _schema(document)["x-kubernetes-validations"].append({"rule": "has(self.preset)", "message": "no"})


def _tighten_inside_a_list(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["schedules"]["items"]["properties"]["name"]["maxLength"] = 10


def _merge_a_list_otherwise(document: dict[str, Any]) -> None:
    _schema(document)["properties"]["schedules"]["x-kubernetes-list-type"] = "atomic"


def _prune_what_was_kept(document: dict[str, Any]) -> None:
    del _schema(document)["properties"]["podTemplate"]["properties"]["affinity"]["x-kubernetes-preserve-unknown-fields"]


def _rename_the_short_name(document: dict[str, Any]) -> None:
    document["spec"]["names"]["shortNames"] = ["bp"]


def _serve_it_no_more(document: dict[str, Any]) -> None:
    document["spec"]["versions"][0]["served"] = False


BREAKS = [
    (_remove_a_field, "spec.retries: the field is gone"),
    (_tighten_a_maximum, "spec.retries: maximum was 10, is 3"),
    (_raise_a_minimum, "spec.retries: minimum was 0, is 1"),
    (_add_a_bound, "spec.podTemplate.affinity: maxProperties was None, is 3"),
    (_require_a_field, "spec.preset: the field became required"),
    (_change_a_default, "spec.retries: default was 2, is 3"),
    (_drop_a_default, "spec.retries: default was 2, is None"),
    (_take_a_choice_away, "spec.preset: Critical is taken no more"),
    (_change_a_type, "spec.suspend: type was 'boolean', is 'string'"),
    (_add_a_rule, "spec: a rule is new: has(self.preset)"),
    (_tighten_inside_a_list, "spec.schedules[].name: maxLength was 40, is 10"),
    (_merge_a_list_otherwise, "spec.schedules: x-kubernetes-list-type was 'map', is 'atomic'"),
    (_prune_what_was_kept, "spec.podTemplate.affinity: unknown fields are kept no more"),
    (_rename_the_short_name, "names.shortNames lost bpol"),
    (_serve_it_no_more, "version v1alpha1 is served no more"),
]


@pytest.mark.parametrize(("change", "said"), BREAKS)
def test_a_break_is_found_and_named(change: Callable[[dict[str, Any]], None], said: str) -> None:
    old = TODAY["backuppolicies.databosun.io"]
    new = copy.deepcopy(old)
    change(new)
    assert breaks(old, new) == [said]


def test_what_only_adds_breaks_nothing() -> None:
    old = TODAY["backuppolicies.databosun.io"]
    new = copy.deepcopy(old)
    spec = _schema(new)
    spec["properties"]["more"] = {"type": "string", "maxLength": 10}
    spec["properties"]["preset"]["enum"].append("Paranoid")
    spec["properties"]["retries"]["maximum"] = 20
    del spec["properties"]["schedules"]["maxItems"]
    spec["description"] = "another"
    spec["x-kubernetes-validations"].pop()
    new["spec"]["names"]["shortNames"].append("another")
    assert breaks(old, new) == []
