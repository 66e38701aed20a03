"""A restore leaves a data directory that any server of that version starts from, or the volume as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from databosun.api.restoretasks import RestoreTask
from databosun.api.result import Outcome, RestoreResult
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.sealing import canonical, digest_of
from support.agekeys import make_age_key
from support.agentrun import Ran, backup_task, child_of
from support.pgsample import ODD_DATABASE, content, contents
from support.pgserver import Server, hand_over
from support.recoverypod import RecoveryPod
from support.recoveryyard import Yard, check, flip

pytestmark = pytest.mark.servers


def order(yard: Yard, *ids: str, **more: Any) -> RestoreTask:
    """The order for a restore."""
    return RestoreTask(**{"id": "restore-1", "candidates": [yard.refs[one] for one in ids], **more})


def restored(ran: Ran) -> RestoreResult:
    """What was restored."""
    assert ran.result.restore is not None, ran.output[-6000:]
    return ran.result.restore


@contextmanager
def started(yard: Yard, pod: RecoveryPod) -> Iterator[Server]:
    """A server on the restored directory, configured by somebody else, mounted elsewhere."""
    server = Server(yard.server.major)
    elsewhere = server.folder / "mounted-elsewhere"
    pod.restored.rename(elsewhere)
    server.data = elsewhere / "data"
    server.configure()
    hand_over(elsewhere)
    server.start()
    try:
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
@pytest.mark.parametrize("major", [15, 18])
def test_a_full_starts_elsewhere_with_the_same_rows(
    yard_of: Callable[..., Yard], workplace: Path, major: int, method: Method
) -> None:
    yard = yard_of(major, key=make_age_key(workplace))
    expected = contents(yard.server)
    yard.back_up(backup_task("orders-1", method=method))
    spaces = _tablespace_files(yard.server)
    pod = yard.pod()
    found = restored(pod.run(order(yard, "orders-1")))
    assert (found.backup, found.data_directory) == ("orders-1", "data")
    assert sorted(path.name for path in pod.restored.iterdir()) == ["data", "tablespaces"]
    assert any("CloudNativePG" in step for step in found.hand_over)
    record = json.loads(next(yard.place.paths.volume.rglob("restores/restore-1/result.json")).read_bytes())
    assert record["result"]["backup"] == "orders-1"
    steps = [one["step"] for one in record["result"]["timeline"]]
    assert set(steps) == {"assess", "select", "restore", "verify", "resume"} | ({"replay"} & set(steps))
    assert [one["began"] for one in record["result"]["timeline"]] == sorted(
        one["began"] for one in record["result"]["timeline"]
    )
    assert _tablespace_files(yard.server) == spaces
    with started(yard, pod) as server:
        assert contents(server) == expected
        located = server.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'")[0][0]
        assert (
            located
            != yard.server.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'")[0][0]
        )


def _tablespace_files(server: Server) -> dict[str, int]:
    """The live server's own tablespace, file by file: nobody may write there."""
    place = server.folder / "space.fast"
    return {str(path): path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("major", [17, 18])
def test_a_chain_is_combined(yard_of: Callable[..., Yard], workplace: Path, major: int) -> None:
    yard = yard_of(major, key=make_age_key(workplace))
    first = yard.back_up(backup_task("orders-1"))
    yard.server.sql("CREATE TABLE later AS SELECT generate_series(1, 77) AS i", "shop")
    try:
        second = yard.back_up(child_of(first, "orders-2"))
        assert second.result.backup
        assert second.result.backup.type is BackupType.INCREMENTAL
        yard.server.sql("INSERT INTO later SELECT generate_series(78, 99)", "shop")
        expected = contents(yard.server)
        yard.back_up(child_of(second, "orders-3"))
        pod = yard.pod()
        restored(pod.run(order(yard, "orders-3")))
        with started(yard, pod) as server:
            for dbname in ("shop", ODD_DATABASE):
                with server.connect(dbname) as connection:
                    assert content(connection) == expected[dbname]
    finally:
        yard.server.sql("DROP TABLE later", "shop")


def test_the_newest_backup_that_verifies_is_chosen_and_the_others_are_named(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    for name in ("orders-1", "orders-2", "orders-3"):
        yard.back_up(backup_task(name))
    flip(yard.stored("orders-3", "base.tar.zst.0000"))
    yard.stored("orders-2", "manifest.json").unlink()
    found = restored(yard.pod().run(order(yard, "orders-3", "orders-2", "orders-1")))
    assert found.backup == "orders-1"
    assert "orders-3: ArtefactCorrupt" in found.chosen
    assert "orders-2: BackupMissing" in found.chosen


def test_on_failure_the_volume_is_as_it_was(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    flip(yard.stored("orders-1", "base.tar.zst.0000"))
    pod = yard.pod()
    ran = pod.run(order(yard, "orders-1"))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ArtefactCorrupt")
    assert list(pod.restored.iterdir()) == []


def test_a_check_of_ones_own_that_fails_ends_the_restore(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    for name in ("orders-1", "orders-2"):
        yard.back_up(backup_task(name))
    pod = yard.pod()
    wanted = check("sum", "Query", query="SELECT count(*) FROM customers", value="1", database="shop")
    ran = pod.run(order(yard, "orders-2", "orders-1", checks=[wanted]))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "CheckFailed")
    assert list(pod.restored.iterdir()) == []


def test_a_volume_that_is_too_small_is_refused_before_anything_is_done(
    yard_of: Callable[..., Yard],
) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    manifest = yard.stored("orders-1", "manifest.json")
    document = json.loads(manifest.read_bytes())
    document["logicalBytes"] = 1 << 50
    data = canonical(document)
    manifest.write_bytes(data)
    yard.refs["orders-1"] = yard.refs["orders-1"].model_copy(update={"manifest_sha256": digest_of(data)})
    pod = yard.pod()
    ran = pod.run(order(yard, "orders-1"))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "ScratchTooSmall")
    assert "larger volume" in ran.summary.message
    assert list(pod.restored.iterdir()) == []


def test_a_volume_that_is_not_empty_is_refused(yard_of: Callable[..., Yard]) -> None:
    yard = yard_of(18)
    yard.back_up(backup_task("orders-1"))
    pod = yard.pod()
    (pod.restored / "data").mkdir()
    (pod.restored / "data" / "precious").write_text("keep me")
    ran = pod.run(order(yard, "orders-1"))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "TargetNotEmpty")
    assert (pod.restored / "data" / "precious").read_text() == "keep me"
    again = yard.pod()
    again.restored = pod.restored
    replaced = restored(pod.run(order(yard, "orders-1", replace=True)))
    assert (pod.restored / "data.before-restore-1" / "precious").read_text() == "keep me"
    assert any("data.before-restore-1" in note for note in replaced.notes)
    assert (pod.restored / "data" / "PG_VERSION").exists()
