"""What is missing for archiving the oplog: each grant and setting with the statement that mends it."""

from __future__ import annotations

from databosun.api.result import Finding
from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.archiving import demand_nothing_blocks
from databosun.engines.base import Target
from databosun.engines.mongodb.connect import Client, opened
from databosun.engines.mongodb.faults import GRANT
from databosun.engines.mongodb.preflight import allowed
from databosun.engines.mongodb.server import (
    OPLOG_COLLECTION,
    OPLOG_DATABASE,
    ServerFacts,
    choose_primary,
    read_facts,
    read_more,
)

CONTINUOUS = ["Continuous"]


def examine_archiving(target: Target) -> list[Finding]:
    """Findings for the member whose oplog is shipped."""
    endpoint = choose_primary(target)
    with opened(target, endpoint) as client:
        return _findings(client, target, read_more(client, read_facts(client, endpoint)))


def demand_archivable(client: Client, target: Target, facts: ServerFacts) -> None:
    """UserFault with the statement that mends it, where something stands in the way."""
    demand_nothing_blocks(_findings(client, target, facts))


def _findings(client: Client, target: Target, facts: ServerFacts) -> list[Finding]:
    user = target.credentials.username
    if facts.router or facts.shard:
        message = f"{facts.endpoint} is of a sharded cluster, whose shards have an oplog each: none of them is shipped"
        return [Finding(reason=Reason.SHARDED_UNSUPPORTED, message=message, blocks=CONTINUOUS)]
    grant = GRANT.format(user=user, role="backup")
    if not allowed(lambda: client[OPLOG_DATABASE][OPLOG_COLLECTION].find_one({}, {"ts": 1})):
        message = f"{user or 'whoever does not log in'} may not read {OPLOG_DATABASE}.{OPLOG_COLLECTION}"
        return [Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=grant, blocks=CONTINUOUS)]
    if not facts.oplog:
        fix = "start the server with replication.replSetName and run rs.initiate(): a set of one member is enough"
        message = f"{facts.endpoint} stands alone and has no oplog, so there is no log to ship"
        return [Finding(reason=Reason.NO_OPLOG, message=message, fix=fix, blocks=CONTINUOUS)]
    if facts.identity is None:
        message = (
            f"{user or 'whoever does not log in'} cannot see in local.system.replset which set {facts.endpoint} is of"
        )
        return [Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=grant, blocks=CONTINUOUS)]
    return []
