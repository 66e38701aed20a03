"""Reasons of stores and what lies in them, of reading it back and of deleting it."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class StorageReasons:
    """Reasons of stores and what lies in them, of reading it back and of deleting it."""

    # Storage.
    STORAGE_UNREACHABLE = Entry(
        "StorageUnreachable", "Check endpoint, DNS and network policies between the Jobs and the store."
    )
    STORAGE_TLS_FAILURE = Entry(
        "StorageTLSFailure", "Name the authority that signed the endpoint's certificate in s3.caSecretRef."
    )
    STORAGE_CREDENTIALS_INVALID = Entry(
        "StorageCredentialsInvalid", "Correct the Secret of s3.credentialsSecretRef, or its expired key."
    )
    STORAGE_ACCESS_DENIED = Entry(
        "StorageAccessDenied", "Grant the action that the message names on bucket and prefix."
    )
    STORAGE_REGION_WRONG = Entry("StorageRegionWrong", "Set s3.region to the bucket's own.")
    STORAGE_FULL = Entry("StorageFull", "Make room in the store or raise its quota.")
    STORAGE_FAILED = Entry("StorageFailed", "See the message for the store's own words; the run is tried again.")
    STORAGE_OWNED_BY_ANOTHER = Entry(
        "StorageOwnedByAnother", "Use another prefix, or take over with adoptFrom and the id in the message."
    )
    STORAGE_NOT_CONDITIONAL = Entry(
        "StorageNotConditional", "Use a store that honours If-None-Match: without it backups could be overwritten."
    )
    LOG_CONFLICT = Entry(
        "LogConflict",
        "Find out who else writes this log, or whether the server was set back: the store has other bytes there.",
    )
    LOG_CORRUPT = Entry(
        "LogCorrupt",
        "Take a full backup now, and find out what changed the object: no restore can cross that part of the log.",
    )
    LOG_UNREADABLE = Entry(
        "LogUnreadable", "Find out who wrote the object that the message names into the log's folder."
    )
    OBJECT_LOCK_UNSUPPORTED = Entry(
        "ObjectLockUnsupported", "Use a bucket made with object lock, or remove spec.immutability."
    )
    NO_SUCH_BUCKET = Entry("NoSuchBucket", "Create the bucket, or correct s3.bucket.")
    OBJECT_MISSING = Entry(
        "ObjectMissing", "Find out who deletes in the bucket: something that a backup needs is gone."
    )
    OBJECT_TOO_LARGE = Entry("ObjectTooLarge", "Report it: volumes are kept below the limits of all stores.")
    UPLOAD_CORRUPT = Entry(
        "UploadCorrupt", "Suspect the network or the store: what was read back differs; the run is tried again."
    )
    MANIFEST_INVALID = Entry("ManifestInvalid", "Do not use this backup: its manifest cannot be read.")
    MANIFEST_FORGED = Entry(
        "ManifestForged", "Do not use this backup, and find out who wrote it: digest or signature is wrong."
    )
    SIGNATURE_INVALID = Entry(
        "SignatureInvalid", "Do not use this backup: no signature by spec.signing.publicKey vouches for it."
    )
    SIGNING_KEY_INVALID = Entry(
        "SigningKeyInvalid", "Correct spec.signing: the key cannot be read, or is no Ed25519 key."
    )
    FOREIGN_BACKUP = Entry(
        "ForeignBackup", "The folder in the store belongs to another backup; the message names both."
    )
    EMPTY_BACKUP = Entry("EmptyBackup", "Check what the backup's role can see: there was nothing to back up.")
    FORMAT_CHECK_FAILED = Entry(
        "FormatCheckFailed", "Nothing: the stream was not whole, so it was not taken for a backup; tried again."
    )
    ENCRYPTION_FAILED = Entry("EncryptionFailed", "See the message for the words of age; the run is tried again.")
    ENCRYPTION_RECIPIENT_INVALID = Entry(
        "EncryptionRecipientInvalid", "Correct encryption.age.recipients: a key cannot be read."
    )
    NOT_DELETED = Entry(
        "NotDeleted", "See the message: the store kept what was to be deleted, such as a locked object."
    )
    PARENT_MISSING = Entry("ParentMissing", "Nothing: the next backup is a full, since the one to stand on is gone.")

    # Reading backups back.
    ARTEFACT_CORRUPT = Entry(
        "ArtefactCorrupt",
        "Take a full backup now, and find out what changed the object: this backup cannot be restored.",
    )
    ARTEFACT_MISSING = Entry(
        "ArtefactMissing", "Take a full backup now, and find out who deletes in the storage: this backup is not whole."
    )
    BACKUP_MISSING = Entry(
        "BackupMissing", "Choose another backup: this one, or one that it stands on, is not in the store."
    )
    UNSAFE_ARCHIVE = Entry(
        "UnsafeArchive",
        "Find out who writes to the storage: an archive names paths outside of its folder, as no server does.",
    )
    IDENTITY_MISSING = Entry(
        "IdentityMissing", "Name the Secret of the age identity in encryption.age.identitySecretRefs."
    )
    IDENTITY_WRONG = Entry("IdentityWrong", "Add the identity of the recipient that the backup was encrypted to.")

    # Retention and deletion.
    SAFETY_STOP = Entry("SafetyStop", "A guard refused; the message names it. It is never tried again by itself.")
    HELD = Entry(
        "Held", "Nothing, or release the legal hold: label databosun.io/hold, or spec.legalHold of the policy."
    )
    LOCKED = Entry("Locked", "Wait: object lock keeps the data until the instant in the message.")
    NOTHING_TO_DELETE = Entry("NothingToDelete", "Nothing: every backup is still needed.")
    PLANNED = Entry("Planned", "Look at status.pendingDeletions; hold what should stay before retention.grace is over.")
    MASS_DELETION = Entry(
        "MassDeletion", "Look at the plan; if it is right, create an Approval with its hash (kubectl bosun approve)."
    )
    DELETION_FAILED = Entry("DeletionFailed", "See the message; the deletion is tried again.")
    DATA_DELETED = Entry("DataDeleted", "Nothing: the data went with the object, as its deletionPolicy says.")
    DATA_RETAINED = Entry(
        "DataRetained", "Nothing, or delete the folder in the store by hand: the object went, its data stays."
    )
    DATA_MISSING = Entry(
        "DataMissing", "Nothing, if an earlier try deleted them; else find out who deletes in the store by hand."
    )
    SWEEP_FAILED = Entry("SweepFailed", "See the message; what failed runs left stays until the next sweep.")
    CATALOG_REBUILT = Entry("CatalogRebuilt", "Nothing: Backup objects were made from what the store holds.")
    CATALOG_NOT_REBUILT = Entry("CatalogNotRebuilt", "Mend what the message names and ask for the rebuild again.")
