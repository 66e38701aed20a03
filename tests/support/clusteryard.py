"""A Cluster of real servers, three shards of two nodes, with the logins that a failover test and a backup need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.api.targets import DatabaseTarget
from databosun.domain.errors import WorldFault
from databosun.engines.base import Credentials
from databosun.engines.failover import Operator, Site
from databosun.engines.redis.cluster import SLOTS, Shard, View, key_slot, parse_view
from databosun.engines.redis.failover.clusterlook import CLUSTER_MOVER_GRANTS
from databosun.engines.redis.failover.probe import CLUSTER_GRANTS
from databosun.engines.redis.faults import CLUSTER_NEEDED
from databosun.engines.redis.resp import ReplyError
from support.agentrun import Workplace
from support.failoverjob import FailoverJob
from support.pgserver import free_port
from support.redismoving import MOVER, MOVER_PASSWORD, TABLE, MovingYard, described, mover, site_of
from support.redisserver import PASSWORD, USER, Server
from support.waiting import eventually

REPLICATOR = "replicator"


@dataclass
class ClusterYard(MovingYard):
    """Nodes are named as the cluster announces them. A test may leave other masters behind, but all in order."""

    product: str = "redis"
    run: str = "run"
    _turns: int = 0

    def turn(self) -> None:
        """A run of another shard: for four times its `cluster-node-timeout` a replica that asked for votes asks for no
        others, and masters give none."""
        self._turns += 1
        view = self.view(self.nodes[0])
        wanted = view.shards[self._turns % len(view.shards)]
        names = (f"run-{self._turns}-{number}" for number in range(1000))
        self.run = next(name for name in names if view.shard_of(key_slot(name.encode())) == wanted)

    def start(self, *, shards: int = 3) -> None:
        """Until all agree."""
        settings = (
            "cluster-enabled yes", "cluster-node-timeout 2000", "cluster-announce-ip 127.0.0.1",
            "cluster-allow-replica-migration no", "repl-diskless-sync-delay 0",
            mover(CLUSTER_MOVER_GRANTS),
            f"user {REPLICATOR} on >{REPLICATOR} -@all +psync +replconf +ping",
            f"masteruser {REPLICATOR}", f"masterauth {REPLICATOR}",
        )  # fmt: skip
        grants = f"{CLUSTER_GRANTS.format(table=TABLE)} {CLUSTER_NEEDED}"
        self.nodes = [
            Server(self.product, settings=(*settings, f"cluster-port {free_port()}"), grants=grants)
            for _ in range(2 * shards)
        ]
        first = self.nodes[0]
        for number, master in enumerate(self.nodes[:shards]):
            begin, end = number * SLOTS // shards, (number + 1) * SLOTS // shards - 1
            master.call("CLUSTER", "ADDSLOTSRANGE", begin, end)
            master.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            bus = node.config.read_text().rpartition("cluster-port ")[2].split()[0]
            first.call("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        eventually("all have met", lambda: all(len(self.view(node).nodes) == 2 * shards for node in self.nodes))
        for master, replica in zip(self.nodes[:shards], self.nodes[shards:], strict=True):
            eventually("it knows its master", lambda m=master, r=replica: _replicates(m, r))  # type: ignore[misc]
        self.await_order()

    def await_order(self) -> None:
        """All nodes agree, every slot is served, every replica follows."""
        eventually("the cluster is in order", self._in_order, seconds=240)

    def remove(self) -> None:
        """End and delete all."""
        for server in self.nodes:
            server.remove()

    def view(self, node: Server) -> View:
        """What a node knows."""
        said = node.call("CLUSTER", "NODES")
        assert isinstance(said, bytes)
        return parse_view(said)

    def shard(self) -> Shard:
        """The one that the keys of a run are in."""
        found = self.view(self.nodes[0]).shard_of(key_slot(self.run.encode()))
        assert found
        return found

    def key(self, client: int | str) -> str:
        """Of a client."""
        return f"{TABLE}:{{{self.run}}}:{client}"

    def pair(self) -> tuple[Server, Server]:
        """That one's master and replica."""
        shard = self.shard()
        return self.named(f"127.0.0.1:{shard.master.port}"), self.named(f"127.0.0.1:{shard.replicas[0].port}")

    def masters(self) -> list[Server]:
        """Of the shards, by their lowest slots."""
        return [self.named(f"127.0.0.1:{shard.master.port}") for shard in self.view(self.nodes[0]).shards]

    def master_of(self, key: str) -> Server:
        """Who serves a key."""
        shard = self.view(self.nodes[0]).shard_of(key_slot(key.encode()))
        assert shard
        return self.named(f"127.0.0.1:{shard.master.port}")

    def target(self) -> DatabaseTarget:
        """By one node, which need not be of the shard."""
        return described(self.nodes[0].port)

    @contextmanager
    def parted(self, master: Server) -> Iterator[None]:
        """Its replicas get nothing more from it; all else is as it was."""
        master.call("ACL", "SETUSER", REPLICATOR, "off")
        try:
            master.call("CLIENT", "KILL", "TYPE", "replica")
            yield
        finally:
            master.call("ACL", "SETUSER", REPLICATOR, "on")

    def site(self, **more: object) -> Site:
        """As the agent would be told."""
        given = {
            "operator": Operator(Credentials(MOVER, MOVER_PASSWORD)),
            "provider": ProviderTarget(provider="RedisCluster"),
            "run": self.run,
        }
        return site_of(self.target(), given | more)

    def job(self, folder: Path, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER) -> FailoverJob:
        """A test of it, its pod's files in a folder."""
        secrets = {
            "database": {"username": USER, "password": PASSWORD},
            "failover": {"username": MOVER, "password": MOVER_PASSWORD},
        }
        site = self.site()
        place = Workplace(folder, secrets=secrets)
        return FailoverJob(place, site.probe.database, site.provider, mode, uid=self.run)

    def leftovers(self) -> list[str]:
        """Keys of the probe on any node."""
        found = []
        for node in self.nodes:
            said = node.call("KEYS", f"{TABLE}:*")
            assert isinstance(said, list)
            found += [f"{self.name(node)} {key!r}" for key in said]
        return found

    def _in_order(self) -> bool:
        try:
            views = [self.view(node) for node in self.nodes]
            infos = [node.info("replication") for node in self.nodes]
            states = [node.call("CLUSTER", "INFO") for node in self.nodes]
        except (WorldFault, ReplyError, OSError):
            return False
        return (
            len({view.owners for view in views}) == 1
            and not any(node.failing for view in views for node in view.nodes)
            and all(isinstance(one, bytes) and b"cluster_state:ok" in one for one in states)
            and all(one["role"] == "master" or one["master_link_status"] == "up" for one in infos)
            and all(len(shard.replicas) == 1 for view in views for shard in view.shards)
        )


def _replicates(master: Server, replica: Server) -> bool:
    try:
        replica.call("CLUSTER", "REPLICATE", master.call("CLUSTER", "MYID"))  # type: ignore[arg-type]
    except ReplyError:
        return False
    return True
