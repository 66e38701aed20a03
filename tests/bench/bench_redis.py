"""How fast a Redis is backed up and brought back, beside `redis-cli --rdb` and a server's own start, in one run.

    BENCH_KEYS=2000000 BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_redis.py

The agent reads back and hashes all that it stored, which the pipeline beside it does not. Peak memory is what the
kernel says of a process of its own. The server gives each copy at once (`repl-diskless-sync-delay 0`): the wait for
others to join is the same for all.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from agent.redis.conftest import Workshop, target_of
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.redis import ENGINE
from support.agentrun import NAMESPACE, UID, Workplace, backup_task
from support.fakeengine import FakeEngine
from support.paired import table, take_turns
from support.redisserver import ADMIN, PASSWORD, USER, Server, program

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
KEYS = int(os.environ.get("BENCH_KEYS", "2000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}"}
MEMORY_BAR = 256
_AGENT = r"""
import re, sys
from pathlib import Path
from agent.redis.conftest import Workshop
class Where: port = int(sys.argv[1])
Workshop(Path(sys.argv[2])).back_up(Where(), sys.argv[3])
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    """Half a kilobyte a key, half of it random: about a gigabyte in all."""
    server = Server()
    noise = random.Random(1)
    for begin in range(0, KEYS, 20_000):
        batch = range(begin, min(KEYS, begin + 20_000))
        server.calls([("SET", f"user:{n}:profile", noise.randbytes(250) + b"{'city': 'here'}" * 16) for n in batch])
    yield server
    server.remove()


def test_a_backup_beside_redis_cli(filled: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers, place = itertools.count(), Workplace(tmp_path / "pod")
    place.secrets["database"] = {"username": USER, "password": PASSWORD}
    database = DatabaseTarget(
        namespace=NAMESPACE, name="cache", uid=UID, engine=EngineName.REDIS, hosts=["127.0.0.1"], port=filled.port,
        tls=TLSMode.DISABLE,
    )  # fmt: skip

    def ours(*, names: bool) -> Callable[[], int]:
        def run() -> int:
            task = backup_task(f"bench-{next(numbers)}", fingerprints=names)
            ran = place.run(task, engine=cast("FakeEngine", ENGINE), database=database)
            assert ran.result.backup, ran.output[-3000:]
            shutil.rmtree(place.paths.volume / NAMESPACE)
            return ran.result.backup.stored_bytes

        return run

    def theirs() -> int:
        out = tmp_path / "cli.zst"
        cli = f"redis-cli -p {filled.port} --user {ADMIN} --pass {ADMIN} --no-auth-warning --rdb -"
        subprocess.run(["bash", "-c", f"set -o pipefail; {cli} 2>/dev/null | zstd -q -1 -T2 > {out}"], check=True)
        return out.stat().st_size

    found = take_turns(
        {"redis-cli --rdb | zstd -1 -T2": theirs, "agent": ours(names=False), "agent, with names": ours(names=True)},
        rounds=ROUNDS,
    )
    argv = [sys.executable, "-c", _AGENT, str(filled.port), str(tmp_path), "alone"]
    done = subprocess.run(argv, env=ENV, capture_output=True, text=True, check=True)
    peak = int(done.stdout)
    with capsys.disabled():
        print(f"\n{KEYS} keys\n{table(found, 'redis-cli --rdb | zstd -1 -T2')}\npeak memory {peak} MiB")
    assert peak <= MEMORY_BAR


def test_a_restore_beside_a_servers_own_start(
    filled: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABOSUN_REDIS_BIN", str(program("redis").parent))
    workshop = Workshop(tmp_path)
    _, manifest = workshop.back_up(filled, target=target_of(filled))

    def ours() -> int:
        with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
            size = (tmp_path / "place" / "data" / "dump.rdb").stat().st_size
            assert copy.seconds["start"]
        shutil.rmtree(tmp_path / "place")
        return size

    def theirs() -> int:
        place = tmp_path / "theirs"
        place.mkdir()
        command = f"""
            zstd -q -dc {tmp_path}/cache-1/dump.rdb.zst > {place}/dump.rdb
            redis-server --port 0 --unixsocket {place}/s --dir {place} --save "" --daemonize yes \\
              --pidfile {place}/pid --logfile {place}/log
            until redis-cli -s {place}/s INFO persistence 2>/dev/null | grep -q '^loading:0'; do sleep 0.02; done
            redis-cli -s {place}/s SHUTDOWN NOSAVE
        """
        subprocess.run(["bash", "-euc", command], check=True, capture_output=True)
        size = (place / "dump.rdb").stat().st_size
        shutil.rmtree(place)
        return size

    found = take_turns({"zstd -dc, redis-server": theirs, "engine": ours}, rounds=ROUNDS)
    with capsys.disabled():
        print(f"\n{KEYS} keys\n{table(found, 'zstd -dc, redis-server')}\n{json.dumps({'rounds': ROUNDS})}")
