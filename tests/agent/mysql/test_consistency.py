"""What is dumped is one instant of a database that goes on living."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from agent.mysql.conftest import back_up, target_of
from databosun.api.drill import CheckOutcome, Verdict
from databosun.domain.errors import WorldFault
from support.mariaserver import MariaServer
from support.mariayard import MariaYard
from support.recoveryyard import check, drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers

BULK = "CREATE TABLE bulk (id INT PRIMARY KEY, v CHAR(200));\nINSERT INTO bulk SELECT seq, seq FROM seq_1_to_30000"


@contextmanager
def writers(server: MariaServer) -> Iterator[Callable[[], int]]:
    """Move money between accounts and append to a journal until the block ends; the sum never changes."""
    stop = threading.Event()
    done = [0, 0]

    def write(slot: int) -> None:
        connection = server.connect("shop")
        with connection.cursor() as cursor:
            while not stop.is_set():
                amount = done[slot] % 7
                cursor.execute("BEGIN")
                cursor.execute("UPDATE account SET balance = balance - %s WHERE id = %s", (amount, 1 + slot))
                cursor.execute("INSERT INTO journal (amount) VALUES (%s)", (amount,))
                cursor.execute("UPDATE account SET balance = balance + %s WHERE id = %s", (amount, 101 + slot))
                cursor.execute("COMMIT")
                done[slot] += 1
        connection.close()

    threads = [threading.Thread(target=write, args=(slot,), daemon=True) for slot in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(done)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_fingerprints_are_those_of_the_snapshot_while_writers_go_on(
    own_maria: Callable[..., MariaServer], yard_of: Callable[[MariaServer], MariaYard]
) -> None:
    """Counted in the dump's own transaction: a drill compares exactly, and the log goes on from the very position."""
    server = own_maria()
    server.sql(
        "CREATE TABLE account AS SELECT seq AS id, 1000 AS balance FROM seq_1_to_200;\n"
        "CREATE TABLE journal (id INT PRIMARY KEY AUTO_INCREMENT, amount INT);\n" + BULK,
        "shop",
    )
    yard = yard_of(server)
    with writers(server) as written:
        eventually("the writers write", lambda: written() > 10)
        before = written()
        full = yard.back_up("orders-1")
        eventually("the writers went on", lambda: written() > before + 10)
        yard.back_up("orders-2", on=full)
        eventually("the writers went on", lambda: written() > before + 20)
    assert full.result.backup
    rows = {found.name: found.rows for found in full.result.backup.objects}
    now = server.sql("SELECT COUNT(*) FROM journal", "shop")[0][0]
    assert before <= (rows["shop.journal"] or 0) < now
    total = check("money", "Query", database="shop", query="SELECT SUM(balance) FROM account", value="200000")
    found = drilled(yard.drill("orders-1", checks=[total]))
    assert found.verdict is Verdict.PASSED, found
    assert {one.name: one.outcome for one in found.checks}["rows"] is CheckOutcome.PASSED
    pairs = check(
        "no hole",
        "Query",
        database="shop",
        query="SELECT COUNT(*) = MAX(id) AND COUNT(*) > 20 FROM journal",
        value="1",
    )
    found = drilled(yard.drill("orders-2", id="drill-2", checks=[total, pairs]))
    assert found.verdict is Verdict.PASSED, found


def test_a_truncate_on_the_way_is_tried_again_and_never_an_empty_table(
    own_maria: Callable[..., MariaServer], workplace: Path
) -> None:
    server = own_maria()
    server.sql(f"{BULK};\nCREATE TABLE zz (id INT PRIMARY KEY);\nINSERT INTO zz VALUES (1), (2)", "shop")
    seen: list[str] = []

    def truncate(name: str, _count: int) -> None:
        if not seen:
            seen.append(name)
            server.sql("TRUNCATE zz", "shop")

    with pytest.raises(WorldFault, match="1412") as caught:
        back_up(target_of(server), workplace, trap=truncate)
    assert seen == ["dump.sql.zst"]
    assert caught.value.reason == "SchemaChanged"


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE VIEW meanwhile AS SELECT 1 AS one",
        "CREATE TABLE meanwhile (id INT)",
        "DROP TABLE nothing",
        "CREATE USER meanwhile@'%'",
    ],
)
def test_definitions_that_change_meanwhile_spoil_a_strict_backup(
    own_maria: Callable[..., MariaServer], workplace: Path, ddl: str
) -> None:
    server = own_maria()
    server.sql(BULK.replace("bulk", "aa"), "shop")
    seen: list[str] = []

    def change(name: str, _count: int) -> None:
        if not seen:
            seen.append(name)
            server.sql(ddl, "shop")

    with pytest.raises(WorldFault) as caught:
        back_up(target_of(server), workplace, trap=change)
    assert seen
    assert caught.value.reason == "SchemaChanged"


