"""Events: told once, told again with a count, never a reason to fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from databosun.domain.errors import WorldFault
from databosun.runtime import events
from databosun.runtime.events import EventRecorder
from support.clock import FakeClock

ORDERS = {"apiVersion": "databosun.io/v1alpha1", "kind": "Database", "namespace": "shop", "name": "orders", "uid": "u1"}


class Rig:
    """A recorder whose Events land in a list."""

    def __init__(self) -> None:
        self.clock = FakeClock("2026-03-01T00:00:00Z")
        self.posted: list[dict[str, Any]] = []
        self.fault: Exception | None = None
        self.recorder = EventRecorder(self._create, self.clock, "databosun-0")

    async def _create(self, namespace: str, body: dict[str, Any]) -> None:
        assert namespace == body["metadata"]["namespace"]
        if self.fault is not None:
            raise self.fault
        self.posted.append(body)

    async def post(self, reason: str = "Failed", message: str = "wrong password", uid: str = "u1") -> None:
        await self.recorder.post({**ORDERS, "uid": uid}, reason, message, warning=True)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_an_event_says_all_that_kubectl_describe_shows(rig: Rig) -> None:
    await rig.post()
    (event,) = rig.posted
    assert event["metadata"]["name"].startswith("orders.")
    assert event["involvedObject"] == ORDERS
    assert (event["type"], event["reason"], event["message"], event["count"]) == (
        "Warning",
        "Failed",
        "wrong password",
        1,
    )
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-03-01T00:00:00Z"
    assert (event["source"], event["reportingInstance"]) == ({"component": "databosun"}, "databosun-0")


async def test_the_same_again_is_told_after_ten_minutes_with_its_count(rig: Rig) -> None:
    for _ in range(10):
        await rig.post()
        await rig.clock.advance(61)
    assert len(rig.posted) == 1
    await rig.post()
    assert [event["count"] for event in rig.posted] == [1, 10]
    assert rig.posted[1]["firstTimestamp"] == "2026-03-01T00:01:01Z"
    assert rig.posted[1]["lastTimestamp"] == "2026-03-01T00:10:10Z"
    assert rig.posted[0]["metadata"]["name"] != rig.posted[1]["metadata"]["name"]


async def test_other_news_is_told_at_once(rig: Rig) -> None:
    await rig.post()
    await rig.post(reason="Stalled")
    await rig.post(message="unreachable")
    await rig.post(uid="u2")
    await rig.post()
    assert len(rig.posted) == 4


async def test_an_old_message_told_anew_counts_from_one(rig: Rig) -> None:
    await rig.post()
    await rig.clock.advance(3600)
    await rig.post()
    assert [event["count"] for event in rig.posted] == [1, 1]
    assert rig.posted[1]["firstTimestamp"] == "2026-03-01T01:00:00Z"


@pytest.mark.parametrize("fault", [WorldFault("ApiUnreachable", "no answer"), RuntimeError("a bug"), TimeoutError()])
async def test_an_event_that_cannot_be_posted_is_logged_and_lost(
    rig: Rig, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rig.fault = fault
    await rig.post()
    assert rig.posted == []
    assert "an Event could not be posted" in caplog.text


async def test_a_server_that_never_answers_does_not_hold_up_the_work(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POST_TIMEOUT", 0.05)

    async def never(_namespace: str, _body: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    recorder = EventRecorder(never, rig.clock, "x")
    await recorder.post(ORDERS, "Failed", "x", warning=False)


async def test_a_long_message_is_cut_and_a_long_name_still_fits(rig: Rig) -> None:
    await rig.recorder.post({**ORDERS, "name": "n" * 253}, "Failed", "x" * 5000, warning=False)
    (event,) = rig.posted
    assert (len(event["message"]), event["message"][-1]) == (1024, "…")
    assert len(event["metadata"]["name"]) <= 253
    assert event["type"] == "Normal"


async def test_what_is_remembered_is_bounded(rig: Rig) -> None:
    for number in range(events.MOST_REMEMBERED + 1):
        await rig.post(uid=str(number))
    rig.posted.clear()
    await rig.post(uid="1")
    assert rig.posted == []
    await rig.post(uid="0")
    assert len(rig.posted) == 1
