"""The queue: one run per key at a time, wake-ups, back-off, faults."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.runtime.queue import FIRST_DELAY, LONGEST_DELAY, Key, Queue
from support.clock import FakeClock

ONE, TWO = Key("Backup", "shop", "one"), Key("Backup", "shop", "two")
MINUTE = timedelta(minutes=1)


class Work:
    """A reconcile that remembers its calls, waits at a gate where it is shut, and answers as told."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[tuple[Key, datetime]] = []
        self.now: Counter[Key] = Counter()
        self.most: Counter[Key] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer: Callable[[Key], datetime | None] = lambda _key: None

    async def __call__(self, key: Key) -> datetime | None:
        self.calls.append((key, self.clock.now()))
        self.now[key] += 1
        self.most[key] = max(self.most[key], self.now[key])
        try:
            await self.gate.wait()
            return self.answer(key)
        finally:
            self.now[key] -= 1

    def times(self, key: Key = ONE) -> list[float]:
        """Seconds from the first call of a key to each."""
        found = [at for known, at in self.calls if known == key]
        return [(at - found[0]).total_seconds() for at in found]


@asynccontextmanager
async def running(work: Work, workers: int = 3) -> AsyncIterator[Queue]:
    queue = Queue(work, work.clock, workers=workers, rng=random.Random(1))
    task = asyncio.ensure_future(queue.run())
    await work.clock.settle()
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def work() -> Work:
    return Work(FakeClock())


async def test_looks_that_never_wait_leave_the_loop_to_others() -> None:
    """Among the others is who renews the Lease: a restart with thousands of objects must not lose it."""
    work, turns = Work(FakeClock()), 0
    keys = [Key("Backup", "shop", str(number)) for number in range(300)]

    async def other() -> None:
        nonlocal turns
        while len(work.calls) < len(keys):
            turns += 1
            await asyncio.sleep(0)

    async with running(work, workers=3) as queue:
        for key in keys:
            queue.add(key)
        await other()
        await queue.settled()
    assert turns >= len(keys) // 3


async def test_a_key_runs_once_however_often_it_is_added(work: Work) -> None:
    async with running(work) as queue:
        for _ in range(5):
            queue.add(ONE)
        await work.clock.settle()
        assert [key for key, _ in work.calls] == [ONE]


async def test_a_key_never_runs_twice_at_once_and_runs_again_where_it_was_added_meanwhile(work: Work) -> None:
    work.gate.clear()
    async with running(work) as queue:
        queue.add(ONE)
        await work.clock.settle()
        for _ in range(3):
            queue.add(ONE)
            await work.clock.settle()
        assert (len(work.calls), queue.running, queue.depth) == (1, 1, 0)
        work.gate.set()
        await queue.settled()
        assert len(work.calls) == 2
        assert work.most[ONE] == 1


async def test_other_keys_do_not_wait_for_a_slow_one(work: Work) -> None:
    work.gate.clear()
    async with running(work, workers=2) as queue:
        queue.add(ONE)
        queue.add(TWO)
        await work.clock.settle()
        assert {key for key, _ in work.calls} == {ONE, TWO}


async def test_no_more_run_at_once_than_there_are_workers(work: Work) -> None:
    work.gate.clear()
    async with running(work, workers=2) as queue:
        for number in range(5):
            queue.add(Key("Backup", "shop", str(number)))
        await work.clock.settle()
        assert (queue.running, queue.depth) == (2, 3)


async def test_hints_wait_behind_what_was_added_and_still_get_their_turns(work: Work) -> None:
    queue = Queue(work, work.clock, workers=1)
    for number in range(12):
        queue.hint(Key("Database", "shop", str(number)))
        queue.add(Key("Backup", "shop", str(number)))
    queue.hint(Key("Backup", "shop", "11"))
    queue.add(Key("Database", "shop", "11"))
    assert queue.depth == 24
    task = asyncio.ensure_future(queue.run())
    await queue.settled()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    names = " ".join(f"{key.kind[0]}{key.name}" for key, _ in work.calls)
    assert names == "B0 B1 B2 B3 B4 B5 B6 B7 B8 D0 B9 B10 B11 D11 D1 D2 D3 D4 D5 D6 D7 D8 D9 D10"