def test_a_partial_backup_says_that_they_changed(own_maria: Callable[..., MariaServer], workplace: Path) -> None:
    server = own_maria()
    server.sql(BULK.replace("bulk", "aa"), "shop")
    seen: list[str] = []

    def change(name: str, _count: int) -> None:
        if not seen:
            seen.append(name)
            server.sql("CREATE OR REPLACE VIEW meanwhile AS SELECT 1 AS one", "shop")

    captured, _ = back_up(target_of(server), workplace, trap=change, consistency="Partial")
    assert captured.schema_hash is None, "nothing is claimed of what moved"
    assert {note.split(":")[0] for note in captured.notes} == {"AccountsLeft", "SchemaChanged"}


def test_a_store_slower_than_the_servers_patience_does_not_end_the_dump(
    own_maria: Callable[..., MariaServer], workplace: Path
) -> None:
    server = own_maria(net_write_timeout="1", net_read_timeout="1")
    server.sql(BULK, "shop")
    began: list[float] = []

    def wait(name: str, _count: int) -> None:
        if name == "dump.sql.zst" and not began:
            began.append(time.monotonic())
            eventually("the server would have lost its patience", lambda: time.monotonic() > began[0] + 3)

    captured, _ = back_up(target_of(server), workplace, trap=wait)
    assert began
    assert {found.name: found.rows for found in captured.objects}["shop.bulk"] == 30000


def test_one_schema_holds_that_schema_alone(maria: MariaServer, workplace: Path) -> None:
    captured, sink = back_up(target_of(maria, database="shop"), workplace)
    names = {str(artefact["name"]) for artefact in sink.artefacts}
    assert names == {"dump.sql.zst", "verify.sql.zst", "verify.expected.zst", "binlog.json"}
    assert {found.name.split(".")[0] for found in captured.objects} == {"shop"}


def test_without_fingerprints_nothing_is_claimed_of_rows(maria: MariaServer, workplace: Path) -> None:
    captured, _ = back_up(target_of(maria), workplace, fingerprints=False)
    assert captured.objects == ()
    assert captured.schema_hash
    assert "FingerprintsOff" in {note.split(":")[0] for note in captured.notes}


def test_a_swap_of_two_values_changes_the_fingerprint(own_maria: Callable[..., MariaServer], workplace: Path) -> None:
    """A sum of checksums would be the same."""
    server = own_maria()
    before, _ = back_up(target_of(server, database="shop"), workplace, "one")
    server.sql("UPDATE customers SET name = CASE id WHEN 1 THEN 'name 2' ELSE 'name 1' END WHERE id IN (1, 2)", "shop")
    after, _ = back_up(target_of(server, database="shop"), workplace, "two")
    changed = [one.name for one, other in zip(before.objects, after.objects, strict=True) if one != other]
    assert changed == ["shop.customers"]


def test_triggers_routines_events_views_and_accounts_are_in_the_dump(maria: MariaServer, workplace: Path) -> None:
    back_up(target_of(maria), workplace)
    read = zstandard.ZstdDecompressor()
    dump = read.stream_reader((workplace / "b" / "dump.sql.zst").open("rb")).read().decode()
    for word in ("trigger touched", "PROCEDURE `pay`", "FUNCTION `doubled`", "EVENT `cleanup`", "VIEW `richer`"):
        assert word.lower() in dump.lower(), word
    users = read.stream_reader((workplace / "b" / "users.sql.zst").open("rb")).read().decode()
    for word in ("CREATE OR REPLACE USER `app`@`10.%`", "CREATE OR REPLACE ROLE `reader`", "GRANT `reader` TO `app`"):
        assert word in users, word
