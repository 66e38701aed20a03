"""Breaks things in a running installation: processes of containers, and what lies between agents and the store."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.clusterapi import Object
from support.faultproxy import FaultProxy, fault_proxy
from support.stack import Stack
from support.waiting import eventually


def processes_of(pod: Object) -> dict[int, str]:
    """The pod's processes as the host sees them: command lines by pid."""
    uid = pod["metadata"]["uid"]
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            groups = (folder / "cgroup").read_text()
            if uid in groups or uid.replace("-", "_") in groups:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = line
    return found


def kill(pod: Object, program: str) -> None:
    """Kill the pod's process whose command line names the program, as the kernel does: without a word."""
    found: list[int] = []

    def there() -> bool:
        found[:] = sorted(pid for pid, line in processes_of(pod).items() if program in line)
        return bool(found)

    eventually(f"{program} runs in {pod['metadata']['name']}", there, 60)
    os.kill(found[0], signal.SIGKILL)


def freeze(pod: Object, program: str) -> list[int]:
    """Stop every process of the pod whose command line names the program; their pids. A SIGCONT wakes them."""
    found = sorted(pid for pid, line in processes_of(pod).items() if program in line)
    assert found, f"{program} does not run in {pod['metadata']['name']}"
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    return found


def wake(pids: list[int]) -> None:
    """Have them go on, those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def end(pids: list[int]) -> None:
    """Kill them, those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Dam:
    """Holds back what first attempts write until it is opened; everything else passes.

    `drained` says what becomes of the writes that were held: passed on, or lost with their connections.
    """

    runs: dict[str, threading.Event]
    opened: threading.Event = field(default_factory=threading.Event)
    drained: bool = False

    def __call__(self, method: str, target: str) -> None:
        run = next((run for run in self.runs if f"/{run}/a1/" in target), None)
        if run is None or method not in ("PUT", "POST") or self.opened.is_set():
            return
        self.runs[run].set()
        self.opened.wait()
        if self.drained:
            raise ConnectionAbortedError

    def wait(self, run: str) -> None:
        """Until its agent is in the middle of its work."""
        assert self.runs[run].wait(180), f"the first attempt of {run} never wrote"


@contextmanager
def dam(proxy: FaultProxy, *runs: str, drained: bool = False) -> Iterator[Dam]:
    """A dam in the proxy's way; open at the end whatever happens."""
    held = Dam({run: threading.Event() for run in runs}, drained=drained)
    before, proxy.before = proxy.before, held
    try:
        yield held
    finally:
        held.opened.set()
        proxy.before = before


@contextmanager
def store_proxy(stack: Stack) -> Iterator[FaultProxy]:
    """A proxy in front of the store that pods can reach."""
    with fault_proxy(stack.endpoint, bind=stack.host) as proxy:
        yield proxy
