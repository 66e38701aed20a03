"""The guards that hold for every kind of replication, judged by what a look found."""

from __future__ import annotations

from databosun.api.failover import GuardLimits, GuardResult, Member, MemberRole, Topology


def judge_limits(topology: Topology, candidate: str | None, limits: GuardLimits) -> list[GuardResult]:
    """Each guard, with what was found; a value that nobody tells does not hold."""
    chosen = next((one for one in topology.members if one.name == candidate), None)
    found = [_one_primary(topology), _healthy(topology, limits.min_healthy_replicas)]
    if limits.min_healthy_replicas == 0 and all(one.name == topology.primary for one in topology.members):
        return found  # there is nobody who could take over, and nobody is asked for
    if limits.candidate_consistent:
        found.append(_consistent(topology, chosen))
    if limits.max_lag_bytes is not None and chosen is not None and chosen.lag_bytes is not None:
        found.append(_lag("maxLagBytes", chosen.lag_bytes, limits.max_lag_bytes, "bytes"))
    if limits.max_lag_seconds is not None:
        found.append(_lag("maxLagSeconds", chosen.lag_seconds if chosen else None, limits.max_lag_seconds, "s"))
    return found


def _one_primary(topology: Topology) -> GuardResult:
    primaries = [one.name for one in topology.members if one.role is MemberRole.PRIMARY]
    ok = topology.primary is not None
    return GuardResult(
        name="onePrimary",
        ok=ok,
        observed=topology.primary or (", ".join(primaries) or "none"),
        limit="one, by the word of all",
        message=None if ok else "wait until the failover that is under way is over, or put the nodes in order",
    )


def _healthy(topology: Topology, wanted: int) -> GuardResult:
    healthy = [one.name for one in topology.members if one.role is MemberRole.REPLICA and one.healthy]
    ill = [f"{one.name}: {'; '.join(one.problems) or one.state}" for one in topology.members if not one.healthy]
    ok = len(healthy) >= wanted
    message = None if ok else f"mend the replicas first ({' | '.join(ill) or 'there are too few'})"[:1000]
    return GuardResult(name="minHealthyReplicas", ok=ok, observed=str(len(healthy)), limit=str(wanted), message=message)


def _consistent(topology: Topology, chosen: Member | None) -> GuardResult:
    problems = [f"{one.name}: {problem}" for one in topology.members for problem in one.problems]
    ok = chosen is not None and chosen.promotable
    told = "; ".join(chosen.problems if chosen else problems) or "no replica could take over"
    return GuardResult(
        name="candidateConsistent",
        ok=ok,
        observed=(f"{chosen.name} could take over" if ok and chosen else told)[:1000],
        limit="a replica that holds what the primary has, and nothing else",
        message=None if ok else "nothing was moved: put the replica in order, or make it anew",
    )


def _lag(name: str, lag: float | None, limit: float, unit: str) -> GuardResult:
    ok = lag is not None and lag <= limit
    return GuardResult(
        name=name,
        ok=ok,
        observed="not known" if lag is None else f"{lag:.12g} {unit}",
        limit=f"{limit:.12g} {unit}",
        message=None if ok else "wait until the candidate has caught up, or find what holds it up",
    )
