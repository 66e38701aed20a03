"""MariaDB in three pods, a primary and two replicas by GTID, whose primary can be killed in the midst of a test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.failover.guards import PROBE_GRANTS
from databosun.engines.mysql.failover.words import words_of
from support.clusterapi import Object
from support.failoverruns import PATIENT, FailoverRuns
from support.stackplace import GROUP, database_of, secret

IMAGE = "localhost/databosun/runner-mariadb:10.11-dev"
MEMBERS = ("maria-0", "maria-1", "maria-2")
PASSWORD = "only-for-the-test"
_SCHEMA = "databosun_probe"
# Not the first process of its container, which no signal of the container's own ends. It takes no writes by itself.
_START = """
set -eu
mkdir -p /data/tmp
if [ ! -d /data/db/mysql ]; then
  mariadb-install-db --no-defaults --datadir=/data/db --auth-root-authentication-method=normal --skip-test-db >/dev/null
fi
mariadbd --no-defaults --datadir=/data/db --tmpdir=/data/tmp --socket=/data/socket --pid-file=/data/pid \\
  --bind-address=0.0.0.0 --skip-name-resolve --log-bin=/data/db/bin --log-slave-updates --server-id=$1 \\
  --binlog-format=ROW --sync-binlog=1 --read-only=ON --rpl-semi-sync-slave-enabled=ON &
wait $!
"""
_SQL = "mariadb --no-defaults --socket=/data/socket --user=root --batch --skip-column-names"
# Whoever makes the server read-only waits for a table that is locked, a few seconds, and then the server dies: by one
# session that looks all the time, and says when it has begun.
_LOCK = "CREATE TABLE IF NOT EXISTS kept.lock_me (i INT); LOCK TABLES kept.lock_me WRITE; SELECT SLEEP(3600)"
_LOCKED = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(3600)'"
_DIE = f"""
{{
  echo "SELECT 'looks';"
  while sleep 0.05; do echo "SELECT info FROM information_schema.processlist;"; done
}} | {_SQL} --unbuffered | while read -r line; do
  case $line in
    looks) echo looks ;;
    'SET GLOBAL read_only'*) kill -9 "$(cat /data/pid)"; exit ;;
  esac
