"""What a namespace holds, listed again only where something may have changed: a look at nothing new costs no request.

Most looks of a test find nothing new, and each would list every kind. In the namespace of a test only these write:
operator, agents and test, all through one `Transport`, which tells of each request; and the API server's own
controllers, which touch what has an owner, what is being deleted, and Jobs, pods and Deployments. The API server in
memory tells of every write, whoever made it. Where anybody else wrote, the test fails (`differences`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from databosun.kube.answers import Call
from databosun.kube.errors import Unreachable
from databosun.kube.resources import DEPLOYMENTS, JOBS, PODS, RUN_KINDS, Object

READS = ("get", "list", "discover")
UNSURE = ("Cancelled", Unreachable.__name__)
"""Outcomes of requests that may still be carried out."""
OTHERS_WRITE = frozenset({JOBS.kind, PODS.kind, DEPLOYMENTS.kind})


class Looks:
    """The last list of each kind, and whether it still holds."""

    def __init__(self, *, told_all: bool) -> None:
        self._told_all = told_all
        self._known: dict[str, list[Object]] = {}
        self._written: set[str] = set()
        self._unsure: set[str] = set()
        self._changes: Counter[str] = Counter()

    def wrote(self, kind: str) -> None:
        """Something of this kind may have been written."""
        self._written.add(kind)

    def told(self, call: Call, outcome: str, _seconds: float) -> None:
        """A request has ended: what it may have written is listed again."""
        if call.verb in READS:
            return
        self.wrote(call.resource.kind)
        if outcome in UNSURE:
            self._unsure.add(call.resource.kind)

    def last(self, kind: str) -> list[Object] | None:
        """The last list, where nobody can have changed what is in it since."""
        known = self._known.get(kind)
        if known is None or kind in self._written or kind in self._unsure:
            return None
        return known if self._told_all or not _others_write(kind, known) else None

    def begin(self, kind: str) -> None:
        """A list of a kind begins: what is written from now on is listed once more."""
        self._written.discard(kind)

    def listed(self, kind: str, found: list[Object]) -> None:
        """What a list of a kind has just found."""
        if _versions(found) != _versions(self._known.get(kind, [])):
            self._changes[kind] += 1
        self._known[kind] = found

    def runs(self) -> Mapping[str, int] | None:
        """How often the runs of each kind changed; None: some may have changed since their last list."""
        kinds = {resource.kind for resource in RUN_KINDS}
        return None if kinds & (self._written | self._unsure) else {kind: self._changes[kind] for kind in kinds}

    def differences(self, kind: str, found: list[Object]) -> str | None:
        """What a list says otherwise than the last one, which ought to hold."""
        before, now = (
            {one["metadata"]["name"]: one for one in bodies} for bodies in (self._known.get(kind, []), found)
        )
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        if not changed:
            return None
        return f"{kind} {', '.join(changed)}: written by somebody who is not of this test, and no look saw it"


def _others_write(kind: str, bodies: list[Object]) -> bool:
    if kind in OTHERS_WRITE:
        return bool(bodies)
    return any("ownerReferences" in one["metadata"] or "deletionTimestamp" in one["metadata"] for one in bodies)


def _versions(bodies: list[Object]) -> set[tuple[str, str]]:
    return {(body["metadata"]["name"], body["metadata"]["resourceVersion"]) for body in bodies}
