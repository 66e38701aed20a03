"""The agent as a process: signals, the deadline, what it leaves behind, and how much memory it takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.result import Outcome
from support.agekeys import make_age_key
from support.agentrun import Ran, Workplace, backup_task, read
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]
GRACE = 30  # of a pod


def start(place: Workplace, mode: str, **more: Any) -> subprocess.Popen[str]:
    place.write(place.request(backup_task(), **more))
    argv = [sys.executable, "-m", "support.agentprocess", str(place.root), mode]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}"}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def end(process: subprocess.Popen[str], place: Workplace) -> tuple[Ran, str]:
    try:
        out, err = process.communicate(timeout=580)
    finally:
        process.kill()
    return read(process.returncode, out, place.paths.termination.read_bytes()), err


@pytest.fixture
def bucket(weed: Seaweed) -> str:
    return weed.bucket()


@pytest.fixture
def pod(weed: Seaweed, bucket: str, tmp_path: Path) -> Workplace:
    place = Workplace(tmp_path, s3=weed.target(bucket))
    place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    return place


def running(place: Workplace) -> bool:
    return (place.root / "running").exists()


@pytest.mark.parametrize("encrypted", [False, True])
def test_sigterm_aborts_the_upload_and_says_so_in_time(
    weed: Seaweed, bucket: str, pod: Workplace, tmp_path: Path, *, encrypted: bool
) -> None:
    if encrypted:
        pod.storage["age_recipients"] = [make_age_key(tmp_path).recipient]
    process = start(pod, "slow")
    eventually("it streams", lambda: running(pod) and bool(weed.uploads(bucket)))
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    ran, _ = end(process, pod)
    assert time.monotonic() - told < GRACE
    assert (ran.code, ran.summary.outcome, ran.summary.reason) == (1, Outcome.FAILED, "Interrupted")
    assert ran.summary.retryable
    assert "SIGTERM" in ran.summary.message
    assert weed.uploads(bucket) == []
    assert weed.keys(bucket) == ["prod/shop/databosun.json"]
    assert not any(line["event"] == "abandoned" for line in ran.lines), "it unwound by itself"


def test_a_task_that_hangs_does_not_outlive_its_grace(pod: Workplace) -> None:
    process = start(pod, "hang")
    eventually("it hangs", lambda: running(pod) and (pod.root / "running").stat().st_size > 0)
    child = int((pod.root / "running").read_text())
    process.send_signal(signal.SIGTERM)
    ran, _ = end(process, pod)
    assert (ran.code, ran.summary.reason, ran.summary.retryable) == (1, "Interrupted", True)
    assert any(line["event"] == "abandoned" for line in ran.lines)
    eventually("the engine's own program has ended too", lambda: not Path(f"/proc/{child}").exists())


def test_at_the_deadline_it_stops_by_itself(weed: Seaweed, bucket: str, pod: Workplace) -> None:
    process = start(pod, "late", deadline=datetime.now(UTC) + timedelta(hours=12))
    ran, _ = end(process, pod)
    assert (ran.code, ran.summary.outcome, ran.summary.reason) == (1, Outcome.FAILED, "DeadlineExceeded")
    assert not ran.summary.retryable
    assert weed.uploads(bucket) == []


@pytest.mark.parametrize("encrypted", [False, True])
def test_memory_does_not_grow_with_the_stream(pod: Workplace, tmp_path: Path, *, encrypted: bool) -> None:
    if encrypted:
        pod.storage["age_recipients"] = [make_age_key(tmp_path).recipient]
    process = start(pod, str(600 * 1024 * 1024))
    ran, err = end(process, pod)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    peak = re.search(r"peak (\d+) KiB", err)
    assert peak
    assert int(peak[1]) <= 256 * 1024
