"""What lies in the account by the word of a manifest and of the note beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from databosun.api.v1alpha1.backup import HeldPart
from databosun.domain.errors import SafetyStop
from databosun.engines.rds.backup import NOTE
from databosun.engines.rds.reasons import Reason


def parts_of(manifest: Mapping[str, Any]) -> list[HeldPart]:
    """The snapshots of a backup, its own region's first. SafetyStop(ArtefactCorrupt) where it names none."""
    parts = [HeldPart.model_validate(one) for one in manifest.get("elsewhere", ())]
    if not parts:
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"the manifest of {manifest['id']} names no snapshot")
    return parts


def noted(data: bytes) -> Any:
    """The snapshots that a note names. SafetyStop(ArtefactCorrupt) where it cannot be read."""
    try:
        return json.loads(data)["parts"]
    except (ValueError, KeyError, TypeError) as error:
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"{NOTE} is not what was written: {error}") from error


def demand_same(manifest: Mapping[str, Any], part: HeldPart, found: Mapping[str, Any]) -> None:
    """A snapshot that was deleted and made anew has the same ARN; a copy has an instant of its own."""
    first, at = parts_of(manifest)[0], found.get("SnapshotCreateTime")
    taken = datetime.fromisoformat(manifest["snapshotTime"])
    if part == first and isinstance(at, datetime) and abs(at - taken) >= timedelta(seconds=1):
        message = (
            f"snapshot {part.name} is of {at.isoformat()}, and backup {manifest['id']} of {taken.isoformat()}: another "
            "stands in its place"
        )
        raise SafetyStop(Reason.FOREIGN_SNAPSHOT, message)
