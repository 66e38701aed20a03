"""What is made of what members of a replication group say."""

from __future__ import annotations

import pytest

from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.groupguards import ends_in_time
from databosun.engines.mysql.failover.groupview import MemberFacts, SeenMember


def member(*states: str, version: str = "9.7.4-2", read_only: bool = False) -> MemberFacts:
    """A primary that has the others in these states."""
    view = {"a": SeenMember("h", 1, "ONLINE", "PRIMARY", 0)}
    view |= {f"{n}": SeenMember("h", 2 + n, state, "SECONDARY", 0) for n, state in enumerate(states)}
    return MemberFacts(1, "a", version, read_only, "", single=True, consistency="", weight=50, seconds=0.0, view=view)


def test_a_primary_that_does_not_reach_the_majority_leads_nobody() -> None:
    assert member("ONLINE", "ONLINE").leads
    assert member("ONLINE", "UNREACHABLE").leads
    assert not member("UNREACHABLE", "UNREACHABLE").leads
    assert not member("ONLINE", "ONLINE", read_only=True).leads  # it is about to


@pytest.mark.parametrize(("version", "ok"), [("8.0.28", False), ("8.0.29", True), ("9.7.4-2", True)])
def test_a_group_that_cannot_be_told_until_when_is_not_told(version: str, ok: bool) -> None:
    found = ends_in_time({Place("h", 1): member("ONLINE", version=version)})
    assert (found.ok, "8.0.29 or later" in found.limit) == (ok, True)
