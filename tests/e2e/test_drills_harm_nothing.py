"""A drill changes nothing: not the source's files, its tablespace among them, nor the bucket; and leaves nothing."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.clusterapi import Object
from support.stack import BUCKET
from support.stackfaults import freeze, processes_of, wake
from support.stackplace import DRILL_RUNS, GROUP, LABEL_FINISHED, NEVER, Place, ask_for_drill, database_of, policy
from support.stacksource import Source
from support.stillness import Files, files_of

pytestmark = pytest.mark.e2e

KILLS = 5
SCHEDULES = [
    {"name": "full", "type": "Full", "cron": NEVER},
    {"name": "incr", "type": "Incremental", "cron": NEVER},
]
TABLES = """
create table customers as select i, md5(i::text) as name from generate_series(1, 200000) as i;
create table on_fast tablespace fast as select * from customers;
"""
COUNT = {"name": "rows", "type": "RowCount", "database": "orders", "table": "public.on_fast", "min": 250000}


@contextmanager
def frozen(pod: Object) -> Iterator[Path]:
    """The source stands still: whoever asks it anything waits, and what changes below its folder is not its own doing.
    Its folder, as the machine sees it."""
    stopped = freeze(pod, "postgres")
    try:
        yield Path(f"/proc/{stopped[0]}/root/data")
    finally:
        wake(stopped)


@dataclass(frozen=True, slots=True)
class Untouched:
    """A source that stands still, its backups, and what has to stay as it is."""

    place: Place
    data: Path
    files: Files
    bucket: dict[str, str]
    objects: set[str]
    interrupted: list[str] = field(default_factory=list)

    def demand(self) -> None:
        """All is as it was, and nothing was added to the cluster but the records of drills."""
        self.place.wait("no pod of a drill is left", lambda: _objects(self.place) <= self.objects)
        assert _objects(self.place) == self.objects
        assert _bucket(self.place) == self.bucket
        assert files_of(self.data) == self.files


def _bucket(place: Place) -> dict[str, str]:
    """Every object but evidence, and every upload that was begun."""
    found = {
        key: hashlib.sha256(place.stack.download(key)).hexdigest() for key in place.stack.keys(f"{place.namespace}/")
    }
    uploads = place.stack.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    begun = {f"{one['Key']} {one['UploadId']}": "begun" for one in uploads if place.namespace in one["Key"]}
    return {key: digest for key, digest in {**found, **begun}.items() if "/drills/" not in key}


def _objects(place: Place) -> set[str]:
    """Every object of the namespace, of whatever kind, but events and the runs themselves."""
    verbs = ("--verbs=list", "--namespaced", "-o", "name")
    kinds = {line.strip() for line in place.stack.kubectl("api-resources", *verbs).splitlines()}
    kinds -= {"events", "events.events.k8s.io", f"{DRILL_RUNS}.databosun.io"}
    return set(place.stack.kubectl("get", ",".join(sorted(kinds)), "-n", place.namespace, "-o", "name").split())


@pytest.fixture(scope="module")
def untouched(place: Place) -> Iterator[Untouched]:
    source = Source(place).start()
    source.run("mkdir", "-p", "/data/fast")
    source.sql("create tablespace fast location '/data/fast'")
    source.sql(TABLES)
    place.apply(database_of("orders", source.host), policy("orders", schedules=SCHEDULES))
    place.back_up("orders-1", "orders")
    place.succeeded("orders-1")
    source.sql("insert into on_fast select i, 'more' from generate_series(1, 50000) as i")
    place.back_up("orders-2", "orders", type="Incremental")
    place.succeeded("orders-2")
    spec = {"databaseRef": {"name": "orders"}, "schedule": {"cron": NEVER}, "level": "Deep", "retries": 0}
    drill = {"apiVersion": GROUP, "kind": "RestoreDrill", "metadata": {"name": "once"}, "spec": spec}
    place.apply(drill)
    place.ready("restoredrills", "once")
    place.wait("no pod of a backup is left", lambda: len(place.stack.api.list("pods", place.namespace)) == 1)
    source.sql("checkpoint")
    with frozen(source.pod()) as data:
        files = files_of(data)
        assert any(name.startswith("fast/PG_") for name in files)
        yield Untouched(place, data, files, _bucket(place), _objects(place))


@pytest.fixture(scope="module")
def span(untouched: Untouched) -> float:
    """How long a whole drill takes, from the moment that its pod runs; and what it leaves."""
    place = untouched.place
    _ask(place, "whole")
    _pod(place, "whole")
    began = time.monotonic()
    status = place.verdict("whole")
    assert status["phase"] == "Passed", status
    return time.monotonic() - began


def _ask(place: Place, name: str) -> None:
    drill = {"drillRef": {"name": "once"}, "checks": [COUNT], "negativeControl": True}
    ask_for_drill(place, name, "orders", level="Deep", **drill)


def _pod(place: Place, run: str) -> Object:
    """The pod of a drill, once it runs."""
    found: list[Object] = []

    def runs() -> bool:
        pods = place.stack.api.list("pods", place.namespace, "databosun.io/task=drill")
        mine = [one for one in pods if one["metadata"]["annotations"]["databosun.io/for"].endswith(f"/{run}")]
        found[:] = [one for one in mine if one.get("status", {}).get("phase") == "Running"]
        return bool(found)

    place.wait(f"the agent of {run} runs", runs)
    return found[0]


def _kill_the_agent(place: Place, run: str, pod: Object) -> None:
    for pid, line in processes_of(pod).items():
        if "databosun agent" in line:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _delete_the_pod(place: Place, run: str, pod: Object) -> None:
    forced = ("--force", "--grace-period=0", "--wait=false", "--ignore-not-found")
    place.stack.kubectl("delete", "pod", "-n", place.namespace, pod["metadata"]["name"], *forced)


def _delete_the_job(place: Place, run: str, pod: Object) -> None:
    (owner,) = pod["metadata"]["ownerReferences"]
    place.stack.kubectl("delete", "job", "-n", place.namespace, owner["name"], "--wait=false", "--ignore-not-found")


def _is_over(place: Place, run: str) -> bool:
    body = place.stack.api.get(DRILL_RUNS, place.namespace, run)
    return body is None or LABEL_FINISHED in body["metadata"].get("labels", {})


def _delete_the_run(place: Place, run: str, pod: Object) -> None:
    place.stack.api.delete(DRILL_RUNS, place.namespace, run)


WAYS: tuple[Callable[[Place, str, Object], None], ...] = (
    _kill_the_agent,
    _delete_the_pod,
    _delete_the_job,
    _delete_the_run,
    _kill_the_agent,
)


def test_source_bucket_and_cluster_are_as_they_were_after_a_drill(untouched: Untouched, span: float) -> None:
    assert 0 < span < 120
    untouched.demand()
    evidence = [key for key in untouched.place.stack.keys(f"{untouched.place.namespace}/") if "/drills/" in key]
    assert [key.rpartition("/")[2] for key in evidence] == ["evidence.json"]


@pytest.mark.parametrize("number", range(KILLS))
def test_and_after_one_that_was_ended_at_any_moment(untouched: Untouched, span: float, number: int) -> None:
    place = untouched.place
    moment = span * (number + random.random()) / KILLS
    for sooner in range(4):
        run = f"ended-{number}-{sooner}"
        _ask(place, run)
        pod = _pod(place, run)
        time.sleep(moment / 2**sooner)  # the moment is what is tried: nothing tells of it but time
        if not _is_over(place, run):
            break
        place.wait("no pod of it is left", lambda: _objects(place) <= untouched.objects)
    WAYS[number](place, run, pod)
    place.wait(f"{run} is over", lambda: _is_over(place, run))
    if place.status(DRILL_RUNS, run).get("phase") != "Passed":
        untouched.interrupted.append(run)
    untouched.demand()


def test_most_of_them_were_ended_in_their_midst(untouched: Untouched) -> None:
    assert len(untouched.interrupted) >= KILLS - 2, untouched.interrupted


def test_the_source_goes_on_as_if_nothing_had_been(untouched: Untouched) -> None:
    """The last one: it wakes the source."""
    source = Source(untouched.place)
    wake(list(processes_of(source.pod())))
    assert source.sql("select count(*) from on_fast") == "250000"
