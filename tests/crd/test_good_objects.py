"""What people write is taken as they mean it: nothing is lost, and the models read it as the API server does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from crd.objects import CRDS, Object, Place, good, good_objects, schema_of, value_at, with_value, without
from crd.server import Server, Stored, refusal
from databosun.api.v1alpha1.kind import Kind
from databosun.api.v1alpha1.kinds import KINDS

pytestmark = pytest.mark.api

BY_NAME: dict[str, Kind] = {kind.kind: kind for kind in KINDS}


def _some(wanted: Callable[[Object], bool] = bool) -> list[object]:
    found = filter(wanted, good_objects())
    return [pytest.param(one, id=f"{one['kind']}-{one['metadata']['name']}") for one in found]


def _holds(whole: object, part: object) -> bool:
    """Whether all that `part` says stands in `whole`, which may say more."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _holds(whole[key], value) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(whole) == len(part) and all(map(_holds, whole, part))
    return whole == part


@pytest.mark.parametrize("body", _some())
def test_a_good_object_is_taken_and_nothing_of_it_is_lost(server: Server, body: Object) -> None:
    assert _holds(server.create(body)["spec"], body["spec"])


@pytest.mark.parametrize("body", _some())
def test_the_models_and_the_api_server_fill_in_the_same_defaults(server: Server, body: Object) -> None:
    model = BY_NAME[body["kind"]].spec
    assert model.model_validate(body["spec"]).dump() == model.model_validate(server.create(body)["spec"]).dump()


@pytest.mark.parametrize("body", _some(lambda one: "status" in one))
def test_a_status_is_kept_as_the_models_write_it(stored: Stored, body: Object) -> None:
    model = BY_NAME[body["kind"]].status
    assert model is not None
    written = model.model_validate(body["status"]).dump()
    assert _holds(written, body["status"])
    assert stored.server.replace_status({**stored.like(body), "status": written})["status"] == written


def test_the_status_is_written_apart_from_the_spec(stored: Stored) -> None:
    there = stored.objects["Database", "small"]
    both = with_value({**there, "status": {"engineVersion": "15"}}, ("spec", "tier"), 1)
    by_user, by_operator = stored.server.replace(both), stored.server.replace_status(both)
    assert "status" not in by_user
    assert by_user["spec"]["tier"] == 1
    assert by_operator["status"] == {"engineVersion": "15"}
    assert by_operator["spec"]["tier"] == 3


DEFAULTS: list[tuple[str, str, Place, object]] = [
    ("Database", "small", ("tier",), 3),
    ("Database", "small", ("environment",), "Production"),
    ("Database", "small", ("connection", "credentialsSecretRef", "usernameKey"), "username"),
    ("Database", "small", ("connection", "credentialsSecretRef", "passwordKey"), "password"),
    ("BackupStorage", "amazon", ("s3", "region"), "us-east-1"),
    ("BackupStorage", "amazon", ("s3", "forcePathStyle"), False),
    ("BackupStorage", "amazon", ("validationInterval",), "1h"),
    ("BackupStorage", "amazon", ("maxConcurrentRuns",), 4),
    ("BackupPolicy", "plain", ("method",), "Auto"),
    ("BackupPolicy", "plain", ("timeZone",), "UTC"),
    ("BackupPolicy", "plain", ("schedules", 0, "type"), "Full"),
    ("BackupPolicy", "plain", ("schedules", 0, "maxChain"), 8),
    ("BackupPolicy", "plain", ("deletionPolicy",), "Retain"),
    ("BackupPolicy", "plain", ("deadline",), "6h"),
    ("BackupPolicy", "plain", ("retries",), 2),
    ("BackupPolicy", "plain", ("concurrencyPolicy",), "Forbid"),
    ("Backup", "before-the-upgrade", ("type",), "Full"),
    ("Backup", "before-the-upgrade", ("deletionPolicy",), "Retain"),
    ("RestoreDrill", "team", ("level",), "Restore"),
    ("RestoreDrill", "team", ("startingDeadline",), "12h"),
    ("RestoreDrill", "nightly", ("checks", 0, "severity"), "Critical"),
    ("RestoreDrill", "nightly", ("checks", 0, "operator"), "=="),
    ("RestoreDrillRun", "mine", ("negativeControl",), False),
    ("Restore", "from-backup", ("overwrite",), "Refuse"),
    ("Restore", "from-backup", ("reindex",), False),
    ("Restore", "from-backup", ("level",), "Restore"),
    ("Restore", "from-backup", ("erasures",), "Replay"),
    ("ErasureRequest", "plain", ("rules", 0, "maxRows"), 10_000),
    ("ErasureRequest", "plain", ("rules", 0, "foreignKeys"), "Refuse"),
    ("ErasureRequest", "plain", ("approveWithin",), "7d"),
    ("DataExport", "plain", ("rules", 0, "maxRows"), 10_000),
    ("DataExport", "plain", ("expiresAfter",), "30d"),
]


