"""PostgreSQL under Patroni in pods, as the demo has it: three members, and what their own rows say of a failover."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import yaml

from databosun.domain.ledger import Fate
from support.clusterapi import Object
from support.failoverruns import PATIENT, FailoverRuns
from support.stack import ROOT

MEMBERS = ("payments-0", "payments-1", "payments-2")
# Every row that the clients' table holds when it is dropped, and when it was committed, by the server's own clock.
_KEEP = """
CREATE SCHEMA kept;
CREATE TABLE kept.rows (run text, client int, seq int, at timestamptz);
CREATE FUNCTION kept.keep() RETURNS event_trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
DECLARE run text;
BEGIN
  FOR run IN SELECT schemaname FROM pg_tables WHERE schemaname LIKE 'databosun_probe%' LOOP
    EXECUTE format(
      'INSERT INTO kept.rows SELECT %L, client, seq, pg_xact_commit_timestamp(xmin) FROM %1$I.writes', run);
  END LOOP;
END $$;
CREATE EVENT TRIGGER keep ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION kept.keep();
"""
CLOCKS = 0.1
"""Seconds by which a wall clock may run away from the monotonic one of the same machine within a test."""
# Once clients write, the primary sends its replicas nothing more; when enough was committed since, no client can write
# any more, so what it holds then it holds in the end. In one script: the agent gives it ten seconds.
_HOLD = """
rows() {{ psql -h /data -U postgres -Atc 'SELECT count(*) FROM {table}' 2>/dev/null || echo 0; }}
until [ "$(rows)" -gt 0 ]; do sleep 0.1; done
kill -STOP $(psql -h /data -U postgres -Atc "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'")
sent=$(rows)
until [ "$(rows)" -ge $((sent + {unsent})) ]; do sleep 0.1; done
psql -h /data -U postgres -At -c BEGIN -c 'LOCK TABLE {table} IN SHARE MODE' -c 'SELECT client, seq FROM {table}' \\
  -c "SELECT 'held'" -c 'SELECT pg_sleep(600)' >/data/held 2>&1 &
