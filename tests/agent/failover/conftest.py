"""Replicated databases that fail over, each a test's own: a test leaves another primary behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.sentinelyard import SentinelYard


@pytest.fixture
def sentinel() -> Iterator[SentinelYard]:
    """Three nodes of Redis, three Sentinels."""
    yard = SentinelYard()
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()
