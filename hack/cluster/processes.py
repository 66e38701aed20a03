"""The cluster's processes: started on their own, recorded, found again after a crash, and ended."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hack.cluster import cgroups
from hack.cluster.layout import Layout
from hack.common import Failure, progress, wait_until, write_file

BOOT = Path("/proc/sys/kernel/random/boot_id")
GRACE = 5  # seconds


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program to keep running; another ``fingerprint`` (command, settings, files it reads) means a restart."""

    name: str
    command: Sequence[str | Path]
    reads: Sequence[Path] = field(default=())
    on_node: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        words = [*(str(word) for word in self.command), *(f"{key}={value}" for key, value in self.environment.items())]
        digest = hashlib.sha256("\0".join(words).encode())
        program = shutil.which(self.command[0]) or self.command[0]
        digest.update(str(Path(program).resolve()).encode())
        for file in self.reads:
            digest.update(file.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """What was written down about a started process; ``born`` and ``boot`` tell it from a later one with its pid."""

    pid: int
    born: int
    boot: str
    fingerprint: str

    def alive(self) -> bool:
        return self.boot == BOOT.read_text().strip() and born(self.pid) == self.born


def born(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot, None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def record_of(layout: Layout, name: str) -> Record | None:
    """Return the record of a daemon that was started, or None."""
    file = layout.records / f"{name}.json"
    return Record(**json.loads(file.read_text())) if file.exists() else None


def alive(layout: Layout, name: str) -> bool:
    """Say whether a recorded daemon runs."""
    record = record_of(layout, name)
    return record is not None and record.alive()


def ensure(layout: Layout, daemon: Daemon) -> bool:
    """Have the daemon running as described now; returns whether it had to be (re)started."""
    fingerprint = daemon.fingerprint()
    record = record_of(layout, daemon.name)
    if record and record.alive():
        if record.fingerprint == fingerprint:
            return False
        progress(f"restarting {daemon.name}: what it runs with has changed")
        stop(layout, daemon.name)
    else:
        progress(f"starting {daemon.name}")
    _start(layout, daemon, fingerprint)
    return True


def _start(layout: Layout, daemon: Daemon, fingerprint: str) -> None:
    """Start it in a session, cgroup and log of its own, so that it outlives this command and is always found."""
    enter = ["nsenter", f"--net={layout.namespace_file}"] if daemon.on_node else []
    joined = ["sh", "-ec", 'echo $$ >"$0"; exec "$@"', str(cgroups.daemons(layout.cgroup) / "cgroup.procs")]
    with (layout.logs / f"{daemon.name}.log").open("ab") as log:
        process = subprocess.Popen(
            [*joined, *enter, *(str(word) for word in daemon.command)],
            cwd=layout.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, **daemon.environment},
        )
    record = Record(process.pid, born(process.pid) or 0, BOOT.read_text().strip(), fingerprint)
    write_file(layout.records / f"{daemon.name}.json", json.dumps(asdict(record)))


def check(layout: Layout, name: str) -> None:
    """Raise Failure with the end of its log if a daemon died."""
    if not alive(layout, name):
        log = (layout.logs / f"{name}.log").read_text(errors="replace").splitlines()
        raise Failure(f"{name} ended; the end of {layout.logs / name}.log:\n" + "\n".join(log[-15:]))


def stop(layout: Layout, name: str) -> None:
    """End a recorded daemon: asked first, then killed after some seconds (an API server waits for its watches)."""
    record = record_of(layout, name)
    if record is None or not record.alive():
        return
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if record.alive():
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            if not select.select([handle], [], [], GRACE)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], 20)
    finally:
        os.close(handle)


def kill_strays(layout: Layout) -> None:
    """Kill what an interrupted command started and did not write down; containers' shims are left alone."""
    known = {record.pid for name in _recorded(layout) if (record := record_of(layout, name)) and record.alive()}
    members = cgroups.members(cgroups.daemons(layout.cgroup))
    known |= {pid for pid in members if _is_shim(pid)}
    kill([pid for pid in members if not known & set(_lineage(pid))])


def kill_all(layout: Layout, *, containers: bool = True) -> None:
    """Kill every process of the cluster at once; containers and their shims are spared on request."""
    everyone = cgroups.members(*cgroups.roots(layout.cgroup))
    if not containers:
        everyone = [pid for pid in cgroups.members(cgroups.daemons(layout.cgroup)) if not _is_shim(pid)]
    kill(everyone)


def kill(pids: Sequence[int]) -> None:
    """Kill processes (just read from the cluster's own cgroup) and wait until they are gone."""
    births = {pid: when for pid in pids if (when := born(pid)) is not None}
    for pid in births:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: all(born(pid) != when for pid, when in births.items()), "killed processes to be gone", limit=60)


def _recorded(layout: Layout) -> list[str]:
    return sorted(file.stem for file in layout.records.glob("*.json"))


def _is_shim(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("containerd-shim")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _lineage(pid: int) -> list[int]:
    """Return a process and its ancestors."""
    found = []
    while pid > 1:
        found.append(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            break
    return found
