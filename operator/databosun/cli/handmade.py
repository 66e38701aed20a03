"""Runs that a person starts: what all of their objects have."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from databosun.kube.resources import Object, Resource

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def by_hand(
    resource: Resource,
    namespace: str,
    of: str,
    spec: Mapping[str, Any],
    now: datetime,
    start_within: timedelta,
    finalizers: Sequence[str] = (),
) -> Object:
    """The object to create: its name says of what, and that and when it was made by hand; it does not start after
    `notAfter`."""
    tail = "".join(secrets.choice(ALPHABET) for _ in range(4))
    metadata: dict[str, Any] = {"name": f"{of}-{now:%y%m%d-%H%M}-{tail}", "namespace": namespace}
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata | ({"finalizers": list(finalizers)} if finalizers else {}),
        "spec": {**spec, "notAfter": f"{now + start_within:%Y-%m-%dT%H:%M:%SZ}"},
    }
