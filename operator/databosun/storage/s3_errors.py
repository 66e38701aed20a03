"""What an S3 server or its client library says, turned into an error that says who must act and how."""

from __future__ import annotations

import re
from dataclasses import dataclass

from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.storage.port import AlreadyExists, ObjectMissing
from databosun.storage.reasons import StorageReason

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_TLS = re.compile(
    r"certificate|InvalidContentType|HandshakeFailure|UnknownIssuer|SSL|received corrupt message", re.IGNORECASE
)
_AWAY = re.compile(
    r"error sending request|connect|timed? ?out|dns|reset by peer|closed|incomplete|broken pipe|unreachable",
    re.IGNORECASE,
)
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "InvalidSecurity",
    "AuthorizationHeaderMalformed",
}
_REGION = {
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "AuthorizationHeaderMalformed",
    "TemporaryRedirect",
}
_FULL = {"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "EntityTooLarge"}
_CORRUPT = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"}
_LONGEST = 600


@dataclass(frozen=True, slots=True)
class Place:
    """Where the store is and where its credentials come from, for messages."""

    endpoint: str
    bucket: str
    secret: str | None = None
    ca_secret: str | None = None

    def __str__(self) -> str:
        return f"bucket {self.bucket} at {self.endpoint}"

    @property
    def login(self) -> str:
        """What the user must look at where the login is refused."""
        return f"Secret {self.secret}" if self.secret else "workload identity of podTemplate.serviceAccountName"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal: the server's own code and HTTP status where there was an answer, and the words."""

    code: str
    status: int
    text: str


def refusal_of(text: str) -> Refusal:
    """Read code and status out of a client library's words."""
    code, status = _CODE.search(text), _STATUS.search(text)
    return Refusal(code[1] if code else "", int(status[1]) if status else 0, text)


def fault_of(refusal: Refusal, place: Place, key: str) -> DatabosunError:
    """The error to raise for a refusal that concerned `key`."""
    return (
        _about_the_object(refusal, place, key)
        or _about_the_login(refusal, place, key)
        or _about_the_world(refusal, place)
    )


def _about_the_object(refusal: Refusal, place: Place, key: str) -> DatabosunError | None:
    if refusal.code == "NoSuchBucket":
        message = f"there is no {place}; create it, or correct spec.s3.bucket and spec.s3.endpoint"
        return UserFault(StorageReason.NO_BUCKET, message)
    if refusal.code == "InvalidObjectState":
        message = f"{key} in {place} lies in an archive class and cannot be read before it is thawed (RestoreObject)"
        return UserFault(StorageReason.ARCHIVED, message)
    if refusal.code in {"PreconditionFailed", "ConditionalRequestConflict"} or refusal.status == 412:
        return AlreadyExists(key, str(place))
    if refusal.status == 404:
        return ObjectMissing(key, str(place))
    if refusal.code in _CORRUPT:
        message = f"{key} reached {place} otherwise than it was sent ({refusal.code}): {_words(refusal.text)}"
        return WorldFault(StorageReason.UPLOAD_CORRUPT, message)
    return None


def _about_the_login(refusal: Refusal, place: Place, key: str) -> DatabosunError | None:
    said = refusal.code or f"HTTP {refusal.status}"
    if refusal.code in _REGION or "Received redirect without LOCATION" in refusal.text:
        message = f"{place} is in another region than spec.s3.region says ({said})"
        return UserFault(StorageReason.REGION, message)
    if refusal.code in _CREDENTIALS or (not place.secret and "credential" in refusal.text.lower()):
        message = f"{place} refuses the credentials ({said or 'none found'}); check {place.login}"
        return UserFault(StorageReason.BAD_CREDENTIALS, message)
    if refusal.status in {401, 403}:
        message = (
            f"{place} denies access to {key} ({said}); grant read, write, list and delete to the user of {place.login}"
        )
        return UserFault(StorageReason.ACCESS_DENIED, message)
    if not refusal.status and _TLS.search(refusal.text):
        ca = (
            f"the CA in Secret {place.ca_secret}"
            if place.ca_secret
            else "the public CAs (spec.s3.caSecretRef is not set)"
        )
        message = f"no TLS with {place}, whose certificate must be for that name and by {ca}: {_words(refusal.text)}"
        return UserFault(StorageReason.TLS, message)
    return None


def _about_the_world(refusal: Refusal, place: Place) -> DatabosunError:
    words = _words(refusal.text)
    if refusal.code in _FULL or refusal.status == 507:
        return WorldFault(StorageReason.FULL, f"{place} takes no more data ({refusal.code or refusal.status}): {words}")
    if not refusal.status and _AWAY.search(refusal.text):
        return WorldFault(StorageReason.UNREACHABLE, f"{place} does not answer: {words}")
    return WorldFault(
        StorageReason.FAILED, f"{place} failed with {refusal.code or refusal.status or 'an error'}: {words}"
    )


def _words(text: str) -> str:
    """What the server said, or what the client library said with its innermost cause, on one line."""
    message = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
    shown, _, debug = text.partition("Debug source:")
    # Times and counts of retries go: the same trouble must read the same, or a status would change for nothing.
    words = (
        message[1] if message else re.sub(r"^.*? - (?=HTTP error|Server returned)", "", shown.split("<?xml")[0].strip())
    )
    cause = "" if message else _cause(debug)
    return re.sub(r"\s+", " ", f"{words} ({cause})" if cause and cause not in words else words)[:_LONGEST]


def _cause(debug: str) -> str:
    """The innermost error of the library's nested description, such as `UnknownIssuer` or `Connection refused`."""
    certificate = re.search(r"InvalidCertificate\((.*?)\},", debug, re.DOTALL)
    names = re.findall(r"[A-Z]\w+", certificate[1]) if certificate else []
    said = names or re.findall(r'(?:message|error): "([^"]+)"', debug)
    return str(said[-1]) if said else ""
