"""The health server: it answers, whatever its probes do."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from databosun.runtime.health import HealthServer, Probe


class Running:
    """A server that was started, and how to ask it."""

    def __init__(self, server: HealthServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def get(self, path: str) -> tuple[int, str, str]:
        """Status, body, content type."""
        async with self._session.get(f"http://127.0.0.1:{self.server.port}{path}") as answer:
            return answer.status, await answer.text(), answer.headers["Content-Type"]

    async def json(self, path: str) -> tuple[int, Any]:
        async with self._session.get(f"http://127.0.0.1:{self.server.port}{path}") as answer:
            return answer.status, await answer.json()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def starting(
            healthy: dict[str, Probe] | None = None,
            ready: dict[str, Probe] | None = None,
            render: Callable[[], bytes] = lambda: b"x 1\n",
            **more: Any,
        ) -> Running:
            server = HealthServer(
                healthy=healthy or {}, ready=ready or {}, render=render, host="127.0.0.1", port=0, **more
            )
            await server.start()
            stack.push_async_callback(server.stop)
            return Running(server, session)

        yield starting


async def test_healthy_and_ready_are_two_questions(start: Start) -> None:
    one = await start(healthy={"queue": lambda: None}, ready={"lists": lambda: "listing backups"})
    assert await one.json("/healthz") == (200, {"ok": True, "checks": {"queue": "ok"}})
    assert await one.json("/readyz") == (503, {"ok": False, "checks": {"lists": "listing backups"}})


async def test_a_probe_is_asked_each_time(start: Start) -> None:
    fault: list[str | None] = [None, "stuck", None]
    one = await start(healthy={"queue": lambda: fault.pop(0)})
    assert [(await one.json("/healthz"))[0] for _ in range(3)] == [200, 503, 200]


async def test_a_probe_that_raises_has_failed_and_the_others_are_still_asked(start: Start) -> None:
    def broken() -> str | None:
        raise KeyError("gone")

    one = await start(healthy={"broken": broken, "fine": lambda: None})
    status, said = await one.json("/healthz")
    assert status == 503
    assert said["checks"] == {"broken": "the probe failed: KeyError: 'gone'", "fine": "ok"}


async def test_metrics_are_prometheus_text(start: Start) -> None:
    one = await start()
    assert await one.get("/metrics") == (200, "x 1\n", "text/plain; version=0.0.4; charset=utf-8")


async def test_metrics_that_hang_end_in_an_answer_and_leave_the_probes_alone(start: Start) -> None:
    free = threading.Event()

    def hang() -> bytes:
        free.wait(60)
        return b""

    one = await start(healthy={"queue": lambda: None}, render=hang, render_timeout=0.1)
    try:
        assert (await one.get("/metrics"))[0] == 503
        assert (await one.get("/healthz"))[0] == 200
    finally:
        free.set()


async def test_metrics_that_fail_are_a_failed_request_not_the_end(start: Start) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    one = await start(render=fail)
    assert (await one.get("/metrics"))[0] == 500
    assert (await one.get("/healthz"))[0] == 200


async def test_nothing_else_is_served(start: Start) -> None:
    one = await start()
    assert (await one.get("/"))[0] == 404


async def test_a_taken_port_is_said_at_once(start: Start) -> None:
    one = await start()
    other = HealthServer(healthy={}, ready={}, render=bytes, host="127.0.0.1", port=one.server.port)
    with pytest.raises(OSError, match="in use"):
        await other.start()
    await other.stop()