until grep -q held /data/held; do sleep 0.1; done
cat /data/held
"""

_DEAF = """
trap '' TERM
/opt/patroni/bin/python -m patroni /etc/patroni/patroni.yml
exit $?
"""


@dataclass(frozen=True, slots=True)
class PatroniPods(FailoverRuns):
    """The cluster of the demo, in a namespace of a test's own."""

    database: str = "payments"

    def start(self, *, safe_from_kills: bool = False) -> None:
        """Bring it up; returns once each member is ready. `safe_from_kills`: what is acknowledged is on two of them,
        and a pod that is to end does not hear it, so that its server is killed by -9 and never shut down."""
        bodies = list(yaml.safe_load_all((ROOT / "hack/demo/patroni.yaml").read_text()))
        if safe_from_kills:
            _make_safe(bodies)
        self.place.apply(*bodies)
        for kind in ("deployment/payments-etcd", "statefulset/payments"):
            self.place.stack.kubectl("rollout", "status", "-n", self.place.namespace, kind, "--timeout=300s")
        self.sql(self.leader(), _KEEP)

    def example(self, file: str, name: str | None = None, spec: Object | None = None, **guards: Any) -> None:
        """Apply an object of `examples/failover`; as it stands there but for more patience, or by another name, with
        another spec and other guards."""
        text = (ROOT / "examples/failover" / file).read_text().replace(".shop.svc", f".{self.place.namespace}.svc")
        body: Object = yaml.safe_load(text)
        del body["metadata"]["namespace"]
        if body["kind"] == "FailoverTest":
            body["spec"]["objectives"]["writeDowntime"] = PATIENT
        if name is not None:
            body["metadata"]["name"] = name
            body["spec"].update(spec or {})
            body["spec"]["guards"].update(guards)
        self.place.apply(body)

    # --- members

    def whole(self) -> bool:
        """One takes writes, and sends them to both others."""
        streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        try:
            found = self.writable()
            return len(found) == 1 and self.sql(found[0], streams) == "2"
        except AssertionError:  # a pod that is not there, a server that does not answer
            return False

    def settings(self) -> str:
        """What holds for all of them, by Patroni's word; `pause` among it where that is so."""
        patroni = ("/opt/patroni/bin/python", "-m", "patroni.ctl", "-c", "/etc/patroni/patroni.yml")
        return self._exec(self.leader(), *patroni, "show-config")

    def leader(self) -> str:
        """The one that takes writes, once all answer, as one does not that begins anew; fails where several do."""
        found: list[str] = []

        def answered() -> bool:
            with suppress(AssertionError):
                found[:] = self.writable()
            return bool(found)

        self.place.wait("each says whether it takes writes, and one does", answered, 300)
        (leader,) = found
        return leader

    def writable(self) -> list[str]:
        """All that take writes."""
        return [member for member in MEMBERS if self.sql(member, "SELECT pg_is_in_recovery()") == "f"]

    def uids(self) -> dict[str, str]:
        """Of the pods, by member."""
        pods = self.place.stack.api.list("pods", self.place.namespace, "app=payments")
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}

    def hold(self, member: str, run: str, unsent: int) -> set[str]:
        """The rows that a primary has which sends its replicas nothing, since so many of them, and takes no more."""
        said = self._exec(member, "sh", "-c", _HOLD.format(table=self._table(run), unsent=unsent))
        return {line for line in said.splitlines() if "|" in line}

    def sql(self, member: str, statement: str) -> str:
        """As the superuser, in the pod."""
        return self._exec(member, "psql", "-h", "/data", "-U", "postgres", "-At", "-c", statement).strip()

    # --- the clients' table

    def kept(self, run: str) -> dict[str, float]:
        """What it held in the end, at the primary: when each row was committed."""
        schema, _, _ = self._table(run).partition(".")
        query = f"SELECT client, seq, extract(epoch FROM at) FROM kept.rows WHERE run = '{schema}'"
        lines = (line.rpartition("|") for line in self.sql(self.leader(), query).splitlines())
        return {row: float(at) for row, _, at in lines}

    def held_against_the_rows(self, run: str) -> None:
        """What was acknowledged is there, committed between question and answer, and the longest time without a commit
        that ended after the order is what was measured, but for the time that an answer took."""
        status, rows = self.status(run), self.kept(run)
        result, (ordered,) = status["result"], (one for one in status["timeline"] if one["event"] == "SwitchOrdered")
        assert len(rows) >= result["acknowledged"] + result["phantom"]
        wall = _ahead()
        acked = [one for one in self.ledger(run) if one.fate is Fate.ACKNOWLEDGED]
        assert len(acked) == result["acknowledged"]
        commits, slowest = [], 0.0
        for one in acked:
            assert one.ended is not None
            at = rows[f"{one.client.rpartition('-')[2]}|{one.seq}"]
            assert wall + one.sent - CLOCKS < at < wall + one.ended + CLOCKS, one
            commits.append(at)
            slowest = max(slowest, wall + one.ended - at)
        gaps = list(pairwise(sorted(commits)))
        # It was ordered between the two; the first is of whole seconds.
        since, told = (datetime.fromisoformat(at).timestamp() for at in (status["movedAt"], ordered["at"]))
        least = max((later - before for before, later in gaps if later > told + CLOCKS), default=0.0)
        most = max(later - before for before, later in gaps if later > since - slowest - CLOCKS)
        measured = result["writeDowntimeMilliseconds"] / 1000
        assert least - slowest - CLOCKS < measured < most + slowest + CLOCKS, (least, most, slowest, result)

    def left(self) -> str:
        """Schemas of clients that are there still."""
        return self.sql(self.leader(), "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'databosun_probe%'")

    def _table(self, run: str) -> str:
        return f"databosun_probe_{self.uid(run)}.writes"

    def _exec(self, member: str, *argv: str) -> str:
        return self.place.stack.kubectl("exec", "-n", self.place.namespace, member, "--", *argv)


def _ahead() -> float:
    """How far the wall clock is ahead of the monotonic one; asked anew where that took long."""
    while True:
        before, wall, after = time.monotonic(), time.time(), time.monotonic()
        if after - before < CLOCKS / 10:
            return wall - after


def _make_safe(bodies: list[Object]) -> None:
    """Commits are synchronous, and the first process of a member's container lets no signal through to the others."""
    named = {(body["kind"], body["metadata"]["name"]): body for body in bodies}
    data = named["ConfigMap", "payments"]["data"]
    settings = yaml.safe_load(data["patroni.yml"])
    settings["bootstrap"]["dcs"]["synchronous_mode"] = True
    data["patroni.yml"] = yaml.safe_dump(settings)
    (container,) = named["StatefulSet", "payments"]["spec"]["template"]["spec"]["containers"]
    container["command"] = ["sh", "-c", _DEAF]
