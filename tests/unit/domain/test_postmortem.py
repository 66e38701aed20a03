"""The page on a restore says what its record says, and shows where the record is not what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.report import Trust
from databosun.api.v1alpha1.restore import RestoreStatus
from databosun.cli.report import page
from databosun.domain.postmortem import KnownRestore, look_back
from databosun.domain.records import Found
from databosun.domain.sealing import canonical, digest_of

NOW = datetime(2026, 3, 1, 5, tzinfo=UTC)
RECORD: dict[str, Any] = {
    "schema": 1,
    "kind": "Restore",
    "run": "mine",
    "cluster": "c",
    "startedAt": "2026-03-01T04:01:00+00:00",
    "completedAt": "2026-03-01T04:05:00+00:00",
    "asked": {"kind": "Time", "time": "2026-03-01T02:59:59Z"},
    "backupManifestSha256": "a" * 64,
    "result": {
        "id": "mine",
        "claim": "new",
        "backup": "orders-1",
        "chosen": "orders-1, the newest of 2 whose artefacts verify; turned down: orders-2: ArtefactCorrupt",
        "dataDirectory": "data",
        "until": {"kind": "Time", "time": "2026-03-01T02:59:59Z"},
        "reached": {"lsn": "0/5000028"},
        "lastCommit": "2026-03-01T02:59:58Z",
        "engineVersion": "18.1",
        "bytes": 1000,
        "seconds": {"fetch": 10.5, "replay": 3.0},
        "handOver": ["Stop the application.", "Start a server on it."],
    },
}
DATA = canonical(RECORD)
FOUND = Found("s3://b/shop/orders/restores/mine/result.json", DATA)


def known(**status: Any) -> KnownRestore:
    values = {
        "phase": "Succeeded",
        "startTime": "2026-03-01T04:00:30Z",
        "completionTime": "2026-03-01T04:05:10Z",
        "attempts": [
            {"number": 1, "job": "mine-01", "startedAt": "2026-03-01T04:00:30Z", "endedAt": "2026-03-01T04:05:05Z",
             "reason": "Succeeded"},
        ],
        "candidates": [
            {"name": "orders-1", "database": "orders", "resolvedAt": "2026-03-01T04:00:20Z", "checksum": "a" * 64}
        ],
        "backup": "orders-1",
        "record": {"uri": FOUND.where, "sha256": digest_of(DATA)},
        **status,
    }  # fmt: skip
    parsed = RestoreStatus.model_validate(values)
    created = NOW - timedelta(hours=1)
    return KnownRestore("shop", "mine", created, "orders", "volume new", "to 02:59:59", parsed, (), None)


def test_object_and_record_together_tell_the_whole_story() -> None:
    made = look_back(known(), FOUND, NOW, "0.1.0")
    assert made.record is not None
    assert made.record.trust is Trust.UNSIGNED
    assert made.took_seconds == 240
    assert made.phases == {"fetch": 10.5, "replay": 3.0}
    assert [one.what.split(",")[0] for one in made.timeline] == [
        "asked for",
        "backups chosen",
        "attempt 1 started",
        "the agent began",
        "the copy was complete",
        "attempt 1 ended",
        "verdict: Succeeded",
    ]
    assert [one.at for one in made.timeline] == sorted(one.at for one in made.timeline)


def test_the_record_alone_is_enough() -> None:
    made = look_back(None, FOUND, NOW, "0.1.0")
    assert (made.name, made.backup, made.target) == ("mine", "orders-1", "volume new")
    assert made.hand_over[0] == "Stop the application."


def test_without_the_record_the_status_is_shown_as_what_it_is() -> None:
    made = look_back(known(), None, NOW, "0.1.0")
    assert made.record is not None
    assert made.record.trust is Trust.STATUS_ONLY
    assert made.phases == {}
    assert "not read" in made.sources[-1]


@pytest.mark.parametrize("data", [DATA.replace(b"orders-1", b"orders-9"), json.dumps(RECORD, indent=1).encode(), b"{}"])
def test_a_record_that_is_not_as_written_counts_for_nothing(data: bytes) -> None:
    made = look_back(known(), replace(FOUND, data=data), NOW, "0.1.0")
    assert made.record is not None
    assert made.record.trust is Trust.BROKEN
    assert (made.backup, made.phases) == ("orders-1", {})


def test_the_record_of_another_restore_is_not_taken_for_this_one() -> None:
    other = canonical({**RECORD, "run": "other"})
    made = look_back(known(record=None), replace(FOUND, data=other), NOW, "0.1.0")
    assert made.record is not None
    assert "restore other" in made.record.problems[0]


def test_what_is_no_record_is_said_where_nothing_else_is_known() -> None:
    with pytest.raises(ValueError, match="no record of a restore"):
        look_back(None, replace(FOUND, data=b"{}"), NOW, "0.1.0")


def test_a_failure_says_why() -> None:
    failed = known(phase="Failed", failure={"reason": "LogGap", "message": "a hole"}, record=None, backup=None)
    made = look_back(failed, None, NOW, "0.1.0")
    assert made.message == "LogGap: a hole"
    assert made.record is None


def test_every_form_of_the_page_tells_it() -> None:
    made = page.page_of(look_back(known(), FOUND, NOW, "0.1.0"))
    for text in (page.as_html(made), page.as_markdown(made)):
        for said in ("the newest of 2", "0/5000028", "02:59:58", "Start a server on it", "the agent began"):
            assert said in text, said
    assert page.as_pdf(made).startswith(b"%PDF")
    assert "| Phase | Seconds |" in page.as_markdown(made)
