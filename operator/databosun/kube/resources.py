"""The API resources that Databosun reads or writes, and how their URLs are built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from databosun.api.v1alpha1.common import GROUP, VERSION

Object = dict[str, Any]
"""A Kubernetes object as the API server sends it: plain JSON."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as the API server serves it. `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or the bare version for the core API."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`plural.group`, as kubectl and RBAC rules are read by people."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection (no name), one object, or its subresource; `namespace` None: all namespaces."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True)
class Ref:
    """One object. An empty `uid` means whichever bears the name; `namespace` is empty for cluster-wide kinds."""

    resource: Resource
    namespace: str
    name: str
    uid: str = ""

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {where}{self.name}"


DATABASES: Final = Resource(GROUP, VERSION, "databases", "Database")
BACKUP_STORAGES: Final = Resource(GROUP, VERSION, "backupstorages", "BackupStorage")
BACKUP_POLICIES: Final = Resource(GROUP, VERSION, "backuppolicies", "BackupPolicy")
BACKUPS: Final = Resource(GROUP, VERSION, "backups", "Backup")
RESTORE_DRILLS: Final = Resource(GROUP, VERSION, "restoredrills", "RestoreDrill")
RESTORE_DRILL_RUNS: Final = Resource(GROUP, VERSION, "restoredrillruns", "RestoreDrillRun")
FAILOVER_TESTS: Final = Resource(GROUP, VERSION, "failovertests", "FailoverTest")
FAILOVER_TEST_RUNS: Final = Resource(GROUP, VERSION, "failovertestruns", "FailoverTestRun")
RESTORES: Final = Resource(GROUP, VERSION, "restores", "Restore")
INQUIRIES: Final = Resource(GROUP, VERSION, "inquiries", "Inquiry")
LIFECYCLE_POLICIES: Final = Resource(GROUP, VERSION, "lifecyclepolicies", "LifecyclePolicy")
LIFECYCLE_RUNS: Final = Resource(GROUP, VERSION, "lifecycleruns", "LifecycleRun")
ERASURE_REQUESTS: Final = Resource(GROUP, VERSION, "erasurerequests", "ErasureRequest")
DATA_EXPORTS: Final = Resource(GROUP, VERSION, "dataexports", "DataExport")
APPROVALS: Final = Resource(GROUP, VERSION, "approvals", "Approval")

JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
PERSISTENT_VOLUME_CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
EVENTS: Final = Resource("", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CNPG_CLUSTERS: Final = Resource("postgresql.cnpg.io", "v1", "clusters", "Cluster")
NETWORK_CHAOS: Final = Resource("chaos-mesh.org", "v1alpha1", "networkchaos", "NetworkChaos")
POD_CHAOS: Final = Resource("chaos-mesh.org", "v1alpha1", "podchaos", "PodChaos")
CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

RUN_KINDS: Final = (
    BACKUPS,
    RESTORE_DRILL_RUNS,
    RESTORES,
    INQUIRIES,
    FAILOVER_TEST_RUNS,
    LIFECYCLE_RUNS,
    ERASURE_REQUESTS,
    DATA_EXPORTS,
)
"""The kinds that are runs: their watches leave finished ones out."""

OWN_KINDS: Final = (
    DATABASES,
    BACKUP_STORAGES,
    BACKUP_POLICIES,
    RESTORE_DRILLS,
    FAILOVER_TESTS,
    LIFECYCLE_POLICIES,
    BACKUPS,
    RESTORE_DRILL_RUNS,
    FAILOVER_TEST_RUNS,
    RESTORES,
    INQUIRIES,
    LIFECYCLE_RUNS,
    ERASURE_REQUESTS,
    DATA_EXPORTS,
    APPROVALS,
)
"""The kinds of this project, in the order in which a start lists them: what others refer to comes first."""
