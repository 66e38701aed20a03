"""What must hold before a master is moved: grants, found without doing what they allow, and a quorum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from databosun.api.failover import GuardResult
from databosun.engines.redis.failover.nodes import NodeFacts, Nodes, Place
from databosun.engines.redis.failover.probe import CLUSTER_GRANTS, GRANTS, Keys, lacking
from databosun.engines.redis.failover.sentinels import Word
from databosun.engines.redis.resp import encode

MOVER_GRANTS = "+info +ping +client|pause +client|unpause +client|kill +replicaof +config|rewrite"
MOVES = (("CLIENT", "PAUSE", "x"), ("REPLICAOF", "127.0.0.1", "x"))
"""Commands that do nothing, for those that a move needs."""


def quorum_guard(word: Word | None) -> GuardResult:
    """Whether the Sentinels could agree on another master."""
    quorum = word.quorum if word else "not asked"
    return GuardResult(
        name="quorum",
        ok=quorum is None,
        observed=quorum or "OK",
        limit="OK of SENTINEL CKQUORUM",
        message=None if quorum is None else "start the Sentinels that are away; they could not agree",
    )


def kept_guard(master: NodeFacts | None) -> GuardResult:
    """Whether a master that a fault ends comes back with all it had: else it is back, empty or of yesterday, before any
    Sentinel has missed it, and its replicas copy that."""
    forgets = master.forgets if master is not None else "no master"
    return GuardResult(
        name="appendOnly",
        ok=forgets is None,
        observed=forgets or "appendonly yes",
        limit="appendonly yes on the master, written without errors and not just being rewritten",
        message=None
        if forgets is None
        else "set appendonly yes in the configuration of every node, on a volume that outlives its pod",
    )


def mover_guard(
    nodes: Nodes, places: Iterable[Place], asked: Sequence[Sequence[str]] = MOVES, grants: str = MOVER_GRANTS
) -> GuardResult:
    """Whether the login may do what the move needs: grants are looked at before what is asked for is."""
    for place in places:
        with nodes.open(place) as wire:
            wire.send(b"".join(encode(*words) for words in asked))
            refused = [str(one) for one in wire.answers(len(asked)) if "NOPERM" in str(one)]
        if refused:
            return _granted("grants", nodes.user, grants, refused)
    return _granted("grants", nodes.user, grants, [])


def probe_guard(probe: Nodes, primary: Place, keys: Keys) -> GuardResult:
    """Whether clients may write what they are to write."""
    with probe.open(primary) as wire:
        refused = lacking(wire, keys)
    grants = CLUSTER_GRANTS if keys.together else GRANTS
    return _granted("probeWritable", probe.user, grants.format(table=keys.table), refused)


def _granted(name: str, user: str, grants: str, refused: list[str]) -> GuardResult:
    fix = f"run `ACL SETUSER {user} {grants}` on every node, and keep it (ACL SAVE)" if refused else None
    return GuardResult(
        name=name, ok=not refused, observed=refused[0] if refused else "granted", limit=grants, message=fix
    )
