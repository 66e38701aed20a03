"""The login at the server that takes writes: which it is, whether it is still, and since when it is known to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from databosun.api.v1alpha1.reasons import Reason as ApiReason
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.lifecycle import RuleFault, Strain, Trouble
from databosun.engines.redis.connect import Endpoint, open_wire
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.lifecycle.faults import fault_of
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, Wire
from databosun.engines.redis.topology import choose_master, master_since

SLOW_SECONDS = 0.1  # an answer that takes longer: the server is busy, or the way to it
MOST_UNFREED = 100_000  # values that were taken out and wait to be freed
BACKLOG_SHARE = 2  # a replica may be behind by one part in so many of what it could still be sent


@dataclass(frozen=True, slots=True)
class Master:
    """As it was when the login was made. `known_seconds`: how long it is known to have been the master, at least."""

    wire: Wire
    endpoint: Endpoint
    version: str
    run_id: str
    replid: str
    policy: str
    known_seconds: int
    began: float

    @property
    def trusted_seconds(self) -> float:
        """How far back its idle times say something of reads: a replica hears of writes alone."""
        return self.known_seconds + time.monotonic() - self.began


def open_master(target: Target, number: int, pulse: Callable[[], None]) -> Master:
    """Find it, log in, take the database. WorldFault where none can be told to be it; UserFault(ClusterUnsupported)."""
    user = target.credentials.username
    with guarded("looking for the master", user):
        facts = choose_master(target, pulse)
    if facts.cluster:
        message = (
            f"{facts.endpoint} is a node of a Cluster; this release works on the keys of single servers and replicated"
            " ones"
        )
        raise UserFault(Reason.CLUSTER_UNSUPPORTED, message)
    if facts.loading:
        message = f"{facts.endpoint} reads its data; the next attempt starts anew"
        raise WorldFault(Reason.SERVER_NOT_READY, message)
    wire = open_wire(target, facts.endpoint, pulse)
    try:
        if number:
            wire.call("SELECT", number)
        said = ask_info(wire)
        if said.get("role") != "master" or said.get("loading", "0") != "0":
            message = f"{facts.endpoint} has just stopped being the master; the next attempt looks anew"
            raise WorldFault(Reason.SERVER_NOT_READY, message)
        known = _known(target, facts.endpoint, said, pulse)
    except ReplyError as error:
        wire.close()
        raise fault_of(error, f"beginning at {facts.endpoint}", user) from error
    except BaseException:  # also an interrupt: the connection must not stay behind
        wire.close()
        raise
    return Master(
        wire=wire,
        endpoint=facts.endpoint,
        version=facts.version,
        run_id=said.get("run_id", ""),
        replid=said.get("master_replid", ""),
        policy=said.get("maxmemory_policy", ""),
        known_seconds=known,
        began=time.monotonic(),
    )


def demand_idle_times(master: Master, rule: str, seconds: int) -> None:
    """UserFault(IdleTimeUnknown) where a key that is read every minute might look as if nobody had used it."""
    if "lfu" in master.policy:
        message = (
            f"rule {rule}: {master.endpoint} keeps no idle times under maxmemory-policy {master.policy}; match.idleFor"
            " needs another"
        )
        raise UserFault(ApiReason.IDLE_TIME_UNKNOWN, message)
    if seconds > master.trusted_seconds:
        message = (
            f"rule {rule}: match.idleFor is {seconds} s, and {master.endpoint} is known to have been the master for"
            f" {int(master.trusted_seconds)} s; a replica does not see who reads at its master, so idle times of before"
            " say nothing"
        )
        raise UserFault(ApiReason.IDLE_TIME_UNKNOWN, message)


def demand_same(master: Master) -> None:
    """RuleFault(LOST) where it is not the master any more, or began another history."""
    said = ask_info(master.wire, "replication")
    if (said.get("role"), said.get("master_replid")) != ("master", master.replid):
        message = f"{master.endpoint} is no longer the master that it was; it is looked for anew"
        raise RuleFault(Reason.SERVER_NOT_READY, message, Trouble.LOST)


def read_strain(master: Master) -> Strain:
    """How far replicas are behind, in seconds and in the backlog; how long the server takes to answer."""
    began = time.monotonic()
    said = ask_info(master.wire)
    took = time.monotonic() - began
    replicas = [_pairs(value) for name, value in said.items() if name[:5] == "slave" and name[5:].isdigit()]
    lags = [int(one.get("lag", "0")) for one in replicas if one.get("state") == "online"]
    return Strain(float(max(lags, default=0)), len(replicas), busy=_busy(said, replicas, took))


def ask_info(wire: Wire, *section: str) -> dict[str, str]:
    """INFO, by name."""
    said = wire.call("INFO", *section)
    lines = said.decode("utf-8", "replace").splitlines() if isinstance(said, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _busy(said: Mapping[str, str], replicas: list[dict[str, str]], took: float) -> str:
    if copied := [one for one in replicas if one.get("state") != "online"]:
        return f"{len(copied)} replicas are being copied to"
    offset, backlog = int(said.get("master_repl_offset", "0")), int(said.get("repl_backlog_size", "0"))
    behind = max((offset - int(one.get("offset", offset)) for one in replicas), default=0)
    if backlog and behind * BACKLOG_SHARE > backlog:
        return f"a replica is behind by {behind} bytes, and the backlog keeps {backlog}"
    unfreed = int(said.get("lazyfree_pending_objects", "0"))
    if unfreed > MOST_UNFREED:
        return f"{unfreed} values wait to be freed"
    return f"the server took {took:.2f} s to answer" if took > SLOW_SECONDS else ""


def _known(target: Target, endpoint: Endpoint, said: Mapping[str, str], pulse: Callable[[], None]) -> int:
    """Since it was started, where it never followed another; else what a Sentinel has seen."""
    up = int(said.get("uptime_in_seconds", "0"))
    if said.get("second_repl_offset", "-1") == "-1":
        return up
    return min(up, master_since(target, endpoint, pulse))


def _pairs(value: str) -> dict[str, str]:
    return {name: text for name, _, text in (part.partition("=") for part in value.split(","))}
