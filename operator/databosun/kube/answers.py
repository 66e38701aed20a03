"""Reads the API server's refusals: HTTP status and `Status` body in, one of `kube/errors.py` out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from databosun.kube.errors import (
    AdmissionRefused,
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
    QuotaExceeded,
    ResourceAbsent,
    Throttled,
    Unavailable,
)
from databosun.kube.resources import Object, Resource

# How the API server's RBAC says no. Admission plug-ins answer 403 too, but never in these words.
RBAC_REFUSAL: Final = re.compile(r'User ".*" cannot \S+ resource ')
# Webhooks choose their own HTTP status, so they are known by how the API server introduces their message.
ADMISSION_REFUSAL: Final = re.compile(
    r"admission webhook .* denied the request|ValidatingAdmissionPolicy .* denied request"
)
LONGEST_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked, in RBAC's words, for messages and metrics."""

    verb: str
    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str = ""

    @property
    def what(self) -> str:
        """The resource with its subresource, as an RBAC rule names it."""
        return f"{self.resource.qualified}/{self.subresource}" if self.subresource else self.resource.qualified

    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.what}{name}{where}"


def refusal(call: Call, status: int, body: bytes) -> Exception:
    """The error for an answer with an HTTP status of 300 or more."""
    answer = _status_object(body)
    message = _text(answer, body)
    reason = str(answer.get("reason", ""))
    if status == 403:
        return _forbidden(call, answer, message)
    if ADMISSION_REFUSAL.search(message):
        return AdmissionRefused(f"{call}: {message}")
    if status == 404:
        return _not_found(call, answer, message)
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(f"{call}: {message}")
    return _by_status(call, status, message)


def _by_status(call: Call, status: int, message: str) -> Exception:
    if status == 410:
        return Expired(f"{call}: the server no longer keeps the snapshot of this list: {message}")
    if status == 422:
        return Invalid(f"{call}: {message}")
    if status == 429:
        return Throttled(f"{call}: the API server asks to come back later: {message}")
    if status == 401:
        return Unavailable(f"{call}: the API server does not accept the operator's token: {message}")
    if status >= 500:
        return Unavailable(f"{call}: the API server answered HTTP {status}: {message}")
    return BadRequest(f"{call}: the API server answered HTTP {status}: {message}")


def _forbidden(call: Call, answer: Object, message: str) -> Exception:
    if RBAC_REFUSAL.search(message):
        where = f"in namespace {call.namespace}" if call.namespace else "in all namespaces"
        return Forbidden(
            f"the operator may not {call.verb} {call.what} {where}. The chart's RBAC grants this: install it with "
            f"rbac.create=true and the namespaces that the operator is to serve, or add the missing rule. "
            f"The API server said: {message}",
        )
    if any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(answer)):
        return NamespaceTerminating(f"{call}: {message}")
    if "exceeded quota" in message:
        return QuotaExceeded(f"{call}: {message}")
    return AdmissionRefused(f"{call}: {message}")


def _not_found(call: Call, answer: Object, message: str) -> Exception:
    # Only an answer about a named object means that it is gone; a kind that is not served is answered without a name.
    if _details(answer).get("name"):
        return NotFound(f"{call}: {message}")
    return ResourceAbsent(
        f"{call}: the API server does not serve {call.resource.qualified} ({call.resource.api_version}): is the "
        f"CustomResourceDefinition installed? It said: {message}",
    )


def _status_object(body: bytes) -> Object:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}


def _text(answer: Object, body: bytes) -> str:
    text = str(answer.get("message") or body.decode("utf-8", "replace")).strip()
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def _details(answer: Object) -> dict[str, Any]:
    details = answer.get("details")
    return details if isinstance(details, dict) else {}


def _causes(answer: Object) -> list[dict[str, Any]]:
    causes = _details(answer).get("causes")
    return [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []
