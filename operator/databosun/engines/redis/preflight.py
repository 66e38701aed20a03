"""What is missing for a backup, found before one is tried: each grant and setting with the statement that mends it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.engines.base import Target
from databosun.engines.redis.connect import open_wire
from databosun.engines.redis.faults import NEEDED
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, encode
from databosun.engines.redis.server import ServerFacts

_PHYSICAL = [Method.PHYSICAL.value, Method.AUTO.value]
_FIRST_FOREIGN = (7, 3)  # 7.4 was the first with a format of its own


def examine(target: Target, facts: ServerFacts, methods: Collection[Method], *, incremental: bool) -> list[Finding]:
    """Findings for these methods, blocking ones first."""
    return _examined(target, methods, obstacles(target, facts), incremental=incremental)


def examine_shards(
    target: Target, sources: Iterable[ServerFacts], methods: Collection[Method], *, incremental: bool
) -> list[Finding]:
    """The same of all nodes that the shards of a cluster would be copied from; of each kind the first."""
    found: dict[str, Finding] = {}
    for facts in sources:
        for one in obstacles(target, facts):
            found.setdefault(one.reason, one)
    return _examined(target, methods, list(found.values()), incremental=incremental)


def _examined(
    target: Target, methods: Collection[Method], found: Sequence[Finding], *, incremental: bool
) -> list[Finding]:
    findings = [*_methods(methods), *found]
    if target.database.database is not None:
        message = f"connection.database is {target.database.database}, but a backup of Redis holds all its databases"
        findings.append(Finding(reason=Reason.WHOLE_SERVER, message=message))
    if incremental:
        message = "Redis has no incremental backups: each becomes a Full"
        findings.append(Finding(reason=Reason.INCREMENTAL_UNSUPPORTED, message=message))
    return sorted(findings, key=lambda finding: not finding.blocks)


def obstacles(target: Target, facts: ServerFacts) -> list[Finding]:
    """What stands in the way of being served as a replica is, whatever for."""
    by_role = _master(facts, target) if facts.master else _replica(facts)
    return [*_server(facts), *by_role, *_grants(target, facts)]


def _methods(methods: Collection[Method]) -> list[Finding]:
    unknown = [method for method in methods if method in (Method.LOGICAL, Method.SNAPSHOT)]
    if not unknown:
        return []
    message = f"method is {', '.join(unknown)}, which Redis does not have; expected Auto or Physical"
    return [Finding(reason=Reason.UNSUPPORTED_METHOD, message=message, blocks=[method.value for method in unknown])]


def _server(facts: ServerFacts) -> list[Finding]:
    findings = []
    if facts.modules:
        message = (
            f"{facts.endpoint} has loaded modules ({', '.join(facts.modules)}), whose data no server without them "
            "reads; "
            "this release backs up none of them"
        )
        findings.append(Finding(reason=Reason.MODULES_UNSUPPORTED, message=message, blocks=_PHYSICAL))
    if facts.product == "Redis" and _number(facts.version) > _FIRST_FOREIGN:
        message = (
            f"{facts.endpoint} runs Redis {facts.version}, whose RDB files no server of the runner image reads; "
            "expected "
            "Redis 6.0 to 7.2, or Valkey"
        )
        findings.append(Finding(reason=Reason.RDB_VERSION_UNSUPPORTED, message=message, blocks=_PHYSICAL))
    return findings


def _master(facts: ServerFacts, target: Target) -> list[Finding]:
    """While it is copied, the copier is one of its replicas; nobody may take it for one that keeps data."""
    user = target.credentials.username or "default"
    if facts.good_replicas is not None:
        message = (
            f"the master {facts.endpoint} takes writes only with replicas (min-replicas-to-write), and no replica "
            "could be "
            "asked: a backup might count as one"
        )
        fix = "list the replicas in spec.connection.hosts, or: CONFIG SET min-replicas-to-write 0"
        return [Finding(reason=Reason.COUNTED_AS_REPLICA, message=message, fix=fix, blocks=_PHYSICAL)]
    if facts.watched is None:
        message = f"user {user} may not ask whether Sentinels watch the master {facts.endpoint}"
        fix = f"ACL SETUSER {user} +pubsub|numsub"
        return [Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_PHYSICAL)]
    if facts.watched:
        message = (
            f"the master {facts.endpoint} is watched by Sentinels, and no replica could be asked: Sentinel would "
            "list the "
            "backup among its replicas"
        )
        fix = "list the replicas (or the Sentinels) in spec.connection.hosts, and let the Jobs reach them"
        return [Finding(reason=Reason.COUNTED_AS_REPLICA, message=message, fix=fix, blocks=_PHYSICAL)]
    message = f"no replica of {facts.endpoint} is known: backups are taken from the master, which forks for each"
    return [Finding(reason=Reason.FROM_MASTER, message=message)]


def _replica(facts: ServerFacts) -> list[Finding]:
    if facts.usable_replica:
        return []
    message = f"the replica {facts.endpoint} has no link to its master, so its data may be of any age"
    return [Finding(reason=Reason.REPLICA_STALE, message=message)]


def _grants(target: Target, facts: ServerFacts) -> list[Finding]:
    """Whether PSYNC and REPLCONF are granted.

    PSYNC behind a command whose answer has not left yet is refused by every server, after it has looked at the grants:
    so nothing is begun by asking.
    """
    user = target.credentials.username or "default"
    with open_wire(target, facts.endpoint) as wire:
        wire.send(encode("REPLCONF", "capa", "psync2") + encode("PING") + encode("PSYNC", "?", "-1"))
        answers = wire.answers(3)
    refused = [str(answer) for answer in answers if isinstance(answer, ReplyError) and str(answer).startswith("NOPERM")]
    if not refused:
        return []
    message = f"user {user} lacks what a backup needs: {'; '.join(refused)}"
    fix = f"ACL SETUSER {user} {NEEDED}"
    return [Finding(reason=Reason.PERMISSION_DENIED, message=message, fix=fix, blocks=_PHYSICAL)]


def _number(version: str) -> tuple[int, int]:
    parts = [*version.split("."), "0"]
    return int(parts[0]), int(parts[1])
