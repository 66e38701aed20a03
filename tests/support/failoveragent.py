"""The agent of a failover test, in a process of its own that waits where a test kills it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

from databosun.agent import main as agent
from databosun.agent.failovers import clients, drive
from databosun.agent.failovers.drive import Drive
from databosun.api.failover import FailbackWhen
from support.agentrun import Workplace
from support.failoverjob import GO, LONG, WAITS
from support.waiting import eventually

SHARE = 0.2
"""Of what the database takes: of a hundredth of it, on a busy machine, nothing comes for seconds."""


def _main(root: Path, held: str, call: int, settings: dict[str, float]) -> NoReturn:
    drive.BASELINE_SECONDS = 1.0
    clients.MOST_SHARE = SHARE
    for name, value in settings.items():
        module, _, attribute = name.partition(":")
        setattr(import_module(module), attribute, value)
    if held:
        _hold(root, held, call)
    _before(f"{Drive.__module__}:{Drive.__qualname__}._verify", _wait_to_be_killed)
    agent.leave(agent.run(Workplace(root).paths, sys.stdout))


def _hold(root: Path, name: str, call: int) -> None:
    calls = count(1)

    def wait(*_: object) -> None:
        if next(calls) == call:
            (root / WAITS).touch()
            eventually("it may go on", (root / GO).exists, seconds=LONG)

    _before(name, wait)


def _wait_to_be_killed(last: Drive) -> None:
    """Once all is moved that was to be."""
    if last.found.plan.failback is FailbackWhen.NEVER:
        threading.Event().wait(LONG)


def _before(name: str, do: Callable[..., None]) -> None:
    owner, _, attribute = name.rpartition(".")
    holder = resolve_name(owner)
    whole = getattr(holder, attribute)

    def after(*given: Any, **more: Any) -> Any:
        do(*given)
        return whole(*given, **more)

    setattr(holder, attribute, after)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
