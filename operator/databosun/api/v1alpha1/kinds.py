"""Every kind of Databosun: its names, its models, and what `kubectl get` shows of it."""

from __future__ import annotations

from databosun.api.v1alpha1.backupkinds import BACKUP, BACKUP_POLICY, BACKUP_STORAGE, DATABASE
from databosun.api.v1alpha1.lifecyclekinds import (
    APPROVAL,
    DATA_EXPORT,
    ERASURE_REQUEST,
    LIFECYCLE_POLICY,
    LIFECYCLE_RUN,
)
from databosun.api.v1alpha1.provingkinds import (
    FAILOVER_TEST,
    FAILOVER_TEST_RUN,
    INQUIRY,
    RESTORE,
    RESTORE_DRILL,
    RESTORE_DRILL_RUN,
)

CATEGORY = "databosun"
"""`kubectl get databosun` lists all kinds."""

KINDS = (
    DATABASE,
    BACKUP_STORAGE,
    BACKUP_POLICY,
    BACKUP,
    RESTORE_DRILL,
    RESTORE_DRILL_RUN,
    FAILOVER_TEST,
    FAILOVER_TEST_RUN,
    RESTORE,
    INQUIRY,
    LIFECYCLE_POLICY,
    LIFECYCLE_RUN,
    ERASURE_REQUEST,
    DATA_EXPORT,
    APPROVAL,
)
"""In the order in which people meet them."""
