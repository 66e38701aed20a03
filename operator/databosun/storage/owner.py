"""The owner marker: one cluster owns a namespace's folder, and a second one is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant
from databosun.domain.errors import SafetyStop
from databosun.storage.layout import LAYOUT_VERSION, Layout
from databosun.storage.port import AlreadyExists, ObjectMissing, ObjectStore
from databosun.storage.reasons import StorageReason

MAX_MARKER_BYTES = 64 * 1024


class Marker(Model):
    """What `databosun.json` says."""

    cluster_id: str
    storage: str
    namespace: str
    layout: int = LAYOUT_VERSION
    claimed_at: Instant | None = None
    adopted_from: str | None = None

    def encode(self) -> bytes:
        """As stored."""
        return (json.dumps(self.dump(), indent=2, sort_keys=True) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who owns the folder now. `adopted`: since just now, taken over from another cluster."""

    cluster_id: str
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks: the cluster and its BackupStorage, and whose folder it may take over."""

    cluster_id: str
    storage: str
    adopt_from: str | None = None


def claim(store: ObjectStore, layout: Layout, claimant: Claimant, now: datetime) -> Claimed:
    """Own the folder, or find that it is owned already. SafetyStop(StorageOwnedByAnother) for a foreign cluster.

    Taking over is a conditional overwrite of the very marker that was read, so that of two clusters one wins.
    """
    mine = Marker(cluster_id=claimant.cluster_id, storage=claimant.storage, namespace=layout.namespace, claimed_at=now)
    try:
        store.put(layout.owner, mine.encode(), if_absent=True)
    except AlreadyExists:
        return _claimed_before(store, layout, claimant, mine)
    return Claimed(claimant.cluster_id)


def demand_ownership(store: ObjectStore, layout: Layout, claimant: Claimant) -> None:
    """Refuse to touch a folder that is not this cluster's; for tasks that change or delete what is there already."""
    try:
        found = _read(store, layout)
    except ObjectMissing as error:
        message = (
            f"{layout.root}/ in {store.describe()} has no owner marker; nothing is changed there until a validation of "
            f"BackupStorage {claimant.storage} has claimed it"
        )
        raise SafetyStop(StorageReason.FOREIGN_OWNER, message) from error
    if found.cluster_id != claimant.cluster_id:
        raise _foreign(store, layout, claimant, found)


def _claimed_before(store: ObjectStore, layout: Layout, claimant: Claimant, mine: Marker) -> Claimed:
    etag = store.head(layout.owner).etag
    found = _read(store, layout)
    if found.cluster_id == claimant.cluster_id:
        return Claimed(claimant.cluster_id)
    if not claimant.adopt_from or found.cluster_id != claimant.adopt_from or not etag:
        raise _foreign(store, layout, claimant, found)
    adopted = mine.model_copy(update={"adopted_from": found.cluster_id})
    try:
        store.replace(layout.owner, adopted.encode(), etag=etag)
    except AlreadyExists as error:
        message = f"{layout.owner} in {store.describe()} was changed by another cluster while it was being adopted"
        raise SafetyStop(StorageReason.FOREIGN_OWNER, message) from error
    return Claimed(claimant.cluster_id, adopted=True)


def _read(store: ObjectStore, layout: Layout) -> Marker:
    data = store.get(layout.owner, limit=MAX_MARKER_BYTES)
    try:
        marker = Marker.model_validate_json(data)
    except ValidationError as error:
        advice = "remove it only if nobody uses the folder"
        message = f"{layout.owner} in {store.describe()} is no owner marker of Databosun; {advice}"
        raise SafetyStop(StorageReason.FOREIGN_OWNER, message) from error
    if marker.layout != LAYOUT_VERSION:
        message = (
            f"{layout.owner} in {store.describe()} says layout {marker.layout}; this release knows {LAYOUT_VERSION}: "
            "use the release that wrote it, or a newer one"
        )
        raise SafetyStop(StorageReason.FOREIGN_OWNER, message)
    return marker


def _foreign(store: ObjectStore, layout: Layout, claimant: Claimant, found: Marker) -> SafetyStop:
    asked = f" (spec.adoptFrom names {claimant.adopt_from})" if claimant.adopt_from else ""
    message = (
        f"{layout.root}/ in {store.describe()} belongs to cluster {found.cluster_id} (BackupStorage {found.storage}), "
        f"and this is cluster {claimant.cluster_id}{asked}; use another prefix or bucket, or, if that cluster is gone "
        f"for good, set spec.adoptFrom: {found.cluster_id}"
    )
    return SafetyStop(StorageReason.FOREIGN_OWNER, message)
