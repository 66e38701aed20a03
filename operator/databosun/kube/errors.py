"""What the API server may refuse, as errors that say who must act. `kube/client.py` raises these and nothing else."""

from __future__ import annotations

from databosun.domain.errors import UserFault, WorldFault


class NotFound(WorldFault):
    """The object is not there (on writes, logs and deletes; a read says None)."""


class ResourceAbsent(WorldFault):
    """The API server does not serve the kind at all (a CRD is missing): never to be read as "the object is gone"."""


class Conflict(WorldFault):
    """The object is not the one that was read: another resourceVersion or uid. Look again, then decide again."""


class AlreadyExists(WorldFault):
    """An object of that name is there already."""


class Expired(WorldFault):
    """A paged list took longer than the server keeps its snapshot: start the list again."""


class Throttled(WorldFault):
    """The API server asks for patience (HTTP 429)."""


class Unavailable(WorldFault):
    """The API server failed (HTTP 5xx), or does not know our token for now (HTTP 401)."""


class Unreachable(WorldFault):
    """No answer: connection refused or cut, timeout, TLS. A write may have happened all the same."""


class QuotaExceeded(WorldFault):
    """A ResourceQuota refused the object; it fits once others are gone."""


class NamespaceTerminating(WorldFault):
    """The namespace is being deleted: nothing can be created in it any more."""


class Forbidden(UserFault):
    """RBAC lacks a right that the chart grants."""


class AdmissionRefused(UserFault):
    """An admission webhook or policy refused the object; the message is theirs."""


class Invalid(UserFault):
    """The object breaks its schema or a validation rule (HTTP 422); the message names the fields."""


class BadRequest(RuntimeError):
    """The API server did not understand the request: a fault of this program, so none of the three kinds of fault."""
