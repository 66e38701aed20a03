"""How long a replay of many small segments takes beside the same replay from local files.

    BENCH_SEGMENTS=10000 BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_replay.py

By hand: `restore_command = 'cp …'` from a folder that is in the page cache. A drill fetches each segment from a real S3
server, decompresses and verifies it. Both figures: from the first to the last record, with one configuration.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import zstandard

from databosun.api.archive import TimePair
from databosun.api.drill import Level, PointKind, RecoveryPoint
from databosun.domain.wal import format_lsn, parse_lsn, segment_name
from databosun.storage.layout import Layout
from databosun.storage.walog import DIGEST, LENGTH, LogDescription
from databosun.storage.waltimes import write_pairs
from support.agentrun import NAMESPACE, backup_task
from support.pgsample import BACKUP_ROLE
from support.pgserver import PASSWORD, Server, bin_dir, hand_over, open_folder
from support.recoveryyard import Yard, drilled
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed, seaweed
from support.waiting import eventually

pytestmark = pytest.mark.bench

SEGMENTS = int(os.environ.get("BENCH_SEGMENTS", "10000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MAJOR = int(os.environ.get("BENCH_MAJOR", "18"))
MEBIBYTE = 1024 * 1024


class Bench:
    """A backup, and many segments of 1 MiB behind it, in a folder and in a bucket."""

    def __init__(self, weed: Seaweed) -> None:
        os.environ["DATABOSUN_POSTGRESQL_BIN"] = str(bin_dir(MAJOR))
        self.folder = open_folder("replay")
        self.wal = self.folder / "wal"
        self.wal.mkdir()
        hand_over(self.folder)
        self.server = Server(MAJOR, settings={"archive_mode": "on", "archive_command": f"'cp %p {self.wal}/%f'"})
        self.server.init("--wal-segsize=1")
        self.server.configure(max_wal_size="'1GB'", synchronous_commit="off")
        self.server.start()
        quoted = PASSWORD.replace("'", "''")
        self.server.sql(f"CREATE ROLE {BACKUP_ROLE} LOGIN REPLICATION PASSWORD '{quoted}'")
        self.server.sql(f"GRANT pg_read_all_data, pg_read_all_settings TO {BACKUP_ROLE}")
        bucket = weed.bucket()
        secrets = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
        self.yard = Yard(self.server, self.folder / "yard", s3=weed.target(bucket), s3_secrets=secrets)
        self.store = weed.store(bucket)
        self.yard.back_up(backup_task("orders-1"))
        self._write()
        self._upload()
        self.server.stop()
        self.runs = 0

    def _write(self) -> None:
        """Changed rows all over a table, until there are enough segments."""
        self.server.sql("CREATE DATABASE bench")
        self.server.run("pgbench", "--initialize", "--scale=10", "--quiet", "bench", timeout=3600)
        while len(list(self.wal.iterdir())) < SEGMENTS:
            self.server.sql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 10 = 3", "bench")
            self.server.sql("VACUUM pgbench_accounts", "bench")
        self.server.sql("SELECT pg_switch_wal()")
        last = str(self.server.sql("SELECT pg_walfile_name(pg_current_wal_lsn() - 1)")[0][0])
        eventually("the last segment is archived", lambda: (self.wal / last).exists(), 600)

    def _upload(self) -> None:
        """As the archiver stores it: zstd, digest and length of the plaintext beside it."""
        system = str(self.server.sql("SELECT system_identifier FROM pg_control_system()")[0][0])
        folder = Layout("prod", NAMESPACE).wal(system)
        self.store.put(folder.description, LogDescription(system_identifier=system, segment_bytes=MEBIBYTE).encode())
        names = sorted(path.name for path in self.wal.iterdir() if len(path.name) == 24)

        def one(name: str) -> None:
            data = (self.wal / name).read_bytes()
            metadata = {DIGEST: hashlib.sha256(data).hexdigest(), LENGTH: str(len(data))}
            key = folder.segment(name, end=None, encrypted=False)
            self.store.put(key, zstandard.ZstdCompressor(level=1).compress(data), metadata=metadata)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, names))
        self.segments = len(names)
        number = int(names[-1][8:16], 16) * 4096 + int(names[-1][16:], 16)
        assert segment_name(1, number, MEBIBYTE) == names[-1]
        end = format_lsn((number + 1) * MEBIBYTE)
        now = datetime.now(UTC)
        pair = TimePair(at=now, timeline=1, lsn=end)
        self.store.put(folder.hour(1, f"{now:%Y%m%dT%H}"), write_pairs([pair]))
        self.end = parse_lsn(end)

    def close(self) -> None:
        """Remove everything."""
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def drill(self, command: str | None = None) -> float:
        """Seconds of the replay; `command`: instead of our own restore_command."""
        self.runs += 1
        pod = self.yard.pod()
        if command:
            pod.restore_command = command
        until = RecoveryPoint(kind=PointKind.LATEST)
        run = f"bench-{self.runs}"
        found = drilled(self.yard.drill("orders-1", pod=pod, run=run, level=Level.RESTORE, until=until))
        assert found.rto, found
        return found.rto.replay


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The log."""
    with seaweed(tmp_path_factory.mktemp("weed")) as weed:
        made = Bench(weed)
        yield made
        made.close()


def test_replay(bench: Bench) -> None:
    local: list[float] = []
    fetched: list[float] = []
    for _ in range(ROUNDS):
        local.append(bench.drill(f"cp {bench.wal}/%f %p"))
        fetched.append(bench.drill())
    ratios = sorted(mine / theirs for mine, theirs in zip(fetched, local, strict=True))
    print(f"\n### Replay of {bench.segments} segments of 1 MiB (PostgreSQL {MAJOR}, {ROUNDS} rounds)\n")
    print(f"from local files {sorted(local)}, from S3 {sorted(fetched)}, median ratio {ratios[len(ratios) // 2]:.2f}")
