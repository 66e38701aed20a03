"""A drill changes nothing but its own evidence: neither at the source, its tablespaces among it, nor in the store."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from databosun.api.drill import Verdict
from support.agentrun import backup_task, child_of
from support.leftovers import processes_of
from support.pgsample import add_tablespace, fill
from support.pgserver import Server
from support.recoveryyard import Yard, drilled
from support.stillness import files_of
from support.waiting import eventually

pytestmark = pytest.mark.servers
KILLS = 6


@pytest.fixture
def spread(yard_of: Callable[..., Yard], own_server: Callable[..., Server]) -> Yard:
    """Two backups, one on the other, of a server with tablespaces that is at rest: what changes there, a drill did."""
    server = own_server(18)
    fill(server)
    add_tablespace(server)
    add_tablespace(server, "slow")
    yard = yard_of(server)
    first = yard.back_up(backup_task("orders-1"))
    server.sql("INSERT INTO on_fast SELECT i, 'more' FROM generate_series(1, 500) AS i", "shop")
    yard.back_up(child_of(first, "orders-2"))
    server.stop()
    return yard


def test_source_and_store_are_byte_identical_after_a_drill(spread: Yard) -> None:
    source, store = files_of(spread.server.folder), spread.objects()
    assert any("space.fast" in name for name in source)
    found = drilled(spread.drill("orders-2", negative_control=True))
    assert found.verdict is Verdict.PASSED, found
    assert files_of(spread.server.folder) == source
    assert spread.objects() == store
    assert len(list(spread.place.paths.volume.rglob("evidence.json"))) == 1


def test_source_and_store_are_byte_identical_after_a_drill_that_was_killed_at_any_moment(spread: Yard) -> None:
    source, store = files_of(spread.server.folder), spread.objects()
    begin = time.monotonic()
    assert drilled(spread.drill("orders-2", run="whole")).verdict is Verdict.PASSED
    whole = time.monotonic() - begin
    chance = random.Random("killed")
    for number in range(KILLS):
        pod = spread.pod()
        process = pod.start(spread.drill_task("orders-2", run=f"killed-{number}"))
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=whole * (number + chance.random()) / KILLS)
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        process.communicate(timeout=580)
        eventually("no process of the drill is left", lambda folder=pod.folder: not processes_of(folder))
        assert files_of(spread.server.folder) == source
        assert spread.objects() == store
    spread.server.start()
    assert spread.server.sql("SELECT count(*) FROM on_fast", "shop") == [(3500,)]
