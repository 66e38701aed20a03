"""How long a drill's RTO is beside extracting and starting by hand, on the same files in turns; and its verification
beside counting all rows.

    BENCH_SCALE=130 BENCH_ROUNDS=5 pytest -s -m bench tests/bench/bench_recovery.py

By hand: `zstd -dc | tar x`, then `pg_ctl start` with the configuration that a copy gets, or with the server's own
defaults, until it answers. A drill's figure is the RTO that it reports itself, checked against a stopwatch around it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from databosun.api.drill import Level, Rto, Verdict
from support.agentrun import backup_task
from support.pgbenchdata import fill_for_bench
from support.pgsample import BACKUP_ROLE
from support.pgserver import PASSWORD, Server, bin_dir, hand_over, identity, open_folder
from support.recoverypod import RecoveryPod
from support.recoveryyard import Yard, drilled

pytestmark = pytest.mark.bench

SCALE = int(os.environ.get("BENCH_SCALE", "130"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
MAJOR = int(os.environ.get("BENCH_MAJOR", "18"))
_TUNED = "fsync = off\nfull_page_writes = off\nautovacuum = off\nsynchronous_commit = off\nhot_standby = off\n"


class Bench:
    """One backup of a filled server in a folder."""

    def __init__(self) -> None:
        os.environ["DATABOSUN_POSTGRESQL_BIN"] = str(bin_dir(MAJOR))
        self.folder = open_folder("bench")
        self.server = Server(MAJOR, settings={"shared_buffers": "'256MB'", "max_wal_size": "'4GB'"})
        self.server.init()
        self.server.configure()
        self.server.start()
        fill_for_bench(self.server, SCALE)
        quoted = PASSWORD.replace("'", "''")
        self.server.sql(f"ALTER ROLE \"{BACKUP_ROLE}\" PASSWORD '{quoted}'")
        self.yard = Yard(self.server, self.folder / "yard")
        self.yard.back_up(backup_task("orders-1"))
        names = self.server.sql("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid > 16383", "bench")
        self.counted = [
            (str(one[0]), self.server.sql(f"SELECT count(*) FROM {one[0]}", "bench")[0][0]) for one in names
        ]
        self.server.stop()
        hand_over(self.folder)
        self.runs = 0
        self.reported: list[Rto] = []
        self.checks: list[dict[str, float]] = []
        self.watched: list[float] = []

    def close(self) -> None:
        """Remove everything."""
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def by_hand(self, *, tuned: bool) -> int:
        """Extract and start with the bare tools; returns the bytes extracted."""
        base = self.yard.stored("orders-1", "base.tar.zst.0000")
        out = self.folder / "by-hand"
        shutil.rmtree(out, ignore_errors=True)
        (out / "data").mkdir(parents=True, mode=0o700)
        hand_over(out)
        config = "listen_addresses = ''\n" + f"unix_socket_directories = '{out}'\n" + (_TUNED if tuned else "")
        script = f"""
        zstd -dc '{base}' | tar -x -p -C '{out}/data'
        printf '%s' "$CONFIG" > '{out}/postgresql.conf'; echo 'local all all trust' > '{out}/data/pg_hba.conf'
        rm -f '{out}/data/postgresql.auto.conf'; touch '{out}/data/recovery.signal'
        echo "restore_command = 'false'" >> '{out}/postgresql.conf'
        pg_ctl -D '{out}/data' -l '{out}/log' -w -t 600 -o '-c config_file={out}/postgresql.conf' start
        until test "$(psql -XAtc 'select pg_is_in_recovery()' postgres)" = f; do sleep 0.02; done
        """
        env = {
            "PATH": f"{self.server.bin}:{os.environ['PATH']}",
            "CONFIG": config,
            "PGHOST": str(out),
            "PGUSER": "postgres",
        }
        subprocess.run(
            ["bash", "-c", f"set -euo pipefail; {script}"], env=env, check=True, stdout=subprocess.DEVNULL, **identity()
        )
        return sum(path.stat().st_size for path in (out / "data").rglob("*") if path.is_file())

    def stop_by_hand(self) -> None:
        """End what the last contender by hand has left."""
        data = self.folder / "by-hand" / "data"
        if (data / "postmaster.pid").exists():
            argv = [str(self.server.bin / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, **identity())

    def drop_cache(self) -> None:
        """Have everything of the copy on the disk, and nothing of it in memory."""
        os.sync()
        for path in (self.folder / "by-hand" / "data").rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)

    def count_by_hand(self) -> float:
        """Seconds that `count(*)` of all tables takes on the copy that was started by hand."""
        env = {"PATH": f"{self.server.bin}:{os.environ['PATH']}", "PGHOST": str(self.folder / "by-hand")}
        env |= {"PGUSER": "postgres", "PGDATABASE": "bench"}
        tables = [str(row[0]) for row in self.counted]
        script = "".join(f"SELECT count(*) FROM {table};" for table in tables)
        began = time.perf_counter()
        said = subprocess.run(["psql", "-XAtq", "-c", script], env=env, check=True, capture_output=True, **identity())
        assert [int(line) for line in said.stdout.split()] == [row[1] for row in self.counted]
        return time.perf_counter() - began

    def drill(self, pod: RecoveryPod, level: Level = Level.RESTORE) -> Rto:
        """One drill; the RTO that it reports."""
        self.runs += 1
        began = time.perf_counter()
        found = drilled(self.yard.drill("orders-1", pod=pod, run=f"bench-{self.runs}", level=level))
        assert found.verdict is Verdict.PASSED, found
        self.checks.append({one.name: round(one.seconds, 2) for one in found.checks})
        self.watched.append(time.perf_counter() - began)
        assert found.rto
        self.reported.append(found.rto)
        return found.rto


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The backup."""
    made = Bench()
    yield made
    made.close()


