"""Orders on the stand-in of mongod, and on one that can do besides what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.mongolifecycling import FullPeer, MongoKeeper, add_keeper, peer_before, prepare
from support.mongoserver import MongoServer


@pytest.fixture(scope="module")
def ruled_server() -> Iterator[MongoServer]:
    """For the tests of a module; without an oplog, which no rule needs."""
    made = MongoServer(oplog=False)
    add_keeper(made)
    yield made
    made.remove()


@pytest.fixture
def keeper(ruled_server: MongoServer, tmp_path: Path) -> MongoKeeper:
    """A pod beside it."""
    prepare(ruled_server)
    made = MongoKeeper(ruled_server, Workplace(tmp_path / "pod"))
    made.behind = ruled_server
    return made


@pytest.fixture
def peer(ruled_server: MongoServer) -> Iterator[FullPeer]:
    """A member that compares whole documents."""
    prepare(ruled_server)
    with peer_before(ruled_server) as made:
        yield made


@pytest.fixture
def full(peer: FullPeer, tmp_path: Path) -> MongoKeeper:
    """A pod beside that, which encrypts."""
    made = MongoKeeper(peer, Workplace(tmp_path / "pod"), make_age_key(tmp_path))
    del made.place.secrets["database"]
    made.behind = peer.behind
    return made
