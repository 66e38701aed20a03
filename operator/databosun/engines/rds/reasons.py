"""Why RDS did not do what was asked, or did it otherwise; the words that stand in status."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reasons of faults, findings and notes. Never renamed; `docs/how-to/rds.md` says what to do about each."""

    ARTEFACT_CORRUPT = "ArtefactCorrupt"
    ARTEFACT_MISSING = "ArtefactMissing"
    BACKUP_RETENTION_OFF = "BackupRetentionOff"
    CLOUD_CREDENTIALS_INVALID = "CloudCredentialsInvalid"
    CLOUD_FAILED = "CloudFailed"
    CLOUD_PERMISSION_DENIED = "CloudPermissionDenied"
    CLOUD_QUOTA = "CloudQuota"
    CLOUD_THROTTLED = "CloudThrottled"
    CLOUD_UNREACHABLE = "CloudUnreachable"
    CONNECT_FAILED = "ConnectFailed"
    DRILL_PLACE_MISSING = "DrillPlaceMissing"
    DRILL_PLACE_UNSAFE = "DrillPlaceUnsafe"
    ENGINE_DIFFERS = "EngineDiffers"
    FOREIGN_SNAPSHOT = "ForeignSnapshot"
    HOOK_FAILED = "HookFailed"
    INSTANCE_FAILED = "InstanceFailed"
    INSTANCE_LEFT = "InstanceLeft"
    INSTANCE_MISSING = "InstanceMissing"
    INSTANCE_NOT_AVAILABLE = "InstanceNotAvailable"
    MANAGED_BY_CLOUD = "ManagedByCloud"
    NOT_ENCRYPTED = "NotEncrypted"
    POINT_NOT_COVERED = "PointNotCovered"
    SNAPSHOT_FAILED = "SnapshotFailed"
    UNSUPPORTED_METHOD = "UnsupportedMethod"
    WRONG_PASSWORD = "WrongPassword"  # noqa: S105 - the name of a reason
