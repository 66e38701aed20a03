"""MariaDB in three pods: moved with consent, its primary killed by -9 on the way, and left alone where a replica has
what the primary never had."""

from __future__ import annotations

import pytest

from support.mariapods import MEMBERS, MariaPods
from support.stackplace import Place

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def maria(place: Place) -> MariaPods:
    """One for all tests, which are in order: each leaves another primary behind."""
    pods = MariaPods(place)
    pods.start()
    pods.test("planned", "PlannedSwitchover")
    pods.test("forced", "ForcedFailover")
    place.ready("failovertests", "planned")
    return pods


def test_with_consent_to_the_plan_it_is_moved_and_nothing_is_lost(maria: MariaPods) -> None:
    plan = maria.plan("planned")
    old, new = maria.member(plan["primary"]), maria.member(plan["candidate"])
    assert maria.writable() == [old], "it was moved without consent"
    maria.consent("planned")
    found = maria.ended("planned")
    assert found["phase"] == "Passed", found
    assert (found["result"]["lost"], found["result"]["rejoinLost"], found["result"].get("splitBrain", [])) == (0, 0, [])
    assert found["result"]["acknowledged"] > 0  # few where a server answers slowly
    assert maria.writable() == [new]
    assert maria.followed(new)
    assert maria.left() == ""


def test_the_primary_is_killed_and_what_was_acknowledged_is_there(maria: MariaPods) -> None:
    maria.whole()
    plan = maria.plan("forced")
    old, new = maria.member(plan["primary"]), maria.member(plan["candidate"])
    before = maria.restarts(old)
    with maria.doomed(old):
        maria.consent("forced")
        found = maria.ended("forced")
    assert found["phase"] == "Passed", found
    assert (found["result"]["lost"], found["result"].get("splitBrain", [])) == (0, [])
    assert found["result"]["writeDowntimeMilliseconds"] > 0
    assert found["result"]["rejoinMilliseconds"] > 0
    maria.place.wait("its container was started again", lambda: maria.restarts(old) > before)
    assert maria.restarts(old) == before + 1
    assert maria.writable() == [new]
    assert maria.followed(new)
    assert maria.left() == ""


def test_where_replicas_have_what_the_primary_never_had_nothing_is_moved(maria: MariaPods) -> None:
    (primary,) = maria.writable()
    for member in MEMBERS:
        if member != primary:
            maria.sql(member, f"CREATE DATABASE only_at_{member.replace('-', '_')}")
    maria.begin("planned", "errant")
    found = maria.ended("errant")
    assert found["phase"] == "Refused", found
    assert "errant" in found["failure"]["message"], found
    assert maria.writable() == [primary]
    assert maria.left() == ""
