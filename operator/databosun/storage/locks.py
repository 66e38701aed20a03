"""Object lock over a closure: a backup, and every ancestor that it needs to restore."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from databosun.storage.layout import MANIFEST, BackupFolder
from databosun.storage.manifest import Manifest
from databosun.storage.port import ObjectStore, Retention

AT_ONCE = 8


def keys_of(folder: BackupFolder, manifest: Manifest) -> tuple[str, ...]:
    """Every object of a backup that must not change: its volumes, its files and the manifest itself."""
    parts = [folder.stored(manifest.attempt, part.name) for artefact in manifest.artefacts for part in artefact.parts]
    return (*parts, *(f"{folder.root}/{file.name}" for file in manifest.files), f"{folder.root}/{MANIFEST}")


def lock_all(store: ObjectStore, keys: Iterable[str], retention: Retention) -> None:
    """Lock each object until an instant; locks that last longer stay. Raises the first refusal after all were tried."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lock") as pool:
        for done in [pool.submit(store.retain, key, retention) for key in keys]:
            done.result()


def latest_lock(store: ObjectStore, keys: Iterable[str]) -> datetime | None:
    """The end of the lock that lasts longest; None where nothing is locked. ObjectMissing."""
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lock") as pool:
        ends = [done.result() for done in [pool.submit(store.locked_until, key) for key in keys]]
    return max((end for end in ends if end), default=None)
