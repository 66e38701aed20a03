"""A backup of a Cluster holds every slot once, is proven shard by shard, and a cluster is made of it again."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import zstandard

from agent.redis.conftest import Workshop, plan_of
from databosun.api.drill import Check, CheckOutcome, CheckResult, Level, PointKind, RecoveryPoint, Verdict
from databosun.api.restoretasks import BackupRef, DrillTask
from databosun.api.result import Outcome
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.engines.base import Captured, Credentials, RestoreDoc, Target
from databosun.engines.recovery import Copy
from databosun.engines.redis import ENGINE
from databosun.engines.redis.cluster import SLOTS, Ranges, key_slot, parse_ranges
from databosun.engines.redis.preflight_archiving import examine_archiving
from databosun.engines.redis.recovery.private import PrivateServer
from databosun.engines.redis.resp import Wire
from databosun.engines.redis.shards import full
from databosun.engines.redis.sync import Synced
from databosun.engines.redis.topology import choose_source
from support.agekeys import make_age_key
from support.agentrun import UID, Workplace, backup_task
from support.clusteryard import ClusterYard
from support.fakeengine import FakeEngine
from support.foldersink import FolderSink
from support.pgserver import free_port
from support.redisdoc import followed, tools_of
from support.redisserver import ADMIN, PASSWORD, USER, Server, content
from support.waiting import eventually

pytestmark = pytest.mark.servers
KEYS = 3000


@pytest.fixture(scope="module")
def running() -> Iterator[ClusterYard]:
    """Of Redis 7.0, filled, for all tests of this module."""
    with _filled("redis") as yard:
        yield yard


@pytest.fixture
def yard(running: ClusterYard) -> Iterator[ClusterYard]:
    """In order, before and after."""
    yield running
    running.await_order()


@pytest.fixture
def taken(yard: ClusterYard, workshop: Workshop) -> tuple[Captured, dict[str, Any]]:
    """One backup and its manifest."""
    return _back_up(yard, workshop)


def test_a_backup_holds_every_slot_once_and_all_keys(
    yard: ClusterYard, workshop: Workshop, taken: tuple[Captured, dict[str, Any]]
) -> None:
    captured, manifest = taken
    before = _content(yard)
    counts = {found.name: found.rows for found in captured.objects}
    assert (counts["db0"], counts["db0 (with TTL)"]) == (before[0], 10)
    shards = captured.environment["shards"]
    ranges = [parse_ranges(one["slots"]) for one in shards]
    assert sum(end - begin + 1 for one in ranges for begin, end in one) == SLOTS
    assert {one["role"] for one in shards} == {"replica"}
    replids = [master.info("replication")["master_replid"] for master in yard.masters()]
    assert [one["replid"] for one in shards] == replids
    assert all(one["offset"] > 0 for one in shards)
    (note,) = [one for one in captured.notes if one.startswith("ShardsApart")]
    assert f"within {captured.environment['cuts']['apartSeconds']:.1f} s" in note
    assert captured.snapshot_time.isoformat() == min(one["snapshotTime"] for one in shards)
    assert list(workshop.folder.glob("shards-*")) == []
    assert ENGINE.inspect((manifest,), workshop.source(), lambda: None).startswith(f"{before[0]} keys in 3 shards")
    probe = ENGINE.probe(_target(yard), [Method.PHYSICAL], incremental=False)
    assert [one for one in probe.findings if one.blocks] == []
    assert probe.in_recovery


def test_all_shards_are_begun_together_and_one_runs_at_a_time_in_a_drill(
    yard: ClusterYard, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, begun, lock = list[str](), threading.Event(), threading.Lock()
    real_sync, real_reached, together = full.full_sync, full.reached_by, threading.Barrier(3)

    def reached(*args: Any) -> object:
        found = real_reached(*args)
        with lock:
            steps.append("ready")
            first = steps == ["ready"]
        if first:  # it takes its time
            begun.wait(timeout=0.5)
        steps.append("waits")
        return found

    def synced(*args: Any) -> Synced:
        steps.append("begun")
        begun.set()
        together.wait(timeout=300)
        return real_sync(*args)

    monkeypatch.setattr(full, "reached_by", reached)
    monkeypatch.setattr(full, "full_sync", synced)
    _, manifest = _back_up(yard, workshop)
    assert steps[-3:] == ["begun"] * 3
    loads, runs = list[int](), set[PrivateServer]()
    start, close = PrivateServer.start, PrivateServer.close

    def started(server: PrivateServer, *args: Any) -> None:
        runs.add(server)
        loads.append(len(runs))
        start(server, *args)

    def closed(server: PrivateServer) -> None:
        close(server)
        runs.discard(server)

    monkeypatch.setattr(PrivateServer, "start", started)
    monkeypatch.setattr(PrivateServer, "close", closed)
    with ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()) as copy:
        results = [copy.check(check) for check in copy.builtin(Level.DEEP)]
        assert {one.outcome for one in results} == {CheckOutcome.PASSED}, results
        assert {one.name for one in results} == {"server-ready", "keys", "structure", "names"}
        assert {"fetch", "restore", "start", "verify"} <= set(copy.seconds)
    assert set(loads) == {1}
    assert len(loads) == 6  # each shard once for all, and once for its names


def test_checks_of_a_user_are_asked_where_the_key_is(
    workshop: Workshop, taken: tuple[Captured, dict[str, Any]]
) -> None:
    with ENGINE.recover(workshop.plan(taken[1]), workshop.source()) as copy:
        for check, outcome in (
            (_check("Canary", query="GET key:0", value="value 0"), "Passed"),
            (_check("Canary", query="GET key:1", value="value 1"), "Passed"),
            (_check("Canary", query="GET key:2", value="value 3"), "Failed"),
            (_check("RowCount", table="key:*", min=KEYS, max=KEYS), "Passed"),
            (_check("RowCount", table="key:*", min=KEYS + 1), "Failed"),
            (_check("Query", query="DBSIZE", value="1"), "Failed"),
            (_check("Query", query="MGET key:0 key:1", value="1"), "Failed"),
        ):
            found = copy.check(check)
            assert found.outcome == outcome, found
            if check.query == "DBSIZE":
                assert "names no key" in (found.message or "")


def test_the_agent_takes_and_proves_an_encrypted_one(yard: ClusterYard, tmp_path: Path) -> None:
    key = make_age_key(tmp_path)
    place = Workplace(tmp_path / "pod", secrets={"database": {"username": USER, "password": PASSWORD}})
    place.secrets["age-0"] = {"identity": key.identity.read_text()}
    place.storage["age_recipients"] = [key.recipient]
    engine, database = cast("FakeEngine", ENGINE), yard.target().model_copy(update={"uid": UID})
    ran = place.run(backup_task("cache-1", method=Method.AUTO), engine=engine, database=database)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    assert ran.result.backup
    assert any(note.startswith("ShardsApart") for note in ran.result.backup.notes or ())
    ref = BackupRef(id="cache-1", database="cache", manifest_sha256=ran.result.backup.checksum)
    canary = _check("Canary", query="GET key:1", value="value 1")
    task = DrillTask(
        id="drill-1", backup=ref, level=Level.APPLICATION, checks=[canary], rto_seconds=120, rpo_seconds=3600,
        negative_control=True,
    )  # fmt: skip
    found = place.run(task, engine=engine, database=database).result.drill
    assert found
    assert (found.verdict, found.proven, found.level_reached) == (Verdict.PASSED, True, Level.APPLICATION), found
    (stored,) = [path for path in place.paths.volume.rglob("dump.rdb.zst.age*") if "shard-05461" in str(path)]
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(bytes(data))
    damaged = place.run(task.model_copy(update={"id": "drill-2"}), engine=engine, database=database).result.drill
    assert damaged
    assert (damaged.verdict, damaged.proven) == (Verdict.FAILED, False)
    assert "shard-05461" in damaged.message


def test_a_cluster_is_made_of_what_is_restored(
    yard: ClusterYard, workshop: Workshop, taken: tuple[Captured, dict[str, Any]]
) -> None:
    _, manifest = taken
    with ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()) as copy:
        copy.finish()
    data = workshop.folder / "place" / "data"
    assert "CLUSTER MEET" in " ".join(ENGINE.hand_over(manifest, "data"))
    assert _joined("redis", data, "no") == _content(yard)
    assert _joined("redis", data, "yes") == _content(yard)


def test_the_document_leads_to_the_same_folders(
    yard: ClusterYard, workshop: Workshop, taken: tuple[Captured, dict[str, Any]], tmp_path: Path
) -> None:
    _, manifest = taken
    said = ENGINE.restore_instructions(RestoreDoc(manifest, (manifest,)))
    with followed(said, workshop.folder, tools_of("redis", tmp_path / "tools")) as (_, printed):
        assert printed.endswith("all keys there\n")
    assert _joined("redis", workshop.folder / "restored", "yes") == _content(yard)


def test_so_it_is_with_valkey(workshop: Workshop) -> None:
    with _filled("valkey") as yard:
        _, manifest = _back_up(yard, workshop)
        with ENGINE.recover(workshop.plan(manifest, verify=True), workshop.source()) as copy:
            results = [copy.check(check) for check in copy.builtin(Level.DEEP)]
            copy.finish()
        assert {one.outcome for one in results} == {CheckOutcome.PASSED}, results
        assert _joined("valkey", workshop.folder / "place" / "data", "no") == _content(yard)


@pytest.mark.parametrize(
    "change",
    ["a slot is moved", "a slot is moved there and back", "keys are moved there and back", "a master is replaced"],
)
def test_a_cluster_that_changes_while_it_is_copied_is_no_backup(
    yard: ClusterYard, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    real, lock, copied = full.full_sync, threading.Lock(), list[Synced]()

    def changing(*args: Any) -> Synced:
        """The last copy is not over yet: a replica that is promoted hangs up on those that still copy from it."""
        synced = real(*args)
        with lock:
            copied.append(synced)
            last = len(copied) == len(yard.masters())
        if last:
            _change(yard, change)
            eventually("all have heard of it", lambda: len({_owners(yard, node) for node in yard.nodes}) == 1)
        return synced

    monkeypatch.setattr(full, "full_sync", changing)
    sink = FolderSink(workshop.folder / "cache-1")
    try:
        with pytest.raises(WorldFault, match="might be in two copies, or in none") as caught:
            ENGINE.backup(_target(yard), plan_of(workshop.folder), sink)
    finally:
        if change == "a slot is moved":
            _give_empty_slot(yard, back=True)
    assert caught.value.reason == "ClusterChanged"
    assert sink.artefacts == []
    assert list(workshop.folder.glob("shards-*")) == []
    if change == "a master is replaced":
        yard.await_order()


@pytest.mark.parametrize("what", ["a slot is on its way", "a slot is served by nobody"])
def test_a_cluster_that_is_not_whole_is_not_copied(yard: ClusterYard, workshop: Workshop, what: str) -> None:
    source, target = yard.masters()[:2]
    slot = _empty_slot(source)
    if what == "a slot is on its way":
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))
        expected, mend = f"slots {slot} are being moved", lambda: source.call("CLUSTER", "SETSLOT", slot, "STABLE")
    else:
        for node in yard.nodes:
            node.call("CLUSTER", "DELSLOTS", slot)
        expected, mend = f"nobody serves {slot}", lambda: source.call("CLUSTER", "ADDSLOTS", slot)
    try:
        with pytest.raises(WorldFault, match=expected) as caught:
            _back_up(yard, workshop)
    finally:
        mend()
    assert caught.value.reason == "ServerNotReady"


def test_what_is_missing_is_named_before_anything_is_copied(yard: ClusterYard, workshop: Workshop) -> None:
    for node in yard.nodes:
        node.call("ACL", "SETUSER", USER, "-cluster|nodes")
    try:
        with pytest.raises(UserFault, match=r"run `ACL SETUSER backup .*\+cluster\|nodes") as caught:
            ENGINE.probe(_target(yard), [Method.PHYSICAL], incremental=False)
    finally:
        for node in yard.nodes:
            node.call("ACL", "SETUSER", USER, "+cluster|nodes")
    assert caught.value.reason == "PermissionDenied"
    replica = next(node for node in yard.nodes if node.info("replication")["role"] == "slave")
    replica.call("ACL", "SETUSER", USER, "-psync")
    try:
        with pytest.raises(UserFault, match="lacks what a backup needs"):
            _back_up(yard, workshop)
    finally:
        replica.call("ACL", "SETUSER", USER, "+psync")


def test_the_log_of_a_cluster_is_refused_with_what_to_do(yard: ClusterYard) -> None:
    target = _target(yard)
    (finding,) = [one for one in examine_archiving(target, choose_source(target)) if one.blocks]
    assert (finding.reason, finding.blocks) == ("ClusterUnsupported", ["Continuous"])
    assert "full backups" in (finding.fix or "")


def test_a_shard_without_a_replica_in_step_is_copied_from_its_master(yard: ClusterYard, workshop: Workshop) -> None:
    master = yard.masters()[1]
    with yard.parted(master):
        replica = next(node for node in yard.nodes if node.info("replication").get("master_port") == str(master.port))
        eventually("the link is down", lambda: replica.info("replication")["master_link_status"] == "down")
        captured, _ = _back_up(yard, workshop)
    assert [one["role"] for one in captured.environment["shards"]] == ["replica", "master", "replica"]
    assert any(note.startswith("FromMaster: of slots 5461-10921") for note in captured.notes)


def test_one_copy_that_fails_ends_the_others_and_leaves_nothing(
    yard: ClusterYard, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = full.full_sync, threading.Event()

    def failing(wire: Wire, *args: Any) -> Synced:
        if not done.is_set():
            done.set()
            raise WorldFault("ConnectionLost", "it hung up")
        return real(wire, *args)

    monkeypatch.setattr(full, "full_sync", failing)
    with pytest.raises(WorldFault, match="it hung up"):
        _back_up(yard, workshop)
    assert list(workshop.folder.glob("shards-*")) == []
    eventually("no session is left", lambda: not any(_sessions(node) for node in yard.nodes))


def test_a_scratch_that_is_too_small_is_said(yard: ClusterYard, workshop: Workshop) -> None:
    with pytest.raises(UserFault, match=r"raise podTemplate\.scratch\.size") as caught:
        _back_up(yard, workshop, scratch_bytes=100)
    assert caught.value.reason == "ScratchTooSmall"


def test_a_point_in_time_is_refused(workshop: Workshop, taken: tuple[Captured, dict[str, Any]]) -> None:
    plan = workshop.plan(taken[1], until=RecoveryPoint(kind=PointKind.LATEST))
    with (
        pytest.raises(UserFault, match="log of a Redis Cluster is not archived"),
        ENGINE.recover(plan, workshop.source()),
    ):
        pass


@pytest.mark.parametrize("damage", ["a byte is another", "it is another shard's", "it lacks a key"])
def test_a_shard_that_is_not_what_was_stored_is_named(
    workshop: Workshop, taken: tuple[Captured, dict[str, Any]], damage: str
) -> None:
    _, manifest = taken
    folder = workshop.folder / "cache-1"
    path = folder / "shard-05461" / "dump.rdb.zst"
    if damage == "a byte is another":
        data = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()))
        data[len(data) // 2] ^= 1
        path.write_bytes(zstandard.ZstdCompressor().compress(bytes(data)))
    elif damage == "it is another shard's":
        path.write_bytes((folder / "shard-00000" / "dump.rdb.zst").read_bytes())
    else:
        manifest["environment"]["shards"][1]["databases"]["0"]["keys"] += 1
    with pytest.raises(SafetyStop, match=r"shard-05461/dump\.rdb\.zst of backup cache-1"):
        ENGINE.inspect((manifest,), workshop.source(), lambda: None)


def test_keys_of_another_shard_are_noticed_where_counts_are_the_same(
    workshop: Workshop, taken: tuple[Captured, dict[str, Any]]
) -> None:
    """As where two artefacts were put in each other's place, with all that is counted of them."""
    _, manifest = taken
    shards = manifest["environment"]["shards"]
    shards[0], shards[1] = ({**shards[1], "slots": shards[0]["slots"]}, {**shards[0], "slots": shards[1]["slots"]})
    one, other = (workshop.folder / "cache-1" / f"shard-{name}" / "dump.rdb.zst" for name in ("00000", "05461"))
    one.rename(one.with_suffix(".away"))
    other.rename(one)
    one.with_suffix(".away").rename(other)
    count = shards[0]["databases"]["0"]["keys"]  # of every form of a value and a name
    with pytest.raises(SafetyStop, match=rf"holds {count} keys outside of slots 0-5460, but its manifest says 0"):
        ENGINE.inspect((manifest,), workshop.source(), lambda: None)
    with ENGINE.recover(workshop.plan(manifest), workshop.source()) as copy:
        found = _named(copy, "names")
    assert found.outcome is CheckOutcome.FAILED
    assert f"{count} keys lie outside of slots 0-5460, and 0 did in the source" in (found.message or "")


