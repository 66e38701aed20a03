"""Ten million rows archived and deleted under load, the agent killed twenty times: not one of them is lost.

    SOAK_ROWS=10000000 pytest -s -m soak tests/soak/test_lifecycle.py

The short form is `tests/agent/postgresql/lifecycle/test_kills.py`.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from databosun.api.lifecycle import ActionType
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from support.agekeys import AgeKey
from support.agentrun import Workplace
from support.lifecyclekills import FAST, Kills, Load, open_agents, run_with_kills
from support.lifecycling import DATABASE, Archive, Keeper, prepare, result_of, rule
from support.pgserver import Server

pytestmark = pytest.mark.soak
ROWS = int(os.environ.get("SOAK_ROWS", "10000000"))
YOUNG = ROWS // 10
KILLS = 20
# Of one life at its work: the kills are to be over before the work is.
LONGEST = ROWS / 1_000_000
SETTINGS = {"wal_level": "replica", "max_wal_size": "'4GB'", "shared_buffers": "'512MB'"}
OLD = "created_at < '2025-12-01 12:00Z'"


@dataclass
class Rows:
    """What the archive holds, looked through part by part. `last`: what it says of the rows that were asked for."""

    there: bytearray
    asked: frozenset[int]
    count: int = 0
    last: dict[int, int] = field(default_factory=dict)

    def read(self, archive: Archive) -> None:
        """Every part that a link vouches for, without what stayed in the table."""
        kept: dict[int, set[int]] = {}
        for link in archive.links():
            for artefact in link.get("kept", []):
                kept[link["of"]] = {int(json.loads(line)[0]) for line in archive.read(artefact).splitlines()}
        for number, text in archive.parts():
            stayed = kept.get(number, set())
            for line in text.splitlines():
                row = json.loads(line)
                if row["id"] not in stayed:
                    self.count += 1
                    self.there[row["id"]] = 1
                    if row["id"] in self.asked:
                        self.last[row["id"]] = row["customer"]


@contextmanager
def pgbench(server: Server) -> Iterator[list[float]]:
    """Its own transactions, 200 a second of two clients; their latencies in milliseconds, of 5 s each, afterwards."""
    server.run("pgbench", "--initialize", "--scale=10", "--quiet", DATABASE, timeout=600)
    argv = [server.bin / "pgbench", "-n", "-c", "2", "-R", "200", "-T", "7200", "-P", "5", "-h", server.folder]
    argv += ["-p", str(server.port), "-U", "postgres", DATABASE]
    found: list[float] = []
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as load:
        try:
            yield found
        finally:
            assert load.poll() is None, "pgbench ended before the run did"
            load.terminate()
            said = load.communicate()[1]
    # With a rate, what it calls latency begins when a transaction was due; `lag` is how late it began.
    found += [float(lat) - float(lag) for lat, lag in re.findall(r"lat ([\d.]+) ms.* lag ([\d.]+) ms", said)]


@pytest.fixture
def keeper(tmp_path: Path, key: AgeKey) -> Iterator[Keeper]:
    """Old rows and young ones, and a pod that encrypts."""
    server = Server(18, settings=SETTINGS)
    server.init()
    server.configure()
    server.start()
    try:
        prepare(server, 0)
        server.sql(
            "INSERT INTO orders (id, created_at, status, customer, amount)"
            " SELECT i, timestamptz '2024-01-01' + i % 600 * interval '1 day', 'closed', 0, i"
            f" FROM generate_series(1, {ROWS}) AS i;"
            "INSERT INTO orders (id, created_at, status, customer, amount)"
            f" SELECT i, timestamptz '2026-02-01', 'open', 0, i FROM generate_series({ROWS + 1}, {ROWS + YOUNG}) AS i;",
            DATABASE,
        )
        server.sql("VACUUM ANALYZE orders", DATABASE)
        yield Keeper(server, Workplace(tmp_path / "pod"), key)
    finally:
        server.remove()


def test_not_one_of_ten_million_rows_is_lost_when_the_agent_is_killed(keeper: Keeper, say: Callable[..., None]) -> None:
    assert keeper.sql(f"SELECT count(*) FROM orders WHERE {OLD}") == [(ROWS,)]
    asked = rule(action=ActionType.ARCHIVE, where=None, limits={"max_rows_per_run": 1 << 40})
    approved = keeper.look(asked).plan_hash
    keeper.runs += 1
    load, began = Load(keeper, ROWS), time.monotonic()
    with open_agents() as agents, pgbench(keeper.server) as latencies, load.at_work():
        kills = Kills(11, KILLS, LONGEST, FAST, seconds=3600)
        ran, met = run_with_kills(agents, keeper, kills, asked, approved=approved)
    took = time.monotonic() - began
    assert met == KILLS, "the run was over before it was killed often enough: give it more rows"
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    outcome = result_of(ran).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    left = {int(row[0]) for row in keeper.sql("SELECT id FROM orders")}
    assert left == set(range(ROWS + 1, ROWS + YOUNG + 1))
    rows = Rows(bytearray(ROWS + 1), frozenset(load.known))
    rows.read(keeper.archive())
    assert rows.there.count(1) == ROWS
    assert rows.last == load.known
    assert load.changes > 1000
    say(
        rows=ROWS,
        minutes=round(took / 60, 1),
        kills=met,
        changed_meanwhile=load.changes,
        archived_twice=rows.count - ROWS,
        lost=0,
        pgbench_ms_median=statistics.median(latencies),
        pgbench_ms_worst_5s=max(latencies),
    )
