"""What must hold before a primary is moved: grants, a majority that is left, and a set that stays as it was moved."""

from __future__ import annotations

from collections.abc import Iterable

from databosun.api.failover import GuardResult, Member
from databosun.domain.errors import DatabosunError
from databosun.engines.mongodb.failover.look import Look
from databosun.engines.mongodb.failover.members import Members, privileges
from databosun.engines.mongodb.failover.probe import Space

MOVER_ACTIONS = ("replSetGetConfig", "replSetGetStatus", "replSetStateChange")
PROBE_ACTIONS = ("createCollection", "dropCollection", "find", "insert")
_ROLE = "grant the role of docs/how-to/failover-tests.md: {resource: {cluster: true}, actions: [%s]}"


def set_guards(look: Look, candidate: str | None, *, forced: bool) -> list[GuardResult]:
    """By what the set says."""
    sharded = look.facts.sharded
    found = [
        _guard(
            "notSharded", sharded is False,
            "a shard" if sharded else "no shard" if sharded is False else "this login may not look", "no shard",
            "the probe's writes would pass the routers by: test a set of its own" if sharded else
            'grant find on {db: "admin", collection: "system.version"}, where a shard keeps its name',
        ),
        _stays(look, candidate),
    ]  # fmt: skip
    return [*found, _majority(look)] if forced else found


def mover_guard(members: Members, place: tuple[str, int]) -> GuardResult:
    """Whether the login may do what the move needs."""
    with members.open(place, "reading the privileges of who moves the primary") as client:
        known = privileges(client)
    granted = {
        str(action)
        for one in known or []
        if (one.get("resource") or {}).get("cluster") or (one.get("resource") or {}).get("anyResource")
        for action in one["actions"]
    }
    lacking = [] if known is None else [one for one in MOVER_ACTIONS if one not in granted]
    return _lacking("grants", lacking, ", ".join(MOVER_ACTIONS), _ROLE % ", ".join(f'"{one}"' for one in lacking))


def probe_guard(probe: Members, place: tuple[str, int], space: Space) -> GuardResult:
    """Whether clients may have their collection."""
    with probe.open(place, "reading the privileges of the writers") as client:
        known = privileges(client)
    granted = set[str]()
    for one in known or []:
        resource = one.get("resource") or {}
        here = resource.get("db") == space.database and resource.get("collection") in ("", space.collection)
        anywhere = resource.get("anyResource") or (resource.get("db"), resource.get("collection")) == ("", "")
        granted |= {str(action) for action in one["actions"]} if here or anywhere else set()
    lacking = [] if known is None else [one for one in PROBE_ACTIONS if one not in granted]
    fix = f'db.getSiblingDB("admin").grantRolesToUser("{probe.user}", [{{role: "readWrite", db: "{space.database}"}}])'
    return _lacking("probeWritable", lacking, f"{', '.join(PROBE_ACTIONS)} on {space.database}", fix)


def reach_guard(probe: Members, members: Iterable[Member]) -> GuardResult:
    """Whether the writers get to each member that runs: who is not asked could take writes unseen."""
    told = []
    for one in members:
        if one.healthy:
            try:
                with probe.open((one.host, one.port), "asking"):
                    pass
            except DatabosunError as fault:
                told.append(f"{one.name}: {fault.message}")
    return _guard(
        "membersReachable", not told, " | ".join(told)[:1000] or "each lets the writers in", "every member that runs",
        "let the writers in to every member at the address that the set's configuration has for it",
    )  # fmt: skip


def _stays(look: Look, candidate: str | None) -> GuardResult:
    """A set moves back by itself to a member of higher priority: in the midst of the test, or outside of its window."""
    config = look.facts.config
    old, new = config.named(look.leader.name if look.leader else ""), config.named(candidate or "")
    ok = old is None or new is None or new.priority >= old.priority
    observed = f"{new.priority:g} of {new.name}, {old.priority:g} of {old.name}" if old and new else "not known"
    return _guard(
        "priorityKept", ok, observed, "the candidate's priority is not below that of the primary",
        "the set would move back by itself as soon as it may: give both the same priority (rs.reconfig) first",
    )  # fmt: skip


def _majority(look: Look) -> GuardResult:
    """Without the primary, one must still be elected, and writes with majority must still be acknowledged."""
    config, status = look.facts.config, look.facts.status
    primary = look.leader.name if look.leader else None
    left = [
        one
        for one in config.members
        if one.votes and one.name != primary and (there := status.members.get(one.name)) and there.healthy
    ]
    writing = [one for one in left if not one.arbiter]
    ok = len(left) >= status.needed and len(writing) >= status.writing
    return _guard(
        "majorityLeft", ok, f"{len(left)} that vote, {len(writing)} of them with data, beside the primary",
        f"{status.needed} that vote, {status.writing} of them with data",
        "with the primary gone nobody could be elected, or no write with majority be acknowledged, until it is back",
    )  # fmt: skip


def _lacking(name: str, lacking: list[str], limit: str, fix: str) -> GuardResult:
    return _guard(name, not lacking, f"lacks {', '.join(lacking)}" if lacking else "granted", limit, fix)


def _guard(name: str, ok: bool, observed: str, limit: str, todo: str) -> GuardResult:
    return GuardResult(name=name, ok=ok, observed=observed, limit=limit, message=None if ok else todo)
