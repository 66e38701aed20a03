"""What the API server may refuse, as errors that say who must act. `kube/transport.py` raises these alone."""

from __future__ import annotations

from typing import ClassVar

from databosun.domain.errors import DatabosunError, UserFault, WorldFault


class KubeError(DatabosunError):
    """An answer of the API server, or the lack of one. Each class has one reason."""

    REASON: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(self.REASON, message)


class NotFound(KubeError, WorldFault):
    """The object is not there (on writes and logs; a read says None, a delete is content)."""

    REASON = "NotFound"


class ResourceAbsent(KubeError, WorldFault):
    """The API server does not serve the kind at all (a CRD is missing): never to be read as "the object is gone"."""

    REASON = "ResourceAbsent"


class Conflict(KubeError, WorldFault):
    """The object is not the one that was read: another resourceVersion or uid. Look again, then decide again."""

    REASON = "Conflict"


class AlreadyExists(KubeError, WorldFault):
    """An object of that name is there already."""

    REASON = "AlreadyExists"


class Expired(KubeError, WorldFault):
    """A paged list took longer than the server keeps its snapshot: start the list again."""

    REASON = "ListExpired"


class Throttled(KubeError, WorldFault):
    """The API server asks for patience (HTTP 429)."""

    REASON = "ApiThrottled"


class Unavailable(KubeError, WorldFault):
    """The API server failed (HTTP 5xx), did not answer with JSON, or does not know our token for now (HTTP 401)."""

    REASON = "ApiUnavailable"


class Unreachable(KubeError, WorldFault):
    """No answer: connection refused or cut, timeout, TLS. A write may have happened all the same."""

    REASON = "ApiUnreachable"


class QuotaExceeded(KubeError, WorldFault):
    """A ResourceQuota refused the object; it fits once others are gone."""

    REASON = "QuotaExceeded"


class NamespaceTerminating(KubeError, WorldFault):
    """The namespace is being deleted: nothing can be created in it any more."""

    REASON = "NamespaceTerminating"


class Forbidden(KubeError, UserFault):
    """RBAC lacks a right that the chart grants."""

    REASON = "Forbidden"


class AdmissionRefused(KubeError, UserFault):
    """An admission webhook or policy refused the object; the message is theirs."""

    REASON = "AdmissionRefused"


class Invalid(KubeError, UserFault):
    """The object breaks its schema or a validation rule (HTTP 422); the message names the fields."""

    REASON = "InvalidObject"


class NoKubeconfig(KubeError, UserFault):
    """Nothing says where the API server is."""

    REASON = "NoKubeconfig"


class BadRequest(RuntimeError):
    """The API server did not understand the request: a fault of this program, so none of the three kinds of fault."""
