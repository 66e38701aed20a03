"""PostgreSQL under Patroni in pods, whose primary is killed by -9 under its clients' hands."""

from __future__ import annotations

import pytest

from support.patronipods import MEMBERS, PatroniPods
from support.stackplace import Place

pytestmark = pytest.mark.e2e

RUN = "payments-forced"
# What a replica says of a primary that is gone without a word, and of one that shut down.
CUT, CLOSED = "could not receive data from WAL stream", "End of WAL reached"


@pytest.fixture(scope="module")
def payments(place: Place) -> PatroniPods:
    pods = PatroniPods(place)
    pods.start(safe_from_kills=True)
    for file in ("database.yaml", "forced.yaml"):
        pods.example(file)
    place.ready("failovertests", RUN)
    return pods


def test_a_primary_that_is_killed_is_followed_by_another_and_nothing_acknowledged_is_lost(
    payments: PatroniPods,
) -> None:
    plan, before = payments.plan(RUN), payments.uids()
    payments.consent(RUN)
    found = payments.ended(RUN)
    assert found["phase"] == "Passed", found
    new = payments.leader()
    assert {member for member in MEMBERS if before[member] != payments.uids()[member]} == {plan["primary"]}
    assert new != plan["primary"]
    said = payments.place.stack.kubectl("logs", "-n", payments.place.namespace, new)
    assert CUT in said, "its connection to the primary never broke off"
    assert CLOSED not in said, "the primary was shut down, and not killed"
    result = found["result"]
    assert (result["lost"], result["rejoinLost"], result.get("splitBrain", [])) == (0, 0, [])
    assert result["rejoinMilliseconds"] > 0
    payments.held_against_the_rows(RUN)
    assert payments.left() == ""
