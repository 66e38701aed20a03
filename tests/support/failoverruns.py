"""Runs of failover tests on a real cluster: started, consented to, waited for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import zstandard

from databosun.domain.ledger import History
from databosun.domain.ledgerlines import parse_ledger
from support.clusterapi import Object
from support.stackplace import GROUP, LABEL_FINISHED, Place

RUNS = "failovertestruns"
PATIENT = "3m"
"""As an objective of the time without writes: a test of anything else fails by it only where a run is given up."""


@dataclass(frozen=True, slots=True)
class FailoverRuns:
    """Of one Database."""

    place: Place
    database: str

    def begin(self, test: str, run: str) -> None:
        """Have a run of a test made, of that name."""
        soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        spec = {"testRef": {"name": test}, "databaseRef": {"name": self.database}, "notAfter": soon}
        self.place.apply({"apiVersion": GROUP, "kind": "FailoverTestRun", "metadata": {"name": run}, "spec": spec})

    def plan(self, test: str, run: str | None = None) -> Object:
        """A run of a test, until its plan waits for consent; the plan."""
        name = run or test
        self.begin(test, name)
        self.place.wait("the plan waits for consent", lambda: self.status(name).get("phase") == "AwaitingApproval", 300)
        plan: Object = self.status(name)["plan"]
        return plan

    def consent(self, run: str) -> None:
        """To its plan."""
        self.place.stack.bosun("approve", "--failover", run, "--yes", "-n", self.place.namespace)

    def status(self, run: str) -> Object:
        """Of a run."""
        return self.place.status(RUNS, run)

    def ended(self, run: str) -> Object:
        """Wait for its verdict; its status."""

        def over() -> bool:
            body = self.place.stack.api.read(RUNS, self.place.namespace, run)
            return LABEL_FINISHED in body["metadata"].get("labels", {})

        self.place.wait(f"{run} has a verdict", over, 600)
        return self.status(run)

    def ledger(self, run: str) -> History:
        """What its clients sent, and what became of it, as it was stored."""
        name = f"/failovers/{run}/ledger.jsonl.zst"
        keys = self.place.keys()
        (key,) = (key for key in keys if key.endswith(name))
        packed = self.place.stack.download(key)
        history, _, _ = parse_ledger(
            zstandard.ZstdDecompressor().decompressobj().decompress(packed).decode().splitlines()
        )
        return history

    def uid(self, run: str) -> str:
        """As names of the clients' tables have it."""
        uid: str = self.place.stack.api.read(RUNS, self.place.namespace, run)["metadata"]["uid"]
        return uid.replace("-", "")

    def agent(self, run: str) -> Object | None:
        """The pod of its newest agent."""
        pods = self.place.stack.api.list("pods", self.place.namespace, "databosun.io/task=failover")
        mine = [pod for pod in pods if pod["metadata"]["name"].startswith(f"{run}-")]
        return max(mine, key=lambda pod: str(pod["metadata"]["name"]), default=None)

    def log(self, run: str) -> str:
        """What that says."""
        pod = self.agent(run)
        name = pod["metadata"]["name"] if pod else "none"
        return self.place.stack.kubectl("logs", "-n", self.place.namespace, name, check=False)
