"""Agents that carry out a rule and are killed at random moments, under load, until one of them may finish."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from databosun.api.lifecycle import LifecycleMode, RuleOrder
from support.agentrun import Ran, read
from support.rulekeeping import Keeper
from support.waiting import eventually

FAST = {"rows": 2000, "target_milliseconds": 500, "pause_milliseconds": 0}


@dataclass
class Load:
    """People who work on the rows meanwhile. `known`: by row the last value whose commit was acknowledged."""

    keeper: Keeper[Any]
    rows: int
    known: dict[int, int] = field(default_factory=dict)
    changes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _failure: list[BaseException] = field(default_factory=list)

    def work(self, seed: int) -> None:
        """Change rows, one after the other."""
        chance = random.Random(seed)
        try:
            with self.keeper.writing() as write:
                while not self._stop.is_set():
                    row, value = chance.randrange(1, self.rows), chance.randrange(1 << 30)
                    if write(row, value):
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


@dataclass
class Agents:
    """Agents one after the other, each a process that can be killed."""

    process: subprocess.Popen[str]

    def start(
        self, keeper: Keeper[Any], attempt: int, asked: RuleOrder, *, seconds: float = 600, dies: float = 0, **task: Any
    ) -> int:
        """One attempt, with so many seconds until its deadline. Its process id. `dies`: so many seconds after it came
        to its work, unless 0."""
        order = keeper.task(asked, mode=LifecycleMode.ENFORCE, **task)
        deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        keeper.place.write(keeper.place.request(order, attempt=attempt, database=keeper.database, deadline=deadline))
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{keeper.place.root} out-{attempt} {dies}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def finish(self, keeper: Keeper[Any], attempt: int, asked: RuleOrder, *, seconds: float = 600, **task: Any) -> Ran:
        """One attempt to its end, which is there within so many seconds."""
        pid = self.start(keeper, attempt, asked, seconds=seconds, **task)
        eventually("the last attempt has ended", lambda: not alive(pid), seconds)
        termination = keeper.place.paths.termination.read_bytes()
        return read(0, (keeper.place.root / f"out-{attempt}").read_text(), termination)


@contextlib.contextmanager
def open_agents() -> Iterator[Agents]:
    """Gone afterwards, with all that they started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.lifecycleprocess"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(("operator", "tests"))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Agents(process)
        finally:
            process.kill()


def alive(pid: int) -> bool:
    """Whether a process is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def ended(keeper: Keeper[Any], attempt: int) -> bool:
    """Whether an attempt came to its end by itself."""
    return b'"event":"result"' in (keeper.place.root / f"out-{attempt}").read_bytes()


@dataclass(frozen=True, slots=True)
class Kills:
    """So many, each at most `longest` seconds after the agent came to its work. `batch`: how it works meanwhile;
    `seconds`: what the last agent may take."""

    seed: int
    count: int
    longest: float
    batch: Mapping[str, int]
    seconds: float = 600


def run_with_kills(agents: Agents, keeper: Keeper[Any], kills: Kills, asked: RuleOrder, **task: Any) -> tuple[Ran, int]:
    """Kill the agent at random moments until it was killed often enough, then let it finish. Kills that met it at
    work."""
    chance = random.Random(kills.seed)
    met = 0
    for attempt in range(1, kills.count + 1):
        moment = chance.uniform(0.001, kills.longest)  # of the kill: any is right
        pid = agents.start(keeper, attempt, asked, batch=dict(kills.batch), dies=moment, **task)
        try:
            eventually("it is dead", lambda p=pid: not alive(p), 300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it had started, too
        met += not ended(keeper, attempt)
    return agents.finish(keeper, kills.count + 1, asked, seconds=kills.seconds, batch=FAST, **task), met