@contextmanager
def _filled(product: str) -> Iterator[ClusterYard]:
    yard = ClusterYard(product)
    try:
        yard.start()
        _fill(yard)
        yard.await_order()
        yield yard
    finally:
        yard.remove()


def _fill(yard: ClusterYard) -> None:
    words: list[tuple[str, ...]] = [("SET", f"key:{number}", f"value {number}") for number in range(KEYS)]
    more: list[tuple[str, ...]] = [("SET", f"lasts:{number}", "v", "EX", "100000") for number in range(10)]
    more += [("HSET", f"hash:{number}:" + "packed " * 20, "field", "v") for number in range(40)]
    more += [("RPUSH", f"list:{number}", *map(str, range(50))) for number in range(40)]
    view = yard.view(yard.nodes[0])
    for shard, node in zip(view.shards, yard.masters(), strict=True):
        node.calls([one for one in (*words, *more) if view.shard_of(key_slot(one[1].encode())) == shard])


def _target(yard: ClusterYard) -> Target:
    return Target(yard.target(), Credentials(USER, PASSWORD))


def _back_up(yard: ClusterYard, workshop: Workshop, **plan: Any) -> tuple[Captured, dict[str, Any]]:
    return workshop.back_up(yard.nodes[0], target=_target(yard), **plan)


