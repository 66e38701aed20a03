"""A PostgreSQL server of a test's own, in a pod of its namespace, which it may destroy; and what ships its log."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from databosun.domain.wal import parse_lsn
from support.clusterapi import Object
from support.stack import IMAGE, PASSWORD, ROOT
from support.stackfaults import end, freeze
from support.stackplace import Place

PSQL = ("psql", "-qAtX", "-h", "/data", "-U", "postgres", "-v", "ON_ERROR_STOP=1")
COMMITS = "commits"
CONTINUOUS = {"enabled": True, "maxLag": "5s", "maxRetained": "1Gi"}
_INITDB = "initdb -D /data/pg -k "
_SETTINGS = "echo \"max_wal_size = '4GB'\""
_MOUNTS = "volumeMounts: ["
_VOLUMES = "      volumes:\n"
_PROBED = "          readinessProbe: {tcpSocket: {port: 5432}, periodSeconds: 5}\n"
_MADE = re.compile(r"if \[ ! -s /data/pg/PG_VERSION \].*?\n +fi\n", re.DOTALL)
_COPIED = """[ -s /data/pg/PG_VERSION ] || pg_basebackup -D /data/pg -c fast -R \\
        -d 'host={host} user=backup password={password}'
"""


@dataclass(frozen=True, slots=True)
class Source:
    """The server `name`; a Service of that name leads to it. Its data is gone with its pod."""

    place: Place
    name: str = "orders"

    def start(
        self, *, major: int = 18, initdb: str = "-k", settings: str = "", files: Mapping[str, Path] | None = None
    ) -> Source:
        """Have it running. `initdb`: options; `settings`: lines of postgresql.conf, separated by semicolons;
        `files`: what its image lacks, by their places below /opt/postgresql."""
        text = (ROOT / "hack/demo/orders.yaml").read_text()
        assert IMAGE.format(major=18) in text
        text = self._with_files(text.replace(IMAGE.format(major=18), IMAGE.format(major=major)), files or {})
        assert _INITDB in text
        assert _SETTINGS in text
        lines = "".join(f'echo "{line.strip()}"; ' for line in settings.split(";") if line.strip())
        text = text.replace(_INITDB, f"initdb -D /data/pg {initdb} ").replace(_SETTINGS, f"{lines}{_SETTINGS}")
        return self._run(text)

    def follow(self, primary: Source) -> Source:
        """Have it running as a streaming standby."""
        text = (ROOT / "hack/demo/orders.yaml").read_text()
        copied, count = _MADE.subn(lambda _: _COPIED.format(host=primary.host, password=PASSWORD), text)
        assert count == 1
        return self._run(copied)

    def _run(self, text: str) -> Source:
        assert _PROBED in text
        text = text.replace(_PROBED, "")  # so that every connection is somebody's
        text = text.replace("{name: orders}", f"{{name: {self.name}}}").replace("app: orders", f"app: {self.name}")
        self.place.stack.kubectl("apply", "-n", self.place.namespace, "-f", "-", input=text)
        self.place.stack.kubectl("rollout", "status", "-n", self.place.namespace, self._deployment, "--timeout=240s")
        return self

    def _with_files(self, text: str, files: Mapping[str, Path]) -> str:
        if not files:
            return text
        assert _MOUNTS in text
        assert _VOLUMES in text
        name = f"{self.name}-files"
        data = {where.replace("/", "_"): base64.b64encode(file.read_bytes()).decode() for where, file in files.items()}
        self.place.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data})
        mounts = "".join(
            f"{{name: files, mountPath: /opt/postgresql/{where}, subPath: {where.replace('/', '_')}}}, "
            for where in files
        )
        # A library of Debian's looks for libpq where Debian has it.
        found = "env: [{name: LD_LIBRARY_PATH, value: /opt/postgresql/lib}]\n          "
        text = text.replace(_MOUNTS, f"{found}{_MOUNTS}{mounts}")
        return text.replace(_VOLUMES, f"{_VOLUMES}        - {{name: files, configMap: {{name: {name}}}}}\n")

    @property
    def _deployment(self) -> str:
        return f"deployment/{self.name}"

    @property
    def host(self) -> str:
        """Its name for pods."""
        return f"{self.name}.{self.place.namespace}.svc"

    def sql(self, statement: str, dbname: str = "orders") -> str:
        """What psql prints."""
        return self.run(*PSQL, "-d", dbname, input=statement).strip()

    def run(self, *argv: str, input: str | None = None) -> str:
        """Run a program in its pod."""
        exec_in = ("exec", "-i", "-n", self.place.namespace, self._deployment, "--")
        return self.place.stack.kubectl(*exec_in, *argv, input=input)

    def pod(self) -> Object:
        """Its pod."""
        (pod,) = self.place.stack.api.list("pods", self.place.namespace, f"app={self.name}")
        return pod

    def lose(self) -> None:
        """Have it vanish with its node: in mid-sentence, with all that it has, and nobody starts it again."""
        pod, kubectl = self.pod(), self.place.stack.kubectl
        frozen = freeze(pod, "postgres")
        kubectl("delete", "-n", self.place.namespace, self._deployment, "--cascade=orphan")
        kubectl("delete", "-n", self.place.namespace, "replicaset", "-l", f"app={self.name}", "--cascade=orphan")
        kubectl("delete", "-n", self.place.namespace, "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        end(frozen)


@dataclass
class Commits:
    """A client that commits a row into `beats` every so many seconds, by the server's clock, and notes what is
    acknowledged. Ends with its connection."""

    source: Source
    every: float = 0.1
    acknowledged: list[tuple[int, datetime]] = field(default_factory=list)

    def __enter__(self) -> Commits:
        self.source.sql("create table if not exists beats (i bigserial primary key, at timestamptz, filler text)")
        where = ("-n", self.source.place.namespace, f"deployment/{self.source.name}")
        database = f"dbname=orders application_name={COMMITS}"
        argv = ["kubectl", "exec", "-i", *where, "--", "stdbuf", "-oL", *PSQL, "-d", database]
        environment = self.source.place.stack.cluster.environment
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(argv, env=environment, text=True, **streams)
        row = "insert into beats (at, filler) values (clock_timestamp(), repeat(md5(random()::text), 20))"
        assert self._process.stdin
        self._process.stdin.write(f"{row} returning i || ' ' || extract(epoch from at) \\watch i={self.every}\n")
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.source.place.wait("it commits", lambda: bool(self.acknowledged), 30)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._reader.join(timeout=30)
        # Its program in the pod goes on until it finds that nobody listens. A server that is gone has no such session.
        mine = f"from pg_stat_activity where application_name = '{COMMITS}'"
        with suppress(AssertionError):
            self.source.sql(f"select pg_terminate_backend(pid, 30000) {mine}")

    def _read(self) -> None:
        for line in self._process.stdout or ():
            number, _, at = line.strip().partition(" ")
            if at:
                self.acknowledged.append((int(number), datetime.fromtimestamp(float(at), UTC)))


@dataclass(frozen=True, slots=True)
class Shipping:
    """Continuous archiving of one Database, as the cluster tells of it."""

    place: Place
    database: str = "orders"

    def health(self) -> tuple[str, str]:
        """Status and reason of ContinuousHealthy."""
        found = self.place.condition("databases", self.database, "ContinuousHealthy")
        return found.get("status", ""), found.get("reason", "")

    def wait_until_healthy(self, seconds: float = 300) -> None:
        """Until the log is shipped, and there is a backup to replay it onto."""
        self.place.wait("the log is shipped", lambda: self.health() == ("True", "Archiving"), seconds)

    def latest(self) -> datetime:
        """The newest instant that can be restored to."""
        return datetime.fromisoformat(self.place.status("databases", self.database)["recovery"]["latest"])

    def claimed(self) -> datetime:
        """Up to when all can be had back, in the archiver's own words."""
        return datetime.fromisoformat(self.line().get("recoverableAt", "1970-01-01T00:00:00Z"))

    def gaps(self) -> list[Object]:
        """The gaps that are known."""
        found: list[Object] = self.place.status("databases", self.database).get("recovery", {}).get("gaps", [])
        return found

    def pod(self) -> Object | None:
        """The archiver's pod, where one is alive."""
        name = self.place.status("databases", self.database).get("archiver", {}).get("name")
        pods = self.place.stack.api.list("pods", self.place.namespace, "databosun.io/task=archive")
        alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        mine = [pod for pod in alive if name is None or pod["metadata"]["name"].startswith(f"{name}-")]
        return mine[0] if mine else None

    def line(self) -> dict[str, Any]:
        """The newest position line of the archiver."""
        pod = self.pod()
        if pod is None:
            return {}
        where = ("-n", self.place.namespace, pod["metadata"]["name"])
        log = self.place.stack.kubectl("logs", *where, "--tail=20", check=False)
        lines: list[dict[str, Any]] = [json.loads(one) for one in log.splitlines() if '"event":"position"' in one]
        return lines[-1] if lines else {}

    def stored_position(self) -> int:
        """The end of what the archiver says to be in the bucket."""
        lsn = self.line().get("lsn")
        return parse_lsn(lsn) if lsn else 0

    def drained(self, source: Source, seconds: float = 60) -> None:
        """Wait until everything that the server has written is in the bucket."""
        written = parse_lsn(source.sql("select pg_current_wal_lsn()"))
        self.place.wait("the bucket has the server's log", lambda: self.stored_position() >= written, seconds)

    def recoverable_since(self, committed: datetime) -> bool:
        """Whether what was committed by then can be restored."""
        return self.latest() >= committed


def now() -> datetime:
    """The instant, by the clock of the cluster's only machine."""
    return datetime.now(UTC)
