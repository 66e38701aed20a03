"""Build the manifests of agents' Jobs. Pure: nothing here calls the API server (`docs/concepts/jobs.md`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import parse_quantity
from databosun.api.request import (
    ANSWER_ANNOTATION,
    MAX_REQUEST_BYTES,
    REQUEST_ANNOTATION,
    RESTORE_PATH,
    RUN_PATH,
    SCRATCH_PATH,
    SECRETS_PATH,
    TERMINATION_PATH,
    VOLUME_PATH,
)
from databosun.api.targets import SecretUse
from databosun.api.v1alpha1.common import PodTemplate, Scratch
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.plan import (
    AGENT_CONTAINER,
    ANNOTATION_DEADLINE,
    ANNOTATION_FOR,
    FINALIZER_RESULT,
    LABEL_ATTEMPT,
    LABEL_RUN_UID,
    LABEL_TASK,
    MANAGED_BY,
    DataPlace,
    Owner,
    StartJob,
)
from databosun.kube.datavolume import beside, data_mount, data_volume

UID = 65532
BACKSTOP = timedelta(minutes=2)
TTL_SECONDS = 86_400
DEFAULT_RESOURCES: dict[str, Any] = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
SMALL_SCRATCH = Scratch(size="1Gi")


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """What the installation says about all Jobs. `fixed_uid` False: the platform chooses uid and fsGroup."""

    pull_policy: str = "IfNotPresent"
    fixed_uid: bool = True
    image_pull_secrets: tuple[str, ...] = ()


def build_job(order: StartJob, defaults: JobDefaults, now: datetime) -> dict[str, Any]:
    """The Job of one attempt. UserFault(RequestTooLarge) where the request would not fit an annotation."""
    template = order.pod_template or PodTemplate()
    scratch = _scratch(order, template)
    document = request_document(order, scratch)
    labels = {
        **(template.labels or {}),
        **MANAGED_BY,
        **order.labels,
        LABEL_RUN_UID: order.owner.uid,
        LABEL_TASK: order.request.job.task,
        LABEL_ATTEMPT: str(order.request.attempt),
    }
    annotations = {
        ANNOTATION_FOR: f"{order.owner.kind}/{order.namespace}/{order.owner.name}",
        ANNOTATION_DEADLINE: order.request.deadline.isoformat(),
    }
    left = order.request.deadline - now
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.name,
            "namespace": order.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(order.owner)],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(60, int((left + BACKSTOP).total_seconds())),
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {**(template.annotations or {}), **annotations, REQUEST_ANNOTATION: document},
                    "finalizers": [FINALIZER_RESULT],
                },
                "spec": pod_spec(order, template, defaults, scratch),
            },
        },
    }


def request_document(order: StartJob, scratch: Scratch) -> str:
    """The request as the pod's annotation carries it. UserFault(RequestTooLarge)."""
    request = order.request.model_copy(update={"scratch_bytes": parse_quantity(scratch.size)})
    document = request.model_dump_json(by_alias=True, exclude_none=True)
    if len(document.encode()) > MAX_REQUEST_BYTES:
        found = f"the request of {order.owner.kind} {order.owner.name} has {len(document.encode())} bytes"
        message = f"{found}; at most {MAX_REQUEST_BYTES} fit: shorten its hooks"
        raise UserFault(Reason.REQUEST_TOO_LARGE, message)
    return document


def owner_reference(owner: Owner) -> dict[str, Any]:
    """What makes an object go with its owner."""
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _scratch(order: StartJob, template: PodTemplate) -> Scratch:
    """What the user says, or what the work needs, or room for a backup, or little for the rest."""
    if template.scratch is None and order.scratch_bytes is not None:
        return Scratch(size=f"{math.ceil(order.scratch_bytes / 2**30)}Gi")
    return template.scratch or (Scratch() if order.request.job.task == "backup" else SMALL_SCRATCH)


