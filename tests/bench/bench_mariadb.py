"""How fast a MariaDB is backed up and brought back, beside its own programs by hand, in one run, to and from S3.

    BENCH_ROWS=2500000 BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_mariadb.py

2,500,000 rows are about 1 GB of data and indexes. By hand: a dump or a stream of files through `zstd -1 -T2` into an
upload with the agent's own client library; back by the same programs, with the settings that a copy gets. The agent
reads back and hashes all that it stored, and with `fingerprints` every row. Peak memory is what the kernel says of the
agent and of the largest program that it ran.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databosun.api.drill import Level
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.engines.mysql.dialect import MARIADB
from support.agentrun import backup_task
from support.mariasample import ACCOUNTS
from support.mariaserver import MariaServer
from support.mariayard import MariaFilesYard, MariaYard
from support.paired import table, take_turns
from support.pgserver import hand_over, identity, open_folder
from support.seaweed import Seaweed, seaweed

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
ROWS = int(os.environ.get("BENCH_ROWS", "2500000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MEMORY_BAR = 256
METHODS = (Method.LOGICAL, Method.PHYSICAL)
FILL = (
    "CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(100) NOT NULL, born DATE, note VARCHAR(200),"
    " KEY (name));\n"
    "INSERT INTO customers SELECT seq, CONCAT('name ', MD5(seq)), DATE '1970-01-01' + INTERVAL seq % 9999 DAY,"
    f" CONCAT(SHA2(seq, 256), ' lives here, lives here') FROM seq_1_to_{ROWS};\n"
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT NOT NULL, total DECIMAL(12, 2), KEY (customer));\n"
    f"INSERT INTO orders SELECT seq, 1 + seq * 7919 % {ROWS}, seq / 7 FROM seq_1_to_{ROWS}"
)
# In a process that has done nothing else. The program's own peak is looked up while it runs: what the kernel says of
# ended children counts what they were before they became it.
_PEAK = r"""
import os, re, sys, threading, time
from pathlib import Path
from agent.mysql.conftest import back_up, target_of
from databosun.api.v1alpha1.backuppolicy import Method
class Where: port = int(sys.argv[2])
def peak(process): return int(re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())[1]) // 1024
seen = [0]
def look():
    while True:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"PPid:\t{os.getpid()}\n" in (process / "status").read_text():
                    seen.append(peak(process))
            except (OSError, TypeError):
                pass
        time.sleep(0.05)
threading.Thread(target=look, daemon=True).start()
back_up(target_of(Where(), mount=Path(sys.argv[3])), Path(sys.argv[4]), method=Method(sys.argv[1]))
print(peak(Path("/proc/self")), max(seen))
"""


class Bench:
    """A filled server, and a bucket."""

    def __init__(self, weed: Seaweed) -> None:
        self.weed = weed
        self.folder = open_folder("bench")
        self.server = MariaServer(settings={"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "1G"})
        self.server.init()
        self.server.start()
        self.server.sql(ACCOUNTS)
        self.server.sql("CREATE DATABASE shop")
        self.server.sql(FILL, "shop")
        self.yards: dict[Method, MariaYard] = {
            Method.LOGICAL: MariaYard(self.folder / "logical", server=self.server, weed=weed),
            Method.PHYSICAL: MariaFilesYard(self.folder / "physical", server=self.server, weed=weed),
        }
        self.bucket = weed.bucket()
        self.numbers = itertools.count()

    def close(self) -> None:
        """Remove everything."""
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def agent(self, method: Method, *, rows: bool) -> Callable[[], int]:
        """A backup by the whole agent."""
        yard = self.yards[method]

        def run() -> int:
            ran = yard.run(backup_task(f"bench-{next(self.numbers)}", method=method, fingerprints=rows))
            assert ran.result.backup, ran.output[-3000:]
            return ran.result.backup.stored_bytes

        return run

    def by_hand(self, program: str) -> Callable[[], int]:
        """A pipeline of the bare programs."""
        argv = f"{sys.executable} -m support.s3upload {self.weed.endpoint} {self.bucket} bare"
        pipe = f"set -o pipefail; {program} 2>/dev/null | zstd -q -1 -T2 | {argv}"

        def run() -> int:
            subprocess.run(["bash", "-c", pipe], check=True, env=_environment(), cwd=self.folder)
            size: int = self.weed.client.head_object(Bucket=self.bucket, Key="bare")["ContentLength"]
            return size

        return run

    @property
    def programs(self) -> dict[Method, str]:
        """What a person would run, over the socket as root."""
        login = f"--no-defaults --socket={self.server.socket} --user=root"
        dump = "--single-transaction --quick --master-data=2 --gtid --routines --events --triggers --hex-blob"
        copy = f"--backup --stream=mbstream --parallel=2 --datadir={self.server.data} --target-dir={self.folder}"
        return {
            Method.LOGICAL: f"mariadb-dump {login} {dump} --databases shop",
            Method.PHYSICAL: f"mariadb-backup {login} {copy}",
        }


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The filled server."""
    with seaweed(tmp_path_factory.mktemp("weed")) as weed:
        made = Bench(weed)
        yield made
        made.close()


