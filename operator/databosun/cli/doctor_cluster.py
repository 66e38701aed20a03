"""Checks of the cluster: its version, the kinds as this version expects them, the admission policies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from databosun import __version__
from databosun.api.v1alpha1.common import GROUP, VERSION
from databosun.api.v1alpha1.crd import crd_documents
from databosun.cli.doctor import Check, fail, ok, warn
from databosun.cli.session import Session
from databosun.kube.errors import Forbidden
from databosun.kube.resources import CRDS, Object, Resource

AREA: Final = "Cluster"
# What the charts ask for (kubeVersion): fields of our kinds can be selected from here on.
OLDEST: Final = (1, 31)
APPLY: Final = "databosun crds | kubectl apply --server-side --force-conflicts -f -"
POLICIES: Final = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
BINDINGS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
GUARDS: Final = {
    "databosun-approvals": "anybody who may create an Approval can sign it with another's name",
    "databosun-legal-hold": "a Backup under legal hold can be deleted by whoever may delete Backups",
    "databosun-policy-hold": "whoever may edit a BackupPolicy can end its legal hold",
}


async def check_cluster(session: Session) -> list[Check]:
    """All of them. WorldFault where the API server cannot be reached: then there is nothing else to check."""
    version = _version(await session.server_version())
    kinds, guards = await asyncio.gather(_kinds(session), _guards(session))
    return [version, *kinds, *guards]


def _version(found: str) -> Check:
    match = re.match(r"v(\d+)\.(\d+)", found)
    oldest = ".".join(map(str, OLDEST))
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        return fail(AREA, "Kubernetes", f"version {found}; at least {oldest} is needed", "Upgrade the cluster")
    return ok(AREA, "Kubernetes", f"version {found}")


async def _kinds(session: Session) -> list[Check]:
    documents = crd_documents()
    try:
        found = await asyncio.gather(*(session.kube.get(CRDS, "", one["metadata"]["name"]) for one in documents))
    except Forbidden:
        return [await _served(session, documents)]
    checks = [_kind(wanted, actual) for wanted, actual in zip(documents, found, strict=True)]
    wrong = [one for one in checks if one is not None]
    return wrong or [ok(AREA, "CRDs", f"all {len(documents)} are there, as databosun {__version__} expects them")]


async def _served(session: Session, documents: Sequence[Object]) -> Check:
    """All that can be said without the right to read CRDs."""
    served = await session.kube.discover(GROUP, VERSION)
    missing = [name for one in documents if (name := one["spec"]["names"]["plural"]) not in served]
    if missing:
        return fail(AREA, "CRDs", f"not served: {', '.join(missing)}", f"Install the chart databosun-crds, or: {APPLY}")
    return warn(AREA, "CRDs", "all are served; you may not read them, so their schemas were not compared")


def _kind(wanted: Object, actual: Object | None) -> Check | None:
    name = wanted["metadata"]["name"]
    if actual is None:
        return fail(AREA, name, "the CRD is not there", f"Install the chart databosun-crds, or: {APPLY}")
    conditions = {one["type"]: one for one in actual.get("status", {}).get("conditions", [])}
    if "deletionTimestamp" in actual["metadata"]:
        return fail(
            AREA, name, "the CRD is being deleted, and all objects of the kind with it", "Find out who deletes it"
        )
    if conditions.get("Established", {}).get("status") != "True":
        return fail(AREA, name, "the CRD is not established", f"See: kubectl describe crd {name}")
    where = difference(wanted["spec"], actual["spec"])
    if where is not None:
        message = f"the CRD is not the one of databosun {__version__}: {where} differs"
        return warn(AREA, name, message, f"Bring the chart databosun-crds to {__version__}, or: {APPLY}")
    return None


def difference(wanted: Any, actual: Any, path: str = "spec") -> str | None:
    """Where the actual value lacks something of the wanted one; what the API server adds by itself is no difference."""
    if isinstance(wanted, Mapping):
        if not isinstance(actual, Mapping):
            return path
        found = (difference(value, actual.get(key), f"{path}.{key}") for key, value in wanted.items())
        return next((where for where in found if where is not None), None)
    if isinstance(wanted, list):
        if not isinstance(actual, list) or len(wanted) != len(actual):
            return path
        pairs = enumerate(zip(wanted, actual, strict=True))
        found = (difference(one, other, f"{path}[{place}]") for place, (one, other) in pairs)
        return next((where for where in found if where is not None), None)
    return None if wanted == actual else path


async def _guards(session: Session) -> list[Check]:
    names = list(GUARDS)
    try:
        policies = await asyncio.gather(*(session.kube.get(POLICIES, "", name) for name in names))
        bindings = await asyncio.gather(*(session.kube.get(BINDINGS, "", name) for name in names))
    except Forbidden:
        return [warn(AREA, "Admission policies", "you may not read them, so they were not checked")]
    missing = [name for name, *both in zip(names, policies, bindings, strict=True) if None in both]
    todo = "Install the chart databosun with admissionPolicies.enabled=true"
    return [warn(AREA, f"Admission policy {name}", f"missing, so {GUARDS[name]}", todo) for name in missing] or [
        ok(AREA, "Admission policies", f"all {len(names)} are in force")
    ]
