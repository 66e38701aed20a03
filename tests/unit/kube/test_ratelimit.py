"""The token bucket."""

from __future__ import annotations

import asyncio

import pytest

from databosun.kube.ratelimit import TokenBucket
from support.clock import FakeClock


def bucket(clock: FakeClock, rate: float, burst: int) -> TokenBucket:
    return TokenBucket(rate, burst, monotonic=clock.monotonic, sleep=clock.sleep)


async def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    clock = FakeClock()
    tokens = bucket(clock, rate=10, burst=5)
    passed: list[tuple[int, float]] = []

    async def caller(number: int) -> None:
        await tokens.acquire()
        passed.append((number, round(clock.monotonic() - start, 6)))

    start = clock.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(caller(number))
        await clock.advance(1)
    assert passed == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0.1), (6, 0.2), (7, 0.3)]


async def test_quiet_time_fills_the_bucket_but_never_beyond_its_burst() -> None:
    clock = FakeClock()
    tokens = bucket(clock, rate=10, burst=2)
    await clock.advance(1000)
    assert [await tokens.acquire(), await tokens.acquire()] == [0.0, 0.0]
    waiting = asyncio.ensure_future(tokens.acquire())
    await clock.settle()
    assert not waiting.done()
    await clock.advance(0.1)
    assert await waiting == pytest.approx(0.1)


async def test_over_a_long_time_no_more_than_the_rate_passes() -> None:
    clock = FakeClock()
    tokens = bucket(clock, rate=50, burst=10)
    passed = 0

    async def caller() -> None:
        nonlocal passed
        while True:
            await tokens.acquire()
            passed += 1

    callers = [asyncio.ensure_future(caller()) for _ in range(5)]
    await clock.advance(4)
    for task in callers:
        task.cancel()
    assert 50 * 4 <= passed <= 50 * 4 + 10


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_lets_nothing_pass_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="let nothing pass"):
        TokenBucket(rate, burst)
