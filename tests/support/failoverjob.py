"""Runs the steps of a failover test as Jobs would, against servers of a yard."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import zstandard

from databosun.agent import main as agent
from databosun.agent.failovers import drive
from databosun.agent.failovers.asking import ACT
from databosun.agent.failovers.drive import Drive
from databosun.api.backuptasks import RecoverTask
from databosun.api.failover import (
    ActAnswer,
    ActAsked,
    FailbackWhen,
    FailoverMode,
    FailoverPlan,
    FailoverResult,
    FailoverStep,
    FailoverTask,
    ProviderTarget,
)
from databosun.api.failoverprobe import ProbeOrder
from databosun.api.injection import InjectedFault
from databosun.api.result import Outcome, Result
from databosun.api.targets import DatabaseTarget
from databosun.domain.failoverplan import make_plan
from databosun.domain.ledger import Claim, History, ReadBack
from databosun.domain.ledgerlines import parse_ledger
from support.agentrun import Workplace
from support.waiting import eventually

RUN = "5f7c0b1e"
REJOIN_SECONDS = 180.0
"""On a busy machine it takes a minute; who tests the limit gives one of its own."""


class Way(StrEnum):
    """Of a primary."""

    THERE = "there"
    BACK = "back"


class Followed(io.StringIO):
    """The log of an agent, which the operator follows, and whose answer becomes a file of the agent's pod."""

    def __init__(self, answer: Path, operator: Callable[[ActAsked], ActAnswer] | None) -> None:
        super().__init__()
        self._answer, self._operator = answer, operator

    def write(self, text: str) -> int:
        line = json.loads(text)
        if line["event"] == ACT and self._operator is not None:
            fields = {name: value for name, value in line.items() if name not in ("ts", "level", "event")}
            threading.Thread(target=self._act, args=(ActAsked.model_validate(fields),), daemon=True).start()
        return super().write(text)

    def _act(self, asked: ActAsked) -> None:
        assert self._operator
        part = self._answer.with_suffix(".part")
        part.write_text(self._operator(asked).model_dump_json(by_alias=True))
        part.rename(self._answer)


@dataclass
class FailoverJob:
    """One run of a test. `secrets`: of the two logins. `operator`: what it does that the agent asks it for."""

    place: Workplace
    database: DatabaseTarget
    provider: ProviderTarget
    mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER
    operator: Callable[[ActAsked], ActAnswer] | None = None
    fault: InjectedFault | None = None
    failback: FailbackWhen = FailbackWhen.NEVER
    uid: str = RUN

    def run(self, step: FailoverStep, plan: FailoverPlan | None = None, **more: Any) -> Result:
        """One Job."""
        paths = more.pop("paths", [])
        probe = ProbeOrder(writes_per_second=more.pop("rate", 20.0), clients=more.pop("clients", 4), paths=paths)
        given: dict[str, Any] = {
            "id": "test-1", "uid": self.uid, "step": step, "mode": self.mode, "provider": self.provider, "plan": plan,
            "fault": self.fault, "failback": self.failback, "probe": probe, "rejoin_seconds": REJOIN_SECONDS, **more,
        }  # fmt: skip
        deadline = datetime.now(UTC) + timedelta(minutes=5)
        answer = self.place.paths.answer
        answer.unlink(missing_ok=True)
        out = Followed(answer, self.operator)
        ran = self.place.run(FailoverTask(**given), out=out, database=self.database, deadline=deadline)
        return ran.result

    def start(self, plan: FailoverPlan, *, waits: Way | None = None) -> subprocess.Popen[bytes]:
        """The switch, in a process of its own that may be killed. `waits`: with its order, there or back, until `go`,
        while clients write."""
        given = {
            "id": "test-1",
            "uid": self.uid,
            "step": FailoverStep.SWITCH,
            "mode": self.mode,
            "provider": self.provider,
        }
        more = {"plan": plan, "rejoin_seconds": REJOIN_SECONDS, "failback": self.failback}
        task = FailoverTask.model_validate({**given, **more})
        self.place.write(self.place.request(task, database=self.database))
        root = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "PYTHONPATH": f"{root / 'operator'}:{root / 'tests'}"}
        argv = [sys.executable, "-m", "support.failoverjob", str(self.place.root), *([waits] if waits else [])]
        with (self.place.root / "log").open("wb") as log:
            return subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    @property
    def waits(self) -> bool:
        """Whether the one that was started waits."""
        return (self.place.root / _WAITS).exists()

    def go(self) -> None:
        """Let the one that was started and waits give its order."""
        (self.place.root / _GO).touch()

    def plan(self, **more: Any) -> FailoverPlan:
        """From a look, as the operator makes it."""
        result = self.run(FailoverStep.DISCOVER, **more)
        found = result.failover
        assert found, result
        assert found.topology
        assert found.primary
        assert found.candidate, found
        names = [one.name for one in found.topology.members]
        what = found.topology.provider, self.mode, found.primary, found.candidate, names
        return make_plan(self.uid, *what, self.fault, found.topology.shard, self.failback)

    def switch(self, plan: FailoverPlan | None = None, **more: Any) -> FailoverResult:
        """A look, then the switch."""
        result = self.run(FailoverStep.SWITCH, plan or self.plan(), **more)
        assert result.outcome is Outcome.SUCCEEDED, result
        assert result.failover
        return result.failover

    def recovered(self) -> FailoverResult | None:
        """As a recover Job tells it."""
        task = RecoverTask(database=self.database.name, id="test-1", durable="failover")
        return self.place.run(task, database=self.database).result.failover

    @property
    def evidence(self) -> dict[str, Any]:
        """What is stored."""
        document: dict[str, Any] = json.loads(self._stored("evidence.json").read_bytes())
        return document

    def ledger(self) -> tuple[History, list[ReadBack], list[Claim]]:
        """What is stored."""
        data = zstandard.ZstdDecompressor().decompressobj().decompress(self._stored("ledger.jsonl.zst").read_bytes())
        return parse_ledger(data.decode().splitlines())

    def _stored(self, name: str) -> Path:
        (path,) = self.place.paths.volume.rglob(name)
        assert path.parts[-3:-1] == ("failovers", "test-1")
        return path


_GO, _WAITS = "go", "waits"
_begin_writing = Drive._begin_writing


def once_clients_write(do: Callable[[], object], way: Way = Way.THERE) -> Callable[[Drive], None]:
    """Instead of `Drive._begin_writing`: this is done before anything is ordered, however long it takes."""

    def begin(drive: Drive) -> None:
        _begin_writing(drive)
        if (drive.found.former is None) == (way is Way.THERE):
            do()

    return begin


def _main(root: Path, way: Way | None) -> NoReturn:
    def wait() -> None:
        (root / _WAITS).touch()
        eventually("it may go on", (root / _GO).exists)

    drive.BASELINE_SECONDS = 1.0
    if way is not None:
        Drive._begin_writing = once_clients_write(wait, way)  # type: ignore[method-assign]
    agent.leave(agent.run(Workplace(root).paths, sys.stdout))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Way(sys.argv[2]) if sys.argv[2:] else None)
