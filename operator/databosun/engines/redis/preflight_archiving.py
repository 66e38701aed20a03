"""What is missing for archiving the commands: each grant and setting with the statement that mends it."""

from __future__ import annotations

from databosun.api.quantities import humanize_bytes
from databosun.api.result import Finding
from databosun.engines.archiving import demand_nothing_blocks
from databosun.engines.base import Target
from databosun.engines.redis.preflight import obstacles
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.server import ServerFacts

CONTINUOUS = ["Continuous"]
# Redis keeps 1 MiB unless it is told otherwise: the commands of a second or two.
SMALL_BACKLOG = 16 * 1024 * 1024


def examine_archiving(target: Target, facts: ServerFacts) -> list[Finding]:
    """Findings for the node whose commands are followed: it serves the archiver as one of its replicas."""
    blocking = [one for one in obstacles(target, facts) if one.blocks]
    return [
        *_cluster(facts),
        *(one.model_copy(update={"blocks": CONTINUOUS}) for one in blocking),
        *_master(facts),
        *_backlog(facts),
    ]


def demand_archivable(target: Target, facts: ServerFacts) -> None:
    """UserFault with the statement that mends it, where something stands in the way."""
    demand_nothing_blocks(examine_archiving(target, facts))


def _cluster(facts: ServerFacts) -> list[Finding]:
    if not facts.cluster:
        return []
    message = f"{facts.endpoint} is a node of a Cluster, whose commands this release does not archive"
    fix = "-- set continuous.enabled to false, and take full backups as often as the recovery point asks for"
    return [Finding(reason=Reason.CLUSTER_UNSUPPORTED, message=message, fix=fix, blocks=CONTINUOUS)]


def _master(facts: ServerFacts) -> list[Finding]:
    if not facts.master:
        return []
    message = (
        f"no replica of {facts.endpoint} is known, so the archiver follows the master: `WAIT 1` counts it, for writes "
        "that the bucket has"
    )
    return [Finding(reason=Reason.FROM_MASTER, message=message)]


def _backlog(facts: ServerFacts) -> list[Finding]:
    """How much is kept for an archiver that is away."""
    if facts.backlog_bytes >= SMALL_BACKLOG:
        return []
    message = (
        f"repl-backlog-size of {facts.endpoint} is {humanize_bytes(facts.backlog_bytes)}: where more is written while "
        "the archiver is away, that is a gap, and a full backup is taken"
    )
    fix = "CONFIG SET repl-backlog-size 64mb -- on every node, and keep it (CONFIG REWRITE)"
    return [Finding(reason=Reason.BACKLOG_SMALL, message=message, fix=fix)]
