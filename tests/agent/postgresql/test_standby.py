"""Backups from a standby: preferred, honest about the age of its data, and given up when it is promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from agent.postgresql.conftest import Workshop, target_of
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import WorldFault
from databosun.domain.wal import parse_lsn
from databosun.engines.base import RestoreDoc
from databosun.engines.postgresql import ENGINE
from support.archiving import beside
from support.pgsample import NOISE, ROLES, content
from support.pgserver import Server
from support.restoredoc import followed
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary on 127.0.0.1 and its standby on 127.0.0.2, both on one port, as the nodes of one service are."""
    primary = Server(18)
    primary.init("--wal-segsize=4")
    primary.configure()
    primary.start()
    primary.sql(ROLES)
    primary.sql(
        "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) AS i; CREATE UNLOGGED TABLE u (id int)"
    )
    # More than the sockets between server and sink can hold: a backup is not over before its first bytes are taken.
    primary.sql(NOISE.format(rows=4000))
    standby = beside(primary)
    yield primary, standby
    standby.remove()
    primary.remove()


def caught_up(primary: Server, standby: Server) -> None:
    """Wait until the standby has replayed everything, a last write among it."""
    primary.sql("INSERT INTO t VALUES (0, 'newest')")
    position = primary.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
    eventually(
        "the standby has caught up",
        lambda: standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn") == [(True,)],
    )


@pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])
def test_the_standby_is_preferred_and_its_backup_restores(
    pair: tuple[Server, Server], workshop_of: Callable[[Server], Workshop], method: Method
) -> None:
    primary, standby = pair
    caught_up(primary, standby)
    committed = datetime.now(UTC)
    workshop = workshop_of(primary)
    target = target_of(primary, hosts=("127.0.0.1", "127.0.0.2"))
    probe = ENGINE.probe(target, [method], incremental=False)
    assert (probe.host, probe.in_recovery) == (f"127.0.0.2:{primary.port}", True)

    captured, manifest = workshop.back_up("b", method, target=target)
    assert manifest["environment"]["inRecovery"] is True
    assert captured.snapshot_time <= committed, "no younger than what the standby had replayed"
    document = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with (
        followed(document, workshop.folder, primary.bin) as copy,
        copy.connect("postgres") as connection,
        primary.connect() as source,
    ):
        assert content(connection) == content(source)


def test_a_backup_of_the_primary_where_the_standbys_would_begin_before_the_log(
    pair: tuple[Server, Server], workshop_of: Callable[[Server], Workshop]
) -> None:
    primary, standby = pair
    caught_up(primary, standby)
    workshop, target = workshop_of(primary), target_of(primary, hosts=("127.0.0.1", "127.0.0.2"))
    redo = str(standby.sql("SELECT redo_lsn FROM pg_control_checkpoint()")[0][0])
    captured, manifest = workshop.back_up("before", Method.PHYSICAL, target=target, log_begin=redo)
    assert manifest["environment"]["inRecovery"] is True
    assert not [note for note in captured.notes if note.startswith("ReplicaTooOld")]
    primary.sql("INSERT INTO t SELECT i, 'more' FROM generate_series(1, 100) AS i")
    begin = str(primary.sql("SELECT pg_current_wal_lsn()")[0][0])
    captured, manifest = workshop.back_up("behind", Method.PHYSICAL, target=target, log_begin=begin)
    assert manifest["environment"]["inRecovery"] is False
    assert captured.position.start_lsn is not None
    assert parse_lsn(captured.position.start_lsn) >= parse_lsn(begin)
    (note,) = [note for note in captured.notes if note.startswith("ReplicaTooOld")]
    assert f"127.0.0.1:{primary.port} was read" in note
    _, manifest = workshop.back_up(
        "alone", Method.PHYSICAL, target=target_of(primary, hosts=("127.0.0.2",)), log_begin="F/0"
    )
    assert manifest["environment"]["inRecovery"] is True, "better an old backup than none"


def test_a_promotion_in_the_middle_spoils_the_backup(
    pair: tuple[Server, Server], workshop_of: Callable[[Server], Workshop]
) -> None:
    primary, standby = pair
    caught_up(primary, standby)
    promoted: list[str] = []

    def promote(name: str, _count: int) -> None:
        if name == "base.tar.zst" and not promoted:
            promoted.append(name)
            standby.run("pg_ctl", f"--pgdata={standby.data}", "--wait", "promote")

    with pytest.raises(WorldFault) as caught:
        workshop_of(primary).back_up(
            "b", Method.PHYSICAL, target=target_of(primary, hosts=("127.0.0.2",)), trap=promote
        )
    assert promoted
    assert caught.value.reason == "Promoted"


def test_hooks_run_on_the_primary(pair: tuple[Server, Server]) -> None:
    from databosun.api.v1alpha1.backuppolicy import Hook

    primary, _ = pair
    target = target_of(primary, hosts=("127.0.0.2", "127.0.0.1"))
    hook = Hook(name="where", sql="DO $$ BEGIN ASSERT NOT pg_is_in_recovery(); END $$")
    ENGINE.run_hook(target, hook)