def test_rto(bench: Bench) -> None:
    figures: dict[str, list[float]] = {"by hand, defaults": [], "by hand, tuned": [], "drill": []}
    for _ in range(ROUNDS):
        for name, tuned in (("by hand, defaults", False), ("by hand, tuned", True)):
            _settle()
            began = time.perf_counter()
            bench.by_hand(tuned=tuned)
            figures[name].append(time.perf_counter() - began)
            bench.stop_by_hand()
            shutil.rmtree(bench.folder / "by-hand")
        _settle()
        figures["drill"].append(bench.drill(bench.yard.pod()).seconds)
    print(f"\n### RTO (PostgreSQL {MAJOR}, pgbench scale {SCALE}, {ROUNDS} rounds, seconds)\n")
    for name, seconds in figures.items():
        ratios = sorted(one / base for one, base in zip(seconds, figures["by hand, defaults"], strict=True))
        print(f"{name}: {sorted(seconds)[len(seconds) // 2]:.2f} (ratio {ratios[len(ratios) // 2]:.2f}) {seconds}")
    for rto in bench.reported:
        print(rto.model_dump(exclude_none=True))


def test_deep_verification(bench: Bench) -> None:
    """A drill writes past the page cache, so its copy is read from the disk; by hand, both ways."""
    figures: dict[str, list[float]] = {"count(*), page cache": [], "count(*), disk": [], "Deep": []}
    for _ in range(ROUNDS):
        for name in ("count(*), page cache", "count(*), disk"):
            _settle()
            bench.by_hand(tuned=True)
            if name.endswith("disk"):
                bench.drop_cache()
            figures[name].append(bench.count_by_hand())
            bench.stop_by_hand()
            shutil.rmtree(bench.folder / "by-hand")
        _settle()
        figures["Deep"].append(bench.drill(bench.yard.pod(), Level.DEEP).verify)
    print(f"\n### Verification, level Deep (PostgreSQL {MAJOR}, pgbench scale {SCALE}, {ROUNDS} rounds, seconds)\n")
    for name, seconds in figures.items():
        ratios = sorted(one / base for one, base in zip(figures["Deep"], seconds, strict=True))
        print(f"{name}: {sorted(seconds)}, Deep is {ratios[len(ratios) // 2]:.2f} times that")
    print(f"of which {bench.checks[-1]}")


def _settle() -> None:
    """Nobody pays for what the one before has left to write."""
    os.sync()
