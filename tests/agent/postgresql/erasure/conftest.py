"""A server with people for all tests of a worker, and a yard with backups of it for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.agekeys import make_age_key
from support.erasing import Forgetter, populate
from support.pgserver import Server, open_folder
from support.recoveryyard import Yard


@pytest.fixture(scope="session")
def people_servers() -> Iterator[Callable[[int], Server]]:
    """Servers by major, made on first use."""
    made: dict[int, Server] = {}

    def get(major: int) -> Server:
        if major not in made:
            server = made[major] = Server(major, settings={"wal_level": "replica"})
            server.init("--wal-segsize=4")
            server.configure()
            server.start()
        return made[major]

    yield get
    for server in made.values():
        server.remove()


@pytest.fixture
def forgetter_of(
    people_servers: Callable[[int], Server], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], Forgetter]]:
    """People on a server of a major, and a store of their own."""
    folders: list[Path] = []

    def make(major: int) -> Forgetter:
        server = people_servers(major)
        populate(server)
        monkeypatch.setenv("DATABOSUN_POSTGRESQL_BIN", str(server.bin))
        folder = open_folder("work")
        folders.append(folder)
        return Forgetter(Yard(server, folder, key=make_age_key(folder)))

    yield make
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def forgetter(forgetter_of: Callable[[int], Forgetter]) -> Forgetter:
    """The same on the newest major."""
    return forgetter_of(18)
