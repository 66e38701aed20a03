"""MariaDB in a pod: backed up by pods of its own image, proven by drills, and a damaged backup found out."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.test_drills import CUSTOMERS, SCHEDULES
from support.clusterapi import Object
from support.stack import ROOT
from support.stackplace import Place, ask_for_drill, database_of, policy

pytestmark = pytest.mark.e2e

ROWS = {**CUSTOMERS, "name": "orders", "database": "orders", "table": "orders.orders", "min": 30_100, "max": 30_100}
FILL = """
CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(200), KEY (note));
INSERT INTO orders (note) SELECT SHA2(seq, 512) FROM seq_1_to_30000;
CREATE VIEW newest AS SELECT MAX(id) AS id FROM orders;
CREATE TRIGGER kept BEFORE UPDATE ON orders FOR EACH ROW SET NEW.note = OLD.note;
CREATE EVENT gone ON SCHEDULE EVERY 1 SECOND DO DELETE FROM orders;
"""


def sql(place: Place, statements: str) -> str:
    """Run statements as root, in the server's pod."""
    client = ["mariadb", "--no-defaults", "--socket=/data/socket", "--user=root", "--batch", "orders"]
    arguments = ["exec", "-i", "-n", place.namespace, "deployment/mariadb", "--", *client]
    return place.stack.kubectl(*arguments, input=statements)


@pytest.fixture(scope="module")
def shop(place: Place) -> Place:
    """A server with rows, a Full of it, more rows, and an Incremental."""
    place.stack.kubectl("apply", "-n", place.namespace, "-f", str(ROOT / "hack/demo/mariadb.yaml"))
    place.stack.kubectl("rollout", "status", "-n", place.namespace, "deployment/mariadb", "--timeout=240s")
    sql(place, FILL)
    database: Object = database_of("shop", f"mariadb.{place.namespace}.svc", engine="MariaDB")
    place.apply(database, policy("shop", method="Auto", schedules=SCHEDULES))
    place.ready("databases", "shop")
    place.back_up("shop-1", "shop", method="Auto")
    sql(place, "INSERT INTO orders (note) SELECT seq FROM seq_1_to_100;")
    full = place.succeeded("shop-1")
    assert (full["engine"], full["method"], full["position"]["gtid"][:2]) == ("MariaDB", "Logical", "0-")
    place.back_up("shop-2", "shop", type="Incremental", method="Auto")
    assert place.succeeded("shop-2")["parent"] == "shop-1"
    return place


def test_the_database_is_known(shop: Place) -> None:
    status: dict[str, Any] = shop.status("databases", "shop")
    assert status["engineVersion"].startswith("10.11.")
    assert status["systemIdentifier"].startswith("mariadb-")


def test_a_chain_is_proven_after_its_source_is_gone(shop: Place) -> None:
    shop.stack.kubectl("scale", "-n", shop.namespace, "deployment/mariadb", "--replicas=0", "--timeout=60s")
    ask_for_drill(shop, "chain", "shop", level="Deep", checks=[ROWS])
    status = shop.verdict("chain")
    assert status["phase"] == "Passed", status
    assert (status["backup"]["name"], status["levelReached"], status["proven"]) == ("shop-2", "Deep", True)
    assert {check["result"] for check in status["checks"]} == {"Passed"}, status["checks"]
    assert 0 < status["rto"]["seconds"] < 300


def test_the_full_is_compared_row_for_row(shop: Place) -> None:
    ask_for_drill(shop, "full", "shop", level="Deep", backupRef={"name": "shop-1"})
    status = shop.verdict("full")
    assert status["phase"] == "Passed", status
    assert {"schema", "rows", "structure"} <= {check["name"] for check in status["checks"]}


def test_a_damaged_backup_fails_its_drill(shop: Place) -> None:
    keys = shop.stack.keys(f"{shop.namespace}/")
    (key,) = (one for one in keys if "/shop-1/" in one and "dump.sql.zst" in one)
    body = bytearray(shop.stack.download(key))
    body[len(body) // 2] ^= 1
    shop.stack.s3.put_object(Bucket="backups", Key=key, Body=bytes(body))
    ask_for_drill(shop, "damaged", "shop", level="Restore", backupRef={"name": "shop-1"})
    status = shop.verdict("damaged")
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "ArtefactCorrupt"), status
