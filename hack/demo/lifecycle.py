"""The demo of a lifecycle: old rows looked at, approved by hash, archived and deleted under load, and read back; then
old backups, which a bucket is to move."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hack.common import Failure, progress
from hack.demo import cold
from hack.demo.bucket import Bucket, open_bucket
from hack.demo.plans import enforce, run_now
from hack.demo.postgresql import psql
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
    shell,
    start_services,
    wait,
)

POLICY = "old-tickets"
EXAMPLES = ("storage.yaml", "database.yaml", "policy.yaml", "drill.yaml", "lifecycle")
OLD = "closed_at < now() - interval '365 days' and is_settled(state) and customer <> 7"
LOADED = "select count(*) from tickets where body = 'of the load'"
YOUNG = "id between 150001 and 250000"  # the load changes these
ANYTHING = "create or replace function is_settled(state text) returns boolean language sql immutable as 'select true'"
NEXT = """
What to try next (first: {env})

  kubectl get lcp,lcrun -n shop                          what is left, who approved, how runs ended
  kubectl get lcp old-tickets -n shop -o yaml            the plan: what would go, what forbids it
  kubectl bosun approve old-tickets --lifecycle -n shop  look at the new plan, and say no
  make demo-down                                         remove every trace
"""


def up(name: str) -> None:
    """Everything from nothing to rows that lie in the bucket, an audit, and a run that is refused."""
    cluster = bring_up(name)
    load_images(cluster, ("operator", "runner-postgresql:18-dev", "seaweedfs", "cloud"))
    start_services(cluster, ["orders.yaml", "rds.yaml"], ["orders", "cloud"])
    install_operator(cluster, "PostgreSQL")
    _data(cluster)
    _examples(cluster)
    _look(cluster)
    enforce(cluster, POLICY)
    _enforce(cluster)
    _refused(cluster)
    cold.scene(cluster)
    print(cluster.kubectl("get", "bdb,lcp,lcrun,approval", "-n", NAMESPACE))
    print(NEXT.format(env=shell(cluster)))


def _data(cluster: Cluster) -> None:
    psql(cluster, "alter system set max_slot_wal_keep_size = '20GB'")
    psql(cluster, "select pg_reload_conf()")
    psql(cluster, (HERE / "tickets.sql").read_text())
    count = psql(cluster, "select count(*) from tickets")
    progress(f"{count} tickets, of them old, settled and under no hold: {_old(cluster)[0]}")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lifecycle"}}
    text = json.dumps({**secret, "stringData": {"hash-key": "only-for-the-demo, and long enough"}})
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=text)


def _examples(cluster: Cluster) -> None:
    progress("applying examples/, and examples/lifecycle/")
    for part in EXAMPLES:
        cluster.kubectl("apply", "-f", str(ROOT / "examples" / part))
    wait("the storage is validated", lambda: ready(cluster, "bst", "backups"))
    wait("the database is looked at", lambda: ready(cluster, "bdb", "orders"))
    wait("the drill is ready", lambda: ready(cluster, "drill", "orders"))
    # Nothing is deleted without a backup, and without a drill that proved one.
    back_up(cluster, "orders", "a full backup", "full")
    wait("the log is shipped, and has a backup to stand on", lambda: archiving(cluster, "orders"))
    drill(cluster, "orders", "a drill has proved it")


def _look(cluster: Cluster) -> None:
    """A dry run: it counts, and changes nothing."""
    found = run_now(cluster, POLICY, "the dry run has looked")
    (rule,) = found["plan"]["rules"]
    if found["phase"] != "Succeeded" or rule["refusals"]:
        raise Failure(f"the dry run ended {found['phase']}: {rule['refusals']} {found.get('failure')}")
    if rule["eligible"] != _old(cluster)[0]:
        raise Failure(f"the dry run found {rule['eligible']} rows, SQL {_old(cluster)[0]}")
    progress(f"the dry run: {rule['eligible']} of {rule['rows']} rows would go, {rule['held']} only a hold keeps")


def _enforce(cluster: Cluster) -> None:
    """Under load; then what went is read from the bucket, and compared with what was there before."""
    before, rest = _old(cluster), _fingerprint(cluster, _rest())
    with _load(cluster):
        found = run_now(cluster, POLICY, "the enforced run has ended")
    if found["phase"] != "Succeeded":
        raise Failure(f"the run ended {found['phase']}: {found.get('failure')} {found.get('rules')}")
    (rule,) = found["rules"]
    took = f"{rule['batches']} transactions and {rule['seconds']} s"
    progress(f"{rule['deleted']} rows deleted in {took}; {found['remaining']} left to take")
    with open_bucket(cluster) as bucket:
        links = _audit(cluster, bucket, found)
        archived = _read_back(bucket, links)
    _demand("rows in the archive", before, archived)
    _demand("rows that the rule does not match", rest, _fingerprint(cluster, _rest()))
    _demand("old rows that are left", 0, _old(cluster)[0])
    progress(f"read back from the bucket: {archived[0]} rows, each as it was in the table (md5 of all {archived[1]})")


def _refused(cluster: Cluster) -> None:
    """A plan is bound to the function that its condition calls."""
    progress("somebody replaces the function is_settled, by which every old ticket would be settled")
    left = psql(cluster, "select count(*) from tickets where closed_at < now() - interval '365 days'")
    psql(cluster, ANYTHING)
    found = run_now(cluster, POLICY, "the next run has ended")
    said = found.get("failure", {}).get("message", "")
    if found["phase"] != "Refused" or "function public.is_settled(text)" not in said:
        raise Failure(f"expected a run that is refused for the function; it ended {found['phase']}: {said}")
    _demand(
        "old rows", left, psql(cluster, "select count(*) from tickets where closed_at < now() - interval '365 days'")
    )
    progress(f"refused, and no row touched: {said}")


# --- the rows


def _old(cluster: Cluster) -> tuple[int, str]:
    return _fingerprint(cluster, OLD)


def _rest() -> str:
    return f"not coalesce({OLD}, false) and not {YOUNG} and body <> 'of the load'"


def _fingerprint(cluster: Cluster, where: str) -> tuple[int, str]:
    """How many rows, and a digest of them all, each as JSON."""
    text = "md5(string_agg(row_to_json(t)::text, E'\\n' order by id))"
    query = f"set timezone = 'UTC'; select count(*), coalesce({text}, '') from tickets t where {where}"  # noqa: S608
    count, digest = psql(cluster, query).split("|")
    return int(count), digest


def _read_back(bucket: Bucket, links: list[dict[str, Any]]) -> tuple[int, str]:
    """All that the audit vouches for, without what stayed in the table; of a row that comes twice, the later."""
    kept = {
        link["of"]: {
            json.loads(line)[0] for one in link["kept"] for line in bucket.unpacked(one["objects"]).splitlines()
        }
        for link in links
        if link.get("kept")
    }
    rows: dict[int, str] = {}
    for link in links:
        for artefact in link.get("artefacts", []) if link["event"] == "Archived" else []:
            if ".jsonl.zst" in artefact["name"]:
                for line in bucket.unpacked(artefact["objects"]).decode().splitlines():
                    key = json.loads(line)["id"]
                    if str(key) not in kept.get(link["number"], set()):
                        rows[key] = line
    text = "\n".join(rows[key] for key in sorted(rows))
    return len(rows), hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _audit(cluster: Cluster, bucket: Bucket, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Its links, printed; a Failure where one does not name the one before."""
    folder = re.sub(r"^s3://[^/]+/", "", found["audit"]["uri"])
    links: list[dict[str, Any]] = []
    last = None
    print(f"The audit, {found['audit']['uri']}:")
    for key in [one for one in bucket.keys(folder) if one.endswith(".json")]:
        link, data = bucket.document(key)
        if links and link["previous"] != last:
            raise Failure(f"{key} names {link['previous']} as the link before, which is {last}")
        last = hashlib.sha256(data).hexdigest()
        links.append(link)
        facts = {name: link[name] for name in ("rows", "deleted", "changed") if link.get(name)}
        print(f"  {link['number']:>3} {link['at'][:19]} {link['event']:<8} {link['rule']:<7} {facts} {last[:12]}")
    _demand("the audit's last link", found["audit"]["sha256"], last)
    return links


