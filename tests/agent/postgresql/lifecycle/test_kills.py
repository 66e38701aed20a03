"""The agent is killed at any moment, under load, and what it was doing is finished by the next one: no row is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from databosun.api.lifecycle import ActionType, LifecycleMode, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.request import S3Target
from databosun.api.result import Outcome
from support.agekeys import make_age_key
from support.agentrun import Ran, Workplace, read
from support.lifecycling import DATABASE, Keeper, prepare, result_of, rule
from support.pgserver import Server
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
ROWS = 100_000
KILLS = 20
SMALL = {"rows": 200, "target_milliseconds": 20, "pause_milliseconds": 2}
FAST = {"rows": 2000, "target_milliseconds": 500, "pause_milliseconds": 0}


@dataclass
class Load:
    """People who work on the rows meanwhile. `known`: by row the last value whose commit was acknowledged."""

    server: Server
    known: dict[int, int] = field(default_factory=dict)
    changes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _failure: list[BaseException] = field(default_factory=list)

    def work(self, seed: int) -> None:
        """Change rows, old ones mostly, and add new ones."""
        chance = random.Random(seed)
        try:
            with self.server.connect(DATABASE) as connection:
                while not self._stop.is_set():
                    row, value = chance.randrange(1, ROWS), chance.randrange(1 << 30)
                    if connection.execute("UPDATE orders SET customer = %s WHERE id = %s", (value, row)).rowcount:
                        self.known[row] = value
                        self.changes += 1
        except BaseException as error:  # told by the test: this is a thread
            self._failure.append(error)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """One thread: each value has one who wrote it last."""
        thread = threading.Thread(target=self.work, args=(7,))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        assert not self._failure, self._failure


@pytest.fixture(params=["volume", "bucket"])
def large(request: pytest.FixtureRequest, rule_servers: Callable[[int], Server], tmp_path: Path) -> Keeper:
    """Many orders, and a pod with a volume or a bucket for storage."""
    server = rule_servers(17)
    prepare(server, ROWS)
    place, store, key = Workplace(tmp_path / "pod"), None, make_age_key(tmp_path)
    if request.param == "bucket":
        weed: Seaweed = request.getfixturevalue("weed")
        bucket = weed.bucket()
        target: S3Target = weed.target(bucket)
        place.s3, store = target, weed.store(bucket)
        place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    return Keeper(server, place, key, store=store)


@dataclass
class Agents:
    """Agents one after the other, each a process that can be killed."""

    process: subprocess.Popen[str]

    def start(self, keeper: Keeper, attempt: int, asked: RuleOrder, **task: Any) -> int:
        """One attempt. Its process id."""
        order = keeper.task(asked, mode=LifecycleMode.ENFORCE, **task)
        keeper.place.write(keeper.place.request(order, attempt=attempt, database=keeper.database))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{keeper.place.root} out-{attempt}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def finish(self, keeper: Keeper, attempt: int, asked: RuleOrder, **task: Any) -> Ran:
        """One attempt to its end."""
        pid = self.start(keeper, attempt, asked, **task)
        eventually("the last attempt has ended", lambda: not alive(pid), 600)
        termination = keeper.place.paths.termination.read_bytes()
        return read(0, (keeper.place.root / f"out-{attempt}").read_text(), termination)


@pytest.fixture
def agents() -> Iterator[Agents]:
    """Gone afterwards, with all that they started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.lifecycleprocess"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(("operator", "tests"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Agents(process)
        process.kill()


def alive(pid: int) -> bool:
    """Whether a process is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def began(keeper: Keeper, attempt: int) -> bool:
    """Whether an attempt is at its work."""
    out = keeper.place.root / f"out-{attempt}"
    return out.exists() and b'"phase":"enforce"' in out.read_bytes()


def run_with_kills(agents: Agents, keeper: Keeper, seed: int, asked: RuleOrder, **task: Any) -> tuple[Ran, int]:
    """Kill the agent at random moments until it was killed often enough, then let it finish. Kills that met it at
    work."""
    chance = random.Random(seed)
    met = 0
    for attempt in range(1, KILLS + 1):
        pid = agents.start(keeper, attempt, asked, batch=SMALL, **task)
        try:
            eventually("it is at work", lambda p=pid, a=attempt: began(keeper, a) or not alive(p), 300)
            threading.Event().wait(chance.uniform(0, 0.9))  # the moment of the kill: any is right
            met += alive(pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        eventually("it is dead", lambda p=pid: not alive(p))
    return agents.finish(keeper, KILLS + 1, asked, batch=FAST, **task), met


def test_not_one_row_is_lost_when_the_agent_is_killed_at_any_moment_under_load(large: Keeper, agents: Agents) -> None:
    before = large.ids()
    asked = rule(action=ActionType.ARCHIVE, older_than_seconds=20 * 86400, where=None)
    approved = large.look(asked).plan_hash
    large.runs += 1
    load = Load(large.server)
    with load.at_work():
        ran, met = run_with_kills(agents, large, 11, asked, approved=approved)
    assert met == KILLS, "the run was over before it was killed often enough: give it more rows"
    assert load.changes > 100
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    outcome = result_of(ran).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    rows, left = large.archive().rows(), large.ids()
    assert set(rows) | left == before
    # A row that is there still may lie in a part that a kill cut off: the table has the word.
    gone = before - left
    known = {row: value for row, value in load.known.items() if row in gone}
    assert known
    assert {row: rows[row]["customer"] for row in known} == known
    assert large.sql("SELECT count(*) FROM orders WHERE created_at < '2026-02-09 12:00Z'") == [(0,)]
    assert outcome.deleted <= len(gone) <= outcome.archived


def test_deletes_and_limits_stand_across_kills(
    rule_servers: Callable[[int], Server], tmp_path: Path, agents: Agents
) -> None:
    server = rule_servers(17)
    prepare(server, ROWS)
    keeper = Keeper(server, Workplace(tmp_path / "pod"))
    asked = rule(where=None, older_than_seconds=20 * 86400, limits={"max_rows_per_run": 40_000})
    approved = keeper.look(asked).plan_hash
    keeper.runs += 1
    before = keeper.ids()
    ran, met = run_with_kills(agents, keeper, 5, asked, approved=approved)
    assert met > 0
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    gone = before - keeper.ids()
    assert 0 < len(gone) <= 40_000
    young = {int(row[0]) for row in keeper.sql("SELECT id FROM orders WHERE created_at >= '2026-02-09 12:00Z'")}
    assert len(young) == sum(1 for row in before if row % 200 <= 19)
    assert result_of(ran).outcomes[0].deleted <= len(gone)
