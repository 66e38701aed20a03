"""Which member is read, what of it counts, and what makes a backup begin anew: against scripted members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson.timestamp import Timestamp

from agent.mongodb.conftest import Workshop, target_of
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.mongodb import ENGINE, oplog
from databosun.engines.mongodb.positions import read_mark
from databosun.engines.mongodb.server import choose_primary, choose_source
from support.mongopeer import MongoPeer, entry

pytestmark = pytest.mark.servers

Make = Callable[..., MongoPeer]


@pytest.fixture
def primary(members: Make) -> MongoPeer:
    """A primary with one collection and an oplog of three entries."""
    peer = members().keep_oplog(*(entry(1000 + n) for n in range(3)))
    peer.spaces["shop.orders"] = [{"_id": n} for n in range(10)]
    peer.spaces["admin.system.users"] = [{"_id": "admin.app"}]
    return peer


def know_each_other(*peers: MongoPeer) -> None:
    """Each names all."""
    for peer in peers:
        peer.hello["hosts"] = [one.name for one in peers]


def test_the_secondary_that_follows_best_is_read(members: Make) -> None:
    first, slow, best, arbiter = members(), *(members(role="secondary") for _ in range(3))
    know_each_other(first, slow, best, arbiter)
    arbiter.hello |= {"arbiterOnly": True}
    for peer, seconds in ((first, 5000), (slow, 4990), (best, 4999), (arbiter, 5000)):
        peer.wrote(seconds)
    # Only the first is listed: the others are those that it names.
    assert choose_source(target_of(first)).endpoint.port == best.port
    best.close()
    assert choose_source(target_of(first)).endpoint.port == slow.port
    slow.wrote(4000)
    assert choose_source(target_of(first)).endpoint.port == first.port
    assert choose_primary(target_of(slow)).port == first.port


def test_where_nobody_follows_or_is_followed_nothing_is_read(members: Make) -> None:
    arbiter = members(role="secondary").wrote(10)
    arbiter.hello |= {"arbiterOnly": True}
    with pytest.raises(WorldFault, match=r"ReplicaUnfit: no primary answers"):
        choose_source(target_of(arbiter))
    with pytest.raises(WorldFault, match="NoPrimary"):
        choose_primary(target_of(arbiter))


@pytest.mark.parametrize("refused", ["listDatabases", "admin.system.users", "local.oplog.rs", "shop.orders"])
def test_a_missing_grant_blocks_and_the_statement_that_mends_it_is_said(primary: MongoPeer, refused: str) -> None:
    target = target_of(primary)
    assert not ENGINE.probe(target, [Method.AUTO], incremental=True).findings
    primary.refused = {refused}
    (found,) = ENGINE.probe(target, [Method.AUTO], incremental=True).findings
    assert (found.reason, found.blocks) == ("PermissionDenied", ["Logical", "Auto"])
    assert found.fix == 'db.getSiblingDB("admin").grantRolesToUser("", [{role: "backup", db: "admin"}])'


def test_a_user_is_never_shown_a_part_of_the_databases_for_all(primary: MongoPeer) -> None:
    """Without the option a server lists those that the user may read, and the others would be missing for good."""
    ENGINE.probe(target_of(primary), [Method.AUTO], incremental=False)
    listed = [one for one in primary.asked("listDatabases") if one.get("nameOnly")]
    assert listed
    assert all(one["authorizedDatabases"] is False for one in listed)


@pytest.mark.parametrize("how", ["router", "shard"])
def test_a_sharded_cluster_is_refused(members: Make, primary: MongoPeer, workshop: Workshop, how: str) -> None:
    peer = members(role="router", set_name=None) if how == "router" else primary
    peer.spaces.setdefault("admin.system.version", []).append({"_id": "shardIdentity"})
    (found,) = (one for one in ENGINE.probe(target_of(peer), [Method.AUTO], incremental=False).findings if one.blocks)
    assert found.reason == "ShardedUnsupported"
    with pytest.raises(UserFault, match="ShardedUnsupported"):
        workshop.back_up(peer)


def test_an_old_server_is_refused(members: Make) -> None:
    with pytest.raises(UserFault, match=r"UnsupportedVersion: .*MongoDB 4\.4\.1; expected 5\.0"):
        ENGINE.probe(target_of(members(version="4.4.1")), [Method.AUTO], incremental=False)


def test_only_what_a_majority_has_is_read(primary: MongoPeer, workshop: Workshop) -> None:
    """Three entries are there, a majority has two: the third may yet be rolled back, so it is waited for."""
    primary.wrote(1002, majority=1001)
    real, asked = primary._hello, 0

    def hello(command: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if primary.asked("find", "shop.orders") and asked > 8:
            primary.wrote(1002)
        return real(command)

    primary.on["hello"] = hello
    captured, _ = workshop.back_up(primary)
    assert captured.position.optime == "1002:1"
    assert captured.environment["oplog"] == {"begin": "1001:1", "end": "1002:1", "term": 1}
    reads = [*primary.asked("find", "shop.orders")[1:], *primary.asked("find", "local.oplog.rs")]
    concerns = {str(one.get("readConcern")) for one in reads if one.get("limit") != 1 and not one.get("singleBatch")}
    assert concerns == {"{'level': 'majority'}"}


def test_without_a_majority_it_ends(primary: MongoPeer, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oplog, "_SETTLE_SECONDS", 0.3)
    primary.wrote(1002, majority=1001)
    with pytest.raises(WorldFault, match=r"ReplicaUnfit: no majority .* 1002:1"):
        workshop.back_up(primary)


def test_the_oplog_begins_where_the_oldest_open_transaction_did(primary: MongoPeer, workshop: Workshop) -> None:
    begun = {"ts": Timestamp(1001, 1), "t": 1}
    primary.spaces["config.transactions"] = [{"_id": 1, "state": "inProgress", "startOpTime": begun}]
    captured, _ = workshop.back_up(primary)
    assert captured.environment["oplog"] == {"begin": "1001:1", "end": "1002:1", "term": 1}


def written_meanwhile(peer: MongoPeer, *entries: dict[str, Any]) -> None:
    """Entries that come to be while a collection is read."""
    real = peer._find

    def find(command: dict[str, Any]) -> dict[str, Any]:
        if command["find"] == "orders" and not command.get("limit"):
            peer.keep_oplog(*peer.spaces["local.oplog.rs"], *entries)
        return real(command)

    peer.on["find"] = find


@pytest.mark.parametrize(
    "what",
    [
        entry(1003, 1, "c", "shop.$cmd", {"renameCollection": "shop.a", "to": "shop.b"}),
        entry(1003, 1, "u", "admin.system.version", {"version": "8.0"}, o2={"_id": "featureCompatibilityVersion"}),
    ],
)
def test_no_dump_crosses_what_makes_it_of_no_one_instant(
    primary: MongoPeer, workshop: Workshop, what: dict[str, Any]
) -> None:
    written_meanwhile(primary, what)
    with pytest.raises(WorldFault, match="SchemaChanged"):
        workshop.back_up(primary)
    # It lies before the next one, once anything follows on it.
    primary.on.clear()
    primary.keep_oplog(*primary.spaces["local.oplog.rs"], entry(1004))
    workshop.back_up(primary, "orders-2")


def test_an_oplog_that_is_overrun_while_it_is_needed_is_noticed(primary: MongoPeer, workshop: Workshop) -> None:
    real = primary._find

    def find(command: dict[str, Any]) -> dict[str, Any]:
        if command["find"] == "oplog.rs" and (command.get("sort") or {}).get("$natural") == 1:
            primary.spaces["local.oplog.rs"] = primary.spaces["local.oplog.rs"][-1:]
            return real({**command, "filter": {"ts": {"$gte": Timestamp(1003, 0)}}})
        return real(command)

    written_meanwhile(primary, entry(1003))
    slow = primary.on["find"]
    primary.on["find"] = lambda command: (
        find(command) if (command.get("sort") or {}).get("$natural") == 1 else slow(command)
    )
    with pytest.raises(WorldFault, match="OplogOverrun"):
        workshop.back_up(primary)


def test_a_member_that_does_not_have_it_all_is_not_believed(primary: MongoPeer, workshop: Workshop) -> None:
    primary.wrote(1005)
    with pytest.raises(WorldFault, match=r"ReplicaUnfit: oplog\.bson\.zst ends at .*, not at 1005:1"):
        workshop.back_up(primary)


def test_an_incremental_goes_on_from_the_very_entry(primary: MongoPeer, workshop: Workshop) -> None:
    _, full = workshop.back_up(primary)
    primary.keep_oplog(*primary.spaces["local.oplog.rs"], entry(1003, term=2), entry(1004, term=2))
    captured, manifest = workshop.back_up(primary, "orders-2", on=full)
    assert captured.type is BackupType.INCREMENTAL
    assert captured.environment["oplog"] == {"begin": "1002:1", "end": "1004:1", "term": 2}
    mark = read_mark((workshop.folder / "orders-2" / "oplog.json").read_bytes())
    assert mark is not None
    assert (str(mark), mark.term) == ("1004:1", 2)
    assert ENGINE.inspect((full, manifest), workshop.source(), lambda: None).startswith("7 artefacts of 2 backups")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((entry(1002, term=7), entry(1003, term=7)), "OplogDiverged"),  # rolled back, and written anew
        ((entry(1001), entry(1003)), "OplogDiverged"),  # never there
        ((entry(1003), entry(1004)), "OplogOverrun"),
    ],
)
def test_a_hole_is_never_bridged(
    primary: MongoPeer, workshop: Workshop, entries: tuple[dict[str, Any], ...], reason: str
) -> None:
    _, full = workshop.back_up(primary)
    primary.keep_oplog(*entries)
    captured, _ = workshop.back_up(primary, "orders-2", on=full)
    assert captured.type is BackupType.FULL
    assert any(note.startswith(f"{reason}: ") and note.endswith("a Full was taken instead") for note in captured.notes)


def test_another_replica_set_is_no_footing(primary: MongoPeer, workshop: Workshop) -> None:
    _, full = workshop.back_up(primary)
    captured, _ = workshop.back_up(primary, "orders-2", on={**full, "system": "mongodb-of-another"})
    assert captured.type is BackupType.FULL
    assert any(note.startswith("AnotherServer: ") for note in captured.notes)


def test_what_cannot_be_replayed_is_refused_when_it_is_backed_up(primary: MongoPeer, workshop: Workshop) -> None:
    _, full = workshop.back_up(primary)
    odd = entry(1003, 1, "c", "shop.$cmd", {"importCollection": "shop.a"})
    primary.keep_oplog(*primary.spaces["local.oplog.rs"], odd)
    with pytest.raises(UserFault, match=r"IncrementalUnsupported: .*importCollection.*Full"):
        workshop.back_up(primary, "orders-2", on=full)


def test_views_and_time_series_are_dumped_as_mongodump_does(primary: MongoPeer, workshop: Workshop) -> None:
    series = {"timeField": "at", "granularity": "seconds"}
    primary.listed["shop"] = [
        {"name": "orders", "type": "collection", "options": {}},
        {"name": "seen", "type": "view", "options": {"viewOn": "orders", "pipeline": [{"$match": {}}]}},
        {"name": "weather", "type": "timeseries", "options": {"timeseries": series}},
        {"name": "system.buckets.weather", "type": "collection", "options": {"clusteredIndex": True}},
        {"name": "system.views", "type": "collection", "options": {}},
    ]
    primary.spaces["shop.system.buckets.weather"] = [{"_id": n} for n in range(3)]
    captured, manifest = workshop.back_up(primary)
    assert [one["name"] for one in manifest["artefacts"]] == [
        "dump/admin/system.users.bson.zst", "dump/shop/orders.bson.zst", "dump/shop/system.buckets.weather.bson.zst",
        "metadata.tar.zst", "oplog.bson.zst", "oplog.json",
    ]  # fmt: skip
    assert {one.name: one.rows for one in captured.objects}["shop.system.buckets.weather"] == 3
    assert captured.environment["kinds"] == {"collection": 2, "view": 1, "timeseries": 1}
    assert not primary.asked("listIndexes", "shop.seen")
    ENGINE.inspect((manifest,), workshop.source(), lambda: None)