def _demand(what: str, expected: object, seen: object) -> None:
    if seen != expected:
        raise Failure(f"{what}: {seen}; expected {expected}")


# --- the load


@contextmanager
def _load(cluster: Cluster) -> Iterator[None]:
    """pgbench in the server's pod, 200 transactions a second; it goes on until its sessions are ended."""
    pod = ("exec", "-i", "-n", NAMESPACE, "deployment/orders", "--")
    cluster.kubectl(*pod, "sh", "-c", "cat > /data/load.sql", text=(HERE / "load.sql").read_text())
    bench = ["pgbench", "-n", "-h", "/data", "-U", "postgres", "-c", "2", "-R", "200", "-T", "900", "-P", "2"]
    argv = ["kubectl", *pod, *bench, "-f", "/data/load.sql", "orders"]
    with subprocess.Popen(
        argv,
        env=dict(cluster.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as load:
        try:
            wait("the load is at work", lambda: int(psql(cluster, LOADED)) > 0)
            yield
        finally:
            psql(cluster, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbench'")
            said = load.communicate()[1]
    # With a rate, what it calls latency begins when a transaction was due; `lag` is how late it began.
    seen = [float(lat) - float(lag) for lat, lag in re.findall(r"lat ([\d.]+) ms.* lag ([\d.]+) ms", said)]
    if not seen:
        raise Failure(f"the load said nothing of its latency: {said[-500:]}")
    took = f"{statistics.median(seen):.1f} ms each, {max(seen):.1f} in the worst 2 s"
    progress(f"the load meanwhile: {psql(cluster, LOADED)} transactions, {took}")
