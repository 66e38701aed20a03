"""A master, two replicas and three Sentinels of real servers, with the logins that a failover test needs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.domain.errors import WorldFault
from databosun.engines.base import Credentials
from databosun.engines.failover import Operator, Site
from databosun.engines.redis.failover.guards import MOVER_GRANTS
from databosun.engines.redis.failover.probe import GRANTS
from databosun.engines.redis.resp import Reply
from support.agentrun import Workplace
from support.failoverjob import RUN, FailoverJob
from support.redismoving import MOVER, MOVER_PASSWORD, TABLE, MovingYard, described, mover, site_of
from support.redisserver import ADMIN, PASSWORD, USER, Server
from support.waiting import eventually

MASTER = "mymaster"


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
            f"sentinel down-after-milliseconds {MASTER} 2000", f"sentinel failover-timeout {MASTER} 10000",
            f"sentinel auth-user {MASTER} {ADMIN}", f"sentinel auth-pass {MASTER} {ADMIN}",
            f"sentinel sentinel-user {ADMIN}", f"sentinel sentinel-pass {ADMIN}",
        )  # fmt: skip
        self.sentinels = [
            Server(settings=watched, sentinel=True, grants="+ping +info +sentinel") for _ in range(sentinels)
        ]
        for one in self.sentinels:
            eventually("the Sentinels know all", lambda one=one: self._knows(one, replicas, sentinels))  # type: ignore[misc]

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

    def _knows(self, sentinel: Server, replicas: int, sentinels: int) -> bool:
        said = sentinel.call("SENTINEL", "MASTERS")
        assert isinstance(said, list)
        assert isinstance(said[0], list)
        words = [word.decode() for word in said[0] if isinstance(word, bytes)]
        found = dict(zip(words[::2], words[1::2], strict=True))
        known = (found["num-slaves"], found["num-other-sentinels"])
        return known == (str(replicas), str(sentinels - 1)) and found["flags"] == "master"
