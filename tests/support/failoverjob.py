"""Runs the steps of a failover test as Jobs would, against servers of a yard."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import zstandard

from databosun.agent.failovers.asking import ACT
from databosun.agent.failovers.clients import Client, Crowd
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
from databosun.domain.ledger import Claim, Fate, History, ReadBack
from databosun.domain.ledgerlines import parse_ledger
from support.agentrun import Workplace
from support.waiting import eventually

RUN = "5f7c0b1e"
LONG = 240.0
"""What may take a minute on a busy machine; who tests a limit gives one of its own."""


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
            "fault": self.fault, "failback": self.failback, "probe": probe, "rejoin_seconds": LONG,
            "write_downtime_seconds": LONG, **more,
        }  # fmt: skip
        deadline = datetime.now(UTC) + timedelta(seconds=5 * LONG)
        answer = self.place.paths.answer
        answer.unlink(missing_ok=True)
        out = Followed(answer, self.operator)
        ran = self.place.run(FailoverTask(**given), out=out, database=self.database, deadline=deadline)
        return ran.result

    def start(
        self,
        plan: FailoverPlan,
        *,
        before: Callable[..., object] | None = None,
        call: int = 1,
        settings: Mapping[str, float] | None = None,
    ) -> subprocess.Popen[bytes]:
        """The switch, in a process of its own that is to be killed: it looks at nothing in the end, and waits for that.
        `before`: of what it does it waits until `go`, at that `call`. `settings`: as `module:NAME`."""
        given = {
            "id": "test-1", "uid": self.uid, "step": FailoverStep.SWITCH, "mode": self.mode, "provider": self.provider,
            "plan": plan, "rejoin_seconds": LONG, "write_downtime_seconds": LONG, "failback": self.failback,
        }  # fmt: skip
        deadline = datetime.now(UTC) + timedelta(seconds=5 * LONG)
        task = FailoverTask.model_validate(given)
        self.place.write(self.place.request(task, database=self.database, deadline=deadline))
        root = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "PYTHONPATH": f"{root / 'operator'}:{root / 'tests'}"}
        held = f"{before.__module__}:{before.__qualname__}" if before is not None else ""
        argv = [str(self.place.root), held, str(call), json.dumps(settings or {})]
        with (self.place.root / "log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "support.failoveragent", *argv], env=environment, stdout=log, stderr=log
            )

    def await_hold(self, agent: subprocess.Popen[bytes]) -> None:
        """Until the one that was started waits."""
        eventually("the agent waits", lambda: self.waits or agent.poll() is not None, seconds=LONG)
        assert agent.poll() is None, (self.place.root / "log").read_text()

    @property
    def waits(self) -> bool:
        """Whether the one that was started waits."""
        return (self.place.root / WAITS).exists()

    def go(self) -> None:
        """Let the one that was started and waits go on."""
        (self.place.root / GO).touch()

    def plan(self, **more: Any) -> FailoverPlan:
        """From a look, as the operator makes it."""
        result = self.run(FailoverStep.DISCOVER, **more)
        found = result.failover
        assert found, result
        assert found.topology
        assert found.primary
        assert found.candidate, why(found)
        names = [one.name for one in found.topology.members]
        what = found.topology.provider, self.mode, found.primary, found.candidate, names
        return make_plan(self.uid, *what, self.fault, found.topology.shard, self.failback)

    def switch(self, plan: FailoverPlan | None = None, **more: Any) -> FailoverResult:
        """A look, then the switch."""
        result = self.run(FailoverStep.SWITCH, plan or self.plan(), **more)
        assert result.outcome is Outcome.SUCCEEDED, why(result)
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

    def acknowledged(self) -> set[tuple[int, int]]:
        """By what is stored: client and number of each write that was."""
        history, _, _ = self.ledger()
        return {(int(one.client.rpartition("-")[2]), one.seq) for one in history if one.fate is Fate.ACKNOWLEDGED}

    def outage(self, since: float) -> float:
        """By what is stored: how long no write was acknowledged, up to the first that was sent after an instant."""
        history, _, _ = self.ledger()
        done = [(one.sent, one.ended) for one in history if one.fate is Fate.ACKNOWLEDGED and one.ended]
        first = min(ended for sent, ended in done if sent > since)
        return first - max(ended for _, ended in done if ended < first)

    def _stored(self, name: str) -> Path:
        (path,) = self.place.paths.volume.rglob(name)
        assert path.parts[-3:-1] == ("failovers", "test-1")
        return path


class Told(Protocol):
    """What an agent found."""

    reason: str
    message: str


def why(found: Told | None) -> str:
    """What a test that fails on it says first."""
    return f"{found.reason}: {found.message}; {found!r}" if found else "nothing was found"


GO, WAITS = "go", "waits"
_begin_writing, _verify = Drive._begin_writing, Drive._verify


def once_clients_write(do: Callable[[], object]) -> Callable[[Drive], None]:
    """Instead of `Drive._begin_writing`: this is done before anything is ordered, however long it takes."""

    def begin(drive: Drive) -> None:
        _begin_writing(drive)
        do()

    return begin


def once_each_has_written(drive: Drive) -> None:
    """Instead of `Drive._verify`: clients go on until each was served by who was promoted, however long it takes."""
    found = drive.found

    def served(client: Client) -> bool:
        newest = client.history.last_acknowledged(found.ordered or 0.0)
        return newest is not None and newest.node == found.promoted

    eventually("each client is served again", lambda: all(map(served, found.crowd.writers)), seconds=LONG)
    _verify(drive)


def acknowledged_since(crowd: Crowd, at: float) -> int:
    """Writes that were sent after an instant and acknowledged, as their clients know by now."""
    return sum(
        write.sent > at and write.fate is Fate.ACKNOWLEDGED for client in crowd.writers for write in client.history
    )
