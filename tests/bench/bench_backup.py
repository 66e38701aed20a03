"""How fast the engine takes backups beside PostgreSQL's own tools on the same server, in one paired run.

    BENCH_SCALE=100 BENCH_ROUNDS=5 pytest -s -m bench tests/bench/bench_backup.py

Everything ends in a local folder; what a bucket adds is measured where the whole agent is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Captured, Credentials, Parent, Plan, Target
from databosun.engines.postgresql import ENGINE
from support.foldersink import FolderSink
from support.paired import table, take_turns
from support.pgbenchdata import change_pages, fill_for_bench
from support.pgserver import PASSWORD, Server, bin_dir, open_folder

pytestmark = pytest.mark.bench

SCALE = int(os.environ.get("BENCH_SCALE", "100"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
MAJOR = int(os.environ.get("BENCH_MAJOR", "18"))


class Bench:
    """A filled server and a folder that is emptied for each contender."""

    def __init__(self) -> None:
        os.environ["DATABOSUN_POSTGRESQL_BIN"] = str(bin_dir(MAJOR))
        self.server = Server(MAJOR, settings={"shared_buffers": "'256MB'", "max_wal_size": "'4GB'"})
        self.server.init()
        self.server.configure()
        self.server.start()
        fill_for_bench(self.server, SCALE)
        self.folder = open_folder("bench")
        self.conninfo = f"host=127.0.0.1 port={self.server.port} user=backup application_name=bench sslmode=disable"

    def close(self) -> None:
        """Remove everything."""
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh(self) -> Path:
        """An empty folder."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        return out

    def shell(self, pipeline: str) -> int:
        """A pipeline of the bare tools; returns the bytes that it left."""
        out = self.fresh()
        out.mkdir()
        env = {
            "PATH": f"{self.server.bin}:{os.environ['PATH']}",
            "PGPASSWORD": PASSWORD,
            "OUT": str(out),
            "DB": self.conninfo,
        }
        subprocess.run(["bash", "-c", f"set -euo pipefail; {pipeline}"], env=env, check=True, stdout=subprocess.DEVNULL)
        return stored(out)

    def engine(
        self, method: Method, parent: Parent | None = None, database: str | None = None, *, fingerprints: bool = True
    ) -> tuple[Captured, int]:
        """One backup by the engine into the folder."""
        described = DatabaseTarget(
            namespace="bench", name="bench", uid="0", engine=EngineName.POSTGRESQL, hosts=["127.0.0.1"],
            port=self.server.port, database=database, tls=TLSMode.DISABLE,
        )  # fmt: skip
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        kind = BackupType.INCREMENTAL if parent else BackupType.FULL
        deadline = datetime.now(UTC) + timedelta(hours=1)
        plan = Plan(kind, method, "Strict", parent, scratch, None, deadline, "bench", fingerprints)
        out = self.fresh()
        captured = ENGINE.backup(Target(described, Credentials("backup", PASSWORD)), plan, FolderSink(out))
        return captured, stored(out)


def stored(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The filled server."""
    made = Bench()
    yield made
    made.close()


def report(title: str, text: str) -> None:
    """Show a table."""
    print(f"\n### {title} (PostgreSQL {MAJOR}, pgbench scale {SCALE}, {ROUNDS} rounds)\n\n{text}\n")


def test_physical_full(bench: Bench) -> None:
    contenders: dict[str, Callable[[], int]] = {
        "pg_basebackup -D - | zstd -1 -T2": lambda: bench.shell(
            'pg_basebackup -d "$DB" -c fast -X fetch -Ft -D - | zstd -q -1 -T2 > "$OUT/base.tar.zst"'
        ),
        "engine": lambda: bench.engine(Method.PHYSICAL)[1],
        "pg_basebackup --compress=server-zstd:1 to a folder": lambda: bench.shell(
            'pg_basebackup -d "$DB" -c fast -X fetch -Ft --compress=server-zstd:1 -D "$OUT/base"'
        ),
    }
    report("Physical full", table(take_turns(contenders, rounds=ROUNDS), "pg_basebackup -D - | zstd -1 -T2"))


def test_logical(bench: Bench) -> None:
    contenders: dict[str, Callable[[], int]] = {
        "pg_dump -Fd -j2 zstd:1": lambda: bench.shell(
            'pg_dump -d "$DB dbname=bench" -Fd -j2 -Z zstd:1 --no-sync -f "$OUT/dump"'
        ),
        "engine, without counts and fingerprints": lambda: bench.engine(
            Method.LOGICAL, database="bench", fingerprints=False
        )[1],
        "engine, with counts and fingerprints": lambda: bench.engine(Method.LOGICAL, database="bench")[1],
    }
    report("Logical", table(take_turns(contenders, rounds=ROUNDS), "pg_dump -Fd -j2 zstd:1"))


def test_incremental(bench: Bench) -> None:
    captured, _ = bench.engine(Method.PHYSICAL)
    manifest = (bench.folder / "out" / "backup_manifest").read_bytes()
    parent = Parent("full", "full", 0, manifest, captured.position, captured.system_identifier, captured.engine_version)
    change_pages(bench.server, 1)
    contenders: dict[str, Callable[[], int]] = {
        "full": lambda: bench.engine(Method.PHYSICAL)[1],
        "incremental after 1 % of the pages": lambda: bench.engine(Method.PHYSICAL, parent)[1],
    }
    report("Incremental", table(take_turns(contenders, rounds=ROUNDS), "full"))


def test_peak_memory(bench: Bench) -> None:
    """Of the whole process while a full is taken, above what it held before."""
    peak = [0]
    done = threading.Event()

    def resident() -> int:
        text = Path("/proc/self/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    before = resident()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    start = time.perf_counter()
    bench.engine(Method.PHYSICAL)
    seconds = time.perf_counter() - start
    done.set()
    thread.join()
    report("Memory", f"{before / 1024:.0f} MiB before, peak {peak[0] / 1024:.0f} MiB in {seconds:.1f} s")