def pod_spec(order: StartJob, template: PodTemplate, defaults: JobDefaults, scratch: Scratch) -> dict[str, Any]:
    """An agent's pod: one container, no rights, nothing writable but its own volumes."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": _pod_security(defaults, order.data),
        "containers": [_container(order, template, defaults, scratch)],
        "volumes": _volumes(order, scratch),
    }
    secrets = [{"name": name} for name in defaults.image_pull_secrets]
    secrets += [{"name": ref.name} for ref in template.image_pull_secrets or []]
    optional = {
        "nodeSelector": template.node_selector,
        "tolerations": template.tolerations,
        "affinity": beside(order.data, template.affinity),
        "priorityClassName": template.priority_class_name,
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": secrets or None,
    }
    return spec | {key: value for key, value in optional.items() if value}


def _pod_security(defaults: JobDefaults, data: DataPlace | None) -> dict[str, Any]:
    security: dict[str, Any] = {
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if defaults.fixed_uid:
        security |= {"runAsUser": UID, "runAsGroup": UID, "fsGroup": UID}
    if data is not None and data.user is not None:
        security["runAsUser"] = data.user
    return security


def _container(order: StartJob, template: PodTemplate, defaults: JobDefaults, scratch: Scratch) -> dict[str, Any]:
    mounts = [
        {"name": "request", "mountPath": RUN_PATH, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_PATH},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (a mount point of the pod)
    ]
    if order.storage_claim is not None:
        mounts.append({"name": "storage", "mountPath": VOLUME_PATH})
    if order.target_claim is not None:
        mounts.append({"name": "restore", "mountPath": RESTORE_PATH})
    if order.data is not None:
        mounts.append(data_mount(order.data))
    resources = template.resources or DEFAULT_RESOURCES
    return {
        "name": AGENT_CONTAINER,
        "image": order.image,
        "imagePullPolicy": defaults.pull_policy,
        "args": ["agent"],
        "env": [{"name": item.name, "value": item.value} for item in template.env or []],
        "resources": _with_scratch(resources, scratch),
        "terminationMessagePath": TERMINATION_PATH,
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _with_scratch(resources: dict[str, Any], scratch: Scratch) -> dict[str, Any]:
    """Ask the scheduler for a tenth of the scratch limit on the node, where nothing else is said."""
    requests = dict(resources.get("requests", {}))
    if scratch.storage_class_name is None:
        requests.setdefault("ephemeral-storage", str(parse_quantity(scratch.size) // 10))
    return {**resources, "requests": requests}


def _volumes(order: StartJob, scratch: Scratch) -> list[dict[str, Any]]:
    # One projected volume: a mount inside another read-only mount cannot be made.
    fields = [_annotation("request.json", REQUEST_ANNOTATION)]
    if order.request.job.task == "failover":
        fields.append(_annotation("answer.json", ANSWER_ANNOTATION))
    sources: list[dict[str, Any]] = [{"downwardAPI": {"items": fields}}]
    sources += [_secret_source(use) for use in order.request.secrets]
    volumes: list[dict[str, Any]] = [
        {"name": "request", "projected": {"sources": sources, "defaultMode": 0o400}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    if scratch.storage_class_name is None:
        volumes.append({"name": "scratch", "emptyDir": {"sizeLimit": scratch.size}})
    else:
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": scratch.storage_class_name,
            "resources": {"requests": {"storage": scratch.size}},
        }
        volumes.append({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}})
    if order.storage_claim is not None:
        volumes.append({"name": "storage", "persistentVolumeClaim": {"claimName": order.storage_claim}})
    if order.target_claim is not None:
        volumes.append({"name": "restore", "persistentVolumeClaim": {"claimName": order.target_claim}})
    if order.data is not None:
        volumes.append(data_volume(order.data))
    return volumes


def _annotation(path: str, name: str) -> dict[str, Any]:
    """A file that has what an annotation says, also where that changes later; empty where there is none."""
    return {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}


def _secret_source(use: SecretUse) -> dict[str, Any]:
    # Optional, or a missing Secret would leave the pod at ContainerCreating with nothing in its status;
    # the agent refuses within seconds and names Secret and key.
    folder = SECRETS_PATH.removeprefix(f"{RUN_PATH}/")
    items = [{"key": key, "path": f"{folder}/{use.use}/{file}"} for file, key in sorted(use.keys.items())]
    return {"secret": {"name": use.secret, "items": items, "optional": True}}
