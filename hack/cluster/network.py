"""The node's network: a namespace of its own with the pods' bridge, and one cable to the host.

kube-proxy's chains and the bridge live in the namespace, so clusters cannot disturb each other or the host, and all of
it goes away with the namespace. It has no route to anywhere but the host's end of the cable.
"""

from __future__ import annotations

import json

from hack.cluster.layout import Layout
from hack.common import progress, run, succeeds

BRIDGE = "pods0"
NODE_LINK = "host0"


def make(layout: Layout) -> None:
    """Make the namespace, bridge, cable and routes, in place of what an interrupted command left half made."""
    remove(layout)
    progress(f"making the network {layout.whole_range}")
    run(["ip", "netns", "add", layout.namespace])
    _on_node(layout, "link", "set", "lo", "up")
    _on_node(layout, "link", "add", BRIDGE, "type", "bridge")
    _on_node(layout, "address", "add", f"{layout.gateway}/22", "dev", BRIDGE)
    _on_node(layout, "link", "set", BRIDGE, "up")
    run(["ip", "link", "add", layout.host_link, "type", "veth", "peer", "name", NODE_LINK, "netns", layout.namespace])
    _on_node(layout, "address", "add", f"{layout.node_link_address}/30", "dev", NODE_LINK)
    _on_node(layout, "link", "set", NODE_LINK, "up")
    # Addresses of Services exist only as rules; without a route the kernel would refuse to send to them.
    _on_node(layout, "route", "add", layout.service_range, "dev", BRIDGE)
    run(["nsenter", f"--net={layout.namespace_file}", "sysctl", "-qw", "net.ipv4.ip_forward=1"])
    run(["ip", "address", "add", f"{layout.host_address}/30", "dev", layout.host_link])
    run(["ip", "link", "set", layout.host_link, "up"])
    run(["ip", "route", "add", layout.whole_range, "via", layout.node_link_address, "src", layout.host_address])


def remove(layout: Layout) -> None:
    """Remove all that ``make`` made; the cluster's processes must have been killed."""
    if succeeds(["ip", "link", "show", "dev", layout.host_link]):
        run(["ip", "link", "delete", layout.host_link])
    if layout.namespace_file.exists():
        run(["ip", "netns", "delete", layout.namespace])


def complete(layout: Layout) -> bool:
    """Say whether the last of ``make``'s steps is done: the others come before it and leave with it."""
    routes = json.loads(run(["ip", "-4", "-json", "route", "show", "dev", layout.host_link], check=False) or "[]")
    return any(route.get("dst") == layout.whole_range for route in routes)


def _on_node(layout: Layout, *arguments: str) -> None:
    run(["ip", "-netns", layout.namespace, *arguments])
