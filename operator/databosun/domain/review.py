"""What people noted about a finished run: annotations, since its spec is a record and its status the operator's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from databosun.api.report import Review
from databosun.domain.plan import (
    ANNOTATION_FINDINGS,
    ANNOTATION_REVIEWED_AT,
    ANNOTATION_REVIEWED_BY,
    ANNOTATION_RUNBOOKS,
)

_FIELDS = {
    "findings": ANNOTATION_FINDINGS,
    "runbooks": ANNOTATION_RUNBOOKS,
    "by": ANNOTATION_REVIEWED_BY,
    "at": ANNOTATION_REVIEWED_AT,
}


def review_of(annotations: Mapping[str, str]) -> Review | None:
    """What was noted; None where nothing was."""
    found = {name: annotations[key] for name, key in _FIELDS.items() if annotations.get(key)}
    return Review(**found) if "findings" in found or "runbooks" in found else None


def annotations_of(findings: str | None, runbooks: str | None, by: str, at: datetime) -> dict[str, str]:
    """The annotations that note it; what is not given stays as it is."""
    said = {ANNOTATION_FINDINGS: findings, ANNOTATION_RUNBOOKS: runbooks}
    stamp = {ANNOTATION_REVIEWED_BY: by, ANNOTATION_REVIEWED_AT: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    return {key: text for key, text in said.items() if text is not None} | stamp
