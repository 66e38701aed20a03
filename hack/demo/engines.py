"""The demo with another engine: backups, then the server is killed, and a drill proves that the bucket suffices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hack.common import progress
from hack.demo.stage import (
    NAMESPACE,
    ROOT,
    Cluster,
    archiving,
    back_up,
    bring_up,
    drill,
    install_operator,
    load_images,
    ready,
    recoverable,
    report,
    shell,
    start_services,
    wait,
)

NEXT = """
What to try next (first: {env})

  kubectl get bdb,bpol,bbk,drill,drun -n shop     what is protected, and what was proven
  kubectl describe drun -n shop                   the checks of the drill, one by one
  kubectl bosun report -n shop --database {name}  what an auditor wants on a page
  kubectl scale -n shop deployment/{server} --replicas=1     the server again, empty as it is
  make demo-down                                  remove every trace
"""


@dataclass(frozen=True, slots=True)
class Story:
    """One engine. `fill`, `look`: commands in the first server's pod; `look` prints what `make demo` shows of the data.

    `name` is that of the Database, the BackupPolicy and the RestoreDrill in `examples/<engine>/`; `backups`: schedules
    of the policy to run, in order, each with its words, with `more` run before each but the first. `log`: it is
    shipped, and the drill goes on to its end. `base`: the image that `image` is made from, where it is none of the
    build file's own stages.
    """

    name: str
    engine: str
    image: str
    manifest: str
    servers: tuple[str, ...]
    fill: Sequence[str]
    more: Sequence[str]
    look: Sequence[str]
    backups: tuple[tuple[str, str], ...]
    log: bool = False
    base: tuple[str, ...] = ()


_SQL = ("--no-defaults", "--socket=/data/socket", "--user=root", "--batch", "--skip-column-names", "orders")
_MARIADB = ("mariadb", *_SQL)
_MYSQL = ("/opt/mysql/bin/mysql", *_SQL)
_MONGODB = (
    "/opt/databosun/bin/python",
    "-c",
    "import pymongo, sys\n"
    "where = {'host': 'mongodb://%2Fdata%2Fs.sock', 'directConnection': True}\n"
    "client = pymongo.MongoClient(username='backup', password='only-for-the-demo', **where)\n"
    "exec(sys.argv[1])",
)
_REDIS = ("redis-cli",)

STORIES = {
    "mariadb": Story(
        name="customers",
        engine="MariaDB",
        image="runner-mariadb:10.11-dev",
        manifest="mariadb.yaml",
        servers=("mariadb",),
        fill=(
            *_MARIADB,
            "-e",
            "CREATE OR REPLACE TABLE customers (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(64), note TEXT);"
            "INSERT INTO customers (name, note) SELECT CONCAT('customer ', seq), REPEAT(SHA2(seq, 512), 4)"
            " FROM seq_1_to_300000",
        ),
        more=(*_MARIADB, "-e", "INSERT INTO customers (name) SELECT CONCAT('late ', seq) FROM seq_1_to_1000"),
        look=(*_MARIADB, "-e", "SELECT CONCAT(COUNT(*), ' customers') FROM customers"),
        backups=(("a full backup", "full"), ("an incremental backup", "hourly")),
        log=True,
    ),
    "mysql": Story(
        name="accounts",
        engine="MySQL",
        image="peer-mysql:dev",
        manifest="mysql.yaml",
        servers=("mysql",),
        fill=(
            *_MYSQL,
            "-e",
            "SET cte_max_recursion_depth = 300000; DROP TABLE IF EXISTS accounts;"
            "CREATE TABLE accounts (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(64), note TEXT);"
            "INSERT INTO accounts (name, note) WITH RECURSIVE seq (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq"
            " WHERE n < 300000) SELECT CONCAT('account ', n), REPEAT(SHA2(n, 512), 4) FROM seq",
        ),
        more=(
            *_MYSQL,
            "-e",
            "INSERT INTO accounts (name) WITH RECURSIVE seq (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq"
            " WHERE n < 1000) SELECT CONCAT('late ', n) FROM seq",
        ),
        look=(*_MYSQL, "-e", "SELECT CONCAT(COUNT(*), ' accounts') FROM accounts"),
        backups=(("a full backup", "full"), ("an incremental backup", "hourly")),
        log=True,
        base=("runner-mongodb:7.0-dev",),
    ),
    "mongodb": Story(
        name="catalogue",
        engine="MongoDB",
        image="peer-mongodb:dev",
        manifest="mongodb.yaml",
        servers=("mongodb",),
        fill=(
            *_MONGODB,
            # The stand-in reads all of its oplog at each look: what is there before does not stand in it.
            "if not client.local.list_collection_names():\n"
            "    client.catalogue.products.drop()\n"
            "    client.catalogue.products.insert_many({'_id': n, 'name': f'product {n}'} for n in range(50000))\n"
            "    client.catalogue.products.create_index('name')\n"
            "    client.local.create_collection('oplog.rs', capped=True, size=1 << 26)\n"
            "    from bson import ObjectId\n"
            "    of_set = {'_id': 'rs0', 'settings': {'replicaSetId': ObjectId()}}\n"
            "    client.local['system.replset'].insert_one(of_set)\n"
            "    client.catalogue.products.insert_one({'name': 'the first that is logged'})",
        ),
        more=(*_MONGODB, "client.catalogue.products.insert_many({'late': n} for n in range(100))"),
        look=(*_MONGODB, "print(client.catalogue.products.count_documents({}), 'products')"),
        backups=(("a full backup", "full"), ("an incremental backup", "oplog")),
        log=True,
        base=("runner-mongodb:7.0-dev",),
    ),
    "redis": Story(
        name="sessions",
        engine="Redis",
        image="runner-redis:7-dev",
        manifest="redis.yaml",
        servers=("sessions-0", "sessions-1"),
        fill=(
            *_REDIS,
            "EVAL",
            "for i = 1, 200000 do redis.call('SET', 'session:' .. i, string.rep(redis.sha1hex(i), 10)) end",
            "0",
        ),
        more=(*_REDIS, "EVAL", "for i = 1, 1000 do redis.call('SET', 'session:late:' .. i, i) end", "0"),
        look=(*_REDIS, "DBSIZE"),
        backups=(("a full backup", "full"),),
        log=True,
    ),
}


def up(name: str, engine: str) -> None:
    """Everything from nothing to backups of a server that is gone, proven by a drill."""
    story = STORIES[engine]
    cluster = bring_up(name)
    load_images(cluster, ("operator", "seaweedfs", *story.base, story.image))
    start_services(cluster, [story.manifest], story.servers)
    install_operator(cluster, story.engine)
    progress("filling the database")
    _in_pod(cluster, story, story.fill)
    _examples(cluster, engine, story)
    for number, (what, schedule) in enumerate(story.backups):
        if number:
            _in_pod(cluster, story, story.more)
        back_up(cluster, story.name, what, schedule)
    if story.log:
        _write_more(cluster, story)
    progress(f"the server has {_in_pod(cluster, story, story.look)}; now it is killed, with its data")
    for server in story.servers:
        cluster.kubectl("scale", "-n", NAMESPACE, f"deployment/{server}", "--replicas=0", "--timeout=120s")
    newest = "all that the log has" if story.log else "the newest backup"
    drill(cluster, story.name, f"a drill has restored {newest} from the bucket alone and checked it")
    print(cluster.kubectl("get", "bdb,bpol,bbk,drill,drun", "-n", NAMESPACE))
    report(cluster, story.name)
    print(NEXT.format(env=shell(cluster), name=story.name, server=story.servers[0]))


def _write_more(cluster: Cluster, story: Story) -> None:
    """Rows that no backup has, once the log is shipped; returns when they are in the bucket."""
    wait("the log is shipped, and has a backup to stand on", lambda: archiving(cluster, story.name))
    _in_pod(cluster, story, story.more)
    now = f"{datetime.now(UTC) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
    wait(f"what was committed by {now} is recoverable", lambda: recoverable(cluster, story.name) >= now)


def _in_pod(cluster: Cluster, story: Story, argv: Sequence[str]) -> str:
    return cluster.kubectl("exec", "-n", NAMESPACE, f"deployment/{story.servers[0]}", "--", *argv).strip()


def _examples(cluster: Cluster, engine: str, story: Story) -> None:
    progress(f"applying examples/storage.yaml and examples/{engine}/")
    cluster.kubectl("apply", "-f", str(ROOT / "examples/storage.yaml"), "-f", str(ROOT / "examples" / engine))
    wait("the storage is validated", lambda: ready(cluster, "bst", "backups"))
    wait("the database is looked at", lambda: ready(cluster, "bdb", story.name))
    wait("the drill is ready", lambda: ready(cluster, "drill", story.name))
