"""What stands in the way of a backup is found before one is tried, with the statement that mends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.redis.conftest import Workshop, target_of
from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Hook, Method
from databosun.api.v1alpha1.database import TLSMode
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.redis import ENGINE
from support.pgserver import free_port
from support.redisserver import ADMIN, GRANTS, Server
from support.tls import make_certificate
from support.waiting import eventually

pytestmark = pytest.mark.servers


def findings_of(target: Target, *methods: Method, incremental: bool = False) -> dict[str, Finding]:
    """What the probe says, by reason."""
    found = ENGINE.probe(target, methods or (Method.AUTO,), incremental=incremental)
    assert found.reachable
    return {one.reason: one for one in found.findings}


def test_least_privilege_is_enough(server: Server) -> None:
    found = ENGINE.probe(target_of(server), [Method.AUTO], incremental=True)
    assert {one.reason for one in found.findings} == {"FromMaster", "IncrementalUnsupported"}
    assert not any(one.blocks for one in found.findings)
    assert found.engine_version
    assert found.engine_version.startswith({"redis": "7.0.", "redis6": "6.2."}.get(server.product, "9."))
    # Asking whether PSYNC is granted began nothing.
    assert server.info("persistence")["rdb_bgsave_in_progress"] == "0"
    assert server.info("stats")["sync_full"] == "0" or "Starting BGSAVE" not in server.log()[-200:]


@pytest.mark.parametrize("missing", ["+psync", "+replconf", "+pubsub|numsub"])
def test_a_missing_grant_blocks_and_its_fix_mends_it(
    own_server: Callable[..., Server], missing: str, workshop: Workshop
) -> None:
    server = own_server(grants=GRANTS.replace(missing, ""))
    found = findings_of(target_of(server))["PermissionDenied"]
    assert "Auto" in found.blocks
    with pytest.raises(UserFault, match="PermissionDenied"):
        workshop.back_up(server, "cache-0")
    assert found.fix
    server.call(*found.fix.split())
    assert "PermissionDenied" not in findings_of(target_of(server))
    workshop.back_up(server)


def test_without_info_nothing_can_be_said(own_server: Callable[..., Server]) -> None:
    server = own_server(grants="+ping +psync")
    with pytest.raises(UserFault, match=r"PermissionDenied: .*ACL SETUSER backup \+psync") as caught:
        ENGINE.probe(target_of(server), [Method.AUTO], incremental=False)
    assert "NOPERM" in caught.value.message


def test_a_master_that_demands_replicas_is_left_alone(own_server: Callable[..., Server], workshop: Workshop) -> None:
    server = own_server(settings=["min-replicas-to-write 1"])
    found = findings_of(target_of(server))["CountedAsReplica"]
    assert found.blocks
    assert found.fix
    assert "min-replicas-to-write" in found.fix
    with pytest.raises(UserFault, match="CountedAsReplica"):
        workshop.back_up(server)
    assert server.info("stats")["sync_full"] == "0"


def test_a_watched_master_is_left_alone_and_its_replica_is_found(
    own_server: Callable[..., Server], workshop: Workshop
) -> None:
    """From the master alone the replica is found, also where only it is listed; without one nothing is begun."""
    master = own_server()
    sentinel = sentinel_of(own_server, master)
    eventually(
        "the Sentinel listens",
        lambda: master.call("PUBSUB", "NUMSUB", "__sentinel__:hello") != [b"__sentinel__:hello", 0],
    )
    with pytest.raises(UserFault, match="CountedAsReplica"):
        workshop.back_up(master, "cache-0")

    replica = own_server().follow(master)
    master.call("SET", "here", 1)
    for number, target in enumerate((target_of(master), target_of(sentinel)), start=1):
        eventually("the copier of before is gone", lambda: replica.info("replication")["connected_slaves"] == "0")
        if number == 2:
            eventually("the Sentinel knows the replica", lambda: _slaves(sentinel) == "1")
        captured, _ = workshop.back_up(master, f"cache-{number}", target=target)
        assert captured.environment["source"] == {"node": f"127.0.0.1:{replica.port}", "role": "replica"}
        assert "FromMaster" not in {note.split(":")[0] for note in captured.notes}
    assert master.info("stats")["sync_full"] == "1"
    assert _slaves(sentinel) == "1"


def test_a_replica_without_its_master_is_not_taken_for_fresh(
    own_server: Callable[..., Server], workshop: Workshop
) -> None:
    master = own_server()
    replica = own_server().follow(master)
    master.stop()
    eventually("the link is down", lambda: replica.info("replication")["master_link_status"] == "down")
    assert "ReplicaStale" in findings_of(target_of(replica))
    with pytest.raises(WorldFault, match="ReplicaStale"):
        workshop.back_up(replica)


def test_two_masters_are_not_chosen_between(own_server: Callable[..., Server], workshop: Workshop) -> None:
    """A master that was failed over and came back still says that it is one: its data are of the past."""
    old = own_server()
    other = own_server(settings=[f"port {old.port}", "bind 127.0.0.2"])
    other.port = old.port
    with pytest.raises(WorldFault, match=r"SeveralMasters: several masters answer: 127\.0\.0\.1.*127\.0\.0\.2"):
        workshop.back_up(old, target=target_of(old, hosts=("127.0.0.1", "127.0.0.2")))


def test_a_replicas_instant_is_never_later_than_its_data(own_server: Callable[..., Server], workshop: Workshop) -> None:
    master = own_server()
    replica = own_server().follow(master)
    captured, _ = workshop.back_up(replica)
    assert captured.environment["source"]["role"] == "replica"
    assert int(replica.info("server")["server_time_usec"]) / 1e6 >= captured.snapshot_time.timestamp()


def test_other_methods_are_refused(servers: Callable[[str], Server], workshop: Workshop) -> None:
    server = servers("redis")
    assert findings_of(target_of(server), Method.LOGICAL)["UnsupportedMethod"].blocks == ["Logical"]
    with pytest.raises(UserFault, match="UnsupportedMethod"):
        workshop.back_up(server, method=Method.LOGICAL)


def test_a_named_database_is_said_to_be_no_limit(servers: Callable[[str], Server]) -> None:
    assert not findings_of(target_of(servers("redis"), database="5"))["WholeServer"].blocks


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "WrongPassword"),
        ({"user": "nobody"}, "WrongPassword"),
        ({"port": 1}, "ConnectionRefused"),
        ({"hosts": ("no-such-host.invalid",)}, "UnknownHost"),
        ({"tls": TLSMode.REQUIRE}, "TLSNotOffered"),
    ],
)
def test_what_cannot_be_reached_says_why(
    servers: Callable[[str], Server], change: dict[str, object], reason: str
) -> None:
    with pytest.raises(DatabosunError) as caught:
        ENGINE.probe(target_of(servers("redis"), **change), [Method.AUTO], incremental=False)  # type: ignore[arg-type]
    assert caught.value.reason == reason
    assert "wrong" not in caught.value.message.replace("is wrong", "")


def test_tls_is_checked_as_asked(own_server: Callable[..., Server], tmp_path: Path, workshop: Workshop) -> None:
    good, other = make_certificate(tmp_path, "good"), make_certificate(tmp_path, "other")
    port = free_port()
    server = own_server(
        settings=["port 0", f"tls-port {port}", f"tls-cert-file {good.cert}", f"tls-key-file {good.key}",
                  f"tls-ca-cert-file {good.ca}", "tls-auth-clients optional"]
    )  # fmt: skip
    server.call("SET", "secret", "word")
    for mode in (TLSMode.REQUIRE, TLSMode.VERIFY_CA, TLSMode.VERIFY_FULL):
        captured, _ = workshop.back_up(
            server, f"cache-{mode}", target=target_of(server, port=port, tls=mode, ca=good.ca)
        )
        assert captured.objects[0].rows == 1
    with pytest.raises(UserFault, match="TLSFailure"):
        workshop.back_up(server, "cache-other", target=target_of(server, port=port, tls=TLSMode.VERIFY_CA, ca=other.ca))


def test_hooks_run_on_the_master(own_server: Callable[..., Server]) -> None:
    master = own_server()
    replica = own_server().follow(master)
    target = target_of(replica, user=ADMIN, password=ADMIN)
    with pytest.raises(WorldFault, match="ServerNotReady"):
        ENGINE.run_hook(target, Hook(name="mark", sql="SET mark 1"))
    both = target_of(master, user=ADMIN, password=ADMIN)
    ENGINE.run_hook(both, Hook(name="mark", sql="SET mark 'two words' # said\n\nINCR count"))
    assert (master.call("GET", "mark"), master.call("GET", "count")) == (b"two words", b"1")
    with pytest.raises(UserFault, match=r"HookFailed: .*mark: INCR"):
        ENGINE.run_hook(both, Hook(name="mark", sql="INCR mark"))


def sentinel_of(own_server: Callable[..., Server], master: Server) -> Server:
    """A Sentinel that watches one master."""
    sentinel: Server = own_server(
        settings=[f"sentinel monitor mymaster 127.0.0.1 {master.port} 1", f"sentinel auth-user mymaster {ADMIN}",
                  f"sentinel auth-pass mymaster {ADMIN}"],
        sentinel=True, grants="+ping +info +sentinel",
    )  # fmt: skip
    return sentinel


def _slaves(sentinel: Server) -> str:
    said = sentinel.call("SENTINEL", "MASTERS")
    assert isinstance(said, list)
    assert isinstance(said[0], list)
    entry = [word.decode() for word in said[0] if isinstance(word, bytes)]
    return dict(zip(entry[::2], entry[1::2], strict=True))["num-slaves"]
