"""How fast rules work beside batches written by hand, in one paired run.

    BENCH_ROWS=10000000 BENCH_ROUNDS=3 pytest -s -m bench tests/bench/bench_lifecycle.py

Every contender gets a table of its own, made anew. The best fixed batch is looked for by hand among several sizes.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from databosun.agent.main import collect_seldom
from databosun.api.lifecycle import ActionType, MaskMethod, MaskOrder, RuleOrder
from support.lifecycling import DATABASE, Keeper, make_keeper, prepare, result_of, rule
from support.pgserver import Server

pytestmark = pytest.mark.bench

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MAJOR = int(os.environ.get("BENCH_MAJOR", "18"))
RATE = int(os.environ.get("BENCH_RATE", "200"))
SIZES = (1000, 5000, 20_000, 50_000)
BATCH = {"rows": 5000, "target_milliseconds": 1000, "pause_milliseconds": 0}
OLD = "created_at < '2025-12-01 12:00Z'"


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """A server as production has it: what is committed is on disk."""
    collect_seldom()  # as an agent of its own does
    server = Server(MAJOR, settings={"fsync": "on", "shared_buffers": "'512MB'", "max_wal_size": "'8GB'"})
    server.init()
    server.configure()
    server.start()
    try:
        prepare(server, ROWS)
        server.sql("CREATE TABLE kept AS SELECT * FROM orders", DATABASE)
        yield make_keeper(server, Path(tmp_path_factory.mktemp("pod")))
    finally:
        server.remove()


def afresh(keeper: Keeper) -> None:
    """The table as it was before anybody worked on it."""
    keeper.sql("TRUNCATE orders; ALTER TABLE orders DROP COLUMN IF EXISTS masked_at")
    columns = "id, created_at, status, customer, amount, weight, blob, doc"
    keeper.sql(f"INSERT INTO orders ({columns}) SELECT {columns} FROM kept")
    keeper.sql("VACUUM ANALYZE orders")


def compare(keeper: Keeper, contenders: Mapping[str, Callable[[], float]]) -> None:
    """Let each have its turn in every round, and print the median of its rows a second."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(ROUNDS):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            afresh(keeper)
            found[name].append(contenders[name]())
    print(f"\nrows a second, of {ROWS} rows in the table, median of {ROUNDS}")
    for name, rates in found.items():
        print(f"{statistics.median(rates):12.0f}  {name}  ({min(rates):.0f} to {max(rates):.0f})")


def by_hand(keeper: Keeper, size: int) -> float:
    """Rows a second of the batches that people write: the next ones by key, deleted where they lie."""
    statement = (
        f"DELETE FROM orders WHERE ctid = ANY (ARRAY(SELECT ctid FROM orders WHERE id > %s AND {OLD} "
        "ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)) RETURNING id"
    )
    last, count, began = 0, 0, time.monotonic()
    with keeper.server.connect(DATABASE) as connection:
        while found := connection.execute(statement, (last, size)).fetchall():
            last, count = max(int(row[0]) for row in found), count + len(found)
    return count / (time.monotonic() - began)


def enforced(keeper: Keeper, asked: RuleOrder, batch: dict[str, int] = BATCH) -> float:
    """Rows a second of an approved run, its own look at the table, its audit and its record in the store included."""
    approved = keeper.look(asked).plan_hash
    began = time.monotonic()
    done = result_of(keeper.enforce(asked, approved=approved, batch=batch)).outcomes[0]
    assert (done.failure, done.remaining) == (None, 0)
    return (done.deleted + done.anonymized) / (time.monotonic() - began)


def by_rule(keeper: Keeper, action: ActionType, batch: dict[str, int] = BATCH) -> float:
    """Rows a second of a rule that deletes."""
    asked = rule(action=action, where=None, limits={"max_rows_per_run": 1 << 40})
    return enforced(keeper, asked, batch)


@contextmanager
def pgbench(keeper: Keeper, found: list[float]) -> Iterator[None]:
    """Its own transactions on its own tables, at a steady rate; milliseconds from when each was due to its end."""
    folder = keeper.server.folder
    for old in folder.glob("load.*"):
        old.unlink()
    argv: list[str | Path] = [
        keeper.server.bin / "pgbench",
        "-n",
        "-c",
        "4",
        "-R",
        str(RATE),
        "-T",
        "7200",
        "-l",
        "--log-prefix=load",
    ]
    argv += ["-h", folder, "-p", str(keeper.server.port), "-U", "postgres", DATABASE]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder) as load:
        try:
            yield
        finally:
            assert load.poll() is None, "pgbench ended before the work did"
            load.terminate()
            load.communicate()
    for log in folder.glob("load.*"):
        found += [int(line.split()[2]) / 1000 for line in log.read_text().splitlines() if line.count(" ") >= 6]


