"""Never a false success: whatever breaks between the agent and its store, there is a verdict and no manifest."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from databosun.agent import context, stores
from databosun.api.backuptasks import ValidateTask
from databosun.api.result import Outcome
from databosun.storage import s3
from databosun.storage.port import ObjectStore
from databosun.storage.s3_access import Patience
from support.agentrun import PASSWORD, Ran, Workplace, backup_task
from support.fakeengine import MEBIBYTE, FakeEngine
from support.faultproxy import Act, Fault, FaultProxy, fault_proxy
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

pytestmark = pytest.mark.servers
LARGE = {"base.tar.zst": 23 * MEBIBYTE}
SMALL = {"base.tar.zst": 2 * MEBIBYTE}
PART = 5 * MEBIBYTE
RESIGNED = Patience(retries=2)
"""Gives up soon, and for no other reason than that it was refused: how long a store takes depends on who else works."""
HASTY = Patience(connect=timedelta(seconds=2), request=timedelta(seconds=5), retries=2, retry_for=timedelta(seconds=10))
"""For a store that says nothing at all."""


@dataclasses.dataclass
class Line:
    """A pod, its bucket, and what lies between."""

    place: Workplace
    proxy: FaultProxy
    weed: Seaweed
    bucket: str
    patience: Patience = RESIGNED

    def run(self, artefacts: dict[str, int], attempt: int = 1) -> Ran:
        return self.place.run(backup_task(), engine=FakeEngine(artefacts=artefacts), attempt=attempt)

    def stored(self) -> list[str]:
        return [key.removeprefix("prod/shop/orders/backups/") for key in self.weed.keys(self.bucket)]


@pytest.fixture
def line(weed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """An agent that loses patience sooner, and sends the smallest parts that S3 allows."""
    opened = stores.open_store

    def impatient(*values: object) -> ObjectStore:
        store = opened(*values)  # type: ignore[arg-type]  # passed on as they came
        assert isinstance(store, s3.S3ObjectStore)
        return s3.S3ObjectStore(dataclasses.replace(store._access, patience=line.patience, part_bytes=PART))

    monkeypatch.setattr(context, "open_store", impatient)
    bucket = weed.bucket()
    with fault_proxy(weed.endpoint) as proxy:
        place = Workplace(tmp_path, s3=weed.target(bucket, endpoint=proxy.endpoint))
        place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        line = Line(place, proxy, weed, bucket)
        yield line


def failed(line: Line, ran: Ran, *reasons: str) -> Ran:
    assert ran.code == 1
    assert ran.summary.outcome is Outcome.FAILED, ran.summary
    assert ran.summary.reason in reasons, ran.summary
    assert line.bucket in ran.summary.message or "base.tar.zst" in ran.summary.message
    assert not any("manifest.json" in key for key in line.stored())
    return ran


def test_without_a_fault_all_is_well_and_in_parts(line: Line) -> None:
    ran = line.run(LARGE)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    assert sum("partNumber=" in target for _, target in line.proxy.requests) == 5
    assert line.weed.uploads(line.bucket) == []


def test_several_parts_are_under_way_at_once(line: Line) -> None:
    """No part is answered before three have arrived: one connection after the other would wait for ever."""
    together = threading.Barrier(3)

    def meet(method: str, target: str) -> None:
        if method == "PUT" and "partNumber=" in target:
            together.wait(60)

    line.proxy.before = meet
    ran = line.run({"base.tar.zst": 6 * PART})
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    assert not together.broken


@pytest.mark.parametrize("part", [1, 3, 5])
def test_a_store_that_refuses_a_part_for_good(line: Line, part: int) -> None:
    fault = line.proxy.add(Fault(Act.REFUSE, "PUT", f"partNumber={part}&"))
    ran = failed(line, line.run(LARGE), "StorageFailed")
    assert "SlowDown" in ran.summary.message
    assert ran.summary.retryable
    assert fault.hit >= 2, "the library tried again before it gave up"
    assert line.weed.uploads(line.bucket) == [], "the upload was aborted"


def test_a_store_that_refuses_to_complete_the_upload(line: Line) -> None:
    line.proxy.add(Fault(Act.REFUSE, "POST", "uploadId=", status=500, code="InternalError"))
    failed(line, line.run(LARGE), "StorageFailed")
    assert line.weed.uploads(line.bucket) == []


def test_a_part_that_is_refused_once_is_sent_again(line: Line) -> None:
    fault = line.proxy.add(Fault(Act.REFUSE, "PUT", "partNumber=3&", times=1))
    assert line.run(LARGE).summary.outcome is Outcome.SUCCEEDED
    assert fault.hit == 1


def test_a_lost_grant_in_the_middle_is_the_user_s_to_mend(line: Line) -> None:
    line.proxy.add(Fault(Act.REFUSE, "PUT", "partNumber=4&", status=403, code="AccessDenied"))
    ran = failed(line, line.run(LARGE), "StorageAccessDenied")
    assert not ran.summary.retryable
    assert "Secret secret-storage" in ran.summary.message


@pytest.mark.parametrize("act", [Act.CUT, Act.HANG], ids=["cut", "hung"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_connection_that_is_lost_in_mid_upload(line: Line, act: Act, size: dict[str, int]) -> None:
    line.proxy.add(Fault(act, "PUT", "base.tar.zst"))
    line.patience = HASTY if act is Act.HANG else RESIGNED
    assert failed(line, line.run(size), "StorageUnreachable").summary.retryable


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_bytes_changed_on_the_way_are_refused_by_their_checksums(line: Line, size: dict[str, int]) -> None:
    fault = line.proxy.add(Fault(Act.CORRUPT_REQUEST, "PUT", "base.tar.zst"))
    failed(line, line.run(size), "UploadCorrupt", "StorageAccessDenied", "StorageCredentialsInvalid")
    assert fault.hit >= 1


@pytest.mark.parametrize("act", [Act.CORRUPT_ANSWER, Act.TRUNCATE_ANSWER], ids=["changed", "truncated"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_what_does_not_read_back_is_no_artefact(line: Line, act: Act, size: dict[str, int]) -> None:
    fault = line.proxy.add(Fault(act, "GET", "base.tar.zst"))
    failed(line, line.run(size), "UploadCorrupt", "StorageUnreachable", "StorageFailed")
    assert fault.hit >= 1


def test_a_manifest_that_is_refused(line: Line) -> None:
    line.proxy.add(Fault(Act.REFUSE, "PUT", "manifest.json"))
    ran = line.run(SMALL)
    assert (ran.code, ran.summary.reason, ran.summary.retryable) == (1, "StorageFailed", True)
    assert not any("manifest.json" in key for key in line.stored())
    line.proxy.faults.clear()
    assert line.run(SMALL, attempt=2).summary.reason == "Succeeded"


def test_a_lost_answer_to_the_manifest_is_no_conflict_with_ourselves(line: Line) -> None:
    """The store has it, the agent does not know: asked again, the store says that something is there already."""
    fault = line.proxy.add(Fault(Act.SWALLOW, "PUT", "manifest.json", times=1))
    ran = line.run(SMALL)
    assert fault.hit == 1
    if ran.summary.outcome is not Outcome.SUCCEEDED:
        assert ran.summary.retryable
        ran = line.run(SMALL, attempt=2)
        assert ran.summary.reason == "AlreadyDone"
    assert ran.result.backup
    assert [key for key in line.stored() if "a2" in key] == []


def test_a_manifest_that_reads_back_otherwise_is_no_success(line: Line) -> None:
    line.proxy.add(Fault(Act.CORRUPT_ANSWER, "GET", "manifest.json", nth=2))
    ran = line.run(SMALL)
    assert (ran.code, ran.summary.outcome) == (1, Outcome.FAILED)
    assert ran.summary.reason == "ManifestForged"


def test_a_manifest_of_another_attempt_wins(line: Line) -> None:
    """Written between our look and our write: ours counts for nothing, and says so."""

    class Late(FakeEngine):
        def restore_instructions(self, doc: object) -> str:
            key = "prod/shop/orders/backups/orders-2603010300-a1b2c/manifest.json"
            line.weed.client.put_object(Bucket=line.bucket, Key=key, Body=b'{"of": "another"}')
            return "x"

    ran = line.place.run(backup_task(), engine=Late(artefacts=SMALL))
    assert (ran.code, ran.summary.reason) == (1, "AttemptTaken"), ran.summary


def test_a_store_that_ignores_conditions_is_found_at_validation(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    put = s3.S3ObjectStore.put

    def careless(store: s3.S3ObjectStore, key: str, data: bytes, *, if_absent: bool = False, **more: object) -> None:
        put(store, key, data, if_absent=if_absent and "_check" not in key, **more)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(s3.S3ObjectStore, "put", careless)
    ran = line.place.run(ValidateTask())
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "StorageNotConditional")


def test_a_store_out_of_reach_from_the_start(line: Line) -> None:
    line.proxy.add(Fault(Act.CUT))
    ran = line.run(SMALL)
    assert (ran.code, ran.summary.outcome, ran.summary.retryable) == (1, Outcome.FAILED, True)
    assert ran.summary.reason == "StorageUnreachable"


def test_no_secret_reaches_the_store_or_the_log_whatever_breaks(line: Line) -> None:
    line.proxy.add(Fault(Act.REFUSE, "PUT", "partNumber=2&", status=403, code=f"Denied{SECRET_KEY}"))
    engine = FakeEngine(artefacts=LARGE, settings={"dsn": f"password={PASSWORD}"})
    broken = line.place.run(backup_task(), engine=engine)
    line.proxy.faults.clear()
    good = line.place.run(backup_task(), engine=engine, attempt=2)
    assert good.summary.outcome is Outcome.SUCCEEDED
    texts = [broken.output, good.output, broken.termination.decode(), good.termination.decode()]
    for key in line.weed.keys(line.bucket):
        if not key.endswith(".0000"):
            texts.append(line.weed.client.get_object(Bucket=line.bucket, Key=key)["Body"].read().decode())
    for secret in (PASSWORD, SECRET_KEY, ACCESS_KEY):
        for form in (secret, json.dumps(secret)[1:-1]):
            assert not any(form in text for text in texts), secret
    assert any("[redacted]" in text for text in texts)
