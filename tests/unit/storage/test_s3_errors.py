"""What a server says becomes an error that names who must act: endpoint, bucket, Secret."""

from __future__ import annotations

import pytest

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.storage.port import AlreadyExists, ObjectMissing
from databosun.storage.s3_errors import Place, fault_of, refusal_of

PLACE = Place("https://objects.example:9000", "backups", "s3-login", "s3-ca")


def said(status: int, code: str, message: str = "words") -> str:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return f"Error performing PUT https://x/y in 1ms - Server returned non-2xx status code: {status} Whatever: {body}"


@pytest.mark.parametrize(
    ("text", "fault", "reason", "named"),
    [
        (said(403, "InvalidAccessKeyId"), UserFault, "StorageCredentialsInvalid", "Secret s3-login"),
        (said(403, "SignatureDoesNotMatch"), UserFault, "StorageCredentialsInvalid", "Secret s3-login"),
        (said(403, "AccessDenied"), UserFault, "StorageAccessDenied", "grant read, write, list and delete"),
        (said(404, "NoSuchBucket"), UserFault, "NoSuchBucket", "bucket backups at https://objects.example:9000"),
        (said(301, "PermanentRedirect"), UserFault, "StorageRegionWrong", "spec.s3.region"),
        (said(412, "PreconditionFailed"), AlreadyExists, "AlreadyExists", "the/key"),
        (said(404, "NoSuchKey"), ObjectMissing, "ObjectMissing", "the/key"),
        (said(400, "BadDigest"), WorldFault, "UploadCorrupt", "the/key"),
        (said(503, "SlowDown"), WorldFault, "StorageFailed", "SlowDown"),
        (said(500, "InternalError"), WorldFault, "StorageFailed", "InternalError"),
        (said(507, "XMinioStorageFull"), WorldFault, "StorageFull", "XMinioStorageFull"),
        (
            "HTTP error: error sending request\n\nDebug source:\n kind: Connect, ",
            WorldFault,
            "StorageUnreachable",
            "answer",
        ),
        (
            "error sending request\n\nDebug source:\n InvalidCertificate(UnknownIssuer)",
            UserFault,
            "StorageTLSFailure",
            "s3-ca",
        ),
    ],
)
def test_each_refusal_names_its_cure(text: str, fault: type[DatabosunError], reason: str, named: str) -> None:
    error = fault_of(refusal_of(text), PLACE, "the/key")
    assert type(error) is fault
    assert error.reason == reason
    assert named in error.message


def test_without_a_secret_workload_identity_is_named() -> None:
    error = fault_of(refusal_of(said(403, "InvalidAccessKeyId")), Place("Amazon S3", "backups"), "key")
    assert "podTemplate.serviceAccountName" in error.message


def test_the_same_trouble_reads_the_same_each_time() -> None:
    first, second = (
        f"Generic S3 error: Error performing PUT http://x/y in {time}, after {retries} retries, max_retries: 6, "
        'retry_timeout: 120s  - HTTP error: error sending request\n\nDebug source:\n message: "Connection refused"'
        for time, retries in (("1.2s", 3), ("340.5ms", 6))
    )
    said = fault_of(refusal_of(first), PLACE, "key").message
    assert said == fault_of(refusal_of(second), PLACE, "key").message
    assert said.endswith("does not answer: HTTP error: error sending request (Connection refused)")


def test_a_message_is_short_and_on_one_line() -> None:
    error = fault_of(refusal_of(said(500, "InternalError", "a\n" * 5000)), PLACE, "key")
    assert "\n" not in error.message
    assert len(error.message) < 1000
