"""MariaDB in a pod: dumped, its files copied, its log shipped by pods of its own image, killed, and brought back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from e2e.test_drills import CUSTOMERS, SCHEDULES
from e2e.test_restores import later, verdict
from support.clusterapi import Object
from support.stack import ROOT
from support.stackfaults import kill
from support.stackplace import GROUP, PATIENCE, Place, ask_for_drill, database_of, policy
from support.stacksource import Shipping

pytestmark = pytest.mark.e2e

IMAGE = "localhost/databosun/runner-mariadb:10.11-dev"
SERVER_USER = 4321
MAX_LAG, ENOUGH = "5s", 20
ROWS = {**CUSTOMERS, "name": "orders", "database": "orders", "table": "orders.orders", "min": 30_100, "max": 30_100}
NO_HOLE = "SELECT COUNT(*) = MAX(i) FROM orders.ticks"
DROPPED = "SELECT COUNT(*) = 0 FROM information_schema.TABLES WHERE TABLE_NAME = 'invoices'"
FILL = """
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(200), KEY (note));
INSERT INTO orders (note) SELECT SHA2(seq, 512) FROM seq_1_to_30000;
CREATE VIEW newest AS SELECT MAX(id) AS id FROM orders;
CREATE TRIGGER kept BEFORE UPDATE ON orders FOR EACH ROW SET NEW.note = OLD.note;
CREATE EVENT gone ON SCHEDULE EVERY 1 SECOND DO DELETE FROM orders;
CREATE TABLE ticks (i INT PRIMARY KEY);
"""
# The instant is that of the second after the rows, as a person would give it; the drop comes after it.
ACCIDENT = """
CREATE TABLE invoices AS SELECT seq AS i, MD5(seq) AS v FROM seq_1_to_5000;
SELECT UTC_TIMESTAMP() + INTERVAL 1 SECOND;
DO SLEEP(2);
DROP TABLE invoices;
"""
# Each line is a commit that was acknowledged, with the server's clock after it.
TICKS = """
i=0
while i=$((i + 1)); do
  echo "INSERT INTO ticks VALUES ($i); SELECT $i, UNIX_TIMESTAMP(NOW(6));"
  sleep 0.02
