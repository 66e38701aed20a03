"""PostgreSQL under CloudNativePG: members are pods without a name of their own in the DNS, and come back elsewhere.

The operator says which instances there are, and where they were. One that does not answer there any more is looked for
at the primary: a replica is known to it by its name, and the address that it comes from. The primary itself is where
the Service of the cluster leads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from databosun.api.failover import GuardResult, Topology
from databosun.engines.failover import CLOUD_NATIVE_PG, ProbeError
from databosun.engines.postgresql.failover.probe import Said, Session
from databosun.engines.postgresql.failover.stateful import ASK_SECONDS, StatefulProvider


@dataclass
class ClusterProvider(StatefulProvider):
    """`places`: by the names of the instances, as far as is known."""

    name = CLOUD_NATIVE_PG

    def say_all(self) -> dict[str, Said | str]:
        """Those that are silent are asked again where the primary says that they are."""
        said = super().say_all()
        silent = [name for name, one in said.items() if isinstance(one, str)]
        leads = [name for name, one in said.items() if isinstance(one, Said) and not one.recovers]
        if not silent or len(leads) > 1:
            return said
        found = self._followers(leads[0]) if leads else self._led_to(silent)
        for name in silent:
            host, port = self.places[name]
            if found.get(name, host) != host:
                self.places[name] = (found[name], port)
                said[name] = self.ask(name)
        return said

    def examine(self, topology: Topology, candidate: str | None) -> Sequence[GuardResult]:
        """Also whether the primary tells who its replicas are."""
        guards = list(self.probe_guards(topology))
        if topology.primary is None:
            return guards
        known = self._followers(topology.primary)
        ok = {one.name for one in topology.members if one.healthy and one.name != topology.primary} <= set(known)
        told = GuardResult(
            name="grants",
            ok=ok,
            observed="granted" if ok else f"pg_stat_replication tells of {', '.join(known) or 'nobody'}",
            limit="the primary tells of every replica, by its instance's name",
            message=None if ok else f'run `GRANT pg_monitor TO "{self.site.probe.credentials.username}";`',
        )
        return [*guards, told]

    def _followers(self, primary: str) -> dict[str, str]:
        """Where each replica is, by its name; empty where the login may not see that."""
        host, port = self.places[primary]
        return _asked(lambda: self.clients.watch(primary, host, port, ASK_SECONDS), lambda one: one.followers()) or {}

    def _led_to(self, silent: Sequence[str]) -> dict[str, str]:
        """Nobody that is known leads: where the only one that is silent is, if clients are led to it."""
        address = _asked(lambda: self.clients.connect(None, 0, ASK_SECONDS), lambda one: one.address())
        known = {host for name, (host, _) in self.places.items() if name not in silent}
        return {silent[0]: address} if len(silent) == 1 and address is not None and address not in known else {}


T = TypeVar("T")


def _asked(opening: Callable[[], Session], question: Callable[[Session], T]) -> T | None:
    """What one session says; None where it says nothing."""
    try:
        session = opening()
    except ProbeError:
        return None
    try:
        return question(session)
    except ProbeError:
        return None
    finally:
        session.close()
