"""The API server's refusals, as they were seen on a 1.34 cluster, and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from databosun.domain.errors import UserFault, WorldFault
from databosun.kube import errors
from databosun.kube.answers import Call, refusal
from databosun.kube.resources import BACKUPS, JOBS, PODS

CREATE_JOB = Call("create", JOBS, "shop", "orders-1")


def status(code: int, reason: str, message: str, **details: Any) -> bytes:
    return json.dumps(
        {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details}
    ).encode()


RBAC = (
    'jobs.batch is forbidden: User "system:serviceaccount:databosun-system:databosun" cannot create resource "jobs" '
    'in API group "batch" in the namespace "shop"'
)


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (403, status(403, "Forbidden", RBAC, kind="jobs"), errors.Forbidden),
        (
            403,
            status(
                403,
                "Forbidden",
                'jobs.batch "j" is forbidden: exceeded quota: q, requested: count/jobs.batch=1',
                name="j",
            ),
            errors.QuotaExceeded,
        ),
        (
            403,
            status(
                403, "Forbidden", 'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: a', name="p"
            ),
            errors.AdmissionRefused,
        ),
        (
            403,
            status(
                403,
                "Forbidden",
                'jobs.batch "j" is forbidden: cannot create new content in namespace shop: it is being terminated',
                name="j",
                causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}],
            ),
            errors.NamespaceTerminating,
        ),
        (
            400,
            status(400, "BadRequest", 'admission webhook "p.example.org" denied the request: no'),
            errors.AdmissionRefused,
        ),
        (
            422,
            status(
                422,
                "Invalid",
                "jobs.batch \"j\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            ),
            errors.AdmissionRefused,
        ),
        (409, status(409, "AlreadyExists", 'jobs.batch "j" already exists', name="j"), errors.AlreadyExists),
        (409, status(409, "Conflict", "the object has been modified", name="j"), errors.Conflict),
        (410, status(410, "Expired", "The provided continue parameter is too old"), errors.Expired),
        (422, status(422, "Invalid", 'Job.batch "j" is invalid: spec.template: Required value'), errors.Invalid),
        (429, status(429, "TooManyRequests", "try again later"), errors.Throttled),
        (401, status(401, "Unauthorized", "Unauthorized"), errors.Unavailable),
        (500, status(500, "InternalError", "etcdserver: leader changed"), errors.Unavailable),
        (503, b"<html>upstream connect error</html>", errors.Unavailable),
        (400, status(400, "BadRequest", "json parse error"), errors.BadRequest),
        (302, b"", errors.BadRequest),
    ],
)
def test_each_refusal_has_its_error(code: int, body: bytes, kind: type[Exception]) -> None:
    assert type(refusal(CREATE_JOB, code, body)) is kind


def test_a_missing_object_and_a_missing_kind_are_told_apart() -> None:
    call = Call("get", BACKUPS, "shop", "orders-1")
    gone = refusal(call, 404, status(404, "NotFound", 'backups.databosun.io "orders-1" not found', name="orders-1"))
    assert type(gone) is errors.NotFound
    for body in (b"404 page not found\n", status(404, "NotFound", "the server could not find the requested resource")):
        absent = refusal(call, 404, body)
        assert type(absent) is errors.ResourceAbsent
        assert "backups.databosun.io" in str(absent)
        assert "CustomResourceDefinition" in str(absent)


def test_a_lacking_right_names_verb_resource_namespace_and_the_chart() -> None:
    fault = refusal(Call("get", PODS, "shop", "p", "log"), 403, status(403, "Forbidden", RBAC))
    assert isinstance(fault, UserFault)
    for part in (
        "may not get pods/log in namespace shop",
        "chart",
        "rbac.create=true",
        "serviceaccount:databosun-system",
    ):
        assert part in fault.message


def test_who_must_act() -> None:
    """A fault of the world is retried, one of the user is not: a mistake here hammers or forgets."""
    users = {errors.Forbidden, errors.AdmissionRefused, errors.Invalid, errors.NoKubeconfig}
    concrete = set(errors.KubeError.__subclasses__())
    assert {kind for kind in concrete if issubclass(kind, UserFault)} == users
    assert {kind for kind in concrete if issubclass(kind, WorldFault)} == concrete - users
    assert not issubclass(errors.BadRequest, errors.KubeError)


def test_the_message_is_the_servers_but_never_endless() -> None:
    fault = refusal(CREATE_JOB, 500, b"x" * 100_000)
    assert isinstance(fault, errors.Unavailable)
    assert len(fault.message) < 1200
    assert "create jobs.batch orders-1 in namespace shop" in fault.message
