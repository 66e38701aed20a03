"""Why storage did not do what was asked; the words that stand in status and that people search for."""

from __future__ import annotations

from enum import StrEnum


class StorageReason(StrEnum):
    """Reasons of the storage layer. Never renamed."""

    ACCESS_DENIED = "StorageAccessDenied"
    ALREADY_EXISTS = "AlreadyExists"
    ARCHIVED = "ObjectArchived"
    BAD_CREDENTIALS = "StorageCredentialsInvalid"
    FAILED = "StorageFailed"
    FOREIGN_OWNER = "StorageOwnedByAnother"
    FULL = "StorageFull"
    LOG_CONFLICT = "LogConflict"
    LOG_CORRUPT = "LogCorrupt"
    LOG_UNREADABLE = "LogUnreadable"
    LOCK_UNSUPPORTED = "ObjectLockUnsupported"
    MANIFEST_FORGED = "ManifestForged"
    MANIFEST_INVALID = "ManifestInvalid"
    MISSING = "ObjectMissing"
    NO_BUCKET = "NoSuchBucket"
    REGION = "StorageRegionWrong"
    SIGNATURE_INVALID = "SignatureInvalid"
    SIGNING_KEY_INVALID = "SigningKeyInvalid"
    TLS = "StorageTLSFailure"
    TOO_LARGE = "ObjectTooLarge"
    UNREACHABLE = "StorageUnreachable"
    UNSAFE = "StorageNotConditional"
    UPLOAD_CORRUPT = "UploadCorrupt"
