"""From a run that is due to the Backup that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from databosun.api.v1alpha1.backuppolicy import DeletionPolicy
from databosun.domain.database import RunOrder
from databosun.domain.plan import FINALIZER_DATA, CreateRun
from databosun.domain.policyruns import answers
from databosun.domain.requests import Named
from databosun.domain.running import references


@dataclass(frozen=True, slots=True)
class BackupTemplate:
    """What all Backups of one policy have."""

    storage: str
    storage_uid: str | None
    method: str
    deletion_policy: DeletionPolicy


def create_backup(database: Named, policy: Named, template: BackupTemplate, order: RunOrder) -> CreateRun:
    """The Backup of one order. It has no owner: deleting a policy must not delete backups."""
    spec: dict[str, Any] = {
        "databaseRef": {"name": database.name},
        "policyRef": {"name": policy.name},
        "storageRef": {"name": template.storage},
        "type": str(order.type),
        "method": template.method,
        "deletionPolicy": str(template.deletion_policy),
        **answers(order),
    }
    labels = references(database.uid, policy.uid, template.storage_uid, order.schedule)
    finalizers = (FINALIZER_DATA,) if template.deletion_policy is DeletionPolicy.DELETE else ()
    return CreateRun("Backup", database.namespace, order.name, spec, labels, finalizers)
