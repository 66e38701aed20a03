"""A Lease object as a record, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from databosun.kube.lease import micro_time, read_record


def test_a_micro_time_always_has_six_digits() -> None:
    """The API server refuses one without (HTTP 400), which is what isoformat writes on the full second."""
    assert micro_time(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01T00:00:00.000000Z"
    assert micro_time(datetime(2026, 3, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2026-03-01T00:00:00.000000Z"
    assert micro_time(None) is None


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": None, "renewTime": None}])
def test_a_lease_that_a_person_emptied_is_free(spec: dict[str, object] | None) -> None:
    record = read_record({"metadata": {"resourceVersion": "7"}, "spec": spec})
    assert (record.holder, record.renewed, record.version) == ("", None, "7")


def test_a_lease_of_another_client_is_read() -> None:
    spec = {
        "holderIdentity": "x",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-03-01T00:00:00.000000Z",
        "renewTime": "2026-03-01T00:00:10.123456Z",
        "leaseTransitions": 3,
    }
    record = read_record({"metadata": {"resourceVersion": "7"}, "spec": spec})
    assert record.renewed == datetime(2026, 3, 1, 0, 0, 10, 123456, tzinfo=UTC)
    assert (record.holder, record.duration_seconds, record.transitions) == ("x", 15, 3)
