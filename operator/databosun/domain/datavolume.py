"""Where the volume of a server's data directory is used, from the pods of its namespace; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from databosun.api.request import RESTORE_PATH, RUN_PATH, SCRATCH_PATH, VOLUME_PATH
from databosun.api.targets import Problem
from databosun.api.v1alpha1.database import DataVolume
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.plan import LABEL_TASK, DataPlace

# Where the agent's own image, or its pod, has something.
_TAKEN = (
    *(RUN_PATH, SCRATCH_PATH, VOLUME_PATH, RESTORE_PATH),
    *("/tmp", "/opt", "/usr", "/etc", "/bin", "/lib", "/lib64", "/sbin", "/dev", "/proc", "/sys"),  # noqa: S108
)


def find_data_place(
    wanted: DataVolume, claim: Mapping[str, Any] | None, pods: Iterable[Mapping[str, Any]]
) -> DataPlace | Problem:
    """The volume as the server's pod has it; or why no Job can read it. `claim` None: there is none of that name."""
    name = wanted.claim_name
    if claim is None:
        return Problem(reason=Reason.DATA_VOLUME_UNUSED, message=f"spec.dataVolume names claim {name}: there is none")
    if "ReadWriteOncePod" in claim.get("spec", {}).get("accessModes", []):
        message = f"claim {name} of spec.dataVolume is ReadWriteOncePod: no pod but its server's may read it"
        return Problem(reason=Reason.DATA_VOLUME_EXCLUSIVE, message=message)
    for pod in sorted(pods, key=lambda one: str(one["metadata"]["name"])):
        if (place := _place_in(pod, wanted)) is not None:
            return _unless_taken(place)
    message = f"no running pod uses claim {name} of spec.dataVolume, so it is not known where its server is"
    return Problem(reason=Reason.DATA_VOLUME_UNUSED, message=message)


def _place_in(pod: Mapping[str, Any], wanted: DataVolume) -> DataPlace | None:
    spec, metadata = pod.get("spec", {}), pod["metadata"]
    running = pod.get("status", {}).get("phase") == "Running" and metadata.get("deletionTimestamp") is None
    # One of our own Jobs reads it as well.
    if not running or LABEL_TASK in metadata.get("labels", {}) or not spec.get("nodeName"):
        return None
    names = {
        one["name"]
        for one in spec.get("volumes", [])
        if one.get("persistentVolumeClaim", {}).get("claimName") == wanted.claim_name
        and not one["persistentVolumeClaim"].get("readOnly")
    }
    for container in spec.get("containers", []):
        for mount in container.get("volumeMounts", []):
            if mount["name"] in names and not mount.get("readOnly") and not mount.get("subPathExpr"):
                return DataPlace(
                    claim=wanted.claim_name,
                    mount_path=str(mount["mountPath"]),
                    node=str(spec["nodeName"]),
                    sub_path=mount.get("subPath") or None,
                    user=wanted.run_as_user or _user(spec, container),
                )
    return None


def _user(spec: Mapping[str, Any], container: Mapping[str, Any]) -> int | None:
    """Whom the server's pod says it runs as; never root, whom no Job may be."""
    for said in (container, spec):
        if (user := (said.get("securityContext") or {}).get("runAsUser")) is not None:
            return int(user) or None
    return None


def _unless_taken(place: DataPlace) -> DataPlace | Problem:
    for one in _TAKEN:
        if _within(place.mount_path, one) or _within(one, place.mount_path):
            message = (
                f"the server has claim {place.claim} at {place.mount_path}, where a Job has {one} of its own; mount it "
                "elsewhere, such as at /var/lib/mysql"
            )
            return Problem(reason=Reason.DATA_VOLUME_EXCLUSIVE, message=message)
    return place


def _within(path: str, folder: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
