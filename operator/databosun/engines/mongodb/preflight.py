"""What is missing for a backup, found before one is tried: each grant and setting with the statement that mends it.

Grants are not read but tried: a role of one's own may hold them under any name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pymongo.errors import OperationFailure

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.base import Target
from databosun.engines.mongodb.connect import Client
from databosun.engines.mongodb.faults import GRANT, UNAUTHORIZED
from databosun.engines.mongodb.namespaces import LEFT_DATABASES, USERS
from databosun.engines.mongodb.server import OPLOG_COLLECTION, OPLOG_DATABASE, ServerFacts

_LOGICAL = [Method.LOGICAL.value, Method.AUTO.value]


def examine(
    client: Client, target: Target, facts: ServerFacts, methods: Collection[Method], *, incremental: bool, strict: bool
) -> list[Finding]:
    """Findings for these methods, blocking ones first. `strict`: a dump that is of no one instant is none."""
    findings = _methods(methods)
    if set(methods) & {Method.AUTO, Method.LOGICAL}:
        findings += _topology(facts)
        findings += _grants(client, target, facts)
        findings += _oplog(facts, strict=strict, incremental=incremental)
    if target.database.database is not None:
        message = f"connection.database is {target.database.database}, but a backup of MongoDB holds the whole server"
        findings.append(Finding(reason=Reason.WHOLE_SERVER, message=message))
    return sorted(findings, key=lambda finding: not finding.blocks)


def _methods(methods: Collection[Method]) -> list[Finding]:
    unknown = [method.value for method in methods if method in (Method.PHYSICAL, Method.SNAPSHOT)]
    if not unknown:
        return []
    message = (
        "this release takes logical backups of MongoDB only: files of a data directory cannot be had over the network"
    )
    return [Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, fix="set method to Logical", blocks=unknown)]


def _topology(facts: ServerFacts) -> list[Finding]:
    if not (facts.router or facts.shard):
        return []
    what = "a router (mongos)" if facts.router else "a shard"
    message = (
        f"{facts.endpoint} is {what} of a sharded cluster, whose shards have no common point in time for a dump; this "
        "release backs up replica sets and single servers"
    )
    return [Finding(reason=Reason.SHARDED_UNSUPPORTED, message=message, blocks=_LOGICAL)]


def _grants(client: Client, target: Target, facts: ServerFacts) -> list[Finding]:
    """One finding for all that is refused: the built-in role `backup` is enough for every one of them."""
    refused = [what for what, ask in _trials(client, facts) if not allowed(ask)]
    if not refused:
        return []
    user = target.credentials.username
    message = f"{user or 'whoever does not log in'} may not {', '.join(refused)}"
    fix = GRANT.format(user=user, role="backup")
    return [Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_LOGICAL)]


def _trials(client: Client, facts: ServerFacts) -> list[tuple[str, Callable[[], object]]]:
    trials: list[tuple[str, Callable[[], object]]] = [
        ("list all databases", lambda: _databases(client)),
        ("read admin.system.users", lambda: client.admin[USERS].find_one({}, {"_id": 1})),
        ("list and read the collections of every database", lambda: _read_each(client)),
    ]
    if facts.oplog or facts.set_name:
        oplog = client[OPLOG_DATABASE][OPLOG_COLLECTION]
        trials.append(("read local.oplog.rs", lambda: oplog.find_one({}, {"ts": 1})))
    return trials


def _databases(client: Client) -> list[str]:
    """Without the option, a user who may not list them is shown those that it may read: the others would be missing."""
    found = client.admin.command("listDatabases", nameOnly=True, authorizedDatabases=False)
    return [str(one["name"]) for one in found["databases"]]


def _read_each(client: Client) -> None:
    """The first collection of each: roles are given for whole databases."""
    for name in _databases(client):
        if name in LEFT_DATABASES:
            continue
        listed = [one for one in client[name].list_collection_names() if not one.startswith("system.")]
        for collection in sorted(listed)[:1]:
            client[name][collection].find_one({}, {"_id": 1})


def allowed(ask: Callable[[], object]) -> bool:
    """Whether the account may ask that."""
    try:
        ask()
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            return False
        raise
    return True


def _oplog(facts: ServerFacts, *, strict: bool, incremental: bool) -> list[Finding]:
    if facts.oplog or facts.router:
        return []
    fix = "start the server with replication.replSetName and run rs.initiate(): a replica set of one member is enough"
    message = (
        f"{facts.endpoint} stands alone and has no oplog, so that no dump of it is of one instant while it is written "
        "to; a backup is taken only where the policy says consistency: Partial"
    )
    findings = [Finding(reason=Reason.NO_OPLOG, message=message, fix=fix, blocks=_LOGICAL if strict else [])]
    if incremental:
        message = "without an oplog each Incremental becomes a Full"
        findings.append(Finding(reason=Reason.INCREMENTAL_UNSUPPORTED, message=message, fix=fix))
    return findings
