"""The demo with Amazon RDS: a snapshot, then the instance is deleted, and a drill proves the snapshot in another one.

There is no AWS: the account is a stand-in in a pod, whose instances all lead to one PostgreSQL.
"""

from __future__ import annotations

from hack.common import Failure, progress
from hack.demo.postgresql import RUNNER, psql
from hack.demo.stage import (
    HERE,
    NAMESPACE,
    ROOT,
    Cluster,
    back_up,
    bring_up,
    drill,
    install_operator,
    load_images,
    ready,
    report,
    shell,
    start_services,
    wait,
)

FILL = """
drop table if exists payments;
create table payments as select i as id, md5(i::text) as note from generate_series(1, 200000) as i
"""

NEXT = """
What to try next (first: {env})

  kubectl exec -n shop deployment/cloud -- python -m hack.cloud show     what the account has
  kubectl exec -n shop deployment/cloud -- python -m hack.cloud seed     the instance again
  kubectl bosun drill payments -n shop --wait         another drill; watch `show` while it runs
  kubectl describe drun -n shop                       the checks of the drill, one by one
  kubectl bosun assess payments -n shop               what can be brought back, and how
  kubectl delete bbk -n shop NAME                     a Backup goes; its snapshot stays: deletionPolicy is Retain
  make demo-down                                      remove every trace
"""


def up(name: str) -> None:
    """Everything from nothing to a snapshot of an instance that is gone, proven in one that is gone too."""
    cluster = bring_up(name)
    load_images(cluster, ("operator", RUNNER, "seaweedfs", "cloud"))
    start_services(cluster, ["orders.yaml", "rds.yaml"], ["orders", "cloud"])
    install_operator(cluster, "PostgreSQL")
    progress("filling the database; the account has an instance `payments` that leads to it")
    psql(cluster, FILL)
    account(cluster, "seed")  # of an earlier demo it is gone
    _examples(cluster)
    back_up(cluster, "payments", "a snapshot is taken, and its note", "full")
    account(cluster, "delete", "payments")
    progress(f"somebody deleted the instance; the account has\n{account(cluster, 'show')}")
    drill(cluster, "payments", "a drill has made an instance of the snapshot, read every row of it, and deleted it")
    _gone(cluster)
    print(cluster.kubectl("get", "bdb,bpol,bbk,drill,drun", "-n", NAMESPACE))
    report(cluster, "payments")
    print(NEXT.format(env=shell(cluster)))


def account(cluster: Cluster, *words: str) -> str:
    """Do something in the account as a person would; what it prints."""
    argv = ["exec", "-n", NAMESPACE, "deployment/cloud", "--", "python", "-m", "hack.cloud", *words]
    return cluster.kubectl(*argv).rstrip()


def _examples(cluster: Cluster) -> None:
    progress("applying examples/storage.yaml and examples/rds/, with what differs here (hack/demo/rds-differs.yaml)")
    folder = ROOT / "examples/rds"
    differs = ["--type=merge", f"--patch-file={HERE / 'rds-differs.yaml'}", "-o", "json"]
    database = cluster.kubectl("patch", "--local", "-f", str(folder / "database.yaml"), *differs)
    cluster.kubectl("apply", "-f", "-", text=database)
    rest = [word for file in ("policy.yaml", "drill.yaml") for word in ("-f", str(folder / file))]
    cluster.kubectl("apply", "-f", str(ROOT / "examples/storage.yaml"), *rest)
    wait("the storage is validated", lambda: ready(cluster, "bst", "backups"))
    wait("the database is looked at", lambda: _looked_at(cluster))
    wait("the drill is ready", lambda: ready(cluster, "drill", "payments"))


def _looked_at(cluster: Cluster) -> bool:
    """Whether it was; that the instance is missing is what the last look of an earlier demo found."""
    found = cluster.read("bdb", "payments", "-n", NAMESPACE).get("status", {}).get("conditions", [])
    missing = any(one["type"] == "Ready" and one["reason"] == "InstanceMissing" for one in found)
    return missing or ready(cluster, "bdb", "payments")


def _gone(cluster: Cluster) -> None:
    """The account's own word for it: what was made and deleted there, and that no instance is left."""
    trail = cluster.kubectl("logs", "-n", NAMESPACE, "deployment/cloud", "--tail=-1").splitlines()
    there = account(cluster, "show")
    progress("what the account says of it:\n" + "\n".join(line for line in trail if "databosun-" in line))
    progress(f"and what it has now:\n{there}")
    left = [line for line in there.splitlines() if line.startswith("instance ")]
    if left:
        raise Failure(f"the drill is over, and the account has {', '.join(left)}")
