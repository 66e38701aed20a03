"""Reads a Cluster of CloudNativePG, and where its instances are."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.failover import ProviderMember
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers.context import Context
from databosun.domain.errors import UserFault
from databosun.domain.failovercnpg import CNPG_GROUP, CNPG_VERSION, ClusterFacts, read_cluster
from databosun.kube.port import Access
from databosun.kube.resources import CNPG_CLUSTERS, PODS


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """`members`: instances whose pods have an address."""

    facts: ClusterFacts
    members: tuple[ProviderMember, ...]


async def denied_cluster(context: Context, namespace: str, *, patch: bool) -> str | None:
    """What the operator would need, and has not; None: nothing. `patch`: to have another instance lead."""
    if CNPG_CLUSTERS.plural not in await context.kube.discover(CNPG_GROUP, CNPG_VERSION):
        return f"the cluster has no CloudNativePG: {CNPG_CLUSTERS.qualified} is not served"
    wanted = [Access("get", CNPG_CLUSTERS, namespace=namespace)]
    wanted += [Access("patch", CNPG_CLUSTERS, "status", namespace)] if patch else []
    if await context.kube.denied(wanted):
        what = "change the status of" if patch else "read"
        return (
            f"the operator may not {what} {CNPG_CLUSTERS.qualified} there: set rbac.cloudNativePG in the chart's values"
        )
    return None


async def find_cluster(context: Context, namespace: str, name: str) -> FoundCluster:
    """UserFault where it is not there, or may not be read."""
    denied = await denied_cluster(context, namespace, patch=False)
    if denied is not None:
        raise UserFault(Reason.PROVIDER_REFUSED, f"nothing was moved: {denied}")
    body = await context.kube.get(CNPG_CLUSTERS, namespace, name)
    if body is None:
        message = f"spec.replication.clusterName is {name!r}; no Cluster of that name is in namespace {namespace}"
        raise UserFault(Reason.NO_PROVIDER, message)
    facts = read_cluster(body)
    pods = [await context.kube.get(PODS, namespace, one) for one in facts.names]
    found = [
        ProviderMember(name=pod["metadata"]["name"], host=pod["status"]["podIP"])
        for pod in pods
        if pod is not None and pod.get("status", {}).get("podIP")
    ]
    return FoundCluster(facts, tuple(found))
