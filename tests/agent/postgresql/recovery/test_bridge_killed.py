"""An agent that is killed leaves the target as it was, or restored, and unfinished things that bear its restore's name.

The next attempt of the same restore finds these and ends what was begun.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from databosun.api.v1alpha1.backuppolicy import Method
from support.agentrun import backup_task
from support.bridging import ID, Far, bridged
from support.pgsample import fill
from support.pgserver import Server
from support.recoveryyard import Yard
from support.waiting import eventually

pytestmark = pytest.mark.servers
STAGING, BEFORE = f"_restore_{ID}", f"_before_{ID}"


@pytest.fixture(params=["database", "tables"])
def far(request: pytest.FixtureRequest, own_server: Callable[..., Server], yard_of: Callable[..., Yard]) -> Far:
    """A server that lost rows after its backup."""
    server = own_server(18)
    fill(server)
    server.sql(
        "CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 10) AS v FROM generate_series(1, 60000) AS i", "shop"
    )
    yard = yard_of(server)
    yard.back_up(backup_task("orders-1", method=Method.PHYSICAL))
    server.sql("DELETE FROM bulk WHERE i > 7; CREATE TABLE since (i int)", "shop")
    return Far(yard, server, "orders")


def wanted(far: Far, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What is restored."""
    tables = ("public.bulk",) if "tables" in request.node.name else ()
    return {"databases": ("shop",), "tables": tables, "replace": True}


def ours(far: Far) -> tuple[list[str], list[str]]:
    """What is staged, and what was put aside: databases, and schemas of the live one."""
    names = [str(row[0]) for row in far.server.sql("SELECT datname FROM pg_database")]
    names += [str(row[0]) for row in far.server.sql("SELECT nspname FROM pg_namespace", "shop")]
    return [name for name in names if name.endswith(STAGING)], [name for name in names if name.endswith(BEFORE)]


def rows(far: Far) -> int:
    """Rows of the table that lost some: 7, or 60000 once it is restored."""
    return int(far.server.sql("SELECT count(*) FROM public.bulk", "shop")[0][0])


def kill_at(process: subprocess.Popen[str], phase: str, here: Callable[[], bool] = lambda: True) -> bool:
    """Kill it in a phase of its task, once `here` is so. False where it ended before."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("{") and (said := json.loads(line))["event"] == "phase" and said["phase"] == phase:
            eventually(f"{phase} has come so far", lambda: here() or process.poll() is not None, 60)
            break
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def idle(far: Far) -> bool:
    """Nobody of the killed attempt is connected any more."""
    return far.server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'restorer'") == [(0,)]


@pytest.mark.parametrize("phase", ["restore", "verify", "stage", "staged", "place", "record"])
def test_killed_in_any_phase(far: Far, phase: str, request: pytest.FixtureRequest) -> None:
    order = wanted(far, request)
    beyond = {"staged": "place"}.get(phase, phase)
    process = far.pod().start(far.task("orders-1", **order), halt=f'"phase":"{beyond}"')
    there = (lambda: bool(ours(far)[0])) if phase == "staged" else (lambda: True)
    assert kill_at(process, "stage" if phase == "staged" else phase, there)
    eventually("the server noticed", lambda: idle(far), 60)
    staged, aside = ours(far)
    assert rows(far) == (60000 if aside else 7)
    assert (bool(aside), phase in ("place", "record")) != (True, False)
    if phase in ("restore", "verify"):
        assert not staged
    _ends_well(far, order)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_and_then_again(far: Far, seed: int, request: pytest.FixtureRequest) -> None:
    order, chance = wanted(far, request), random.Random(seed)
    for _ in range(3):
        process = far.pod().start(far.task("orders-1", **order))
        try:
            process.wait(timeout=chance.uniform(1.0, 9.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        eventually("the server noticed", lambda: idle(far), 60)
        assert rows(far) == (60000 if ours(far)[1] else 7)
    _ends_well(far, order)


def _ends_well(far: Far, order: dict[str, Any]) -> None:
    """The next attempt ends what was begun, and leaves nothing unfinished."""
    found = bridged(far.run("orders-1", **order))
    staged, aside = ours(far)
    assert (rows(far), staged, len(aside)) == (60000, [], 1)
    assert found.placed[0].before
    comments = far.server.sql("SELECT shobj_description(oid, 'pg_database') FROM pg_database")
    assert not [row for row in comments if row[0] and "databosun" in row[0]]
    if order["tables"]:
        assert far.server.sql("SELECT count(*) FROM since", "shop") == [(0,)]