done | mariadb --no-defaults --socket=/data/socket --user=root --batch --skip-column-names --unbuffered orders
"""
SERVER = (
    "exec mariadbd --no-defaults --datadir=/restore/data --socket=/tmp/socket --pid-file=/tmp/pid --skip-networking"
)


@dataclass(frozen=True, slots=True)
class Shop:
    """A server that was killed. `dump`: a logical Full; `files`: a physical one, on which the Incremental stands.
    `instant`: just before a table was dropped; `kept`: commits that must be back, since the archiver said that
    all up to then are."""

    place: Place
    dump: str
    files: str
    instant: datetime
    kept: int


def sql(place: Place, statements: str, where: str = "deployment/mariadb", socket: str = "/data/socket") -> str:
    """Run statements as root, in the server's pod; what they print."""
    client = ["mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "--batch", "--skip-column-names"]
    arguments = ["exec", "-i", "-n", place.namespace, where, "--", *client, "orders"]
    return place.stack.kubectl(*arguments, input=statements).strip()


@pytest.fixture(scope="module")
def shop(place: Place) -> Iterator[Shop]:
    """Fulls of both methods, rows, a table that is dropped, an Incremental, commits until kill -9."""
    with restored_volume(place), own_volume(place, "data", IMAGE, SERVER_USER):
        place.stack.kubectl("apply", "-n", place.namespace, "-f", "-", input=on_a_claim())
        place.stack.kubectl("rollout", "status", "-n", place.namespace, "deployment/mariadb", "--timeout=240s")
        sql(place, FILL)
        files = {"claimName": "data"}
        database: Object = database_of("shop", f"mariadb.{place.namespace}.svc", engine="MariaDB", dataVolume=files)
        continuous = {"enabled": True, "maxLag": MAX_LAG}
        place.apply(database, policy("shop", method="Logical", schedules=SCHEDULES, continuous=continuous))
        place.ready("databases", "shop")
        healthy = "ContinuousHealthy"
        place.wait("the log is shipped", lambda: place.condition("databases", "shop", healthy).get("status") == "True")
        (dump,) = (one["metadata"]["name"] for one in place.backups("shop"))
        status = place.succeeded(dump)
        assert (status["engine"], status["method"], status["position"]["gtid"][:2]) == ("MariaDB", "Logical", "0-")
        place.back_up("files", "shop", method="Physical")
        status = place.succeeded("files")
        assert (status["method"], status["position"]["gtid"][:2]) == ("Physical", "0-")
        sql(place, "INSERT INTO orders (note) SELECT seq FROM seq_1_to_100;")
        instant = datetime.fromisoformat(sql(place, ACCIDENT)).replace(tzinfo=UTC)
        place.back_up("incremental", "shop", type="Incremental", method="Auto")
        assert place.succeeded("incremental")["parent"] == "files"
        kept = commits_until_killed(place)
        place.stack.kubectl("delete", "-n", place.namespace, "deployment/mariadb", "--now")
        yield Shop(place, dump, "files", instant, kept)


def on_a_claim() -> str:
    """The demo's server with its data in a claim, as another user than agents are, whose account may copy files."""
    text = (ROOT / "hack/demo/mariadb.yaml").read_text()
    for old, new in (
        ("emptyDir: {}", "persistentVolumeClaim: {claimName: data}"),
        ("runAsUser: 65532", f"runAsUser: {SERVER_USER}"),
        ("BINLOG MONITOR ON", "BINLOG MONITOR, RELOAD, PROCESS ON"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


def restored_volume(place: Place, image: str = IMAGE) -> AbstractContextManager[None]:
    """A claim `restored` of the user that agents run as."""
    return own_volume(place, "restored", image, 65532)


@contextmanager
def own_volume(place: Place, claim: str, image: str, user: int) -> Iterator[None]:
    """A claim on the node's own disk, of a user; its volume goes with it."""
    name = f"{place.namespace}-{claim}"
    folder = place.stack.cluster.kubeconfig.parent / "volumes" / name
    text = (ROOT / "hack/demo/restored.yaml").read_text()
    for old, new in (
        ("localhost/databosun/runner-postgresql:18-dev", image),
        (
            "claimRef: {namespace: shop, name: orders-restored}",
            f"claimRef: {{namespace: {place.namespace}, name: {claim}}}",
        ),
        ("metadata: {name: orders-restored}", f"metadata: {{name: {name}}}"),
        ("volumeName: orders-restored", f"volumeName: {name}"),
        ("namespace: shop", f"namespace: {place.namespace}"),
        ("orders-restored", claim),
        ("65532:65532", f"{user}:{user}"),
        ("VOLUME", str(folder)),
    ):
        assert old in text, old
        text = text.replace(old, new)
    place.stack.kubectl("apply", "-f", "-", input=text)
    yield
    place.stack.kubectl("delete", "pv", name, "--wait=false")


def commits_until_killed(place: Place) -> int:
    """Commit until the archiver claims some of it, and kill the server in the midst of it: how many it claims."""
    (pod,) = place.stack.api.list("pods", place.namespace, "app=mariadb")
    argv = ["kubectl", "exec", "-n", place.namespace, pod["metadata"]["name"], "--", "sh", "-c", TICKS]
    acknowledged: list[datetime] = []
    kept, look, limit = 0, time.monotonic(), time.monotonic() + PATIENCE
    with subprocess.Popen(argv, env=place.stack.cluster.environment, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            number, at = line.split()
            acknowledged.append(datetime.fromtimestamp(float(at), UTC))
            assert int(number) == len(acknowledged)
            if kept or time.monotonic() < look:
                continue
            assert time.monotonic() < limit, "none of it is claimed"
            until = Shipping(place, "shop").claimed()
            if sum(at <= until for at in acknowledged) > ENOUGH:
                kept = sum(at <= until for at in acknowledged)
                kill(pod, "mariadbd")
            look = time.monotonic() + 1
    assert kept, "the client ended by itself"
    return kept


def test_the_database_is_known(shop: Shop) -> None:
    status: dict[str, Any] = shop.place.status("databases", "shop")
    assert status["engineVersion"].startswith("10.11.")
    assert status["systemIdentifier"].startswith("mariadb-")
    assert status["recovery"]["continuous"] is True
    assert status["recovery"].get("gaps", []) == []


def test_every_commit_that_was_claimed_is_back_from_the_bucket(shop: Shop) -> None:
    checks = [
        ROWS,
        {"name": "ticks", "type": "RowCount", "database": "orders", "table": "orders.ticks", "min": shop.kept},
        {"name": "no-hole", "type": "Query", "database": "orders", "query": NO_HOLE, "value": "1"},
        {"name": "dropped", "type": "Query", "database": "orders", "query": DROPPED, "value": "1"},
    ]
    ask_for_drill(shop.place, "newest", "shop", level="Deep", checks=checks, selection={"pointInTime": "Latest"})
    status = shop.place.verdict("newest")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"]) == ("incremental", "Deep")
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]


def test_a_table_is_back_from_just_before_it_was_dropped(shop: Shop) -> None:
    place = shop.place
    spec = {
        "from": {"databaseRef": {"name": "shop"}},
        "pointInTime": f"{shop.instant:%Y-%m-%dT%H:%M:%SZ}",
        "target": {"volume": {"claimName": "restored"}},
        "overwrite": "Replace",
        "confirm": "restored",
        "notAfter": later(1),
    }
    place.apply({"apiVersion": GROUP, "kind": "Restore", "metadata": {"name": "back"}, "spec": spec})
    status = verdict(place, "back")
    assert status["phase"] == "Succeeded", status
    place.apply(restored_server())
    place.stack.kubectl("wait", "-n", place.namespace, "pod/restored", "--for=condition=Ready", "--timeout=120s")
    query = "SELECT COUNT(*), SUM(v = MD5(i)) FROM invoices; SELECT COUNT(*) FROM orders; SELECT COUNT(*) FROM ticks;"
    assert sql(place, query, "pod/restored", "/tmp/socket").split() == ["5000", "5000", "30100", "0"]


def restored_server() -> Object:
    """A server on the restored data directory."""
    container = {
        "name": "mariadb",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SERVER],
        "readinessProbe": {"exec": {"command": ["test", "-S", "/tmp/socket"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": "restore", "mountPath": "/restore"}],
    }
    volume = {"name": "restore", "persistentVolumeClaim": {"claimName": "restored"}}
    spec = {"containers": [container], "volumes": [volume], "securityContext": {"runAsUser": 65532}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "restored"}, "spec": spec}


def test_a_chain_is_proven_without_the_log(shop: Shop) -> None:
    ask_for_drill(shop.place, "chain", "shop", level="Deep", checks=[ROWS])
    status = shop.place.verdict("chain")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"], status["proven"]) == ("incremental", "Deep", True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]
    assert 0 < status["rto"]["seconds"] < 300


def test_the_fulls_of_both_methods_are_compared_row_for_row(shop: Shop) -> None:
    expected = {shop.dump: {"schema", "rows", "structure"}, shop.files: {"rows", "structure"}}
    for backup in expected:
        ask_for_drill(shop.place, f"of-{backup}", "shop", level="Deep", backupRef={"name": backup})
    for backup, names in expected.items():
        status = shop.place.verdict(f"of-{backup}")
        assert status["phase"] == "Passed", status
        assert names <= {check["name"] for check in status["checks"]}
        (rows,) = (check for check in status["checks"] if check["name"] == "rows")
        assert "fingerprints equal" in rows["expected"], rows


def test_a_damaged_piece_of_the_log_fails_the_drill(shop: Shop) -> None:
    key = max(
        one for one in shop.place.stack.keys(f"{shop.place.namespace}/") if "/_log/" in one and one.endswith(".zst")
    )
    damage(shop.place, key)
    ask_for_drill(shop.place, "damaged-log", "shop", level="Restore", selection={"pointInTime": "Latest"})
    status = shop.place.verdict("damaged-log")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "LogCorrupt"), status


def test_a_damaged_backup_fails_its_drill(shop: Shop) -> None:
    (key,) = (
        one
        for one in shop.place.stack.keys(f"{shop.place.namespace}/")
        if f"/{shop.dump}/" in one and "dump.sql.zst" in one
    )
    damage(shop.place, key)
    ask_for_drill(shop.place, "damaged", "shop", level="Restore", backupRef={"name": shop.dump})
    status = shop.place.verdict("damaged")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "ArtefactCorrupt"), status


def damage(place: Place, key: str) -> None:
    """Change one bit of an object, and nothing of what is said about it."""
    s3 = place.stack.s3
    metadata = s3.head_object(Bucket="backups", Key=key)["Metadata"]
    body = bytearray(place.stack.download(key))
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket="backups", Key=key, Body=bytes(body), Metadata=metadata)
