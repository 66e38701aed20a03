"""The demo with PostgreSQL: two backups and a log, a drill that proves them, a table dropped and brought back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hack.common import Failure, progress
from hack.demo.stage import (
    HERE,
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

RUNNER = "runner-postgresql:18-dev"

NEXT = """
What to try next (first: {env})

  kubectl get bdb,bpol,bbk -n shop              what is protected, since when, until when
  kubectl get drill,drun -n shop                what was proven, and how long a restore took
  kubectl bosun status -n shop                  one screen: what needs a human
  kubectl describe bbk -n shop                  one backup: position, size, how it was taken
  kubectl bosun backup orders -n shop --wait    a backup by hand, with progress
  kubectl bosun drill orders -n shop --wait     restore the newest one in a pod of its own, and check it
  kubectl edit bpol orders -n shop              change the schedule or the retention
  make demo-down                                remove every trace
"""


def up(name: str, scale: int) -> None:
    """Everything from nothing to two backups and a log, a drill that proves them, a table that comes back."""
    cluster = bring_up(name)
    load_images(cluster, ("operator", RUNNER, "seaweedfs"))
    start_services(cluster, ["orders.yaml"], ["orders"])
    install_operator(cluster, "PostgreSQL")
    _data(cluster, scale)
    _examples(cluster)
    back_up(cluster, "orders", "a full backup", "full")
    back_up(cluster, "orders", "an incremental backup", "hourly")
    _log(cluster)
    drill(cluster, "orders", "a drill has restored the newest backup and checked it")
    _accident(cluster)
    _show(cluster)


def psql(cluster: Cluster, sql: str, server: str = "deployment/orders", socket: str = "/data") -> str:
    """What a statement answers in the server's pod."""
    argv = ["psql", "-qAtX", "-h", socket, "-U", "postgres", "-d", "orders"]
    return cluster.kubectl("exec", "-n", NAMESPACE, server, "--", *argv, "-c", sql).strip()


def _data(cluster: Cluster, scale: int) -> None:
    if psql(cluster, "select to_regclass('pgbench_history') is not null") != "t":
        progress(f"filling the database (pgbench scale {scale}, about {scale * 15} MB)")
        cluster.kubectl(
            "exec",
            "-n",
            NAMESPACE,
            "deployment/orders",
            "--",
            "pgbench",
            "-i",
            "-q",
            "-s",
            str(scale),
            "-h",
            "/data",
            "-U",
            "postgres",
            "orders",
        )
    # Without a limit a slot could fill the server's disk while the archiver is away: the log would not be shipped.
    psql(cluster, "alter system set max_slot_wal_keep_size = '20GB'")
    psql(cluster, "select pg_reload_conf()")
    progress(f"the database has {psql(cluster, 'select pg_size_pretty(pg_database_size(current_database()))')}")


def _examples(cluster: Cluster) -> None:
    progress("applying examples/")
    cluster.kubectl("apply", "-f", str(ROOT / "examples"))
    wait("the storage is validated", lambda: ready(cluster, "bst", "backups"))
    wait("the database is looked at", lambda: ready(cluster, "bdb", "orders"))
    wait("the drill is ready", lambda: ready(cluster, "drill", "orders"))


def _log(cluster: Cluster) -> None:
    """The archiver of the server, which the policy's `continuous` asks for."""
    wait("the log is shipped, and has a backup to stand on", lambda: archiving(cluster, "orders"))
    progress(f"recoverable to any instant up to {recoverable(cluster, 'orders')}")


def _accident(cluster: Cluster) -> None:
    """Drop a table, and bring it back as it was a moment before."""
    make = (
        "drop table if exists invoices; create table invoices as select i, md5(i::text) from generate_series(1, 5000) i"
    )
    psql(cluster, make)
    digest = "select count(*) || ' ' || md5(string_agg(i || md5, ',' order by i)) from invoices"
    before = psql(cluster, digest)
    # A point in time has whole seconds: the next one, and the accident after it.
    instant = psql(
        cluster, "select to_char(clock_timestamp() at time zone 'UTC' + '1s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    psql(cluster, "select pg_sleep(2)")
    psql(cluster, "drop table invoices")
    progress(f"somebody dropped the table invoices; it was there at {instant}")
    wait(f"{instant} is recoverable", lambda: recoverable(cluster, "orders") >= instant)
    _volume(cluster)
    cluster.kubectl("delete", "pod", "orders-restored", "-n", NAMESPACE, "--ignore-not-found")  # of an earlier demo
    _restore(cluster, instant)
    cluster.kubectl("apply", "-f", str(HERE / "server.yaml"))
    cluster.kubectl("wait", "-n", NAMESPACE, "pod/orders-restored", "--for=condition=Ready", "--timeout=180s")
    after = psql(cluster, digest, "pod/orders-restored", "/tmp")  # noqa: S108 (in the pod)
    if after != before:
        raise Failure(f"the restored table differs: {before} before, {after} after")
    progress(f"the table is back in pod/orders-restored, row for row: {after}")


def _volume(cluster: Cluster) -> None:
    place = Path(cluster.environment["KUBECONFIG"]).parent / "volumes/orders-restored"
    text = (HERE / "restored.yaml").read_text().replace("VOLUME", str(place))
    cluster.kubectl("apply", "-f", "-", text=text)
    done = ("--for=condition=Complete", "--timeout=180s")
    cluster.kubectl("wait", "-n", NAMESPACE, "job/orders-restored-owner", *done)


def _restore(cluster: Cluster, instant: str) -> None:
    """The example, with its two times and its name changed as a user would."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    name = f"orders-back-{int(time.time())}"
    text = (ROOT / "examples/point-in-time/restore.yaml").read_text()
    for old, new in (
        ("2026-03-01T10:15:00Z", instant),
        ("2026-03-01T12:00:00Z", f"{soon:%Y-%m-%dT%H:%M:%SZ}"),
        ("name: orders-back", f"name: {name}"),
    ):
        text = text.replace(old, new)
    cluster.kubectl("apply", "-f", "-", text=text)
    wait(f"Restore {name} has brought the database back to {instant}", lambda: _restored(cluster, name))


def _restored(cluster: Cluster, name: str) -> bool:
    status = cluster.read("brs", name, "-n", NAMESPACE).get("status", {})
    if status.get("phase") in ("Failed", "Refused", "Error"):
        failure = status.get("failure", {})
        raise Failure(f"the restore ended {status['phase']}: {failure.get('reason')}: {failure.get('message')}")
    return status.get("phase") == "Succeeded"


def _show(cluster: Cluster) -> None:
    print(cluster.kubectl("get", "bdb,bpol,bbk,drill,drun,brs", "-n", NAMESPACE))
    status = cluster.read("bdb", "orders", "-n", NAMESPACE)["status"]
    print(f"A disaster now would cost what was written since {status['recovery']['latest']} (RPO, above as an age).")
    report(cluster, "orders")
    print(NEXT.format(env=shell(cluster)))
