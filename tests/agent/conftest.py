"""A real S3 server for all tests of a worker, started on first use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.seaweed import Seaweed, seaweed


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """SeaweedFS; every test makes buckets of its own."""
    with seaweed(tmp_path_factory.mktemp("weed")) as server:
        yield server
