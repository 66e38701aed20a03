"""Where an incremental cannot be had, a full is taken and said, never a chain that does not restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.postgresql.conftest import Workshop
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.engines.base import Captured
from support.pgsample import ROLES
from support.pgserver import Server

pytestmark = pytest.mark.servers


def demand_full(captured: Captured, note: str) -> None:
    """A full, with the note first among those of the chain."""
    assert (captured.type, captured.parent, captured.base, captured.chain_length) == (BackupType.FULL, None, None, 0)
    assert any(said.startswith(note) and said.endswith("a Full was taken instead") for said in captured.notes), (
        captured.notes
    )


@pytest.mark.parametrize("major", [14, 15])
def test_before_17(workshop_of: Callable[[int], Workshop], major: int) -> None:
    workshop = workshop_of(major)
    full = workshop.back_up("b-1", Method.PHYSICAL)
    captured, _ = workshop.back_up(
        "b-2", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=workshop.as_parent(*full)
    )
    demand_full(captured, f"IncrementalUnsupported: PostgreSQL {major} has no incremental backups")


def test_another_server(workshop_of: Callable[[int], Workshop]) -> None:
    full = workshop_of(17).back_up("b-1", Method.PHYSICAL)
    workshop = workshop_of(18)
    parent = workshop.as_parent(*full)
    captured, _ = workshop.back_up("b-2", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=parent)
    demand_full(captured, "IncrementalUnsupported: b-1 is of system")


def test_a_parent_that_the_server_itself_refuses(workshop_of: Callable[[int], Workshop]) -> None:
    """What our own comparison cannot see is the server's to say: a manifest of another system under our own name."""
    full = workshop_of(17).back_up("b-1", Method.PHYSICAL)
    workshop = workshop_of(18)
    own = workshop.back_up("b-2", Method.PHYSICAL)
    forged = replace(workshop.as_parent(*own), engine_manifest=workshop.as_parent(*full).engine_manifest)
    captured, _ = workshop.back_up("b-3", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=forged)
    demand_full(captured, "IncrementalUnsupported: ")


def test_a_chain_of_eight(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    full = workshop.back_up("b-1", Method.PHYSICAL)
    last = replace(workshop.as_parent(*full), chain_length=8)
    captured, _ = workshop.back_up("b-2", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=last)
    demand_full(captured, "IncrementalUnsupported: b-1 ends a chain of 8")


def test_summaries_gone(own_server: Callable[..., Server], workshop_of: Callable[[Server], Workshop]) -> None:
    server = own_server(17)
    server.sql(ROLES)
    workshop = workshop_of(server)
    full = workshop.back_up("b-1", Method.PHYSICAL)
    server.stop()
    for summary in (server.data / "pg_wal" / "summaries").iterdir():
        summary.unlink()
    server.configure(summarize_wal="off")
    server.start()
    for _ in range(3):
        server.sql("SELECT pg_logical_emit_message(false, 'x', 'y'); SELECT pg_switch_wal()")
        server.sql("CHECKPOINT")
    server.configure(summarize_wal="on")
    server.reload()
    captured, _ = workshop.back_up(
        "b-2", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=workshop.as_parent(*full)
    )
    demand_full(captured, "SummariesMissing: ")


def test_a_new_timeline(own_server: Callable[..., Server], workshop_of: Callable[[Server], Workshop]) -> None:
    server = own_server(17)
    server.sql(ROLES)
    standby = server.standby()
    try:
        full = workshop_of(server).back_up("b-1", Method.PHYSICAL)
        server.stop()
        standby.run("pg_ctl", f"--pgdata={standby.data}", "--wait", "promote")
        workshop = workshop_of(standby)
        captured, _ = workshop.back_up(
            "b-2", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=workshop.as_parent(*full)
        )
        demand_full(captured, "IncrementalUnsupported: the timeline is 2, b-1 is of timeline 1")
        again, _ = workshop.back_up(
            "b-3", Method.PHYSICAL, type=BackupType.INCREMENTAL, parent=workshop.as_parent(captured, workshop.chain[-1])
        )
        assert again.type is BackupType.INCREMENTAL
    finally:
        standby.remove()


def test_a_server_without_zstd_says_who_compressed(workshop_of: Callable[[int], Workshop]) -> None:
    """The packaged 15 is built without zstd, 16 with it."""
    captured, _ = workshop_of(15).back_up("b-15", Method.PHYSICAL)
    assert [note.split(":")[0] for note in captured.notes] == ["ServerZstdAbsent"]
    captured, _ = workshop_of(16).back_up("b-16", Method.PHYSICAL)
    assert captured.notes == ()


def test_without_a_free_slot_the_backup_goes_on_and_says_so(
    own_server: Callable[..., Server], workshop_of: Callable[[Server], Workshop]
) -> None:
    server = own_server(16, max_replication_slots="0")
    server.sql(ROLES)
    captured, _ = workshop_of(server).back_up("b", Method.PHYSICAL)
    assert [note.split(":")[0] for note in captured.notes] == ["NoTemporarySlot"]
