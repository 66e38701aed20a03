"""MySQL in a pod: backed up, its log shipped by a pod, gone with its data, and proven from the bucket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from e2e.test_drills import CUSTOMERS, SCHEDULES
from e2e.test_mariadb import damage
from support.mysqlserver import mysql_bin
from support.stack import ROOT
from support.stackplace import Place, ask_for_drill, database_of, policy

pytestmark = pytest.mark.e2e

SERIES = """
WITH RECURSIVE seq (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < {last}) SELECT SHA2(n, 512) FROM seq
"""
FILL = f"""
SET cte_max_recursion_depth = 20000;
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(200), KEY (note));
INSERT INTO orders (note) {SERIES.format(last=20_000)};
CREATE VIEW newest AS SELECT MAX(id) AS id FROM orders;
CREATE TRIGGER kept BEFORE UPDATE ON orders FOR EACH ROW SET NEW.note = OLD.note;
CREATE EVENT gone ON SCHEDULE EVERY 1 SECOND DISABLE DO DELETE FROM orders;
"""
ROWS = {**CUSTOMERS, "name": "orders", "database": "orders", "table": "orders.orders", "min": 20_150, "max": 20_150}


@dataclass(frozen=True, slots=True)
class Shop:
    """A server that is gone."""

    place: Place
    full: str


def sql(place: Place, statements: str) -> str:
    """Run statements as root, in the server's pod; what they print."""
    client = ["/opt/mysql/bin/mysql", "--no-defaults", "--socket=/data/socket", "--user=root", "-N", "-B", "orders"]
    arguments = ["exec", "-i", "-n", place.namespace, "deployment/mysql", "--", *client]
    return place.stack.kubectl(*arguments, input=statements).strip()


@pytest.fixture(scope="module")
def shop(place: Place) -> Shop:
    """A Full that the log stands on, rows, an Incremental, rows that the log alone has; then the server goes."""
    mysql_bin()  # or skipped: the suite that the image is made from moves on
    place.stack.kubectl("apply", "-n", place.namespace, "-f", str(ROOT / "hack/demo/mysql.yaml"))
    place.stack.kubectl("rollout", "status", "-n", place.namespace, "deployment/mysql", "--timeout=240s")
    sql(place, FILL)
    host = f"mysql.{place.namespace}.svc"
    continuous = {"enabled": True, "maxLag": "5s"}
    place.apply(
        # The status says the newest recoverable instant anew after a quarter of the RPO, half a minute at least.
        database_of("shop", host, engine="MySQL", objectives={"rpo": "1m"}),
        policy("shop", method="Auto", schedules=SCHEDULES, continuous=continuous),
    )
    place.ready("databases", "shop")
    healthy = "ContinuousHealthy"
    place.wait("the log is shipped", lambda: place.condition("databases", "shop", healthy).get("status") == "True")
    (full,) = (one["metadata"]["name"] for one in place.backups("shop"))
    status = place.succeeded(full)
    assert (status["engine"], status["method"]) == ("MySQL", "Logical")
    sql(place, f"INSERT INTO orders (note) {SERIES.format(last=100)}")
    place.back_up("incremental", "shop", type="Incremental", method="Auto")
    assert place.succeeded("incremental")["parent"] == full
    newest = sql(place, f"INSERT INTO orders (note) {SERIES.format(last=50)}; SELECT UTC_TIMESTAMP(6);")
    at = datetime.fromisoformat(newest).replace(tzinfo=UTC)
    place.wait("what was committed is in the bucket", lambda: _latest(place) >= at)
    place.stack.kubectl("delete", "-n", place.namespace, "deployment/mysql", "--now")
    return Shop(place, full)


def _latest(place: Place) -> datetime:
    return datetime.fromisoformat(place.status("databases", "shop")["recovery"]["latest"])


def test_the_database_is_known(shop: Shop) -> None:
    status = shop.place.status("databases", "shop")
    assert status["systemIdentifier"].startswith("mysql-")
    assert status["recovery"]["continuous"] is True
    assert status["recovery"].get("gaps", []) == []


def test_every_commit_is_back_from_the_bucket(shop: Shop) -> None:
    ask_for_drill(shop.place, "newest", "shop", level="Deep", checks=[ROWS], selection={"pointInTime": "Latest"})
    status = shop.place.verdict("newest")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"]) == ("incremental", "Deep")
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]


def test_a_damaged_backup_fails_its_drill(shop: Shop) -> None:
    keys = shop.place.stack.keys(f"{shop.place.namespace}/")
    (key,) = (one for one in keys if f"/{shop.full}/" in one and "dump.sql.zst" in one)
    damage(shop.place, key)
    ask_for_drill(shop.place, "damaged", "shop", level="Restore", backupRef={"name": shop.full})
    status = shop.place.verdict("damaged")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "ArtefactCorrupt"), status
