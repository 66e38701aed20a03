"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(what: str, condition: Callable[[], bool], seconds: float = 180, pause: float = 0.02) -> None:
    """Return as soon as the condition holds; fail naming it after a generous limit. `pause`: between two looks."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"still not so after {seconds:.0f} s: {what}"
        time.sleep(pause)
