"""Operator scale on a real API server, kubelet off: python tests/bench/operator_scale.py --policies 10000.

The operator runs outside the cluster that KUBECONFIG names, as one process; figures are of the whole process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from databosun.kube.client import KubeClient
from databosun.kube.errors import AlreadyExists, NotFound
from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, BACKUPS, DATABASES, JOBS, NAMESPACES, Resource
from databosun.kube.transport import Transport, TransportSettings, load_configuration

ROOT = Path(__file__).resolve().parents[2]
NAMESPACES_USED = 50
PORT = 18099
IMAGES = json.dumps({"PostgreSQL": {"18": "localhost/none:1"}})


def stamp(at: datetime) -> str:
    """An instant as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def body(resource: Resource, namespace: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """One object of ours."""
    meta = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}


async def each(work: Iterable[Callable[[], Awaitable[Any]]], at_once: int = 40) -> None:
    """Do all of it, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(do: Callable[[], Awaitable[Any]]) -> None:
        async with gate:
            await do()

    await asyncio.gather(*(one(do) for do in work))


async def make(kube: KubeClient, resource: Resource, thing: dict[str, Any]) -> dict[str, Any] | None:
    """Create, unless it is there."""
    try:
        return await kube.create(resource, thing["metadata"].get("namespace", ""), thing)
    except AlreadyExists:
        return None


def ready(reason: str) -> list[dict[str, Any]]:
    """A Ready condition."""
    now = stamp(datetime.now(UTC))
    return [{"type": "Ready", "status": "True", "reason": reason, "message": "", "lastTransitionTime": now}]


async def prepare(kube: KubeClient, count: int) -> None:
    """Namespaces, storages that are validated, databases that are looked at, as in a cluster at work."""
    now = stamp(datetime.now(UTC))
    for index in range(NAMESPACES_USED):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"scale-{index:02d}"}}
        await make(kube, NAMESPACES, namespace)
        spec = {
            "s3": {"endpoint": "http://objects:8333", "bucket": "backups"},
            "validationInterval": "7d",
            "maxConcurrentRuns": 1000,
        }
        made = await make(kube, BACKUP_STORAGES, body(BACKUP_STORAGES, f"scale-{index:02d}", "store", spec))
        if made is not None:
            status = {
                "conditions": ready("Validated"),
                "validatedGeneration": 1,
                "lastValidatedTime": now,
                "lastAttemptTime": now,
                "observedGeneration": 1,
            }
            await kube.patch_status(
                BACKUP_STORAGES, f"scale-{index:02d}", "store", status, made["metadata"]["resourceVersion"]
            )

    async def database(index: int) -> None:
        namespace, name = f"scale-{index % NAMESPACES_USED:02d}", f"db-{index:05d}"
        spec = {
            "engine": "PostgreSQL",
            "version": "18",
            "connection": {"host": "db", "credentialsSecretRef": {"name": "db"}},
        }
        made = await make(kube, DATABASES, body(DATABASES, namespace, name, spec))
        if made is not None:
            status = {
                "conditions": ready("Ready"),
                "probedGeneration": 1,
                "lastProbeTime": now,
                "engineVersion": "18.1",
            }
            await kube.patch_status(DATABASES, namespace, name, status, made["metadata"]["resourceVersion"])

    await each((lambda index=index: database(index)) for index in range(count))


async def policies(kube: KubeClient, count: int, cron: str) -> None:
    """One policy a database."""

    async def policy(index: int) -> None:
        namespace = f"scale-{index % NAMESPACES_USED:02d}"
        spec = {
            "databaseRef": {"name": f"db-{index:05d}"},
            "storageRef": {"name": "store"},
            "schedules": [{"name": "full", "type": "Full", "cron": cron}],
            "retention": {"daily": 7},
            "jitter": "0s",
        }
        await make(kube, BACKUP_POLICIES, body(BACKUP_POLICIES, namespace, f"policy-{index:05d}", spec))

    await each((lambda index=index: policy(index)) for index in range(count))


async def finished(kube: KubeClient, count: int) -> None:
    """Finished Backups beside them, one for each database, as an operator would have left them."""
    at = datetime.now(UTC) - timedelta(hours=1)

    async def backup(index: int) -> None:
        namespace, name = f"scale-{index % NAMESPACES_USED:02d}", f"db-{index:05d}"
        known = await kube.get(DATABASES, namespace, name)
        policy = await kube.get(BACKUP_POLICIES, namespace, f"policy-{index:05d}")
        assert known is not None
        assert policy is not None
        labels = {
            "databosun.io/database-uid": known["metadata"]["uid"],
            "databosun.io/policy-uid": policy["metadata"]["uid"],
            "databosun.io/schedule": "full",
            "databosun.io/finished": "Succeeded",
        }
        spec = {
            "databaseRef": {"name": name},
            "policyRef": {"name": f"policy-{index:05d}"},
            "scheduledFor": stamp(at),
            "schedule": "full",
        }
        made = await make(kube, BACKUPS, body(BACKUPS, namespace, f"{name}-{at:%y%m%d%H%M}-bench", spec, labels=labels))
        if made is not None:
            status = {
                "phase": "Succeeded",
                "conditions": ready("Succeeded"),
                "checksum": "0" * 64,
                "type": "Full",
                "method": "Physical",
                "size": {"logical": 1, "stored": 1, "human": "1B"},
                "startTime": stamp(at),
                "completionTime": stamp(at),
                "snapshotTime": stamp(at),
                "engineVersion": "18.1",
                "systemIdentifier": str(index),
            }
            await kube.patch_status(
                BACKUPS, namespace, made["metadata"]["name"], status, made["metadata"]["resourceVersion"]
            )

    await each((lambda index=index: backup(index)) for index in range(count))


class Process:
    """The operator as a process, looked at from outside."""

    def __init__(self, log: Path, settings: Mapping[str, str]) -> None:
        environment = {
            **os.environ,
            **settings,
            "DATABOSUN_METRICS_HOST": "127.0.0.1",
            "DATABOSUN_METRICS_PORT": str(PORT),
            "DATABOSUN_RUNNER_IMAGES": IMAGES,
        }
        self.began = time.monotonic()
        self.handle = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "databosun", "operator"], env=environment, stderr=self.handle
        )

    def get(self, path: str) -> str | None:
        """A page of its port, if it answers well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=20) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def metric(self, page: str, name: str, **labels: str) -> float:
        """The sum of a family's samples that carry the labels."""
        total = 0.0
        for line in page.splitlines():
            match = re.match(rf"{name}(?:\{{(.*)\}})? (\S+)$", line)
            if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
                total += float(match[2])
        return total

    def writes(self, page: str, resource: str | None = None) -> int:
        """API writes so far, the Lease's apart. Questions about its own rights at the start are no writes."""
        labels = {"resource": resource} if resource else {}
        name = "databosun_api_requests_total"
        every = sum(self.metric(page, name, verb=verb, **labels) for verb in ("create", "patch", "delete", "update"))
        asked = 0.0 if resource else self.metric(page, name, verb="create", resource="selfsubjectaccessreviews")
        return int(every - asked)

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self) -> float:
        """Peak resident memory, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def until(self, done: Callable[[str], bool], limit: float) -> float:
        """Seconds from the start until the metrics page says so.

        A page of 70,000 series takes a quarter of a second of its time, so it is asked only while it does little.
        """
        while time.monotonic() - self.began < limit:
            if self.process.poll() is not None:
                raise SystemExit(f"the operator ended with {self.process.returncode}")
            before = self.cpu()
            time.sleep(0.25)
            if self.cpu() - before > 0.03:
                continue
            page = self.get("/metrics") if (self.get("/readyz") or "").startswith('{"ok": true') else None
            if page is not None and done(page):
                return time.monotonic() - self.began
        raise SystemExit("gave up waiting")

    def calm(self) -> None:
        """Return once it has done next to nothing for ten seconds: Kopf lists everything after the first looks."""
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            before = self.cpu()
            time.sleep(10)
            if self.cpu() - before < 0.5:
                return
        raise SystemExit("it is not at rest after two minutes")

    def end(self) -> None:
        """Stop it cleanly."""
        self.process.terminate()
        self.process.wait(timeout=60)
        self.handle.close()


@contextmanager
def operator(log: Path, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Process]:
    """A running operator, with more variables in its environment."""
    process = Process(log, settings)
    try:
        yield process
    finally:
        process.end()


def settled(process: Process, kinds: dict[str, int]) -> Callable[[str], bool]:
    """Every object was reconciled at least once, and nothing waits."""

    def done(page: str) -> bool:
        idle = (
            process.metric(page, "databosun_queue_depth") == 0 and process.metric(page, "databosun_queue_running") == 0
        )
        counted = all(
            process.metric(page, "databosun_reconcile_total", kind=kind) >= count for kind, count in kinds.items()
        )
        return idle and counted

    return done


async def jobs_started(kube: KubeClient, slot: datetime) -> list[float]:
    """Seconds from the slot to the creation of each backup's Job; the API server keeps whole seconds."""
    found = []
    async for job in kube.list(JOBS, None, label_selector="databosun.io/task=backup"):
        created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
        found.append((created - slot).total_seconds())
    return sorted(found)


