"""Kinds that an API server serves while any worker of a test run needs them, whichever worker is through first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock
from pathlib import Path
from typing import TextIO

from support.cluster import Cluster
from support.waiting import eventually

KIND = "customresourcedefinition.apiextensions.k8s.io"


@contextmanager
def served(cluster: Cluster, names: Sequence[str], manifests: str, run: Path) -> Iterator[Cluster]:
    """These CRDs, of the manifests, served. Those that were not there before go with the last worker that has them.

    `run`: a path that all workers of the run share, and no two sets of kinds.
    """
    with run.with_suffix(".added").open("a+") as added, run.with_suffix(".users").open("a") as users:
        with _locked(added):
            added.seek(0)
            if not (new := added.read().split()):
                before = cluster.kubectl("get", "crd", "-o", "name").stdout.replace(f"{KIND}/", "").split()
                new = [name for name in names if name not in before]
                print(*new, file=added, flush=True)
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=manifests)
            cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "crd", *names)
            listing = ("get", ",".join(names), "-A", "-o", "name")
            eventually(
                "established is served", lambda: cluster.kubectl(*listing, check=False).returncode == 0, seconds=120
            )
            flock(users, LOCK_SH)
        yield cluster
        with _locked(added), suppress(BlockingIOError):  # raised where another worker tests on
            flock(users, LOCK_EX | LOCK_NB)
            added.truncate(0)
            if new:
                cluster.kubectl("delete", "crd", "--timeout=120s", *new)


@contextmanager
def _locked(file: TextIO) -> Iterator[None]:
    """Alone among the workers that hold this file."""
    flock(file, LOCK_EX)
    try:
        yield
    finally:
        flock(file, LOCK_UN)
