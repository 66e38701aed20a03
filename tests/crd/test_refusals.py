"""Every field of every kind with a wrong value: the API server refuses it and names the field."""

from __future__ import annotations

import pytest

from crd.objects import CRDS, fields, good_objects, pattern_of, places, schema_of
from crd.server import Server, Stored, refusal
from crd.wrong import Wrong, wrong_objects

_DOTTED = str.maketrans({"[": ".", "]": None})


def _is_named(case: Wrong, said: str) -> None:
    assert case.says in said
    # One key of a map is written as labels.team by the schema's checks, as labels[team] by the rules.
    assert case.field.translate(_DOTTED) in said.translate(_DOTTED), said


# Thousands of cases: as tests of their own each would cost more than the API server's answer.
@pytest.mark.api
@pytest.mark.parametrize("kind", CRDS)
def test_a_wrong_value_is_refused_by_the_fields_name(server: Server, kind: str, subtests: pytest.Subtests) -> None:
    for case in wrong_objects(kind, "spec"):
        with subtests.test(case.id):
            _is_named(case, refusal(server.create, case.body))


@pytest.mark.api
@pytest.mark.parametrize("kind", [kind for kind in CRDS if "status" in schema_of(kind)["properties"]])
def test_a_wrong_value_in_a_status_is_refused_by_the_fields_name(
    stored: Stored, kind: str, subtests: pytest.Subtests
) -> None:
    for case in wrong_objects(kind, "status"):
        with subtests.test(case.id):
            body = {**stored.like(case.body), "status": case.body["status"]}
            _is_named(case, refusal(stored.server.replace_status, body))


@pytest.mark.parametrize("kind", CRDS)
def test_there_are_wrong_values_for_every_field(kind: str) -> None:
    schema = schema_of(kind)
    described = {path for path, _ in fields(schema) if path.startswith(("spec.", "status."))}
    used = {pattern_of(kind, place) for body in good_objects(kind) for place, _ in places(schema, body)}
    assert described <= used, f"say these in one of the good objects: {sorted(described - used)}"
    tried = {case.id for part in ("spec", "status") for case in wrong_objects(kind, part)}
    untried = {path for path in described if not any(one.startswith(f"{kind}-{path}-") for one in tried)}
    assert not untried
