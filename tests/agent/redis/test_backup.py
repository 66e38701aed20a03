"""A backup holds exactly what the server held at one instant, and comes back so."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agent.redis.conftest import Workshop, plan_of, target_of
from databosun.api.drill import CheckOutcome, Level
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import WorldFault
from databosun.engines.redis import ENGINE, full
from support.foldersink import FolderSink
from support.redisserver import Server, content
from support.slowlink import slow_link
from support.waiting import eventually

pytestmark = pytest.mark.servers


def test_a_backup_is_loaded_and_holds_the_same(server: Server, workshop: Workshop) -> None:
    with server.connect() as wire:
        before = content(wire)
    captured, manifest = workshop.back_up(server)

    assert (captured.type, captured.method, captured.system_identifier) == (BackupType.FULL, Method.PHYSICAL, "0")
    counts = {found.name: found.rows for found in captured.objects}
    assert {name: keys for name, (keys, _) in before.items()} == {"db0": counts["db0"], "db5": counts["db5"]}
    assert (counts["db0 (with TTL)"], counts["db5 (with TTL)"]) == (2, 1)
    assert captured.environment["rdb"]["checksummed"]
    replid, _, offset = (captured.position.offset or "").partition(":")
    assert replid == server.info("replication")["master_replid"]
    assert int(offset) <= int(server.info("replication")["master_repl_offset"])
    assert abs(datetime.now(UTC) - captured.snapshot_time) < timedelta(seconds=60)
    assert "FromMaster" in {note.split(":")[0] for note in captured.notes}

    with ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()) as copy:
        results = [copy.check(check) for check in copy.builtin(Level.DEEP)]
        assert {one.outcome for one in results} == {CheckOutcome.PASSED}, results
        assert {one.name for one in results} == {"server-ready", "keys", "structure", "names"}
        with copy.server.connect() as wire:  # type: ignore[attr-defined]
            assert content(wire) == before
    assert ENGINE.inspect((manifest,), workshop.source(), lambda: None).startswith(
        f"{sum(k for k, _ in before.values())}"
    )


def test_the_source_is_left_as_it_was(server: Server, workshop: Workshop) -> None:
    """No file is written there, nobody counts the copier as a replica, and nothing is kept for it."""
    files = sorted(path.name for path in server.folder.iterdir())
    seen: list[tuple[str, object]] = []

    def look(_name: str, _bytes: int) -> None:
        seen.append((server.info("replication")["connected_slaves"], server.call("WAIT", 1, 10)))

    workshop.back_up(server, trap=look)
    assert seen
    assert {waited for _, waited in seen} == {0}
    assert sorted(path.name for path in server.folder.iterdir()) == files
    eventually("the copier is gone", lambda: server.info("replication")["connected_slaves"] == "0")


def test_what_a_replica_lacks_is_asked_of_its_master(
    own_server: Callable[..., Server], workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hears its master all the time, and what it hears is seconds old."""
    master, replica = own_server(), own_server()
    with slow_link(master.port) as link:
        replica.follow(master, port=link.port)
        link.seconds = 600.0
        master.call("SET", "late", 1)
        written = datetime.now(UTC)
        assert replica.call("EXISTS", "late") == 0
        link.seconds = 2.0
        captured, manifest = workshop.back_up(replica)
        assert captured.snapshot_time >= written
        assert manifest["environment"]["source"]["role"] == "replica"
        assert manifest["environment"]["databases"] == {"0": {"keys": 1, "expires": 0}}

        monkeypatch.setattr(full, "CATCH_UP_SECONDS", 0.5)
        link.seconds = 600.0
        master.call("SET", "later", 1)
        with pytest.raises(WorldFault, match=r"lacks \d+ of the bytes that its master .* had streamed") as error:
            workshop.back_up(replica, "cache-2")
        assert error.value.reason == "ReplicaStale"


