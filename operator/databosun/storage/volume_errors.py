"""What a folder's file system refuses, as faults. `place`: the folder, as messages name it."""

from __future__ import annotations

import errno

from databosun.domain.errors import UserFault, WorldFault
from databosun.storage.reasons import StorageReason


def fault_of(place: str, key: str, error: OSError) -> UserFault | WorldFault:
    """The error to raise for what the file system said about a key."""
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        message = f"{place} denies access to {key}: {error.strerror}; the Jobs run as uid and fsGroup 65532"
        return UserFault(StorageReason.ACCESS_DENIED, message)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = f"{place} is full ({error.strerror}) at {key}; enlarge the claim or keep fewer backups"
        return WorldFault(StorageReason.FULL, message)
    return WorldFault(StorageReason.FAILED, f"{place} failed at {key}: {error.strerror or error}")


def no_folder(place: str) -> UserFault:
    """The folder itself is missing."""
    message = f"{place} is not there; correct spec.volume.path or create the folder"
    return UserFault(StorageReason.NO_BUCKET, message)


def no_locks(place: str) -> UserFault:
    """Object lock was asked of a folder."""
    message = f"{place} has no object lock; drop spec.immutability, or use a bucket that has it"
    return UserFault(StorageReason.LOCK_UNSUPPORTED, message)
