"""Checks of the operator: is it there, does it hold its Lease, may it do what it has to?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from databosun import __version__
from databosun.cli.doctor import Check, fail, ok, warn
from databosun.cli.session import Session
from databosun.kube.errors import Forbidden
from databosun.kube.lease import KubeLease
from databosun.kube.port import Access
from databosun.kube.resources import DEPLOYMENTS, Object, Resource
from databosun.kube.selfcheck import describe, required

AREA: Final = "Operator"
SELECTOR: Final = "app.kubernetes.io/part-of=databosun,app.kubernetes.io/component=operator"
# It is renewed every 2 s. Two readings of the same record tell more than two clocks that may differ.
BEATS_WITHIN: Final = 6
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)


@dataclass(frozen=True, slots=True)
class Installation:
    """One Deployment of the operator and what it is told."""

    body: Object

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return str(self.body["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def served(self) -> tuple[str, ...]:
        """The namespaces that it serves; none: all."""
        return tuple(filter(None, self._variable("DATABOSUN_NAMESPACES").split(",")))

    @property
    def lease(self) -> tuple[str, str]:
        """Namespace and name of its Lease."""
        namespace = self._variable("DATABOSUN_LEASE_NAMESPACE") or self.namespace
        return namespace, self._variable("DATABOSUN_LEASE_NAME") or self.name

    @property
    def account(self) -> str:
        """Its ServiceAccount."""
        return str(self._pod.get("serviceAccountName") or "default")

    @property
    def _pod(self) -> dict[str, Any]:
        pod: dict[str, Any] = self.body["spec"]["template"]["spec"]
        return pod

    def _variable(self, name: str) -> str:
        env = (one for container in self._pod["containers"] for one in container.get("env", ()))
        return next((str(one.get("value") or "") for one in env if one["name"] == name), "")


async def check_operator(session: Session) -> list[Check]:
    """All of them, for each installation that can be seen."""
    try:
        bodies = [body async for body in session.kube.list(DEPLOYMENTS, None, label_selector=SELECTOR)]
    except Forbidden:
        return [
            warn(AREA, "Deployment", "you may not list Deployments of all namespaces, so the operator was not checked")
        ]
    if not bodies:
        return [fail(AREA, "Deployment", "no operator is installed in this cluster", "Install the chart databosun")]
    installations = [Installation(body) for body in bodies]
    checks = [one for each in installations for one in await _check(session, each)]
    return [*checks, *_serving(session, installations)]


async def _check(session: Session, one: Installation) -> list[Check]:
    running = _deployment(one)
    lease, rights = await asyncio.gather(_lease(session, one), _rights(session, one))
    return [running, _release(one), lease, rights]


def _deployment(one: Installation) -> Check:
    subject = f"Deployment {one.namespace}/{one.name}"
    wanted, ready = one.body["spec"].get("replicas", 1), one.body.get("status", {}).get("readyReplicas", 0)
    if wanted == 0:
        todo = f"kubectl scale -n {one.namespace} deployment/{one.name} --replicas=1"
        return fail(AREA, subject, "scaled to no replicas: nothing is backed up", todo)
    if not ready:
        todo = f"See: kubectl logs -n {one.namespace} deployment/{one.name}; kubectl describe pods -n {one.namespace}"
        return fail(AREA, subject, f"none of {wanted} replicas is ready: nothing is backed up", todo)
    return ok(AREA, subject, f"{ready} of {wanted} ready")


def _release(one: Installation) -> Check:
    found = one.body["metadata"].get("labels", {}).get("app.kubernetes.io/version", "unknown")
    if found != __version__:
        todo = "Use a databosun of the operator's version: others may not know all of its fields"
        return warn(AREA, "Version", f"the operator is {found}, this program {__version__}", todo)
    return ok(AREA, "Version", found)


async def _lease(session: Session, one: Installation) -> Check:
    namespace, name = one.lease
    subject, port = f"Lease {namespace}/{name}", KubeLease(session.kube, namespace, name)
    try:
        first = await port.read()
        if first is None or not first.holder:
            todo = f"See: kubectl logs -n {one.namespace} deployment/{one.name}"
            return fail(AREA, subject, "nobody holds it: no operator acts", todo)
        for _ in range(BEATS_WITHIN):
            await session.clock.sleep(1)
            again = await port.read()
            if again is not None and not again.same_beat(first):
                return ok(AREA, subject, f"held by {again.holder.partition('_')[0]}, and renewed")
    except Forbidden:
        return warn(AREA, subject, "you may not read it, so it was not checked")
    holder = first.holder.partition("_")[0]
    message = f"{holder} holds it, but has not renewed it for {BEATS_WITHIN} s: no operator acts"
    return fail(AREA, subject, message, f"See: kubectl logs -n {one.namespace} deployment/{one.name}")


async def _rights(session: Session, one: Installation) -> Check:
    """Ask the API server what the operator's account may do; that takes a right of its own."""
    subject = f"ServiceAccount {one.namespace}/{one.account}"
    wanted = required(one.served, one.lease[0])
    try:
        allowed = await asyncio.gather(*(_allowed(session, one, access) for access in wanted))
    except Forbidden:
        return warn(AREA, subject, "you may not ask for another's rights, so its rights were not checked")
    missing = [access for access, yes in zip(wanted, allowed, strict=True) if not yes]
    if missing:
        todo = "Install the chart with rbac.create=true, or grant them yourself"
        return fail(AREA, subject, f"lacks rights: {describe(missing)}", todo)
    return ok(AREA, subject, f"has all {len(wanted)} rights that it needs")


async def _allowed(session: Session, one: Installation, access: Access) -> bool:
    attributes = {
        "verb": access.verb,
        "group": access.resource.group,
        "resource": access.resource.plural,
        "subresource": access.subresource,
        "namespace": access.namespace or "",
    }
    accounts = "system:serviceaccounts"
    spec = {
        "user": f"system:serviceaccount:{one.namespace}:{one.account}",
        "groups": [accounts, f"{accounts}:{one.namespace}", "system:authenticated"],
        "resourceAttributes": attributes,
    }
    body = {"apiVersion": ACCESS_REVIEWS.api_version, "kind": ACCESS_REVIEWS.kind, "metadata": {}, "spec": spec}
    answer = await session.kube.create(ACCESS_REVIEWS, "", body)
    return bool(answer.get("status", {}).get("allowed"))


def _serving(session: Session, installations: list[Installation]) -> list[Check]:
    """Whether exactly one of them serves the namespace that was asked about."""
    scope = session.scope
    if scope is None:
        return []
    serving = [f"{one.namespace}/{one.name}" for one in installations if not one.served or scope in one.served]
    if not serving:
        return [
            fail(
                AREA, f"Namespace {scope}", "no operator serves it", "Add it to watchNamespaces of the chart databosun"
            )
        ]
    if len(serving) > 1:
        message = f"served by {' and '.join(serving)}: they would work against each other"
        return [fail(AREA, f"Namespace {scope}", message, "Let each namespace be served by one installation")]
    return [ok(AREA, f"Namespace {scope}", f"served by {serving[0]}")]
