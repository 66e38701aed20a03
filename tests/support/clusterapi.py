"""The API server of a real cluster, asked for plain JSON: cheaper than a program for each look."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kubernetes import config

OURS = "/apis/databosun.io/v1alpha1"
GROUPS = {
    "backups": OURS,
    "backuppolicies": OURS,
    "backupstorages": OURS,
    "databases": OURS,
    "erasurerequests": OURS,
    "dataexports": OURS,
    "failovertestruns": OURS,
    "failovertests": OURS,
    "inquiries": OURS,
    "lifecyclepolicies": OURS,
    "lifecycleruns": OURS,
    "restoredrillruns": OURS,
    "restoredrills": OURS,
    "restores": OURS,
    "deployments": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
}
CORE = "/api/v1"

Object = dict[str, Any]


class Refused(AssertionError):
    """The API server said no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class Api:
    """Reads and writes objects as a person with all rights."""

    def __init__(self, kubeconfig: Path) -> None:
        client = config.new_client_from_config(str(kubeconfig))
        self._host = client.configuration.host
        self._pool = client.rest_client.pool_manager

    def get(self, plural: str, namespace: str, name: str) -> Object | None:
        """One object; None where there is none."""
        try:
            return self.ask("GET", path(plural, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def read(self, plural: str, namespace: str, name: str) -> Object:
        """One object that is there."""
        return self.ask("GET", path(plural, namespace, name))

    def list(self, plural: str, namespace: str, labels: str = "") -> list[Object]:
        """All objects of a kind in a namespace, by label."""
        query = f"?{urlencode({'labelSelector': labels})}" if labels else ""
        found: list[Object] = self.ask("GET", path(plural, namespace) + query)["items"]
        return found

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """Ask for the object's deletion, without waiting for it."""
        self.ask("DELETE", path(plural, namespace, name))

    def merge(self, plural: str, namespace: str, name: str, patch: Mapping[str, Any]) -> Object:
        """Apply a JSON merge patch."""
        return self.ask("PATCH", path(plural, namespace, name), patch)

    def text(self, url: str) -> str:
        """The body of a GET."""
        return self._send("GET", url, None).decode()

    def ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Object:
        """One request; Refused with the server's words where it does not answer with success."""
        answer: Object = json.loads(self._send(method, url, body))
        return answer

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None) -> bytes:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = json.dumps(body).encode() if body is not None else None
        answer = self._pool.request(method, self._host + url, body=data, headers={"Content-Type": kind}, timeout=30)
        if answer.status >= 300:
            raise Refused(answer.status, answer.data.decode(errors="replace"))
        return bytes(answer.data)


def path(plural: str, namespace: str, name: str = "") -> str:
    """Where an object or a collection is."""
    return f"{GROUPS.get(plural, CORE)}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")
