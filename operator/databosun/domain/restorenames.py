"""What a restore into a running server calls what it makes there, so that operator and engines say the same."""

from __future__ import annotations

import hashlib


def short_id(uid: str) -> str:
    """Eight letters for a restore, the same for all of its attempts; names of what it makes end with it."""
    return hashlib.sha256(uid.encode()).hexdigest()[:8]
