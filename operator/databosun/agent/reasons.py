"""How a Job ended, in one word; the words that stand in status and that people search for."""

from __future__ import annotations

from enum import StrEnum


class AgentReason(StrEnum):
    """Reasons of the agent itself. Never renamed; those of storage and of engines stand beside them."""

    SUCCEEDED = "Succeeded"
    STAGED = "Staged"
    ABORTED = "Aborted"
    ALREADY_DONE = "AlreadyDone"
    ARTEFACT_CORRUPT = "ArtefactCorrupt"
    ARTEFACT_MISSING = "ArtefactMissing"
    ATTEMPT_TAKEN = "AttemptTaken"
    BACKUP_MISSING = "BackupMissing"
    BAD_REQUEST = "BadRequest"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    EMPTY_BACKUP = "EmptyBackup"
    ENCRYPTION_FAILED = "EncryptionFailed"
    ENCRYPTION_RECIPIENT_INVALID = "EncryptionRecipientInvalid"
    EVIDENCE_INVALID = "EvidenceInvalid"
    FOREIGN_BACKUP = "ForeignBackup"
    HOOK_FAILED = "HookFailed"
    IDENTITY_MISSING = "IdentityMissing"
    IDENTITY_WRONG = "IdentityWrong"
    INTERNAL_ERROR = "InternalError"
    INTERRUPTED = "Interrupted"
    LOG_GAP = "LogGap"
    LOG_MISSING = "LogMissing"
    NAME_TAKEN = "NameTaken"
    NO_RESULT = "NoResult"
    NOT_PROMOTED = "NotPromoted"
    NOT_DELETED = "NotDeleted"
    PARENT_MISSING = "ParentMissing"
    POINT_NOT_COVERED = "PointNotCovered"
    SCRATCH_FULL = "ScratchFull"
    SCRATCH_TOO_SMALL = "ScratchTooSmall"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - the name of a reason
    TARGET_NOT_EMPTY = "TargetNotEmpty"
    UNREACHABLE = "DatabaseUnreachable"
    TOO_EARLY = "TooEarly"
    TOO_LATE = "TooLate"
    TOOL_FAILED = "ToolFailed"
    TOOL_MISSING = "ToolMissing"
