"""A scripted replica set that behaves as its manual says: logs, terms, votes, elections, freezes, rollbacks.

Each member is a `MongoPeer`, asked by the real driver. What a member does not do by itself is said: who dies, who
comes back, who receives nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import Int64
from bson.timestamp import Timestamp

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverProvider, Operator, Site
from databosun.engines.mongodb.failover import FAILOVER
from support.agentrun import UID, Workplace
from support.failoverjob import RUN, FailoverJob
from support.mongopeer import Document, HungUp, MongoPeer, Refused

TABLE = "databosun_probe"
SPACE = f"{TABLE}.writes_{RUN}"
ELECTION_SECONDS = 1.0
ROLLING_SECONDS = 4.0
RECOVERING, ARBITER, DOWN, ROLLBACK = 3, 7, 8, 9


@dataclass(frozen=True)
class Entry:
    """One of a log. `key`: of the document that it inserts; None: it changes nothing."""

    ts: int
    term: int
    key: int | None = None

    def optime(self) -> Document:
        return {"ts": Timestamp(1_770_000_000 + self.ts, 1), "t": Int64(self.term)}


@dataclass
class Node:
    """One member. `deaf`: it receives nothing; `starting`: it answers, and has not read its configuration yet."""

    peer: MongoPeer
    config: Document
    log: list[Entry] = field(default_factory=lambda: [Entry(0, 1)])
    alive: bool = True
    deaf: bool = False
    starting: bool = False
    rolling: bool = False
    frozen: float = 0.0

    @property
    def name(self) -> str:
        return self.peer.name

    @property
    def electable(self) -> bool:
        return not self.starting and bool(self.config.get("priority", 1)) and not self.config.get("arbiterOnly")

    @property
    def keys(self) -> list[int]:
        return [one.key for one in self.log if one.key is not None]


class MongoSet:
    """Members by what `replSetGetConfig` says of each besides its address; the first is primary. `remove` it in the
    end. `careless`: it acknowledges what no majority has. `shows`: of a rollback its `state`, its `oplog`, or `all`."""

    def __init__(self, *members: Document) -> None:
        self._lock = threading.RLock()
        self.term = 1
        self.version = 3
        self.careless = False
        self.shows = "all"
        self.privileges: list[Document] | None = None
        self.elected = Entry(0, 1)
        self.killed = 0.0
        self._clock = 0
        self.nodes = [
            Node(MongoPeer(role="secondary"), {"_id": n, **one}) for n, one in enumerate(members or ({},) * 3)
        ]
        self.primary: Node | None = self.nodes[0]
        for node in self.nodes:
            self._teach(node)

    def remove(self) -> None:
        for node in self.nodes:
            if node.alive:
                node.peer.close()

    def named(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @property
    def replicas(self) -> list[Node]:
        return [node for node in self.nodes if node is not self.primary]

    # --- what happens to it

    def kill(self, node: Node, *, unsent: int = 0) -> None:
        """It is gone in this moment, with so many writes that nobody else has; the others notice after their
        timeout."""
        with self._lock:
            node.log += [self._next(-1 - number) for number in range(unsent)]
            node.alive = False
            led, self.primary = self.primary is node, None if self.primary is node else self.primary
        node.peer.close()
        self.killed = time.monotonic()
        if led:
            threading.Timer(ELECTION_SECONDS, self._elect).start()

    def revive(self, node: Node) -> None:
        """It comes back; what it alone has it rolls back."""
        with self._lock:
            node.alive = True
            lead = self.primary
            if lead is not None and node.log[-1] not in lead.log:
                node.rolling = True
                threading.Timer(ROLLING_SECONDS, self._rolled_back, [node]).start()
            else:
                self._follow(node)
        node.peer.again()

    def write(self, key: int) -> None:
        """At the primary alone, as a client with `w: 1` does."""
        with self._lock:
            assert self.primary
            self.primary.log.append(self._next(key))

    def _rolled_back(self, node: Node) -> None:
        node.rolling = False
        self._follow(node)

    def _follow(self, node: Node) -> None:
        with self._lock:
            if self.primary is not None and not node.deaf and not node.rolling:
                node.log[:] = self.primary.log

    def _elect(self, among: list[Node] | None = None) -> None:
        """The first that may be, by priority; none where there are too few votes."""
        with self._lock:
            now = time.monotonic()
            voters = [node for node in self.nodes if node.alive and node.config.get("votes", 1)]
            fit = [
                node for node in among or self.nodes
                if node.alive and node.electable and node.frozen <= now and self._votes(node, voters) >= self._needed()
            ]  # fmt: skip
            if self.primary is not None:
                return
            if not fit or len(voters) < self._needed():
                threading.Timer(0.2, self._elect).start()
                return
            new = max(fit, key=lambda node: (node.config.get("priority", 1), -node.config["_id"]))
            self.term += 1
            self.elected = new.log[-1]
            self.primary = new
            new.log.append(self._next())
            for node in self.nodes:
                if node.alive:
                    self._follow(node)

    @staticmethod
    def _votes(node: Node, voters: list[Node]) -> int:
        """Nobody votes for one that has less; an arbiter has nothing."""
        return len([one for one in voters if one.config.get("arbiterOnly") or node.log[-1].ts >= one.log[-1].ts])

    def _next(self, key: int | None = None) -> Entry:
        self._clock += 1
        return Entry(self._clock, self.term, key)

    def _needed(self) -> int:
        return sum(int(node.config.get("votes", 1)) for node in self.nodes) // 2 + 1

    # --- what it is asked

    def _teach(self, node: Node) -> None:
        def told(answer: Any) -> Any:
            def locked(command: Document) -> Document:
                with self._lock:
                    found: Document = answer(node, command)
                    return found

            return locked

        answers = {
            "hello": self._hello, "ismaster": self._hello, "replSetGetConfig": self._config,
            "replSetGetStatus": self._status, "replSetFreeze": self._freeze, "replSetStepDown": self._step_down,
            "create": self._create, "drop": self._drop, "connectionStatus": self._privileges,
        }  # fmt: skip
        node.peer.on |= {name: told(answer) for name, answer in answers.items()}
        node.peer.on["insert"] = lambda command: self._insert(node, command)
        node.peer.on["find"] = lambda command: self._find(node, command)

    def _hello(self, node: Node, _: Document) -> Document:
        last, now = node.log[-1], datetime.now(UTC)
        if node.starting:
            said = {name: value for name, value in node.peer.hello.items() if name not in ("setName", "hosts", "me")}
            return said | {"localTime": now, "helloOk": True, "isWritablePrimary": False, "isreplicaset": True}
        written = now if self.primary is None or last == self.primary.log[-1] else now - timedelta(seconds=30)
        return {
            **node.peer.hello, "localTime": now, "helloOk": True, "isWritablePrimary": node is self.primary,
            "ismaster": node is self.primary,
            "secondary": node is not self.primary and not node.rolling and not node.config.get("arbiterOnly"),
            "primary": self.primary.name if self.primary else None,
            "hosts": [one.name for one in self.nodes if not one.config.get("arbiterOnly")],
            "lastWrite": {"lastWriteDate": written}
            | ({} if node.rolling and self.shows == "state" else {"opTime": last.optime()}),
        }  # fmt: skip

    def _config(self, *_: object) -> Document:
        members = [{**node.config, "host": node.name} for node in self.nodes]
        settings = {"electionTimeoutMillis": int(ELECTION_SECONDS * 1000)}
        return {"config": {"_id": "rs0", "version": self.version, "members": members, "settings": settings}}

    def _state(self, node: Node) -> int:
        if not node.alive:
            return DOWN
        if node.config.get("arbiterOnly"):
            return ARBITER
        rolling = RECOVERING if self.shows == "oplog" else ROLLBACK
        return 1 if node is self.primary else rolling if node.rolling else 2

    def _status(self, *_: object) -> Document:
        data = sum(node.config.get("votes", 1) and not node.config.get("arbiterOnly") for node in self.nodes)
        return {
            "set": "rs0", "term": Int64(self.term), "majorityVoteCount": self._needed(),
            "writeMajorityCount": min(self._needed(), data),
            "electionCandidateMetrics": {"lastSeenOpTimeAtElection": self.elected.optime(), "numCatchUpOps": Int64(0)},
            "members": [
                {
                    "name": node.name, "state": self._state(node), "health": float(node.alive),
                    "optime": node.log[-1].optime(), "configVersion": node.config.get("version", self.version),
                }
                for node in self.nodes
            ],
        }  # fmt: skip

    def _freeze(self, node: Node, command: Document) -> Document:
        if node is self.primary:
            raise Refused(95, "cannot freeze node when primary", "NotSecondary")
        node.frozen = time.monotonic() + command["replSetFreeze"]
        return {}

    def _step_down(self, node: Node, command: Document) -> Document:
        if node is not self.primary:
            raise Refused(10107, "not primary so can't step down", "NotWritablePrimary")
        assert command["replSetStepDown"] > command["secondaryCatchUpPeriodSecs"]
        caught = [one for one in self.nodes if one is not node and one.alive and one.log[-1] == node.log[-1]]
        if not command.get("force") and not any(one.electable for one in caught):
            raise Refused(262, "No electable secondaries caught up", "ExceededTimeLimit")
        self.primary, node.frozen = None, time.monotonic() + command["replSetStepDown"]
        handed = max(
            (one for one in caught if one.electable),
            key=lambda one: (one.config.get("priority", 1), -one.config["_id"]),
        )
        if handed.frozen <= time.monotonic():
            threading.Timer(0.05, self._elect, [[handed]]).start()
        else:
            threading.Timer(ELECTION_SECONDS, self._elect).start()
        return {}

    def _create(self, node: Node, _: Document) -> Document:
        self._demand_primary(node)
        if SPACE in node.peer.spaces:
            raise Refused(48, "it is there", "NamespaceExists")
        for one in self.nodes:
            one.peer.spaces[SPACE] = []
        return {}

    def _drop(self, node: Node, _: Document) -> Document:
        self._demand_primary(node)
        if node.peer.spaces.pop(SPACE, None) is None:
            raise Refused(26, "ns not found", "NamespaceNotFound")
        for one in self.nodes:
            one.peer.spaces.pop(SPACE, None)
        return {}

    def _privileges(self, *_: object) -> Document:
        if self.privileges is None:
            return {"authInfo": {"authenticatedUsers": [], "authenticatedUserPrivileges": []}}
        users = [{"user": "mover", "db": "admin"}]
        return {"authInfo": {"authenticatedUsers": users, "authenticatedUserPrivileges": self.privileges}}

    def _insert(self, node: Node, command: Document) -> Document:
        concern = command["writeConcern"]
        assert concern["w"] == "majority"
        with self._lock:
            self._demand_primary(node)
            made = self._next(int(command["documents"][0]["_id"]))
            node.log.append(made)
        until = time.monotonic() + concern.get("wtimeout", 60_000) / 1000
        while time.monotonic() < until:
            with self._lock:
                if not node.alive:
                    raise HungUp
                if node is not self.primary:
                    said = {"code": 11602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "stepped down"}
                    return {"n": 1, "writeConcernError": said}
                for one in self.nodes:
                    if one.alive and one is not node:
                        self._follow(one)
                having = sum(made in one.log for one in self.nodes if one.alive and one.config.get("votes", 1))
                if self.careless or having >= self._needed():
                    return {"n": 1}
            time.sleep(0.01)
        return {"n": 1, "writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "timed out"}}

    def _find(self, node: Node, command: Document) -> Document:
        space = f"{command['$db']}.{command['find']}"
        if space != SPACE:
            return node.peer._find(command)
        wanted = (command.get("filter") or {}).get("_id")
        with self._lock:
            found = [{"_id": Int64(key)} for key in node.keys if wanted in (None, key)]
        return {"cursor": {"id": Int64(0), "ns": space, "firstBatch": found}}

    def _demand_primary(self, node: Node) -> None:
        if node is not self.primary:
            raise Refused(10107, "not primary", "NotWritablePrimary")

    # --- how it is tested

    @property
    def database(self) -> DatabaseTarget:
        """As the agent is told: one member is enough."""
        return DatabaseTarget(
            namespace="shop", name="orders", uid=UID, engine=EngineName.MONGODB, hosts=["127.0.0.1"],
            port=self.nodes[-1].peer.port, tls=TLSMode.DISABLE,
        )  # fmt: skip

    @contextmanager
    def provider(self, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER, **more: Any) -> Iterator[FailoverProvider]:
        """Opened. Nobody has to log in."""
        nobody = Credentials("", "")
        target = Target(self.database, nobody)
        until = datetime.now(UTC) + timedelta(hours=1)
        site = Site(target, Operator(nobody), ProviderTarget(provider="ReplicaSet"), TABLE, RUN, until)
        with FAILOVER.open(replace(site, **more), mode) as opened:
            yield opened

    def job(self, folder: Path, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER) -> FailoverJob:
        """A test of it."""
        return FailoverJob(Workplace(folder, secrets={}), self.database, ProviderTarget(provider="ReplicaSet"), mode)

    def asked(self, command: str) -> list[tuple[str, Document]]:
        """By whom it was taken."""
        return [(node.name, one) for node in self.nodes for one in node.peer.asked(command)]

    def leftovers(self) -> list[str]:
        """Members that hold the probe's collection, or are frozen."""
        now = time.monotonic()
        return [
            node.name for node in self.nodes
            if SPACE in node.peer.spaces or (node.frozen > now and node is not self.nodes[0])
        ]  # fmt: skip
