"""A master, two replicas and three Sentinels of real servers, with the logins that a failover test needs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.domain.errors import WorldFault
from databosun.engines.base import Credentials
from databosun.engines.failover import Operator, Site
from databosun.engines.redis.failover.guards import MOVER_GRANTS
from databosun.engines.redis.failover.nodes import entries
from databosun.engines.redis.failover.probe import GRANTS
from databosun.engines.redis.resp import Reply
from support.agentrun import Workplace
from support.failoverjob import LONG, RUN, FailoverJob
from support.redismoving import MOVER, MOVER_PASSWORD, TABLE, MovingYard, described, mover, site_of
from support.redisserver import ADMIN, PASSWORD, USER, Server
from support.waiting import eventually

MASTER = "mymaster"
DOWN_AFTER = 2000
_PATIENT = 120_000
"""Milliseconds: on a busy machine a node may well say nothing for seconds, and is none to be replaced."""


@dataclass
class SentinelYard(MovingYard):
    """Nodes are named as Sentinel announces them."""

    sentinels: list[Server] = field(default_factory=list)

    def start(self, *, replicas: int = 2, sentinels: int = 3) -> None:
        """Until the Sentinels know all nodes and each other."""
        settings = (
            mover(MOVER_GRANTS),
            f"masteruser {ADMIN}", f"masterauth {ADMIN}",
        )  # fmt: skip
        self.nodes = [self._node(settings) for _ in range(1 + replicas)]
        for replica in self.nodes[1:]:
            replica.follow(self.nodes[0])
        quorum = sentinels // 2 + 1
        watched = (
            f"sentinel monitor {MASTER} 127.0.0.1 {self.nodes[0].port} {quorum}",
            f"sentinel down-after-milliseconds {MASTER} {_PATIENT}", f"sentinel failover-timeout {MASTER} 10000",
            f"sentinel auth-user {MASTER} {ADMIN}", f"sentinel auth-pass {MASTER} {ADMIN}",
            f"sentinel sentinel-user {ADMIN}", f"sentinel sentinel-pass {ADMIN}",
        )  # fmt: skip
        self.sentinels = [
            Server(settings=watched, sentinel=True, grants="+ping +info +sentinel") for _ in range(sentinels)
        ]
        for one in self.sentinels:
            eventually("the Sentinels know all", lambda one=one: self._knows(one, replicas, sentinels), LONG)  # type: ignore[misc]
        self.await_replicas()

    def remove(self) -> None:
        """End and delete all."""
        for server in (*self.sentinels, *self.nodes):
            server.remove()

    def site(self, **more: object) -> Site:
        """As the agent would be told."""
        endpoints = [f"127.0.0.1:{one.port}" for one in self.sentinels]
        given = {
            "operator": Operator(Credentials(MOVER, MOVER_PASSWORD), Credentials(USER, PASSWORD)),
            "provider": ProviderTarget(provider="Sentinel", endpoints=endpoints, master_name=MASTER),
            "run": RUN,
        }
        return site_of(described(self.sentinels[0].port), given | more)

    def job(self, folder: Path, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER) -> FailoverJob:
        """A test of it, its pod's files in a folder."""
        secrets = {
            "database": {"username": USER, "password": PASSWORD},
            "failover": {
                "username": MOVER, "password": MOVER_PASSWORD, "sentinelUsername": USER, "sentinelPassword": PASSWORD
            },
        }  # fmt: skip
        site = self.site()
        return FailoverJob(Workplace(folder, secrets=secrets), site.probe.database, site.provider, mode)

    def notice(self) -> None:
        """From now on whoever is gone for two seconds is missed."""
        for one in self.sentinels:
            if one.process.poll() is None:
                one.call("SENTINEL", "SET", MASTER, "down-after-milliseconds", DOWN_AFTER)

    def await_replicas(self) -> None:
        """Until all follow one master, and every Sentinel knows who they are."""
        eventually("all follow one master, as the Sentinels know", self._follow, LONG)

    def await_priority(self, node: Server, priority: int) -> None:
        """Until every Sentinel knows what a replica's is."""

        def heard() -> bool:
            return all(self._replicas(one).get(node.port, {}).get("slave-priority") == str(priority) for one in
                       self.sentinels)  # fmt: skip

        eventually("the Sentinels know its priority", heard, LONG)

    def leftovers(self) -> list[str]:
        """Keys of the probe on any node; who makes a node a replica ends its sessions, so it is asked until it says."""
        found = []
        for node in self.nodes:
            said: Reply = None
            while not isinstance(said, list):
                with suppress(WorldFault, OSError):
                    said = node.call("KEYS", f"{TABLE}:*")
            found += [f"{self.name(node)} {key!r}" for key in said]
        return found

    def _node(self, settings: tuple[str, ...]) -> Server:
        return Server(settings=settings, grants=GRANTS.format(table=TABLE))

    def _follow(self) -> bool:
        try:
            said = [(node.port, node.info("replication")) for node in self.nodes]
        except (WorldFault, OSError):  # who makes a node a replica ends its sessions
            return False
        followed = {one.get("master_port") for _, one in said if one.get("master_link_status") == "up"}
        masters = [port for port, one in said if one["role"] == "master"]
        replicas = {port for port, one in said if one.get("master_link_status") == "up"}
        if followed != {str(port) for port in masters} or len(masters) + len(replicas) != len(self.nodes):
            return False
        known = [self._replicas(one) for one in self.sentinels]
        return all(
            one.keys() == replicas and all(it["flags"] == "slave" and it["runid"] for it in one.values())
            for one in known
        )

    def _replicas(self, sentinel: Server) -> dict[int, Mapping[str, str]]:
        """What it knows of each, by port."""
        said = sentinel.call("SENTINEL", "REPLICAS", MASTER)
        return {int(one["port"]): one for one in entries(said)}

    def _knows(self, sentinel: Server, replicas: int, sentinels: int) -> bool:
        said = sentinel.call("SENTINEL", "MASTERS")
        assert isinstance(said, list)
        assert isinstance(said[0], list)
        words = [word.decode() for word in said[0] if isinstance(word, bytes)]
        found = dict(zip(words[::2], words[1::2], strict=True))
        known = (found["num-slaves"], found["num-other-sentinels"])
        return known == (str(replicas), str(sentinels - 1)) and found["flags"] == "master"
