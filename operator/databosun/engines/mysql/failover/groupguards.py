"""What must hold of a group before its primary is moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from databosun.api.failover import FailoverMode, GuardResult
from databosun.engines.mysql.connect import version_of
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.groupview import ONLINE, MemberFacts
from databosun.engines.mysql.failover.guards import mover_guard, probe_guard
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.probe import Tables

LOOK_GRANTS = ("REPLICATION CLIENT",)
MOVE_GRANTS = (*LOOK_GRANTS, "GROUP_REPLICATION_ADMIN")
LIMITED = (8, 0, 29)
"""From then on a group can be told how long to wait for open transactions; else it may hand over hours later."""


def examine_group(
    nodes: Nodes,
    probe: Nodes,
    tables: Tables,
    facts: Mapping[Place, MemberFacts],
    places: Sequence[Place],
    primary: Place | None,
    mode: FailoverMode,
) -> list[GuardResult]:
    """Of those who answered, by the primary's word of the group."""
    planned = mode is FailoverMode.PLANNED_SWITCHOVER
    found = [mover_guard(nodes, list(facts), MOVE_GRANTS if planned else LOOK_GRANTS)]
    if primary is not None:
        found += [
            probe_guard(probe, primary, tables),
            _reachable(facts, places, facts[primary]),
            _online(facts[primary]),
            _majority(facts[primary], planned=planned),
        ]
    if planned:
        found.append(ends_in_time(facts))
    return [*found, _single(facts)]


def _guard(name: str, wrong: Sequence[str], right: str, limit: str, todo: str) -> GuardResult:
    observed = "; ".join(wrong) or right
    return GuardResult(
        name=name, ok=not wrong, observed=observed[:500], limit=limit, message=todo if wrong else None
    )  # fmt: skip


def _reachable(facts: Mapping[Place, MemberFacts], places: Sequence[Place], leader: MemberFacts) -> GuardResult:
    """A member that nobody can ask could take writes unseen."""
    ours = {one.uuid for one in facts.values()}
    wrong = [f"{place} does not answer" for place in places if place not in facts]
    wrong += [f"{place} is not in the primary's group" for place, one in facts.items() if one.uuid not in leader.view]
    wrong += [f"{one.host}:{one.port} is no host of it" for uuid, one in leader.view.items() if uuid not in ours]
    todo = "name every member of the group in spec.connection.hosts of the Database, and mend those that are away"
    return _guard("membersReachable", wrong, f"all {len(ours)}", "every member of the group, and no other", todo)


def _online(leader: MemberFacts) -> GuardResult:
    wrong = [f"{one.host}:{one.port} is {one.state}" for one in leader.view.values() if one.state != ONLINE]
    todo = "wait until it has recovered, or run START GROUP_REPLICATION there"
    return _guard("membersOnline", wrong, f"all {len(leader.view)}", f"every member {ONLINE}", todo)


def _majority(leader: MemberFacts, *, planned: bool) -> GuardResult:
    """Of the group as it is: who is gone still counts until the others have agreed on that."""
    left, size = leader.online - (0 if planned else 1), len(leader.view)
    wrong = [] if left * 2 > size else [f"{left} of {size}"]
    todo = "nobody could be elected without the primary: add members, three at least"
    return _guard("majorityLeft", wrong, f"{left} of {size}", "more than half of the group", todo)


def _single(facts: Mapping[Place, MemberFacts]) -> GuardResult:
    wrong = [f"{place} is in multi-primary mode" for place, one in facts.items() if one.own and not one.single]
    todo = "a group in which all take writes has nobody to fail over from (group_replication_single_primary_mode)"
    return _guard("singlePrimary", wrong, "single-primary mode", "single-primary mode", todo)


def ends_in_time(facts: Mapping[Place, MemberFacts]) -> GuardResult:
    """Whether each member can be told until when to hand over."""
    wrong = [f"{place} runs {one.version}" for place, one in facts.items() if version_of(one.version) < LIMITED]
    todo = "upgrade: an older group waits for open transactions without an end"
    return _guard("handsOverInTime", wrong, "all do", f"MySQL {'.'.join(map(str, LIMITED))} or later", todo)