async def test_what_is_added_while_it_runs_counts_for_more_than_a_hint(work: Work) -> None:
    queue = Queue(work, work.clock, workers=1)
    work.gate.clear()
    queue.add(ONE)
    task = asyncio.ensure_future(queue.run())
    await work.clock.settle()
    queue.hint(ONE)
    queue.add(ONE)
    queue.hint(TWO)
    work.gate.set()
    await queue.settled()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [key for key, _ in work.calls] == [ONE, ONE, TWO]


async def test_a_wake_up_comes_at_its_instant(work: Work) -> None:
    async with running(work) as queue:
        queue.add(ONE, work.clock.now() + MINUTE)
        await work.clock.advance(59)
        assert not work.calls
        await work.clock.advance(1)
        assert len(work.calls) == 1


async def test_the_earlier_of_two_wake_ups_counts_and_an_event_replaces_both(work: Work) -> None:
    async with running(work) as queue:
        start = work.clock.now()
        assert queue.next_wake is None
        queue.add(ONE, start + 2 * MINUTE)
        queue.add(ONE, start + MINUTE)
        queue.add(ONE, start + 3 * MINUTE)
        assert queue.next_wake == start + MINUTE
        await work.clock.advance(60)
        assert len(work.calls) == 1
        queue.add(TWO, start + 3 * MINUTE)
        queue.add(TWO)
        await work.clock.advance(600)
        assert [key for key, _ in work.calls] == [ONE, TWO]


async def test_what_a_reconcile_returns_is_its_next_wake_up(work: Work) -> None:
    work.answer = lambda _key: work.clock.now() + MINUTE
    async with running(work) as queue:
        queue.add(ONE)
        await work.clock.advance(150)
        assert work.times() == [0, 60, 120]


async def test_a_fault_of_the_world_is_retried_ever_more_slowly_and_forgotten_after_a_success(work: Work) -> None:
    away = True

    def answer(_key: Key) -> None:
        if away:
            raise WorldFault("ApiUnreachable", "no answer")

    work.answer = answer
    async with running(work) as queue:
        queue.add(ONE)
        await work.clock.advance(3600)
        times = work.times()
        gaps = [later - before for before, later in itertools.pairwise(times)]
        for number, gap in enumerate(gaps):
            expected = min(LONGEST_DELAY, FIRST_DELAY * float(2**number)).total_seconds()
            assert 0.8 * expected <= gap <= 1.2 * expected + 0.001
        assert queue.counters.faults == len(times)
        assert queue.counters.panics == 0
        away = False
        await work.clock.advance(600)
        away = True
        before = len(work.calls)
        queue.add(ONE)
        await work.clock.advance(2)
        assert len(work.calls) == before + 2, "back-off starts anew after a success"


@pytest.mark.parametrize("fault", [UserFault, SafetyStop])
async def test_what_waits_for_a_person_is_not_retried_hot_but_an_event_brings_it_back_at_once(
    work: Work, fault: type[UserFault | SafetyStop]
) -> None:
    def answer(_key: Key) -> None:
        raise fault("Forbidden", "no")

    work.answer = answer
    async with running(work) as queue:
        queue.add(ONE)
        await work.clock.advance(0.8 * LONGEST_DELAY.total_seconds() - 1)
        assert len(work.calls) == 1
        queue.add(ONE)
        await work.clock.settle()
        assert len(work.calls) == 2
        await work.clock.advance(1.2 * LONGEST_DELAY.total_seconds())
        assert len(work.calls) == 3
        assert (queue.counters.refusals, queue.counters.panics) == (3, 0)


