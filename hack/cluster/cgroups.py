"""The cluster's own cgroup: pods live below it, and by it every process of the cluster is found again."""

from __future__ import annotations

from pathlib import Path

from hack.common import Failure, wait_until

MOUNT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


def _unified() -> bool:
    return (MOUNT / "cgroup.controllers").exists()


def roots(name: str) -> list[Path]:
    """Return the cgroup's folder in every hierarchy that this machine has."""
    if _unified():
        return [MOUNT / name]
    lines = Path("/proc/cgroups").read_text().splitlines()
    controllers = [line.split()[0] for line in lines if not line.startswith("#")]
    folders = {(MOUNT / one).resolve() for one in [*controllers, "systemd", "unified"] if (MOUNT / one).is_dir()}
    return [folder / name for folder in sorted(folders)]


def daemons(name: str) -> Path:
    """Return the folder of the cgroup that daemons and the shims they start belong to."""
    return (MOUNT if _unified() else (MOUNT / "pids").resolve()) / name / "daemons"


def create(name: str) -> None:
    """Make the cgroup, ready for a kubelet to put its pods below it."""
    if not _unified() and not (MOUNT / "pids").is_dir():
        raise Failure("no cgroup hierarchy with the pids controller under /sys/fs/cgroup")
    for folder in roots(name):
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if not _unified() and (folder / setting).exists() and not (folder / setting).read_text().strip():
                (folder / setting).write_text((folder.parent / setting).read_text())
        if _unified():
            for parent in (MOUNT, folder):
                there = (parent / "cgroup.controllers").read_text().split()
                wanted = " ".join(f"+{one}" for one in CONTROLLERS if one in there)
                (parent / "cgroup.subtree_control").write_text(wanted)
    daemons(name).mkdir(exist_ok=True)


def members(*folders: Path) -> list[int]:
    """Return the processes in cgroups and everything below them."""
    found: set[int] = set()
    for folder in folders:
        for file in folder.rglob("cgroup.procs"):
            try:
                found |= {int(line) for line in file.read_text().split()}
            except OSError:
                continue  # the cgroup was removed while it was read: it has no processes
    return sorted(found - {0})


def remove(name: str) -> None:
    """Remove the cgroup; its processes must have been killed."""

    def gone() -> bool:
        for root in roots(name):
            for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
                _rmdir(folder)
            _rmdir(root)
        return not any(root.exists() for root in roots(name))

    wait_until(gone, f"cgroup {name} to be empty", limit=60)


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # not there, or its last process is still on its way out: tried again
