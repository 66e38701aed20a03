"""Quick calls to a real API server, in one namespace."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes.client import ApiException, CustomObjectsApi

from crd.objects import PLURALS, Object
from databosun.api.v1alpha1.common import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class Server:
    """Creates and changes objects; `dry_run` asks for all checks and keeps nothing."""

    api: CustomObjectsApi
    namespace: str

    def create(self, body: Object, *, dry_run: bool = True) -> Object:
        """Create an object; unknown fields are refused."""
        return self._call(self.api.create_namespaced_custom_object, body, (), dry_run)

    def replace(self, body: Object, *, dry_run: bool = True) -> Object:
        """Put another spec in the place of the one there."""
        return self._call(self.api.replace_namespaced_custom_object, body, (body["metadata"]["name"],), dry_run)

    def replace_status(self, body: Object, *, dry_run: bool = True) -> Object:
        """Put another status in the place of the one there."""
        return self._call(self.api.replace_namespaced_custom_object_status, body, (body["metadata"]["name"],), dry_run)

    def _call(self, call: Callable[..., Any], body: Object, name: tuple[str, ...], dry_run: bool) -> Object:
        options = {"dry_run": "All"} if dry_run else {}
        where = (GROUP, VERSION, self.namespace, PLURALS[body["kind"]])
        answer: Object = call(*where, *name, body, field_validation="Strict", **options)
        return answer


@dataclass(frozen=True, slots=True)
class Stored:
    """Objects as the API server keeps them, by kind and name."""

    server: Server
    objects: Mapping[tuple[str, str], Object]

    def like(self, body: Object) -> Object:
        """The one that was made from this good object."""
        return self.objects[body["kind"], body["metadata"]["name"]]


def refusal(call: Callable[[Object], Object], body: Object) -> str:
    """What the API server says as it refuses the object; fails the test where it takes it."""
    with pytest.raises(ApiException) as refused:
        call(body)
    assert refused.value.status in (400, 422), refused.value
    message: str = json.loads(refused.value.body or "{}")["message"]
    return message
