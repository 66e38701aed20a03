"""The provider for a machine without Docker: a node of native processes in a network namespace of its own."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack import debian, golang
from hack.cluster import cgroups, cleanup, daemons, images, layout, network, pki, processes
from hack.cluster.layout import Layout
from hack.cluster.provider import Status
from hack.common import Failure, file_lock, progress, state_dir, succeeds, wait_until

VERSION = "v1.34.4"
PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "coredns",
    "etcd",
)
PACKAGES = {
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "gcc": "gcc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "sysctl": "procps",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/zoneinfo/Europe/Berlin": "tzdata",  # the API server looks time zones up there
}
DAEMONS = ("containerd", "etcd", "kube-apiserver", "api-forward", "kube-controller-manager", "kube-scheduler",
           "kubelet", "kube-proxy", "coredns")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bare:
    """One cluster by name."""

    name: str

    def up(self) -> None:
        """Have the cluster running and ready, from nothing, from any remains, or with changed settings."""
        _require_root()
        debian.ensure(PACKAGES)
        kubebox = golang.build(
            "kubebox",
            images.SOURCES,
            ".",
            f"-X k8s.io/component-base/version.gitVersion={VERSION}",
            "about eight minutes the first time on two cores",
        )
        with self._lock():
            place = layout.claim(self.name)
            for folder in (place.bin, place.config, place.logs, place.records, place.data):
                folder.mkdir(exist_ok=True)
            for program in (*PROGRAMS, "api-forward"):
                _link(place.bin / program, kubebox)
            cgroups.create(place.cgroup)
            processes.kill_strays(place)
            pki.ensure(place)
            if not network.complete(place):
                processes.kill_all(place)
                network.make(place)
            _start(place)
        progress(f"cluster {self.name} is ready at {place.api}")

    def down(self) -> None:
        """Remove the cluster with everything that belongs to it; nothing happens when there is none."""
        _require_root()
        with self._lock():
            cleanup.remove(self.name)

    def load(self, names: Sequence[str]) -> None:
        with self._lock():
            images.load(self._running(), names)

    def env(self) -> dict[str, str]:
        place = self._running()
        return {"KUBECONFIG": str(place.kubeconfig), "PATH": str(place.bin), "DATABOSUN_HOST": place.host_address}

    def status(self) -> Status:
        place = layout.find(self.name)
        if place is None:
            return Status(False, {})
        running = {name: processes.record_of(place, name) for name in DAEMONS}
        parts = {name: f"pid {one.pid}" if one and one.alive() else "not running" for name, one in running.items()}
        facts = {"api": place.api, "pods": place.pod_range, "services": place.service_range}
        facts |= {"host as seen by pods": place.host_address, "logs": str(place.logs)}
        return Status(all(one and one.alive() for one in running.values()), {**facts, **parts})

    def kubelet(self, action: str) -> None:
        """Stop the kubelet (containers go on: a frozen node) or start it again."""
        with self._lock():
            place = self._running()
            if action == "stop":
                processes.stop(place, "kubelet")
            else:
                processes.ensure(place, daemons.kubelet(place))
                _wait_for_node(place)

    def kill(self, *, containers: bool) -> None:
        """Kill every process at once and clean up nothing, as when the power fails."""
        with self._lock():
            processes.kill_all(self._running(), containers=containers)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        layout.check_name(self.name)
        with file_lock(state_dir() / "locks" / f"cluster-{self.name}.lock", f"cluster {self.name} is being changed"):
            yield

    def _running(self) -> Layout:
        place = layout.find(self.name)
        if place is None:
            raise Failure(f"there is no cluster {self.name}; bring it up with: cluster up --name {self.name}")
        return place


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Failure("a cluster without Docker needs root")


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() or link.readlink() != target:
        part = link.with_name(f".{link.name}.part")
        part.unlink(missing_ok=True)
        part.symlink_to(target)
        part.rename(link)


def _start(place: Layout) -> None:
    cleanup.note_sockets(place)
    processes.ensure(place, daemons.containerd(place))
    processes.ensure(place, daemons.etcd(place))
    processes.ensure(place, daemons.apiserver(place))
    processes.ensure(place, daemons.api_forward(place))
    _wait(place, "containerd", [*images.ctr(place), "version"])
    images.ensure_pause(place)
    _wait(place, "kube-apiserver", [*_kubectl(place), "get", "--raw", "/readyz"])
    for daemon in (daemons.controllers, daemons.scheduler, daemons.kubelet, daemons.proxy, daemons.coredns):
        processes.ensure(place, daemon(place))
    _wait_for_node(place)
    _wait_for_answer(place, "coredns", f"http://{place.gateway}:8181/ready")
    _wait_for_answer(place, "kube-proxy", f"http://{place.gateway}:10256/healthz")
    _wait(
        place, "kube-controller-manager", [*_kubectl(place), "get", "serviceaccount", "--namespace=default", "default"]
    )


def _wait_for_node(place: Layout) -> None:
    """Wait for the kubelet itself: right after a crash the node object still says Ready."""
    _wait(place, "kubelet", [*_kubectl(place), "get", "--raw", "/api/v1/nodes/node1/proxy/healthz"])
    _wait(place, "kubelet", [*_kubectl(place), "wait", "--for=condition=Ready", "--timeout=1s", "node/node1"])


def _kubectl(place: Layout) -> list[str | Path]:
    return [place.bin / "kubectl", f"--kubeconfig={place.kubeconfig}"]


def _wait(place: Layout, name: str, command: Sequence[str | Path]) -> None:
    wait_until(lambda: succeeds(command), name, on_wait=lambda: processes.check(place, name))


def _wait_for_answer(place: Layout, name: str, url: str) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  (always http, to the cluster)
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_until(answers, name, on_wait=lambda: processes.check(place, name))
