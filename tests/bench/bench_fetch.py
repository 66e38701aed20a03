"""Reading an artefact back from a store far away, beside one plain GET of the same object.

BENCH_MB=512 BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_fetch.py
"""

from __future__ import annotations

import hashlib
import io
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from databosun.agent.backups import choose, source_of
from databosun.agent.children import Children
from databosun.agent.context import Context
from databosun.agent.log import Log
from databosun.agent.progress import Progress
from databosun.agent.redact import Redactor
from databosun.agent.secrets import Secrets
from databosun.agent.stop import Stop
from databosun.api.backuptasks import CatalogTask
from databosun.api.restoretasks import BackupRef
from support.agentrun import Workplace, backup_task
from support.fakeengine import FakeEngine
from support.faraway import far_away
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed, make_client, seaweed

pytestmark = pytest.mark.bench

SIZE = int(os.environ.get("BENCH_MB", "512")) * 1_000_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MILLISECONDS, MEGABYTES = 30, 90


@contextmanager
def stored(weed: Seaweed, folder: Path) -> Iterator[tuple[Workplace, str, BackupRef]]:
    """A backup with one large artefact."""
    bucket = weed.bucket()
    place = Workplace(folder / "pod", s3=weed.target(bucket))
    place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    ran = place.run(backup_task("orders-1"), engine=FakeEngine(artefacts={"base.tar.zst": SIZE}))
    assert ran.result.backup, ran.output
    yield place, bucket, BackupRef(id="orders-1", database="orders", manifest_sha256=ran.result.backup.checksum)


def context(place: Workplace) -> Context:
    """What a restore has at hand."""
    request = place.request(CatalogTask())
    place.write(request)
    redactor = Redactor()
    log, stop = Log(io.StringIO(), redactor), Stop()
    secrets = Secrets(place.paths.secrets, request.secrets, "shop")

    def now() -> datetime:
        return datetime.now(UTC)

    children = Children(stop, redactor)
    return Context(request, place.paths, secrets, log, stop, children, Progress(log), now, lambda _: FakeEngine())


def test_far_away(tmp_path: Path) -> None:
    plain: list[float] = []
    ours: list[float] = []
    with seaweed(tmp_path / "weed") as weed, stored(weed, tmp_path) as (place, bucket, ref):
        (key,) = [one for one in weed.keys(bucket) if one.endswith("base.tar.zst.0000")]
        with far_away(weed.endpoint, milliseconds=MILLISECONDS, megabytes=MEGABYTES) as endpoint:
            client = make_client(endpoint)
            place.s3 = weed.target(bucket, endpoint=endpoint)
            ctx = context(place)
            source = source_of(ctx, choose(ctx, ref))
            for _ in range(ROUNDS):
                began = time.perf_counter()
                digest = hashlib.sha256()
                for piece in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
                    digest.update(piece)
                plain.append(time.perf_counter() - began)
                began = time.perf_counter()
                with source.open("orders-1", "base.tar.zst") as stream:
                    while stream.read():
                        pass
                ours.append(time.perf_counter() - began)
    times = statistics.median(slow / fast for slow, fast in zip(plain, ours, strict=True))
    speeds = [f"{SIZE / 1e6 / statistics.median(one):.0f} MB/s" for one in (plain, ours)]
    print(f"\n### {SIZE / 1e6:.0f} MB at {MILLISECONDS} ms and {MEGABYTES} MB/s a connection, {ROUNDS} rounds\n")
    print(f"one GET {speeds[0]}, fetch {speeds[1]}, {times:.2f} times")