@pytest.mark.parametrize(("kind", "name", "place", "default"), DEFAULTS)
def test_what_is_not_said_is_filled_in(server: Server, kind: str, name: str, place: Place, default: object) -> None:
    assert value_at(server.create(good(kind, name)), ("spec", *place)) == default


@pytest.mark.parametrize("kind", [kind for kind in CRDS if BY_NAME[kind].name_limit])
def test_names_leave_room_for_the_names_made_from_them(server: Server, kind: str) -> None:
    limit = BY_NAME[kind].name_limit
    assert limit
    body = good_objects(kind)[0]
    assert server.create(with_value(body, ("metadata", "name"), "n" * limit))
    said = refusal(server.create, with_value(body, ("metadata", "name"), "n" * (limit + 1)))
    assert f"metadata.name: expected at most {limit} characters" in said
    assert "metadata.name: expected no dots" in refusal(server.create, with_value(body, ("metadata", "name"), "a.b"))


@pytest.mark.parametrize("kind", CRDS)
def test_an_object_without_a_spec_is_refused(server: Server, kind: str) -> None:
    assert "spec: Required value" in refusal(server.create, without(good_objects(kind)[0], ("spec",)))


EDITS: list[tuple[str, Place, object]] = [
    ("Backup", ("databaseRef", "name"), "another"),
    ("Backup", ("policyRef", "name"), "another"),
    ("Backup", ("storageRef", "name"), "another"),
    ("Backup", ("schedule",), "full"),
    ("Backup", ("type",), "Differential"),
    ("Backup", ("method",), "Logical"),
    ("Backup", ("parentRef", "name"), "another"),
    ("Backup", ("scheduledFor",), "2026-03-01T02:00:01Z"),
    ("Backup", ("notAfter",), "2026-03-01T02:00:01Z"),
    ("Backup", ("deletionPolicy",), "Retain"),
    ("RestoreDrillRun", ("drillRef", "name"), "another"),
    ("RestoreDrillRun", ("databaseRef", "name"), "another"),
    ("RestoreDrillRun", ("selection", "from"), "Latest"),
    ("RestoreDrillRun", ("level",), "Deep"),
    ("RestoreDrillRun", ("checks",), []),
    ("RestoreDrillRun", ("objectives", "rto"), "1h"),
    ("RestoreDrillRun", ("negativeControl",), False),
    ("RestoreDrillRun", ("schedule",), "another"),
    ("RestoreDrillRun", ("scheduledFor",), "2026-03-01T02:00:01Z"),
    ("RestoreDrillRun", ("notAfter",), "2026-03-01T02:00:01Z"),
    ("ErasureRequest", ("rules", 0, "column"), "another"),
    ("ErasureRequest", ("subjectSecretRef", "name"), "another"),
    ("DataExport", ("subjectSecretRef", "name"), "another"),
    ("DataExport", ("expiresAfter",), "90d"),
    ("Approval", ("ref", "kind"), "LifecyclePolicy"),
    ("Approval", ("ref", "name"), "another"),
    ("Approval", ("planHash",), "0123456789"),
    ("Approval", ("approvedBy",), "joe@example.com"),
    ("Approval", ("notAfter",), "2026-03-01T02:00:01Z"),
]


@pytest.mark.parametrize(("kind", "place", "value"), EDITS)
def test_a_record_is_never_edited(stored: Stored, kind: str, place: Place, value: object) -> None:
    edited = with_value(stored.like(good_objects(kind)[0]), ("spec", *place), value)
    assert re.search("its spec cannot be changed|an Approval cannot be changed", refusal(stored.server.replace, edited))


@pytest.mark.parametrize("kind", ["Backup", "Approval"])
def test_every_field_of_a_record_is_tried(kind: str) -> None:
    assert {place[0] for one, place, _ in EDITS if one == kind} == set(
        schema_of(kind)["properties"]["spec"]["properties"]
    )


@pytest.mark.parametrize("kind", ["Backup", "Approval"])
def test_a_record_takes_labels(stored: Stored, kind: str) -> None:
    there = stored.like(good_objects(kind)[0])
    assert stored.server.replace(with_value(there, ("metadata", "labels"), {"databosun.io/hold": "true"}))
