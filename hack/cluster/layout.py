"""Where a cluster of the bare provider lives: its names, addresses and folders."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hack.common import Failure, file_lock, run, state_dir

FIRST_NETWORK = 200
NETWORKS = 50
LONGEST_HOME = 70  # a Unix socket's path holds 107 characters, and the longest one below is 36


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, addresses and folders of one cluster; ``network`` is the second octet of all its addresses."""

    name: str
    network: int
    home: Path

    @property
    def namespace(self) -> str:
        """The network namespace that the node lives in."""
        return f"databosun-{self.name}"

    @property
    def namespace_file(self) -> Path:
        return Path("/run/netns") / self.namespace

    @property
    def host_link(self) -> str:
        """The host's end of the cable into the namespace."""
        return f"bosun{self.network}"

    @property
    def whole_range(self) -> str:
        return f"10.{self.network}.0.0/16"

    @property
    def gateway(self) -> str:
        """The bridge's address: the node's own, the DNS server's, and the pods' gateway."""
        return f"10.{self.network}.0.1"

    @property
    def pod_range(self) -> str:
        return f"10.{self.network}.0.0/22"

    @property
    def service_range(self) -> str:
        return f"10.{self.network}.128.0/20"

    @property
    def first_service(self) -> str:
        return f"10.{self.network}.128.1"

    @property
    def host_address(self) -> str:
        """The address at which pods reach processes of the host."""
        return f"10.{self.network}.255.1"

    @property
    def node_link_address(self) -> str:
        return f"10.{self.network}.255.2"

    @property
    def loopback(self) -> str:
        """The loopback address that the control plane listens on."""
        return f"127.{self.network}.0.1"

    @property
    def api(self) -> str:
        return f"https://{self.loopback}:6443"

    @property
    def api_for_node(self) -> str:
        return f"https://{self.host_address}:6443"

    @property
    def cgroup(self) -> str:
        return f"databosun-{self.name}"

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    @property
    def pki(self) -> Path:
        return self.home / "pki"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def records(self) -> Path:
        """One file for each process started."""
        return self.home / "processes"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def containerd_socket(self) -> Path:
        return self.home / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        return self.home / "run"

    @property
    def kubeconfig(self) -> Path:
        return self.home / "admin.conf"


def clusters_dir() -> Path:
    """Return the folder that holds one folder for each cluster."""
    return state_dir() / "cluster"


def check_name(name: str) -> None:
    """Refuse a name that would not do for a folder, a network namespace and a cgroup."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", name):
        raise Failure(f"{name!r} is no name for a cluster: up to 30 of a-z, 0-9 and '-', starting with a letter")


def find(name: str) -> Layout | None:
    """Return the layout of a cluster that was brought up and not taken down, or None."""
    check_name(name)
    file = clusters_dir() / name / "network"
    return Layout(name, int(file.read_text()), file.parent) if file.exists() else None


def claim(name: str) -> Layout:
    """Return the layout of a cluster, with addresses that nothing else on this machine has if it is a new one."""
    home = clusters_dir() / name
    if len(str(home)) > LONGEST_HOME:
        raise Failure(f"the path {home} is too long for the sockets in it: at most {LONGEST_HOME} characters")
    with file_lock(clusters_dir() / ".lock", "another cluster takes its addresses"):
        found = find(name)
        if found:
            return found
        taken = {int(file.read_text()) for file in clusters_dir().glob("*/network")} | _networks_in_use()
        free = [number for number in range(FIRST_NETWORK, FIRST_NETWORK + NETWORKS) if number not in taken]
        if not free:
            last = FIRST_NETWORK + NETWORKS - 1
            raise Failure(f"none of 10.{FIRST_NETWORK}.0.0/16 to 10.{last}.0.0/16 is free on this machine")
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        part = home / ".network.part"
        part.write_text(str(free[0]))
        part.rename(home / "network")
        return Layout(name, free[0], home)


def _networks_in_use() -> set[int]:
    """Return the second octets of what the machine has routes to within 10.0.0.0/8."""
    routes = json.loads(run(["ip", "-4", "-json", "route", "show", "table", "all"]) or "[]")
    found = (re.match(r"10\.(\d+)\.", str(route.get("dst", ""))) for route in routes)
    return {int(match[1]) for match in found if match}
