"""Three members of PostgreSQL under real Patroni, each on a loopback address of its own, and the etcd they agree by."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psycopg
import yaml

from databosun.api.failover import FailoverMode, ProviderTarget
from databosun.api.targets import DatabaseTarget
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import FailoverProvider, Operator, Site
from databosun.engines.postgresql.failover import FAILOVER
from support.agentrun import UID, Workplace
from support.failoverjob import LONG, RUN, FailoverJob
from support.patronistore import PatroniStore
from support.pgserver import ROOT, bin_dir, free_port, hand_over, identity, kill_postmaster, open_folder
from support.waiting import eventually

TABLE = "databosun_probe"
SCHEMA = f"{TABLE}_{RUN}"
PROBE, PROBE_PASSWORD = "probe", "pr0be: it"
MOVER, MOVER_PASSWORD = "mover", "m0ves: it"
TTL = 20
"""The least that Patroni takes."""
_ANSWER_SECONDS = 5.0


@cache
def patroni() -> Path:
    """A Python that has it, and that the server's user can start; brought on first use."""
    got = subprocess.run([str(ROOT / "hack/tools/tools"), "get", "patroni"], check=True, capture_output=True, text=True)
    return Path(got.stdout.strip()) / "python"


@dataclass
class Node:
    """One member: Patroni, and the server that it starts."""

    name: str
    host: str
    port: int
    rest_port: int
    folder: Path
    bin: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The server's."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Of its REST API."""
        return f"http://{self.host}:{self.rest_port}"

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin."""
        (self.folder / "patroni.yml").write_text(yaml.safe_dump(dict(config)))
        hand_over(self.folder)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(patroni()), "-m", "patroni", str(self.folder / "patroni.yml")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env={"PATH": f"{self.bin}:{os.defpath}", "LC_ALL": "C", "HOME": str(self.folder)}, **identity(),
            )  # fmt: skip

    def again(self) -> None:
        """As a supervisor does."""
        self.start(yaml.safe_load((self.folder / "patroni.yml").read_text()))

    def reload(self, **more: object) -> None:
        """Change its own configuration."""
        config = yaml.safe_load((self.folder / "patroni.yml").read_text()) | more
        (self.folder / "patroni.yml").write_text(yaml.safe_dump(config))
        assert self.process
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End Patroni and all of the server without warning, as a lost node does."""
        assert self.process
        self.process.kill()
        self.process.wait()
        kill_postmaster(self.data)

    def remove(self) -> None:
        """End and delete."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        with suppress(OSError):
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            if Path(f"/proc/{pid}/cwd").resolve() == self.data.resolve():  # and no other's that got its number
                kill_postmaster(self.data)
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self, path: str) -> Any:
        """By its REST API; None where it says nothing."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=_ANSWER_SECONDS) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """As superuser."""
        with psycopg.connect(
            host=str(self.folder), port=self.port, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing is sent to its replicas meanwhile, and so nothing that it commits is received anywhere; it commits
        something, whatever clients do."""
        senders = "SELECT pid FROM pg_stat_replication"
        eventually("it sends to two", lambda: len(self.sql(senders)) == 2, seconds=LONG)
        pids = [row[0] for row in self.sql(senders)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.sql("SELECT pg_logical_emit_message(true, 'held', 'here')")
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@dataclass
class PatroniYard:
    """`nodes`: in the order of their names. Not 17: the libpq of the pinned one is older than what Patroni writes."""

    major: int = 16
    nodes: list[Node] = field(default_factory=list)
    folder: Path | None = None
    _etcd: subprocess.Popen[bytes] | None = None
    _store: str | None = None

    def start(self) -> None:
        """Until one leads, and two stream from it."""
        self.folder = open_folder("etcd")
        client, peer = free_port(), free_port()
        self._store = where = f"http://127.0.0.1:{client}"
        among = f"http://127.0.0.1:{peer}"
        with (self.folder / "log").open("wb") as log:
            self._etcd = subprocess.Popen(
                ["etcd", "--data-dir", str(self.folder / "data"), "--unsafe-no-fsync", "--listen-client-urls", where,
                 "--advertise-client-urls", where, "--listen-peer-urls", among, "--initial-advertise-peer-urls", among,
                 "--initial-cluster", f"default={among}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity(),
            )  # fmt: skip
        port, rest = free_port(), free_port()
        for number in (1, 2, 3):
            folder = open_folder(f"n{number}")
            self.nodes.append(Node(f"n{number}", f"127.0.0.{number}", port, rest, folder, bin_dir(self.major)))
        for node in self.nodes:
            node.start(_config(node, f"127.0.0.1:{client}"))
        self.rest()
        self.leader.sql(f"CREATE ROLE {PROBE} LOGIN PASSWORD '{PROBE_PASSWORD}'")
        self.leader.sql(f"GRANT CREATE ON DATABASE postgres TO {PROBE}")

    def remove(self) -> None:
        """End and delete all; Patroni first, which waits for its store."""
        for node in self.nodes:
            node.remove()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def rest(self) -> None:
        """Until all is as it should be, whatever a test has done."""
        for node in self.nodes:
            if node.process is not None and node.process.poll() is not None:
                node.again()
        eventually("no order is under way", lambda: not self.store.order_under_way(), seconds=LONG, pause=0.1)
        eventually("one leads, and two stream", self._whole, seconds=LONG, pause=0.1)

    @property
    def store(self) -> PatroniStore:
        """What its members agree by."""
        assert self._store
        return PatroniStore(self._store)

    @property
    def leader(self) -> Node:
        """By the word of the cluster."""
        found = self._leader()
        assert found, [node.said("/cluster") for node in self.nodes]
        return found

    def named_leader(self) -> str | None:
        """None where nobody leads, or nobody says so."""
        found = self._leader()
        return found.name if found else None

    def place(self) -> tuple[str, int] | None:
        """Where whoever leads takes clients."""
        found = self._leader()
        return (found.host, found.port) if found else None

    @property
    def replicas(self) -> list[Node]:
        """All others."""
        return [node for node in self.nodes if node is not self.leader]

    def named(self, name: str) -> Node:
        """A member."""
        return next(node for node in self.nodes if node.name == name)

    def configure(self, **more: object) -> None:
        """Change what holds for the whole cluster, and wait until every member has heard."""
        self._order("PATCH", "/config", more)

        def heard() -> bool:
            return all(_holds(node.said("/config"), more) for node in self.nodes)

        eventually("every member has heard", heard, seconds=LONG)

    @contextmanager
    def synchronous(self) -> Iterator[None]:
        """What is acknowledged meanwhile is at the replica that would be promoted, too, however starved a sender is."""
        self.configure(synchronous_mode=True)
        eventually("one is waited for, and may be promoted", lambda: "sync_standby" in self._roles(), seconds=LONG)
        try:
            yield
        finally:
            self.configure(synchronous_mode=None)

    def hand_over(self, leader: str, candidate: str) -> None:
        """Have Patroni do so; returns when it has, which it says itself of what takes ten seconds at most."""
        try:
            self._order("POST", "/switchover", {"leader": leader, "candidate": candidate})
        except HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        eventually("it has handed over", lambda: self.named_leader() == candidate, seconds=LONG)

    def _order(self, method: str, path: str, words: Mapping[str, object]) -> None:
        request = urllib.request.Request(f"{self.leader.url}{path}", json.dumps(words).encode(), method=method)
        token = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        token.add_password(None, self.leader.url, MOVER, MOVER_PASSWORD)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(token))
        opener.open(request, timeout=LONG).close()

    @property
    def database(self) -> DatabaseTarget:
        """As the agent is told."""
        return DatabaseTarget(
            namespace="shop", name="shop", uid=UID, engine=EngineName.POSTGRESQL, port=self.nodes[0].port,
            hosts=[node.host for node in self.nodes], tls=TLSMode.DISABLE,
        )  # fmt: skip

    @property
    def target(self) -> ProviderTarget:
        """As the agent is told."""
        return ProviderTarget(provider="Patroni", endpoints=[node.url for node in self.nodes])

    @contextmanager
    def provider(self, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER, **more: Any) -> Iterator[FailoverProvider]:
        """Opened."""
        target = Target(self.database, Credentials(PROBE, PROBE_PASSWORD))
        until = datetime.now(UTC) + timedelta(hours=1)
        site = Site(target, Operator(Credentials(MOVER, MOVER_PASSWORD)), self.target, TABLE, RUN, until)
        with FAILOVER.open(replace(site, **more), mode) as opened:
            yield opened

    def job(self, folder: Path, mode: FailoverMode = FailoverMode.PLANNED_SWITCHOVER) -> FailoverJob:
        """A test of it."""
        secrets = {
            "database": {"username": PROBE, "password": PROBE_PASSWORD},
            "failover": {"username": MOVER, "password": MOVER_PASSWORD},
        }
        return FailoverJob(Workplace(folder, secrets=secrets), self.database, self.target, mode)

    def rows(self, node: Node) -> set[tuple[int, int]]:
        """What clients have written, as a member has it."""
        return {(int(a), int(b)) for a, b in node.sql(f"SELECT client, seq FROM {SCHEMA}.writes")}

    def leftovers(self) -> list[str]:
        """Schemas of the probe at the leader."""
        return [row[0] for row in self.leader.sql(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{TABLE}%'")]

    def writable(self) -> list[str]:
        """Members that take writes."""
        return [node.name for node in self.nodes if node.sql("SELECT NOT pg_is_in_recovery()") == [(True,)]]

    def _roles(self) -> dict[str, str]:
        """Who has it, by role; of replicas that are alike, one."""
        said = next((found for node in self.nodes if (found := node.said("/cluster"))), None)
        return {one["role"]: one["name"] for one in said["members"]} if said else {}

    def _leader(self) -> Node | None:
        name = self._roles().get("leader")
        return self.named(name) if name else None

    def _whole(self) -> bool:
        leader = self._leader()
        if leader is None:
            return False
        said = leader.said("/patroni")
        if not said or said.get("state") != "running" or said.get("role") not in ("primary", "master"):
            return False
        streams = [one for one in said.get("replication", ()) if one["state"] == "streaming"]
        return len({one["application_name"] for one in streams} & {node.name for node in self.nodes}) == 2


def _holds(config: Any, wanted: Mapping[str, object]) -> bool:
    return config is not None and all(config.get(name) == value for name, value in wanted.items())


def _config(node: Node, etcd: str) -> dict[str, Any]:
    login: Sequence[tuple[str, str]] = (
        ("superuser", "postgres"),
        ("replication", "replicator"),
        ("rewind", "rewinder"),
    )
    return {
        "scope": "shop",
        "name": node.name,
        "restapi": {
            "listen": f"{node.host}:{node.rest_port}",
            "connect_address": f"{node.host}:{node.rest_port}",
            "authentication": {"username": MOVER, "password": MOVER_PASSWORD},
        },
        "etcd3": {"host": etcd},
        "bootstrap": {
            "dcs": {
                # The most that the lease allows: a leader whose store does not answer for so long steps down by itself.
                "ttl": TTL, "loop_wait": 1, "retry_timeout": 9,
                "postgresql": {
                    "use_pg_rewind": True, "use_slots": True,
                    "parameters": {
                        "fsync": "off", "shared_buffers": "16MB", "max_connections": 60, "wal_log_hints": "on",
                        "autovacuum": "off",
                    },
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"],
        },
        "postgresql": {
            "listen": f"{node.host}:{node.port}",
            "connect_address": f"{node.host}:{node.port}",
            "data_dir": str(node.data),
            "bin_dir": str(node.bin),
            "pgpass": str(node.folder / "pgpass"),
            "parameters": {"unix_socket_directories": str(node.folder)},
            "pg_hba": [
                "local all all trust",
                "host replication replicator 127.0.0.0/8 scram-sha-256",
                "host all all 127.0.0.0/8 scram-sha-256",
            ],
            "authentication": {use: {"username": user, "password": f"{user}: it"} for use, user in login},
        },
    }  # fmt: skip
