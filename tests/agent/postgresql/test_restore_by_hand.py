"""Every backup restores by the very commands of its RESTORE.md, and holds the same rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from agent.postgresql.conftest import WITH_TABLESPACES, Workshop
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.engines.base import RestoreDoc
from databosun.engines.postgresql import ENGINE
from support.pgsample import ODD_DATABASE, content, contents
from support.restoredoc import followed

pytestmark = pytest.mark.servers


def test_a_physical_full_restores_by_its_document(workshop: Workshop) -> None:
    server = workshop.server
    before = contents(server)
    captured, manifest = workshop.back_up("orders-1", Method.PHYSICAL)

    assert (captured.type, captured.method, captured.chain_length) == (BackupType.FULL, Method.PHYSICAL, 0)
    assert captured.engine_version == server.sql("SHOW server_version")[0][0].split(" ")[0]
    names = {artefact["name"] for artefact in manifest["artefacts"]}
    assert {"base.tar.zst", "backup_manifest"} <= names
    assert any(re.fullmatch(r"[0-9]+\.tar\.zst", name) for name in names) == (server.major in WITH_TABLESPACES)
    assert captured.logical_bytes
    assert captured.logical_bytes > sum(artefact["storedBytes"] for artefact in manifest["artefacts"])

    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with followed(document, workshop.folder, server.bin) as copy:
        restored = {}
        for dbname in ("shop", ODD_DATABASE):
            with copy.connect(dbname) as connection:
                restored[dbname] = content(connection)
        assert restored == before
        with copy.connect("shop") as connection:
            row = connection.execute("SELECT count(*) FROM session").fetchone()
            assert row == (0,), "unlogged tables come back empty, as the document says"
            timeline = connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone()
            assert timeline
            assert timeline[0] > (captured.position.timeline or 0)
            places = connection.execute(
                "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 10000"
            ).fetchall()
            assert all(str(place).startswith(str(workshop.folder / "tablespaces")) for (place,) in places)
            assert len(places) == (server.major in WITH_TABLESPACES)


def test_a_logical_backup_restores_by_its_document_with_equal_fingerprints(workshop: Workshop) -> None:
    server = workshop.server
    before = contents(server)
    captured, manifest = workshop.back_up("orders-1", Method.LOGICAL)

    rows = {found.name: found.rows for found in captured.objects}
    assert rows["shop.public.customers"] == 2000
    assert rows["shop.public.events_1"] == 743
    assert rows["shop (large objects)"] == 2
    assert "SnapshotPerDatabase" in {note.split(":")[0] for note in captured.notes}
    assert captured.schema_hash

    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with followed(document, workshop.folder, server.bin) as copy:
        assert "all tables equal" in copy.output
        restored = {}
        for dbname in ("shop", ODD_DATABASE):
            with copy.connect(dbname) as connection:
                restored[dbname] = content(connection)
        assert restored == before
        with copy.connect("shop") as connection:
            passwords = connection.execute("SELECT rolname FROM pg_authid WHERE rolpassword IS NOT NULL").fetchall()
            assert passwords == [], "no password hash may be in a backup"
            assert connection.execute("SELECT has_table_privilege('app', 'customers', 'SELECT')").fetchone() == (True,)


def test_without_fingerprints_nothing_is_claimed_of_rows(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    before = contents(workshop.server)
    captured, manifest = workshop.back_up("orders-1", Method.LOGICAL, fingerprints=False)
    assert captured.objects == ()
    assert captured.schema_hash
    assert "FingerprintsOff" in {note.split(":")[0] for note in captured.notes}
    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with followed(document, workshop.folder, workshop.server.bin) as copy:
        assert "all tables equal" not in copy.output
        with copy.connect("shop") as connection:
            assert content(connection) == before["shop"]


def test_a_difference_is_found_by_the_documents_own_check(workshop_of: Callable[[int], Workshop]) -> None:
    """The check would be worthless if it passed on other data."""
    workshop = workshop_of(18)
    _, manifest = workshop.back_up("orders-1", Method.LOGICAL)
    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    spoiled = document.replace(
        "### Verify\n",
        "### Verify\n\n```bash\npsql -q -c 'UPDATE customers SET name = name || 1 WHERE id = 7' shop\n```\n",
    )
    assert spoiled != document
    with (
        pytest.raises(AssertionError, match=r"public\.customers\t2000"),
        followed(spoiled, workshop.folder, workshop.server.bin),
    ):
        pass


def test_an_incremental_chain_combines_and_restores(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    server = workshop.server
    server.sql("CREATE TABLE ledger AS SELECT i FROM generate_series(1, 1000) AS i", "shop")
    try:
        full = workshop.back_up("orders-1", Method.PHYSICAL)
        chain = [full]
        for number in (2, 3):
            server.sql(f"INSERT INTO ledger SELECT {number} * 100000 + i FROM generate_series(1, 50) AS i", "shop")
            server.sql(f"UPDATE on_fast SET v = 'round {number}' WHERE i < 20", "shop")
            chain.append(
                workshop.back_up(
                    f"orders-{number}",
                    Method.PHYSICAL,
                    type=BackupType.INCREMENTAL,
                    parent=workshop.as_parent(*chain[-1]),
                )
            )
        server.sql("DELETE FROM ledger WHERE i = 1", "shop")
        before = contents(server)
        differential = workshop.back_up(
            "orders-4", Method.PHYSICAL, type=BackupType.DIFFERENTIAL, parent=workshop.as_parent(*full)
        )

        assert [(c.type, c.parent, c.base, c.chain_length) for c, _ in [*chain, differential]] == [
            (BackupType.FULL, None, None, 0),
            (BackupType.INCREMENTAL, "orders-1", "orders-1", 1),
            (BackupType.INCREMENTAL, "orders-2", "orders-1", 2),
            (BackupType.DIFFERENTIAL, "orders-1", "orders-1", 1),
        ]
        stored = [sum(a["storedBytes"] for a in m["artefacts"] if a["name"].endswith(".zst")) for _, m in chain]
        assert stored[1] < stored[0] / 2

        manifests = [m for _, m in (full, differential)]
        document = ENGINE.restore_instructions(RestoreDoc(manifests[-1], tuple(manifests)))
        with followed(document, workshop.folder, server.bin) as copy, copy.connect("shop") as connection:
            assert content(connection) == before["shop"]

        manifests = [m for _, m in chain]
        document = ENGINE.restore_instructions(RestoreDoc(manifests[-1], tuple(manifests)))
        (workshop.folder / "restored").rename(workshop.folder / "first")
        (workshop.folder / "tablespaces").rename(workshop.folder / "tablespaces.first")
        (workshop.folder / "chain").rename(workshop.folder / "chain.first")
        with followed(document, workshop.folder, server.bin) as copy, copy.connect("shop") as connection:
            row = connection.execute("SELECT count(*), min(i) FROM ledger").fetchone()
            assert row == (1100, 1)
            assert connection.execute("SELECT count(*) FROM on_fast WHERE v = 'round 3'").fetchone() == (19,)
    finally:
        server.sql("DROP TABLE ledger", "shop")


def test_the_environment_says_what_a_copy_needs(workshop: Workshop) -> None:
    captured, manifest = workshop.back_up("orders-1", Method.LOGICAL)
    environment = manifest["environment"]
    assert environment["arch"] == "x86_64" or environment["arch"] == "aarch64"
    assert environment["bootstrapSuperuser"] == "postgres"
    assert environment["settings"]["max_connections"] == "60"
    assert environment["settings"]["wal_segment_size"] == str(4 * 1024 * 1024)
    assert environment["preload"] == []
    shop = next(database for database in environment["databases"] if database["name"] == "shop")
    assert shop["encoding"] == "UTF8"
    assert shop["extensions"] == [{"name": "plpgsql", "version": "1.0"}]
    assert len(environment["tablespaces"]) == (workshop.server.major in WITH_TABLESPACES)
    assert "secret" not in json.dumps(manifest)
    assert (
        captured.system_identifier
        == workshop.server.sql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    )
