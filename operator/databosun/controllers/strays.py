"""Agents' pods that nobody will read any more: let go of them, so that nothing hangs on our finalizer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from databosun.controllers.apply import Applier
from databosun.controllers.concerned import owner_of
from databosun.controllers.context import Context
from databosun.controllers.jobs import release_of
from databosun.domain.plan import FINALIZER_RESULT, LABEL_RUN_UID
from databosun.kube.resources import NAMESPACES, OWN_KINDS, PODS
from databosun.runtime.queue import Key

_RESOURCES = {resource.kind: resource for resource in OWN_KINDS}


class PodController:
    """Looks at pods that are being deleted. While the object that a pod works for is there, it reads the pod itself."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, PODS)

    async def reconcile(self, key: Key) -> datetime | None:
        """Release one pod where its object is gone or its namespace is going."""
        pod = await self._context.kube.get(PODS, key.namespace, key.name)
        if pod is None or "deletionTimestamp" not in pod["metadata"]:
            return None
        if FINALIZER_RESULT in pod["metadata"].get("finalizers", ()) and await self._stray(pod["metadata"]):
            await self._applier.release(release_of(pod))
        return None

    async def _stray(self, metadata: Mapping[str, Any]) -> bool:
        owner = owner_of(metadata)
        if owner is None or owner.kind not in _RESOURCES:
            return False
        body = await self._context.kube.get(_RESOURCES[owner.kind], owner.namespace, owner.name)
        if body is None or body["metadata"]["uid"] != metadata["labels"].get(LABEL_RUN_UID):
            return True
        namespace = await self._context.kube.get(NAMESPACES, "", owner.namespace)
        return namespace is None or "deletionTimestamp" in namespace["metadata"]


def let_go_of_pods(context: Context, owner: Key) -> None:
    """Have the pods looked at that worked for an object which is gone."""
    for name in context.workers.pop(owner, ()):
        kind, _, pod = name.partition("/")
        if kind == "Pod":
            context.add(Key("Pod", owner.namespace, pod), None)
