"""What is dumped is one instant of a database that goes on living."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from agent.postgresql.conftest import Workshop, target_of
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.engines.base import RestoreDoc
from databosun.engines.postgresql import ENGINE
from support.pgsample import ROLES
from support.pgserver import Server
from support.restoredoc import followed
from support.waiting import eventually

pytestmark = pytest.mark.servers


@contextmanager
def writers(server: Server) -> Iterator[Callable[[], int]]:
    """Move money between accounts and append to a journal until the block ends; the sum never changes."""
    stop = threading.Event()
    done = [0, 0]

    def write(slot: int) -> None:
        with server.connect("shop") as connection:
            while not stop.is_set():
                amount = done[slot] % 7
                with connection.transaction():
                    connection.execute("UPDATE account SET balance = balance - %s WHERE id = %s", (amount, 1 + slot))
                    connection.execute("INSERT INTO journal (amount) VALUES (%s)", (amount,))
                    connection.execute("UPDATE account SET balance = balance + %s WHERE id = %s", (amount, 101 + slot))
                done[slot] += 1

    threads = [threading.Thread(target=write, args=(slot,), daemon=True) for slot in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(done)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("major", [15, 18])
def test_fingerprints_are_those_of_the_snapshot_while_writers_go_on(
    own_server: Callable[..., Server], workshop_of: Callable[[Server], Workshop], major: int
) -> None:
    server = own_server(major)
    server.sql(ROLES)
    server.sql("CREATE DATABASE shop")
    server.sql(
        "CREATE TABLE account AS SELECT i AS id, 1000 AS balance FROM generate_series(1, 200) AS i;"
        "CREATE TABLE journal (id bigserial, amount int);"
        "CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 9) FROM generate_series(1, 30000) AS i",
        "shop",
    )
    workshop = workshop_of(server)
    with writers(server) as written:
        eventually("the writers write", lambda: written() > 10)
        before = written()
        captured, manifest = workshop.back_up("b", Method.LOGICAL, target=target_of(server, database="shop"))
        eventually("the writers went on", lambda: written() > before)
    rows = {found.name: found.rows for found in captured.objects}
    now = server.sql("SELECT count(*) FROM journal", "shop")[0][0]
    assert before <= (rows["shop.public.journal"] or 0) < now

    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with followed(document, workshop.folder, server.bin) as copy, copy.connect("shop") as connection:
        assert "all tables equal" in copy.output
        assert connection.execute("SELECT sum(balance) FROM account").fetchone() == (200_000,)
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (rows["shop.public.journal"],)


def test_a_truncate_waits_and_the_rows_are_in_the_backup(
    own_server: Callable[..., Server], workshop_of: Callable[[Server], Workshop]
) -> None:
    """TRUNCATE ignores snapshots; without our locks the dump would hold an empty table and nobody would know."""
    server = own_server(17)
    server.sql(ROLES)
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE t AS SELECT generate_series(1, 500) AS i", "shop")
    result: list[str] = []

    def truncate() -> None:
        with server.connect("shop") as connection:
            try:
                connection.execute("SET statement_timeout = '10min'; TRUNCATE t")
                result.append("truncated")
            except psycopg.Error as error:
                result.append(str(error))

    thread = threading.Thread(target=truncate, daemon=True)
    seen: list[str] = []

    def begin(name: str, _count: int) -> None:
        if name == "db-shop.tar" and not seen:
            seen.append(name)
            thread.start()
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%TRUNCATE t%'"
            eventually("the TRUNCATE waits for the backup", lambda: server.sql(query) == [(1,)] or bool(result))

    workshop = workshop_of(server)
    captured, _ = workshop.back_up("b", Method.LOGICAL, target=target_of(server, database="shop"), trap=begin)
    thread.join(timeout=600)
    assert seen
    assert result == ["truncated"], "it goes on once the backup is done"
    assert {found.name: found.rows for found in captured.objects} == {"shop.public.t": 500}


def test_scratch_holds_only_what_is_being_written(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    _, manifest = workshop.back_up("b", Method.LOGICAL, target=target_of(workshop.server, database="shop"))
    with tarfile.open(workshop.folder / "b" / "db-shop.tar") as archive:
        names = archive.getnames()
    assert names[-3:] == ["db-shop/toc.dat", "db-shop/verify.sql", "db-shop/verify.expected"]
    assert len(names) == len(set(names)) > 8
    assert list((workshop.folder / "scratch").iterdir()) == []
    assert manifest["artefacts"][1]["storedBytes"] == (workshop.folder / "b" / "db-shop.tar").stat().st_size


def test_an_enum_whose_object_id_changes_has_the_same_fingerprint(workshop_of: Callable[[int], Workshop]) -> None:
    """Row hashes of enums hash object ids; such a table must be hashed by its text."""
    captured, _ = workshop_of(18).back_up(
        "b", Method.LOGICAL, target=target_of(workshop_of(18).server, database="shop")
    )
    kinds = {found.name: (found.fingerprint or "")[:2] for found in captured.objects}
    assert kinds['shop."Odd schema"."Od\'d ""table"'] == "t:"
    assert kinds["shop.public.customers"] == "v:"