def _content(yard: ClusterYard) -> tuple[int, int]:
    """Keys, and a hash over all of them with what they hold, wherever they lie."""
    return _sum([_served(node) for node in yard.masters()])


def _served(node: Server) -> tuple[int, int]:
    with node.connect() as wire:
        return content(wire).get("db0", (0, 0))


def _sum(found: list[tuple[int, int]]) -> tuple[int, int]:
    total = 0
    for _, one in found:
        total ^= one
    return sum(count for count, _ in found), total


def _joined(product: str, data: Path, append: str) -> tuple[int, int]:
    """What a cluster of servers serves that start from the folders and are joined as the steps say."""
    with ExitStack() as stack:
        nodes = []
        for folder in sorted(path for path in data.iterdir() if path.is_dir()):
            copy = data.parent / "started" / folder.name
            stack.callback(shutil.rmtree, copy)
            shutil.copytree(folder, copy)
            port = free_port()
            settings = (
                f"port {port}", f"cluster-port {free_port()}", "cluster-enabled yes", "cluster-config-file nodes.conf",
                f"dir {copy}", f"appendonly {append}",
            )  # fmt: skip
            node = Server(product, settings=settings)
            node.port = port
            stack.callback(node.remove)
            nodes.append(node)
        for node in nodes[1:]:
            bus = node.config.read_text().rpartition("cluster-port ")[2].split()[0]
            nodes[0].call("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        eventually("the cluster is whole", lambda: all(_whole(node) for node in nodes))
        return _sum([_served(node) for node in nodes])


def _whole(node: Server) -> bool:
    said = node.call("CLUSTER", "INFO")
    assert isinstance(said, bytes)
    return b"cluster_state:ok" in said and b"cluster_slots_ok:16384" in said and b"cluster_size:3" in said


def _change(yard: ClusterYard, change: str) -> None:
    if change == "a master is replaced":
        old = yard.masters()[0]
        new = next(node for node in yard.nodes if node.info("replication").get("master_port") == str(old.port))
        new.call("CLUSTER", "FAILOVER")
        eventually("it is replaced", lambda: old.info("replication")["role"] == "slave")
        return
    if change == "keys are moved there and back":
        _lend_key(yard)
        return
    _give_empty_slot(yard)
    if change == "a slot is moved there and back":
        _give_empty_slot(yard, back=True)


def _lend_key(yard: ClusterYard) -> None:
    """As by a resharding that is broken off and put right: no epoch tells of it afterwards."""
    key = "key:1"
    source = yard.master_of(key)
    target = next(node for node in yard.masters() if node is not source)
    slot = key_slot(key.encode())
    before = _owners(yard, source)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))
    _migrate(source, target, key)
    source.call("CLUSTER", "SETSLOT", slot, "STABLE")
    _migrate(target, source, key)
    target.call("CLUSTER", "SETSLOT", slot, "STABLE")
    assert _owners(yard, source) == before