@pytest.mark.parametrize("method", METHODS)
def test_a_full_beside_the_programs_by_hand(
    bench: Bench, method: Method, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"{bench.programs[method].split()[0]} | zstd -1 -T2 | upload"
    contenders = {
        base: bench.by_hand(bench.programs[method]),
        "agent": bench.agent(method, rows=False),
        "agent, with fingerprints": bench.agent(method, rows=True),
    }
    found = take_turns(contenders, rounds=ROUNDS)
    argv = [sys.executable, "-c", _PEAK, method.value, str(bench.server.port), str(bench.server.folder), str(tmp_path)]
    done = subprocess.run(argv, env=_environment(), capture_output=True, text=True, check=True)
    agent, program = map(int, done.stdout.split())
    with capsys.disabled():
        print(f"\n{method}, {ROWS} rows\n{table(found, base)}\npeak memory {agent} MiB, of a program {program} MiB")
    assert agent + program <= MEMORY_BAR


@pytest.mark.parametrize("method", METHODS)
def test_a_drill_beside_the_programs_by_hand(bench: Bench, method: Method, capsys: pytest.CaptureFixture[str]) -> None:
    """To the first answer; what a drill checks then is not counted by hand, and `server-ready` is all that it does."""
    yard = bench.yards[method]
    yard.back_up(f"kept-{method.lower()}", fingerprints=False)
    bench.by_hand(bench.programs[method])()
    hand_over(bench.folder)

    def ours() -> int:
        ran = yard.drill(f"kept-{method.lower()}", id=f"drill-{next(bench.numbers)}", level=Level.RESTORE)
        assert ran.result.drill, ran.output[-3000:]
        assert ran.result.drill.rto
        return int(ran.result.drill.rto.seconds * 1e6)

    def theirs() -> int:
        place = bench.folder / "by-hand"
        place.mkdir()
        hand_over(place)
        url = bench.weed.client.generate_presigned_url("get_object", Params={"Bucket": bench.bucket, "Key": "bare"})
        script = _LOAD if method is Method.LOGICAL else _UNPACK
        try:
            env = {**os.environ, "URL": url, "MINE": "\n".join(MARIADB.mine), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
            subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=True, cwd=place, env=env, **identity())
        finally:
            shutil.rmtree(place)
        return 0

    found = take_turns({"by hand": theirs, "drill": ours}, rounds=ROUNDS)
    rto = sorted(size / 1e6 for size in found["drill"].size)
    with capsys.disabled():
        print(f"\nrestore, {method}, {ROWS} rows\n{table(found, 'by hand')}\n(drill: MB are its RTO in seconds: {rto})")


_CONFIGURE = """
mkdir tmp
cat > my.cnf <<EOF
[mariadbd]
datadir = $PWD/data
socket = $PWD/socket
pid-file = $PWD/pid
tmpdir = $PWD/tmp
innodb-buffer-pool-size = 256M
$MINE
EOF
"""
_START = """
mariadbd --defaults-file=my.cnf > log 2>&1 &
until mariadb-admin --no-defaults --socket=socket --user=root ping > said 2>&1; do sleep 0.02; kill -0 $!; done
"""
_STOP = "\nkill -9 $!; wait $! || true\n"
_LOAD = f"""{_CONFIGURE}
mariadb-install-db --defaults-file=my.cnf --datadir="$PWD/data" --auth-root-authentication-method=normal \\
  --skip-test-db > installed 2>&1
{_START}
curl -sf "$URL" | zstd -qdc | mariadb --no-defaults --socket=socket --user=root
{_STOP}"""
_UNPACK = f"""{_CONFIGURE}
mkdir data
curl -sf "$URL" | zstd -qdc | mbstream --extract --directory=data
mariadb-backup --no-defaults --prepare --target-dir=data --use-memory=256M > prepared 2>&1
{_START}{_STOP}"""