def test_keys_that_expire_between_backup_and_restore_are_counted(
    own_server: Callable[..., Server], workshop: Workshop
) -> None:
    """A master drops them as it loads: a drill that loaded so would call each backup of a cache damaged."""
    server = own_server(settings=["enable-debug-command yes"])
    server.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)  # however long the backup is in coming, it has them all
    server.calls(
        [("SET", f"lasting:{n}", n) for n in range(100)] + [("SET", f"short:{n}", n, "PX", 1500) for n in range(50)]
    )
    _, manifest = workshop.back_up(server)
    assert manifest["environment"]["databases"]["0"] == {"keys": 150, "expires": 50}
    server.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    eventually("they have expired", lambda: server.call("DBSIZE") == 100)
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        results = {one.name: one for one in (copy.check(check) for check in copy.builtin(Level.DEEP))}
        assert {one.outcome for one in results.values()} == {CheckOutcome.PASSED}, results
        assert results["keys"].observed == "150 keys in 1 databases"


def test_a_backup_under_load_is_one_instant(own_server: Callable[..., Server], workshop: Workshop) -> None:
    """Two counters that are always moved together are equal in the copy, and the stream is longer than one buffer."""
    server = own_server()
    server.calls([("SET", f"pad:{n}", random.Random(n).randbytes(500)) for n in range(20_000)])
    moved = [0]

    def move(_name: str, _bytes: int) -> None:
        moved[0] += 1
        server.calls([("MULTI",), ("INCR", "left"), ("INCR", "right"), ("SET", f"new:{moved[0]}", "x"), ("EXEC",)])

    server.calls([("SET", "left", 0), ("SET", "right", 0)])
    captured, manifest = workshop.back_up(server, trap=move)
    assert moved[0] > 5
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy, copy.server.connect() as wire:  # type: ignore[attr-defined]
        assert wire.call("GET", "left") == wire.call("GET", "right") == b"0"
        assert wire.call("DBSIZE") == captured.objects[0].rows == 20_002


@pytest.mark.parametrize("when", [1, 1_000_000])
def test_a_transfer_that_breaks_off_is_no_backup(
    own_server: Callable[..., Server], workshop: Workshop, when: int
) -> None:
    server = own_server()
    server.calls([("SET", f"pad:{n}", random.Random(n).randbytes(500)) for n in range(20_000)])

    def kill(_name: str, seen: int) -> None:
        if seen >= when:
            server.stop()

    sink = FolderSink(workshop.folder / "cache-1", kill)
    with pytest.raises(WorldFault, match="ConnectionLost"):
        ENGINE.backup(target_of(server), plan_of(workshop.folder), sink)
    assert sink.artefacts == []


def test_an_incremental_becomes_a_full_and_says_so(servers: Callable[[str], Server], workshop: Workshop) -> None:
    captured, _ = workshop.back_up(servers("redis"), type=BackupType.INCREMENTAL, fingerprints=False)
    assert captured.type is BackupType.FULL
    assert {"IncrementalUnsupported", "FingerprintsOff"} <= {note.split(":")[0] for note in captured.notes}
    assert all(found.fingerprint is None for found in captured.objects)


def test_an_empty_server_has_a_backup_too(own_server: Callable[..., Server], workshop: Workshop) -> None:
    _, manifest = workshop.back_up(own_server())
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        assert {copy.check(check).outcome for check in copy.builtin(Level.RESTORE)} == {CheckOutcome.PASSED}


def test_a_source_that_writes_a_file_first_is_copied_too(own_server: Callable[..., Server], workshop: Workshop) -> None:
    """`repl-diskless-sync no`: the stream then comes with its length instead of a mark."""
    server = own_server(settings=["repl-diskless-sync no", "rdbchecksum no", "rdbcompression no"])
    server.calls([("SET", f"pad:{n}", "p" * 500) for n in range(3000)])
    captured, manifest = workshop.back_up(server)
    assert "NoChecksum" in {note.split(":")[0] for note in captured.notes}
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        assert {copy.check(check).outcome for check in copy.builtin(Level.DEEP)} == {CheckOutcome.PASSED}
