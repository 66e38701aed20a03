"""The termination message fits whatever happened; the full result is put together again from the log."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.agent.log import Log
from databosun.agent.redact import Redactor
from databosun.agent.report import report, result_text, termination_bytes
from databosun.api.result import (
    MAX_RESULT_BYTES,
    MAX_TERMINATION_BYTES,
    BackupResult,
    Outcome,
    Result,
    Summary,
)
from databosun.api.v1alpha1.backup import ObjectCount
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from support.agentrun import read

messages = st.one_of(
    st.text(max_size=6000),
    st.text(alphabet='"\\\n\x00\x1f', max_size=6000),
    st.text(alphabet="€😀\ud800", max_size=6000),
)


def reported(result: Result, folder: Path, redactor: Redactor | None = None) -> tuple[bytes, str]:
    out = io.StringIO()
    report(result, Log(out, redactor or Redactor()), folder / "termination")
    return (folder / "termination").read_bytes(), out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@given(message=messages, reason=st.text(max_size=300), outcome=st.sampled_from(Outcome), attempt=st.integers(1, 99))
@settings(max_examples=200, deadline=None)
def test_a_termination_message_is_json_of_at_most_4096_bytes(
    folder: Path, message: str, reason: str, outcome: Outcome, attempt: int
) -> None:
    result = Result(outcome=outcome, reason=reason, message=message, attempt=attempt)
    data, log = reported(result, folder)
    assert len(data) <= MAX_TERMINATION_BYTES
    summary = Summary.model_validate_json(data.decode("utf-8"))
    assert (summary.outcome, summary.attempt) == (outcome, attempt)
    assert all(len(line) < 16 * 1024 for line in log.splitlines())
    if len(message) < 200:
        assert summary.message == message.encode("utf-8", "replace").decode()


def test_a_short_message_is_left_alone() -> None:
    summary = Summary(outcome=Outcome.FAILED, reason="R", message="x" * 1500)
    assert json.loads(termination_bytes(summary))["message"] == "x" * 1500


def backup(objects: int) -> Result:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    done = BackupResult(
        id="orders",
        attempt=1,
        location="s3://b/k",
        checksum="0" * 64,
        type=BackupType.FULL,
        method=Method.LOGICAL,
        logical_bytes=1,
        stored_bytes=1,
        object_count=objects,
        objects=[ObjectCount(name=f"public.table_{n}", rows=n, fingerprint="f" * 40) for n in range(objects)],
        started_at=at,
        completed_at=at,
        engine_version="17",
        notes=["Note: " + "n" * 900] * 9,
    )
    return Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", backup=done)


@pytest.mark.parametrize("objects", [0, 3, 500, 20_000])
def test_the_full_result_is_put_together_from_the_log(folder: Path, objects: int) -> None:
    data, log = reported(backup(objects), folder)
    ran = read(0, log, data)
    found = ran.result.backup
    assert found
    assert found.object_count == objects
    assert len(found.objects) >= min(objects, 50)
    assert ran.summary.result_bytes <= MAX_RESULT_BYTES


def test_a_result_too_long_in_every_part_still_says_its_verdict() -> None:
    huge = backup(0)
    assert huge.backup
    longest = huge.model_copy(
        update={
            "message": "m" * 600_000,
            "backup": huge.backup.model_copy(update={"notes": ["n" * 600_000], "location": "l" * 600_000}),
        }
    )
    text = result_text(longest, Redactor())
    assert len(text) <= MAX_RESULT_BYTES
    assert json.loads(text)["outcome"] == "Succeeded"


def test_no_secret_is_in_message_or_result(folder: Path) -> None:
    secret = 'p4ss"word'
    result = Result(outcome=Outcome.FAILED, reason="X", message=f"password {secret} refused", swept=[f"a {secret}"])
    data, log = reported(result, folder, Redactor([secret]))
    for text in (data.decode(), log):
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
        assert json.dumps(json.dumps(secret)[1:-1])[1:-1] not in text
    assert "[redacted]" in data.decode()