def test_what_others_wait_for_while_rows_are_deleted(keeper: Keeper) -> None:
    """The rate of rows, and the latency of the load: with nothing beside it, beside batches by hand, beside a rule."""
    keeper.server.run("pgbench", "--initialize", "--scale=20", "--quiet", DATABASE, timeout=600)
    works: dict[str, Callable[[], float]] = {"nothing": idle}
    works |= {f"by hand, {size} a batch": partial(by_hand, keeper, size) for size in SIZES}
    works["rule, Delete, as it comes"] = partial(by_rule, keeper, ActionType.DELETE, {})
    works["rule, Delete, batches of a second"] = partial(by_rule, keeper, ActionType.DELETE)
    rates: dict[str, list[float]] = {name: [] for name in works}
    waits: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            afresh(keeper)
            took: list[float] = []
            with pgbench(keeper, took):
                rates[name].append(work())
            waits[name].append(statistics.quantiles(took, n=100)[98])
    print(
        f"\n{RATE} transactions a second beside {ROWS} rows, medians of {ROUNDS}: rows a second; p99 of the load in ms"
    )
    for name in works:
        print(f"{statistics.median(rates[name]):12.0f} {statistics.median(waits[name]):8.1f}  {name}  {waits[name]}")


def idle() -> float:
    """The load alone, for as long as the work beside it takes elsewhere."""
    time.sleep(20)
    return 0.0


def test_how_much_an_archive_writes_for_each_core(keeper: Keeper) -> None:
    """Both forms of the rows, before they are packed: by the clock, and by the agent's own time of a core. What the
    server takes besides is not in the latter."""
    clock, core = [], []
    for _ in range(ROUNDS):
        afresh(keeper)
        asked = rule(action=ActionType.ARCHIVE, where=None, limits={"max_rows_per_run": 1 << 40})
        approved = keeper.look(asked).plan_hash
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        done = result_of(keeper.enforce(asked, approved=approved, batch=BATCH)).outcomes[0]
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        assert (done.failure, done.remaining) == (None, 0)
        size = sum(
            artefact["bytes"] for link in keeper.archive().links() for artefact in link.get("artefacts", [])
        ) / 1e6  # fmt: skip
        clock.append(size / took)
        core.append(size / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    print(f"\n{size:.0f} MB archived: {statistics.median(clock):.1f} MB/s, {statistics.median(core):.1f} a core")


def test_deleting_and_archiving_beside_batches_by_hand(keeper: Keeper) -> None:
    contenders: dict[str, Callable[[], float]] = {
        f"by hand, {size} a batch": partial(by_hand, keeper, size) for size in SIZES
    }
    contenders["rule, Delete"] = partial(by_rule, keeper, ActionType.DELETE)
    contenders["rule, Archive"] = partial(by_rule, keeper, ActionType.ARCHIVE)
    compare(keeper, contenders)


def test_anonymising_beside_an_update_by_hand(keeper: Keeper) -> None:
    def hand() -> float:
        keeper.sql("ALTER TABLE orders ADD COLUMN masked_at timestamptz")
        statement = (
            f"WITH done AS (UPDATE orders SET status = md5(status), masked_at = now() WHERE ctid = ANY (ARRAY(SELECT "
            f"ctid FROM orders WHERE id > %s AND {OLD} ORDER BY id LIMIT %s FOR UPDATE)) RETURNING id) "
            "SELECT count(*), max(id) FROM done"
        )
        last, count, began = 0, 0, time.monotonic()
        with keeper.server.connect(DATABASE) as connection:
            while (row := connection.execute(statement, (last, 5000)).fetchone()) and row[0]:
                count, last = count + int(row[0]), int(row[1])
        return count / (time.monotonic() - began)

    def ours() -> float:
        keeper.sql("ALTER TABLE orders ADD COLUMN masked_at timestamptz")
        masks = [MaskOrder(column="status", method=MaskMethod.HASH)]
        asked = rule(
            action=ActionType.ANONYMIZE,
            where=None,
            masks=masks,
            mark_column="masked_at",
            limits={"max_rows_per_run": 1 << 40},
        )
        return enforced(keeper, asked)

    compare(keeper, {"by hand": hand, "rule, Anonymize": ours})
