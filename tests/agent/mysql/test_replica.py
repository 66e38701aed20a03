"""Of several hosts a replica that follows its primary is asked, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.mysql.conftest import back_up, target_of
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import DatabosunError
from databosun.engines.mysql import ENGINE
from support.mariaserver import MariaServer
from support.waiting import eventually

pytestmark = pytest.mark.servers

BOTH = ("127.0.0.1", "127.0.0.2")


@pytest.fixture
def pair(own_maria: Callable[..., MariaServer]) -> Iterator[tuple[MariaServer, MariaServer]]:
    """A primary on 127.0.0.1, and its replica on 127.0.0.2 and the same port."""
    primary = own_maria()
    replica = primary.replica(**{"bind-address": "127.0.0.2"}, port=primary.port)
    yield primary, replica
    replica.remove()


def host_of(server: MariaServer) -> str | None:
    """Where a backup would go."""
    return ENGINE.probe(target_of(server, hosts=BOTH), [Method.LOGICAL], incremental=False).host


def test_a_replica_is_preferred_once_its_lag_can_be_seen(
    pair: tuple[MariaServer, MariaServer], workplace: Path
) -> None:
    primary, replica = pair
    assert host_of(primary) == f"127.0.0.1:{primary.port}", "without the grant nobody knows how old its data is"
    alone = target_of(primary, hosts=("127.0.0.2",))
    (hidden,) = ENGINE.probe(alone, [Method.LOGICAL], incremental=False).findings
    assert (hidden.reason, hidden.fix) == ("ReplicaUnfit", "GRANT SLAVE MONITOR ON *.* TO 'backup'@'%';")
    primary.sql(hidden.fix or "")
    primary.wait_for(replica)
    assert host_of(primary) == f"127.0.0.2:{primary.port}"
    captured, _ = back_up(target_of(primary, hosts=BOTH), workplace)
    assert captured.environment["inRecovery"]
    assert captured.position.binlog


def test_a_broken_replica_is_passed_over_and_refused_alone(
    pair: tuple[MariaServer, MariaServer], workplace: Path
) -> None:
    primary, replica = pair
    primary.sql("GRANT SLAVE MONITOR ON *.* TO 'backup'@'%'")
    primary.wait_for(replica)
    replica.sql("DROP TABLE shop.keyless")
    primary.sql("DELETE FROM shop.keyless")
    eventually("replication breaks", lambda: _broken(replica))
    assert host_of(primary) == f"127.0.0.1:{primary.port}"
    with pytest.raises(DatabosunError) as caught:
        back_up(target_of(primary, hosts=("127.0.0.2",)), workplace)
    assert caught.value.reason == "ReplicaUnfit"


def test_a_replica_that_does_not_log_what_it_replicates_is_no_footing(
    pair: tuple[MariaServer, MariaServer], workplace: Path
) -> None:
    """Its log has a position and files, and lacks every row."""
    primary, replica = pair
    primary.sql("GRANT SLAVE MONITOR ON *.* TO 'backup'@'%'")
    primary.wait_for(replica)
    replica.stop()
    replica.configure(log_slave_updates="OFF")
    replica.start()
    replica.sql("START SLAVE")
    primary.sql("INSERT INTO shop.nothing VALUES (1)")
    primary.wait_for(replica)
    alone = target_of(primary, hosts=("127.0.0.2",))
    found = ENGINE.probe(alone, [Method.LOGICAL], incremental=True).findings
    assert [(one.reason, one.blocks) for one in found] == [("BinlogOff", [])]
    captured, _ = back_up(alone, workplace)
    assert captured.position.binlog is None
    assert (workplace / "b" / "binlog.json").read_bytes() == b"{}\n"


def _broken(replica: MariaServer) -> bool:
    connection = replica.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SLAVE STATUS")
            names = [column[0] for column in cursor.description or ()]
            row = dict(zip(names, cursor.fetchone() or (), strict=False))
    finally:
        connection.close()
    return row.get("Slave_SQL_Running") == "No"
