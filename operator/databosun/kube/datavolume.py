"""How a Job reads the volume of a server that runs: on that server's node, as its user, and never with a write."""

from __future__ import annotations

import copy
from typing import Any

from databosun.domain.plan import DataPlace


def data_volume(data: DataPlace) -> dict[str, Any]:
    """Read-only as a volume, and not only as a mount: the kubelet gives the files of any other to the pod's fsGroup."""
    return {"name": "data", "persistentVolumeClaim": {"claimName": data.claim, "readOnly": True}}


def data_mount(data: DataPlace) -> dict[str, Any]:
    """Where the server has it: it names its files by whole paths."""
    mount = {"name": "data", "mountPath": data.mount_path, "readOnly": True}
    return mount | ({"subPath": data.sub_path} if data.sub_path else {})


def beside(data: DataPlace | None, affinity: dict[str, Any] | None) -> dict[str, Any] | None:
    """The affinity of a template, and besides the very node: elsewhere the volume could not be attached, or would be
    taken from the server's next pod. The scheduler still looks at taints and room."""
    if data is None:
        return affinity
    wanted: dict[str, Any] = copy.deepcopy(affinity) if affinity else {}
    node = wanted.setdefault("nodeAffinity", {})
    required = node.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.setdefault("nodeSelectorTerms", []) or [{}]
    here = {"key": "metadata.name", "operator": "In", "values": [data.node]}
    required["nodeSelectorTerms"] = [{**term, "matchFields": [*term.get("matchFields", []), here]} for term in terms]
    return wanted
