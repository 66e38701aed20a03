"""A server of a major version for all tests of a worker, with a fresh database and a pod for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.agekeys import make_age_key
from support.lifecycling import Keeper, make_keeper, prepare
from support.pgserver import Server

ROWS = 3000


@pytest.fixture
def keeper(rule_servers: Callable[[int], Server], tmp_path: Path) -> Keeper:
    """Orders on the newest major, a pod that encrypts."""
    server = rule_servers(18)
    prepare(server, ROWS)
    return make_keeper(server, tmp_path / "pod", make_age_key(tmp_path))


@pytest.fixture(params=(14, 15, 16, 17, 18), ids=lambda major: f"pg{major}")
def any_keeper(request: pytest.FixtureRequest, rule_servers: Callable[[int], Server], tmp_path: Path) -> Keeper:
    """The same on each supported major."""
    server = rule_servers(request.param)
    prepare(server, ROWS)
    return make_keeper(server, tmp_path / "pod", make_age_key(tmp_path))