async def test_a_bug_in_one_kind_is_counted_and_stops_nobody_else(work: Work) -> None:
    def answer(key: Key) -> None:
        if key == ONE:
            raise RuntimeError("bug")

    work.answer = answer
    async with running(work, workers=1) as queue:
        queue.add(ONE)
        queue.add(TWO)
        await work.clock.advance(3)
        assert [key for key, _ in work.calls][:2] == [ONE, TWO]
        assert queue.counters.panics >= 2
        assert queue.counters.done == 1


async def test_a_clock_that_is_set_back_delays_nothing(work: Work) -> None:
    async with running(work) as queue:
        queue.add(ONE, work.clock.now() + MINUTE)
        await work.clock.advance(6)
        work.clock.jump(timedelta(hours=-1))
        await work.clock.advance(6)
        assert len(work.calls) == 1


async def test_a_clock_that_is_set_forward_brings_what_is_due(work: Work) -> None:
    async with running(work) as queue:
        queue.add(ONE, work.clock.now() + timedelta(hours=1))
        await work.clock.advance(6)
        assert not work.calls
        work.clock.jump(timedelta(hours=1))
        await work.clock.advance(6)
        assert len(work.calls) == 1


async def test_what_is_forgotten_wakes_no_more(work: Work) -> None:
    async with running(work) as queue:
        queue.add(ONE, work.clock.now() + MINUTE)
        queue.forget(ONE)
        await work.clock.advance(120)
        assert not work.calls


async def test_settled_waits_for_what_is_ready_or_running_but_not_for_wake_ups(work: Work) -> None:
    work.gate.clear()
    async with running(work) as queue:
        queue.add(TWO, work.clock.now() + MINUTE)
        await asyncio.wait_for(queue.settled(), 1)
        queue.add(ONE)
        waiting = asyncio.ensure_future(queue.settled())
        await work.clock.settle()
        assert not waiting.done()
        work.gate.set()
        await asyncio.wait_for(waiting, 1)


async def test_it_says_for_how_long_nothing_has_moved(work: Work) -> None:
    work.gate.clear()
    async with running(work, workers=1) as queue:
        await work.clock.advance(600)
        assert queue.stuck_for() == 0
        queue.add(ONE)
        await work.clock.advance(100)
        assert queue.stuck_for() == pytest.approx(100)
        work.gate.set()
        await queue.settled()
        assert queue.stuck_for() == 0


async def test_what_is_no_fault_at_all_ends_the_queue(work: Work) -> None:
    class Killed(BaseException):
        pass

    def answer(_key: Key) -> None:
        raise Killed

    work.answer = answer
    queue = Queue(work, work.clock, workers=2)
    running: Awaitable[None] = asyncio.ensure_future(queue.run())
    queue.add(ONE)
    with pytest.raises(BaseExceptionGroup) as caught:
        await running
    assert caught.group_contains(Killed)


async def test_it_says_how_late_a_wake_up_starts_and_nothing_of_other_work() -> None:
    clock = FakeClock()
    work = Work(clock)
    late: list[float] = []
    async with running(work) as queue:
        queue.tell(late.append, lambda _kind: None)
        queue.add(ONE)
        await clock.settle()
        assert late == []
        queue.add(ONE, at=clock.now() + MINUTE)
        await clock.advance(MINUTE)
        assert len(work.calls) == 2
        assert len(late) == 1
        assert late[0] >= 0


async def test_it_says_which_kind_ended_in_a_bug() -> None:
    clock = FakeClock()
    work = Work(clock)
    kinds: list[str] = []

    def bug(_key: Key) -> datetime | None:
        raise ZeroDivisionError

    work.answer = bug
    async with running(work) as queue:
        queue.tell(lambda _late: None, kinds.append)
        queue.add(ONE)
        await clock.settle()
    assert kinds == ["Backup"]
