"""What a command works with: a cluster, a namespace, the time, and a place to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from databosun.api.v1alpha1.reasons import Reason
from databosun.cli.options import Where
from databosun.cli.output import Screen
from databosun.cli.reasons import CliReason
from databosun.domain.errors import UserFault
from databosun.kube.answers import Call
from databosun.kube.port import KubePort
from databosun.kube.resources import DEPLOYMENTS, Object, Resource
from databosun.runtime.clock import Clock

Query = Sequence[tuple[str, str]]
MERGE_PATCH: Final = "application/merge-patch+json"
VERSION: Final = Resource("", "v1", "version", "Info", namespaced=False)
SELF_REVIEWS: Final = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)


class Requests(Protocol):
    """HTTP to the API server, for the few calls that `KubePort` has no need of."""

    def close(self) -> None:
        """Drop connections and waiting requests."""
        ...

    async def request(
        self, call: Call, method: str, path: str, *, query: Query = (), body: Any = None, **headers: str
    ) -> Any:
        """Send a request and give the answer's JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """One command's view of a cluster. `scope` None: all namespaces."""

    kube: KubePort
    requests: Requests
    clock: Clock
    screen: Screen
    namespace: str
    scope: str | None

    def close(self) -> None:
        """Let go of the connections."""
        self.requests.close()

    async def server_version(self) -> str:
        """The API server's version, such as `v1.34.4`."""
        answer = await self.requests.request(Call("get", VERSION), "GET", "/version")
        return str(answer["gitVersion"])

    async def user(self) -> str:
        """The user name that the API server knows the caller by."""
        body = {"apiVersion": SELF_REVIEWS.api_version, "kind": SELF_REVIEWS.kind, "metadata": {}}
        answer = await self.kube.create(SELF_REVIEWS, "", body)
        info: Mapping[str, Any] = answer.get("status", {}).get("userInfo", {})
        if not info.get("username"):
            message = "the API server does not say who you are (SelfSubjectReview has no user name)"
            raise UserFault(CliReason.ANONYMOUS, message)
        return str(info["username"])

    async def scale_to_zero(self, namespace: str, deployment: str) -> None:
        """Ask a Deployment for no replicas. NotFound."""
        call = Call("patch", DEPLOYMENTS, namespace, deployment, "scale")
        path = DEPLOYMENTS.path(namespace, deployment, "scale")
        await self.requests.request(call, "PATCH", path, body={"spec": {"replicas": 0}}, content_type=MERGE_PATCH)

    async def find(self, resource: Resource, name: str) -> Object:
        """One object of the namespace. UserFault(NotFound) says where it was looked for."""
        body = await self.kube.get(resource, self.namespace, name)
        if body is None:
            message = (
                f"{resource.kind} {name} is not in namespace {self.namespace}; see: kubectl get {resource.qualified} -A"
            )
            raise UserFault(Reason.NOT_FOUND, message)
        return body

    async def list(self, resource: Resource, *, label_selector: str = "", field_selector: str = "") -> list[Object]:
        """All objects of a kind within the scope, by namespace and name."""
        found = self.kube.list(resource, self.scope, label_selector=label_selector, field_selector=field_selector)
        return sorted(
            [one async for one in found], key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"])
        )


def open_session(where: Where, screen: Screen) -> Session:
    """Connect to the cluster that the user points at; nothing is sent yet. NoKubeconfig."""
    from databosun.kube.client import KubeClient
    from databosun.kube.transport import Transport, TransportSettings, current_namespace, load_configuration
    from databosun.runtime.clock import SystemClock

    settings = TransportSettings(threads=8, connect_timeout=5, read_timeout=20, total_timeout=30)
    transport = Transport(load_configuration(where.kubeconfig, where.context), settings)
    namespace = where.namespace or current_namespace(where.kubeconfig, where.context)
    scope = None if where.all_namespaces else namespace
    return Session(KubeClient(transport), transport, SystemClock(), screen, namespace, scope)
