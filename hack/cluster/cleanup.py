"""Takes a bare cluster down: every process, mount, network part, cgroup and file that belongs to it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from hack.cluster import cgroups, layout, network, processes
from hack.cluster.layout import Layout
from hack.common import Failure, progress, run, wait_until, write_file

CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOGS = Path("/var/log/containers")


def remove(name: str) -> None:
    """Remove a cluster, whatever state it is in; says nothing when there is nothing."""
    place = layout.find(name) or Layout(name, 0, layout.clusters_dir() / name)
    if not any(path.exists() for path in (place.home, place.namespace_file, *cgroups.roots(place.cgroup))):
        return
    progress(f"ending the processes of cluster {name}")
    processes.kill_all(place)
    wait_until(lambda: _unmount(place.home), f"the mounts below {place.home} to be gone", limit=60)
    progress("removing its network and files")
    network.remove(place)
    cgroups.remove(place.cgroup)
    _remove_traces(place)
    _remove_files(place)


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points below a folder, the deepest first."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    plain = (re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), point) for point in points)
    return sorted((point for point in plain if point.startswith(f"{folder}/")), reverse=True)


def note_sockets(place: Layout) -> list[str]:
    """Return the sockets of all shims that the cluster ever had.

    They lie in a folder common to all container runtimes of the machine. Killed shims leave them there, and the next
    containerd forgets about them: so they are written down before it starts.
    """
    file = place.home / "sockets.json"
    known = set(json.loads(file.read_text())) if file.exists() else set()
    known |= {path.read_text().strip().removeprefix("unix://") for path in place.containerd_state.rglob("address")}
    if place.home.exists():
        write_file(file, json.dumps(sorted(known)))
    return sorted(known)


def _unmount(folder: Path) -> bool:
    for point in mounts_below(folder):
        run(["umount", "--lazy", point], check=False)
    return not mounts_below(folder)


def _remove_traces(place: Layout) -> None:
    """Remove what containerd and the kubelet leave in the machine's common folders."""
    for socket in note_sockets(place):
        Path(socket).unlink(missing_ok=True)
    ours = re.compile(rf"{re.escape(place.namespace)}-[0-9a-f]{{64}}-eth0")
    for file in CNI_RESULTS.glob(f"{place.namespace}-*"):
        if ours.fullmatch(file.name):
            file.unlink()
    for link in CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(place.data):
            link.unlink()


def _remove_files(place: Layout) -> None:
    """Remove the cluster's folder, its addresses last: until then a repeated call still knows what to remove."""
    if not place.home.exists():
        return
    left = mounts_below(place.home)
    if left:
        raise Failure(f"still mounted, so nothing is deleted: {' '.join(left)}")
    for path in place.home.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "network":
            path.unlink()
    shutil.rmtree(place.home)
