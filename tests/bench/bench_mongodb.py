"""How fast MongoDB's stand-in is backed up and brought back, beside its own tools and reading alone, in one run.

    BENCH_DOCUMENTS=1500000 BENCH_BYTES=350 BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_mongodb.py

FerretDB is far slower than a mongod, so the second measurement leaves the server out: what the engine does to a batch
beside what any reader does, which is to find where its documents begin.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import bson
import pytest
import zstandard
from bson.raw_bson import RawBSONDocument

from agent.mongodb.conftest import Workshop
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.mongodb import ENGINE
from databosun.engines.mongodb.bsonwalk import BsonWalk
from support.agentrun import NAMESPACE, UID, Workplace, backup_task
from support.fakeengine import FakeEngine
from support.mongoserver import ADMIN, BACKUP_USER, PASSWORD, MongoServer, programs
from support.paired import table, take_turns

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = int(os.environ.get("BENCH_DOCUMENTS", "185000"))
BYTES = int(os.environ.get("BENCH_BYTES", "3000"))  # of a document, about
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}"}
MEMORY_BAR = 256
_AGENT = r"""
import re, sys
from pathlib import Path
from agent.mongodb.conftest import Workshop, target_of
class Where: port = int(sys.argv[1])
Workshop(Path(sys.argv[2])).back_up(Where(), sys.argv[3])
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.fixture(scope="module")
def filled() -> Iterator[MongoServer]:
    """A third of each document is random."""
    server = MongoServer()
    noise = random.Random(1)
    server.client.local.drop_collection("oplog.rs")  # it would be as large again
    text = "'note': 'lives here'" * (BYTES // 35)
    for begin in range(0, DOCUMENTS, 5_000):
        batch = range(begin, min(DOCUMENTS, begin + 5_000))
        server.client.shop.orders.insert_many(
            [{"_id": n, "noise": noise.randbytes(BYTES // 3), "city": "here", "text": text} for n in batch]
        )
    server.client.local.create_collection("oplog.rs", capped=True, size=1 << 24)
    server.noop()
    yield server
    server.remove()


def test_a_backup_beside_mongodump(filled: MongoServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers, place = itertools.count(), Workplace(tmp_path / "pod")
    place.secrets["database"] = {"username": BACKUP_USER, "password": PASSWORD}
    database = DatabaseTarget(
        namespace=NAMESPACE, name="orders", uid=UID, engine=EngineName.MONGODB, hosts=["127.0.0.1"], port=filled.port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip

    def ours() -> int:
        task = backup_task(f"bench-{next(numbers)}", method=Method.LOGICAL)
        ran = place.run(task, engine=cast("FakeEngine", ENGINE), database=database)
        assert ran.result.backup, ran.output[-3000:]
        shutil.rmtree(place.paths.volume / NAMESPACE)
        return ran.result.backup.stored_bytes

    def theirs() -> int:
        out = tmp_path / "dump.archive.zst"
        tool = f"{programs()}/mongodump --host=127.0.0.1:{filled.port} --username={ADMIN} --password={ADMIN} --quiet"
        pipe = f"set -o pipefail; {tool} --authenticationDatabase=admin --oplog --archive | zstd -q -1 -T2 > {out}"
        subprocess.run(["bash", "-c", pipe], check=True)
        return out.stat().st_size

    def reading() -> int:
        batches = filled.client.shop.orders.find_raw_batches({}, batch_size=0)
        return sum(len(document.raw) for batch in batches for document in _split(batch))

    contenders: dict[str, Callable[[], int]] = {
        "mongodump --archive | zstd -1 -T2": theirs, "agent": ours, "reading alone": reading,
    }  # fmt: skip
    found = take_turns(contenders, rounds=ROUNDS)
    argv = [sys.executable, "-c", _AGENT, str(filled.port), str(tmp_path), "alone"]
    peak = int(subprocess.run(argv, env=ENV, capture_output=True, text=True, check=True).stdout)
    with capsys.disabled():
        print(f"\n{DOCUMENTS} documents\n{table(found, 'mongodump --archive | zstd -1 -T2')}\npeak memory {peak} MiB")
    assert peak <= MEMORY_BAR


def test_a_copy_beside_mongorestore(
    filled: MongoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From files, until all documents are in a new server: of the agent's as a drill brings it back."""
    monkeypatch.setenv("DATABOSUN_MONGODB_BIN", str(programs()))
    workshop = Workshop(tmp_path)
    _, manifest = workshop.back_up(filled)
    archive = tmp_path / "dump.archive.zst"
    tools, login = programs(), f"--username={ADMIN} --password={ADMIN} --authenticationDatabase=admin --quiet"
    dump = f"{tools}/mongodump --host=127.0.0.1:{filled.port} {login} --db=shop --archive | zstd -q -1 > {archive}"
    subprocess.run(["bash", "-c", f"set -o pipefail; {dump}"], check=True)

    def ours() -> int:
        plan = workshop.plan(manifest)
        with ENGINE.recover(plan, workshop.source()) as copy, copy.server.client() as client:  # type: ignore[attr-defined]
            assert client.shop.orders.estimated_document_count() == DOCUMENTS
        shutil.rmtree(plan.place)
        return archive.stat().st_size

    def theirs() -> int:
        server = MongoServer(oplog=False)
        try:
            back = f"zstd -qdc {archive} | {tools}/mongorestore --host=127.0.0.1:{server.port} {login} --archive"
            subprocess.run(["bash", "-c", f"set -o pipefail; {back}"], check=True)
            assert server.client.shop.orders.estimated_document_count() == DOCUMENTS
        finally:
            server.remove()
        return archive.stat().st_size

    found = take_turns({"zstd -dc | mongorestore --archive": theirs, "agent": ours}, rounds=ROUNDS)
    with capsys.disabled():
        print(f"\n{DOCUMENTS} documents\n{table(found, 'zstd -dc | mongorestore --archive')}")


def test_what_the_engine_adds_to_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    """At least half as fast as finding where documents begin."""
    noise = random.Random(1)
    batch = b"".join(
        bson.encode({"_id": n, "noise": noise.randbytes(120), "text": "lives here" * 20}) for n in range(45_000)
    )
    batches = [batch] * 30

    def iterating() -> int:
        return sum(len(document.raw) for one in batches for document in _split(one))

    def walking() -> int:
        walk = BsonWalk("bench")
        for one in batches:
            walk.feed(memoryview(one))
        return walk.close()

    def packing() -> int:
        walk, packer = BsonWalk("bench"), zstandard.ZstdCompressor(level=1).compressobj()
        size = 0
        for one in batches:
            walk.feed(memoryview(one))
            size += len(packer.compress(one))
        return size + walk.close()

    contenders = {"iteration": iterating, "counted and hashed": walking, "and packed (zstd 1)": packing}
    found = take_turns(contenders, rounds=ROUNDS)
    with capsys.disabled():
        print(f"\n{45_000 * 30} documents, {len(batch) * 30 / 1e6:.0f} MB\n{table(found, 'iteration')}")
    assert found["counted and hashed"].median <= 2 * found["iteration"].median


def _split(batch: bytes) -> list[RawBSONDocument]:
    """As the driver gives raw documents to whoever asks for them."""
    return bson.decode_all(batch, bson.CodecOptions(document_class=RawBSONDocument))