async def due_at_once(kube: KubeClient, count: int, lead: float, log: Path) -> dict[str, Any]:
    """So many runs due in one minute, while the operator is at rest: how late their Jobs are."""
    slot = (datetime.now(UTC) + timedelta(seconds=lead + 60)).replace(second=0, microsecond=0)
    print(f"the slot is {stamp(slot)}", file=sys.stderr, flush=True)
    await prepare(kube, count)
    await policies(kube, count, f"{slot.minute} {slot.hour} * * *")
    with operator(log) as process:
        process.until(settled(process, {"BackupPolicy": count, "Database": count}), 600)
        spare = (slot - datetime.now(UTC)).total_seconds()
        if spare < 0:
            raise SystemExit(f"all was seen only {-spare:.0f} s after the slot; try fewer")
        late: list[float] = []
        while len(late) < count:
            if datetime.now(UTC) > slot + timedelta(minutes=10):
                raise SystemExit(f"only {len(late)} of {count} Jobs within 10 minutes")
            await asyncio.sleep(5)
            late = await jobs_started(kube, slot)
        page = process.get("/metrics") or ""
        requests = re.findall(r"^databosun_api_requests_total\{(.*)\} (\S+)$", page, re.MULTILINE)
        return {
            "requests": dict(sorted(requests)),
            "runs": len(late),
            "ready_before_slot_seconds": spare,
            "lateness_median": late[len(late) // 2],
            "lateness_p99": late[int(len(late) * 0.99) - 1],
            "lateness_last": late[-1],
            "cpu": process.cpu(),
            "peak_mib": process.peak(),
        }


async def clean(kube: KubeClient) -> None:
    """Remove the namespaces of this measurement."""
    for index in range(NAMESPACES_USED):
        namespace = await kube.get(NAMESPACES, "", f"scale-{index:02d}")
        if namespace is not None:
            try:
                await kube.delete(NAMESPACES, "", f"scale-{index:02d}", uid=namespace["metadata"]["uid"])
            except NotFound:
                continue


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, in order; shows each figure as it comes, and returns them all."""
    kube = KubeClient(Transport(load_configuration(), TransportSettings(threads=40)))
    count, figures = arguments.policies, {"policies": arguments.policies}

    def show(**found: float) -> None:
        figures.update(found)
        print(json.dumps(found), file=sys.stderr, flush=True)

    await prepare(kube, count)
    await policies(kube, count, arguments.cron)
    kinds = {"BackupPolicy": count, "Database": count}
    log = Path(arguments.log)
    with operator(log) as process:
        show(first_sight_seconds=process.until(settled(process, kinds), 1800))
        page = process.get("/metrics") or ""
        show(first_sight_policy_writes=process.writes(page, "backuppolicies"), first_sight_writes=process.writes(page))
        show(first_sight_cpu=process.cpu(), first_sight_peak_mib=process.peak())
    await _restarted(log, kinds, arguments.rest, "restart", show)
    if arguments.finished:
        await finished(kube, arguments.finished)
        with operator(log) as process:
            show(finished_first_seconds=process.until(settled(process, kinds), 1800))
        await _restarted(log, kinds, 0, "finished", show)
    return figures


async def _restarted(log: Path, kinds: dict[str, int], rest: float, name: str, show: Callable[..., None]) -> None:
    """A cold restart, when all is known already; then so many seconds at rest."""
    with operator(log) as process:
        seconds = process.until(settled(process, kinds), 600)
        show(**{f"{name}_seconds": seconds, f"{name}_cpu": process.cpu(), f"{name}_peak_mib": process.peak()})
        show(**{f"{name}_writes": process.writes(process.get("/metrics") or "")})
        if rest:
            process.calm()
            before, begin = process.cpu(), time.monotonic()
            writes = process.writes(process.get("/metrics") or "")
            await asyncio.sleep(rest)
            show(rest_cpu_percent=100 * (process.cpu() - before) / (time.monotonic() - begin))
            show(rest_writes=process.writes(process.get("/metrics") or "") - writes, rest_peak_mib=process.peak())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=10_000)
    parser.add_argument("--finished", type=int, default=0)
    parser.add_argument("--cron", default="0 2 1 1 *", help="of every policy; far away by default")
    parser.add_argument("--due", type=int, default=0, help="only measure how late so many runs of one minute start")
    parser.add_argument("--lead", type=float, default=120, help="seconds from the start to the slot, at least")
    parser.add_argument("--rest", type=float, default=0, help="seconds to look at the operator at rest")
    parser.add_argument("--log", default="/tmp/databosun-scale.log")
    parser.add_argument("--clean", action="store_true", help="only remove what was made")
    arguments = parser.parse_args()
    if arguments.clean:
        asyncio.run(clean(KubeClient(Transport(load_configuration()))))
        return
    if arguments.due:
        kube = KubeClient(Transport(load_configuration(), TransportSettings(threads=40)))
        print(json.dumps(asyncio.run(due_at_once(kube, arguments.due, arguments.lead, Path(arguments.log))), indent=2))
        return
    print(json.dumps(asyncio.run(measure(arguments)), indent=2))


if __name__ == "__main__":
    main()
