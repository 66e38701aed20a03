"""Opens the store that a request names."""

from __future__ import annotations

from pathlib import Path

from databosun.agent.secrets import Secrets
from databosun.api.targets import StorageTarget
from databosun.domain.errors import UserFault
from databosun.storage.port import ObjectStore
from databosun.storage.reasons import StorageReason


def open_store(target: StorageTarget, secrets: Secrets, mount: Path, *, hasty: bool = False) -> ObjectStore:
    """The bucket, or the folder of the mounted claim. Nothing is asked of a server yet.

    `hasty`: for who tries again by itself and would rather know soon that a request failed.
    """
    if target.s3 is None:
        return _open_volume(target, mount)
    from databosun.storage.s3 import S3ObjectStore
    from databosun.storage.s3_access import HASTE, Patience, S3Access

    return S3ObjectStore(
        S3Access(
            target.s3,
            access_key=secrets.text("storage", "accessKeyId"),
            secret_key=secrets.text("storage", "secretAccessKey"),
            ca=secrets.path("storage-ca", "ca.crt"),
            secret=secrets.name("storage"),
            ca_secret=secrets.name("storage-ca"),
            patience=HASTE if hasty else Patience(),
        )
    )


def _open_volume(target: StorageTarget, mount: Path) -> ObjectStore:
    from databosun.storage.volume import VolumeStore

    parts = [part for part in (target.volume_path or "/").split("/") if part not in {"", "."}]
    root = mount.joinpath(*parts)
    if ".." in parts or not mount.is_dir():
        message = (
            f"spec.volume of BackupStorage {target.name} gives no folder {root}; its path must lie in the mounted claim"
        )
        raise UserFault(StorageReason.NO_BUCKET, message)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the folder {root} cannot be made: {error.strerror}; the Jobs run as uid and fsGroup 65532"
        raise UserFault(StorageReason.ACCESS_DENIED, message) from error
    return VolumeStore(root)