done
"""
# A replica that stands still meanwhile is waited for all the same, and no commit goes without one.
_PATIENT = "SET GLOBAL rpl_semi_sync_master_timeout = 3600000"


@dataclass(frozen=True, slots=True)
class MariaPods(FailoverRuns):
    """In a namespace of a test's own."""

    database: str = "maria"

    def start(self) -> None:
        """Bring them up: each with the logins, and each commit at two of them before it is acknowledged."""
        script = {"start.sh": _START}
        self.place.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "maria"}, "data": script})
        for number, member in enumerate(MEMBERS, start=1):
            self.place.apply(*_pod(member, number))
        for member in MEMBERS:
            argv = ["rollout", "status", "-n", self.place.namespace, f"deployment/{member}", "--timeout=240s"]
            self.place.stack.kubectl(*argv)
        primary = MEMBERS[0]
        self.sql(primary, "SET GLOBAL read_only = 0; CREATE DATABASE kept")
        self.sql(
            primary, f"CREATE USER repl@'%' IDENTIFIED BY '{PASSWORD}'; GRANT REPLICATION SLAVE ON *.* TO repl@'%'"
        )
        for member in MEMBERS[1:]:
            source = f"MASTER_HOST='{self.host(primary)}', MASTER_USER='repl', MASTER_PASSWORD='{PASSWORD}'"
            self.sql(member, f"CHANGE MASTER TO {source}, MASTER_USE_GTID=slave_pos; START SLAVE")
        self.sql(primary, f"CREATE USER probe@'%' IDENTIFIED BY '{PASSWORD}'")
        self.sql(primary, f"GRANT {', '.join(PROBE_GRANTS)} ON `{_SCHEMA}`.* TO probe@'%'")
        self.sql(primary, f"CREATE USER mover@'%' IDENTIFIED BY '{PASSWORD}'")
        self.sql(primary, f"GRANT {', '.join(words_of(EngineName.MARIADB).mover)} ON *.* TO mover@'%'")
        self.whole()
        for user in ("probe", "mover"):
            self.place.apply(secret(f"maria-{user}", username=user, password=PASSWORD))
        database = database_of(self.database, "unused", engine="MariaDB", environment="Production")
        database["spec"]["connection"] = {
            "hosts": [self.host(member) for member in MEMBERS],
            "credentialsSecretRef": {"name": "maria-probe"}, "tls": {"mode": "Disable"},
        }  # fmt: skip
        database["spec"]["replication"] = {"provider": "MariaDBReplication"}
        self.place.apply(database)

    def test(self, name: str, mode: str) -> None:
        """A FailoverTest."""
        spec = {
            "databaseRef": {"name": self.database}, "mode": mode, "cooldown": "0s",
            "objectives": {"writeDowntime": PATIENT},
            "evidence": {"storageRef": {"name": "backups"}}, "credentialsSecretRef": {"name": "maria-mover"},
            "guards": {"requireRecentBackup": "0s", "requireProvenBackup": "0s"},
        }  # fmt: skip
        self.place.apply({"apiVersion": GROUP, "kind": "FailoverTest", "metadata": {"name": name}, "spec": spec})

    # --- members

    def host(self, member: str) -> str:
        """As everybody calls it."""
        return f"{member}.{self.place.namespace}.svc"

    def member(self, name: str) -> str:
        """By the name that a plan has."""
        return name.partition(".")[0]

    def sql(self, member: str, statements: str) -> str:
        """As root, in the pod; what they print."""
        return self._exec(member, *_SQL.split(), "-e", statements).strip()

    def writable(self) -> list[str]:
        """All that take writes."""
        return [member for member in MEMBERS if self.sql(member, "SELECT @@read_only") == "0"]

    def followed(self, member: str) -> bool:
        """Whether both others have all that it wrote."""
        wanted = self.sql(member, "SELECT @@gtid_binlog_pos")
        others = [one for one in MEMBERS if one != member]
        return [self.sql(one, f"SELECT MASTER_GTID_WAIT('{wanted}', 5)") for one in others] == ["0", "0"]

    def whole(self) -> None:
        """Have the primary wait for its replicas (semi-synchronous), once both follow."""
        (primary,) = self.writable()
        self.sql(primary, "SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'")
        self.sql(primary, "SET GLOBAL rpl_semi_sync_master_enabled = 1")
        asked = "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'"
        self.place.wait("both replicas are waited for", lambda: self.sql(primary, asked).endswith("2"), 120)
        self.place.wait("both have it all", lambda: self.followed(primary), 120)

    @contextmanager
    def doomed(self, member: str) -> Iterator[None]:
        """Killed by -9 when an agent makes it read-only; its container is started again by the kubelet. Until then each
        commit waits for a replica, however long that takes."""
        self.sql(member, _PATIENT)
        inside = ("kubectl", "exec", "-n", self.place.namespace, f"deployment/{member}", "--")
        environment = self.place.stack.cluster.environment
        with ExitStack() as programs:

            def begin(*argv: str) -> subprocess.Popen[str]:
                started = subprocess.Popen([*inside, *argv], env=environment, stdout=subprocess.PIPE, text=True)
                program = programs.enter_context(started)
                programs.callback(program.kill)
                return program

            begin(*_SQL.split(), "-e", _LOCK)
            self.place.wait("a table is locked", lambda: self.sql(member, _LOCKED) == "1", 60)
            said = begin("sh", "-c", _DIE).stdout
            assert said is not None
            assert said.readline() == "looks\n", "nobody looks for who makes it read-only"
            yield

    def restarts(self, member: str) -> int:
        """How often its container was started again."""
        (pod,) = self.place.stack.api.list("pods", self.place.namespace, f"app={member}")
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    def left(self) -> str:
        """Schemas of clients that are there still, on whatever member."""
        there = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '{_SCHEMA}%'"
        return "".join(self.sql(member, there) for member in MEMBERS)

    def _exec(self, member: str, *argv: str) -> str:
        return self.place.stack.kubectl("exec", "-n", self.place.namespace, f"deployment/{member}", "--", *argv)


def _pod(member: str, number: int) -> list[Object]:
    labels = {"app": member}
    container = {
        "name": "mariadb", "image": IMAGE, "imagePullPolicy": "Never",
        "command": ["sh", "/config/start.sh", str(number)],
        "startupProbe": {"tcpSocket": {"port": 3306}, "periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": {"tcpSocket": {"port": 3306}, "periodSeconds": 5},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "config", "mountPath": "/config"}],
    }  # fmt: skip
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "maria"}}]
    pod = {
        "automountServiceAccountToken": False, "containers": [container], "volumes": volumes,
        "securityContext": {"fsGroup": 65532, "runAsNonRoot": True, "runAsUser": 65532},
    }  # fmt: skip
    spec = {
        "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }  # fmt: skip
    # One that is being started again is asked all the same: a name that leads nowhere is no answer.
    service = {"selector": labels, "ports": [{"port": 3306}], "publishNotReadyAddresses": True, "clusterIP": "None"}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": member}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": member}, "spec": service},
    ]