def _migrate(source: Server, target: Server, key: str) -> None:
    assert source.call("MIGRATE", "127.0.0.1", target.port, key, 0, 5000, "AUTH2", ADMIN, ADMIN) == b"OK"


def _owners(yard: ClusterYard, node: Server) -> frozenset[tuple[str, Ranges, int]]:
    return frozenset((one.id, one.slots, one.epoch) for one in yard.view(node).nodes if one.serves)


def _give_empty_slot(yard: ClusterYard, *, back: bool = False) -> None:
    """One without keys changes its master, as by a resharding."""
    one, two = sorted(yard.masters()[:2], key=lambda node: node.port)
    source, target = (two, one) if back else (one, two)
    slot = _moved.pop(id(yard)) if back else _empty_slot(source)
    if not back:
        _moved[id(yard)] = slot
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))
    for node in (target, source):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", _id(target))
    eventually("all know", lambda: len({yard.view(node).owners for node in yard.nodes}) == 1)


_moved: dict[int, int] = {}


def _empty_slot(node: Server) -> int:
    view = node.call("CLUSTER", "NODES")
    assert isinstance(view, bytes)
    own = next(line.split() for line in view.decode().splitlines() if "myself" in line)
    begin, _, end = own[8].partition("-")
    return next(slot for slot in range(int(begin), int(end) + 1) if node.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 0)


def _id(node: Server) -> bytes:
    said = node.call("CLUSTER", "MYID")
    assert isinstance(said, bytes)
    return said


def _sessions(node: Server) -> int:
    said = node.call("CLIENT", "LIST")
    assert isinstance(said, bytes)
    return sum(f"user={USER} " in line for line in said.decode().splitlines())


def _check(kind: str, **more: Any) -> Check:
    return Check.model_validate({"name": "asked", "type": kind, **more})


def _named(copy: Copy, name: str) -> CheckResult:
    return copy.check(next(check for check in copy.builtin(Level.DEEP) if check.name == name))
