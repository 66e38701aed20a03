"""Build the Deployments of archivers: one pod each, never two at once, of the same make as a Job's. Pure."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from databosun.api.request import REQUEST_ANNOTATION
from databosun.api.v1alpha1.common import PodTemplate, Scratch
from databosun.domain.plan import (
    ANNOTATION_FOR,
    ANNOTATION_ORDER,
    LABEL_ARCHIVER,
    LABEL_DATABASE_UID,
    LABEL_TASK,
    MANAGED_BY,
    TASK_ARCHIVE,
    KeepArchiver,
    StartJob,
)
from databosun.kube.jobs import JobDefaults, owner_reference, pod_spec, request_document

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The deadline of what has none."""
RESOURCES: dict[str, Any] = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
SCRATCH = Scratch(size="256Mi")


def build_archiver(order: KeepArchiver, defaults: JobDefaults) -> dict[str, Any]:
    """The Deployment. `Recreate`: two archivers at once would fight for one slot."""
    # The template speaks of Jobs that carry whole databases; what an archiver needs is known.
    template = (order.pod_template or PodTemplate()).model_copy(update={"resources": RESOURCES, "scratch": SCRATCH})
    job = StartJob(
        order.name,
        order.namespace,
        order.owner,
        order.request,
        order.image,
        template,
        storage_claim=order.storage_claim,
    )
    labels = {
        **MANAGED_BY,
        LABEL_TASK: TASK_ARCHIVE,
        LABEL_ARCHIVER: order.name,
        LABEL_DATABASE_UID: order.owner.uid,
    }
    concerns = {ANNOTATION_FOR: f"{order.owner.kind}/{order.namespace}/{order.owner.name}"}
    request = {REQUEST_ANNOTATION: request_document(job, SCRATCH)}
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": order.name,
            "namespace": order.namespace,
            "labels": labels,
            "annotations": concerns,
            "ownerReferences": [owner_reference(order.owner)],
        },
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {LABEL_ARCHIVER: order.name}},
            "template": {
                "metadata": {
                    "labels": {**(template.labels or {}), **labels},
                    "annotations": {**(template.annotations or {}), **concerns, **request},
                },
                "spec": pod_spec(job, template, defaults, SCRATCH) | {"restartPolicy": "Always"},
            },
        },
    }
    body["metadata"]["annotations"] = {**concerns, ANNOTATION_ORDER: _digest(body)}
    return body


def is_as_ordered(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a Deployment is of this very order. What others added to it does not count, and what they changed of ours
    stays until the next order: an operator that fights a person over a field helps nobody."""
    mark = found["metadata"].get("annotations", {}).get(ANNOTATION_ORDER)
    replicas = found.get("spec", {}).get("replicas", 1)
    return bool(mark == wanted["metadata"]["annotations"][ANNOTATION_ORDER] and replicas == 1)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:32]
