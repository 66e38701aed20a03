"""Who acts, when: the Lease against silence, lost answers, rivals and clocks that jump."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from databosun.domain.errors import WorldFault
from databosun.domain.lease import LeaseTiming
from databosun.runtime.leader import Leader, LeaseLost
from support.clock import FakeClock
from support.lease import MemoryLease, SharedLease


class Contender:
    """An operator that wants to act: `acting` says whether it believes that it may."""

    def __init__(self, name: str, shared: SharedLease, clock: FakeClock) -> None:
        self.port = MemoryLease(shared)
        self.leader = Leader(self.port, name, clock)
        self.acting = False
        self.ended: BaseException | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            await self.leader.acquire()
            self.acting = True
            await self.leader.hold()
        except LeaseLost as lost:
            self.ended = lost
        finally:
            self.acting = False

    def kill(self) -> None:
        """As SIGKILL does: nothing is given back."""
        assert self.task is not None
        self.task.cancel()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shared() -> SharedLease:
    return SharedLease()


@pytest.fixture
def contenders(shared: SharedLease, clock: FakeClock) -> Iterator[tuple[Contender, Contender]]:
    both = Contender("a", shared, clock), Contender("b", shared, clock)
    yield both
    for one in both:
        if one.task is not None:
            one.task.cancel()


@pytest.fixture
async def led(contenders: tuple[Contender, Contender], clock: FakeClock) -> tuple[Contender, Contender]:
    """The first leads, the second waits."""
    first, second = contenders
    first.start()
    await clock.advance(1)
    second.start()
    await clock.advance(60)
    assert (first.acting, second.acting) == (True, False)
    return first, second


async def watch(clock: FakeClock, seconds: float, *contenders: Contender) -> list[float]:
    """Let time pass in small steps; give the seconds at which the last one began to act. Never do two act at once."""
    began: list[float] = []
    acting = contenders[-1].acting
    for step in range(int(seconds * 4)):
        await clock.advance(0.25)
        assert sum(one.acting for one in contenders) <= 1, f"two act after {step / 4} s"
        if contenders[-1].acting and not acting:
            began.append(step / 4)
        acting = contenders[-1].acting
    return began


async def test_one_leads_and_stays(led: tuple[Contender, Contender], clock: FakeClock, shared: SharedLease) -> None:
    first, second = led
    await watch(clock, 300, first, second)
    assert first.acting
    assert set(shared.history) == {first.leader.identity}


async def test_the_next_one_takes_over_from_the_killed_after_the_duration(
    led: tuple[Contender, Contender], clock: FakeClock, shared: SharedLease
) -> None:
    first, second = led
    first.kill()
    (began,) = await watch(clock, 30, first, second)
    assert 13 <= began <= 15 + 2 + 0.5
    assert shared.record is not None
    assert shared.record.transitions == 1


async def test_a_lease_that_is_given_back_is_taken_at_once(led: tuple[Contender, Contender], clock: FakeClock) -> None:
    first, second = led
    first.kill()
    await first.leader.release()
    (began,) = await watch(clock, 10, first, second)
    assert began <= 2.5


async def test_release_gives_back_even_where_a_renewal_came_in_between(
    led: tuple[Contender, Contender], shared: SharedLease
) -> None:
    first, _ = led
    assert shared.record is not None
    shared.store(shared.record)
    await first.leader.release()
    assert shared.record.holder == ""


async def test_release_leaves_anothers_lease_alone(contenders: tuple[Contender, Contender], clock: FakeClock) -> None:
    first, second = contenders
    first.start()
    await clock.advance(1)
    first.kill()
    second.start()
    await clock.advance(30)
    await first.leader.release()
    await clock.advance(30)
    assert second.acting
    assert first.port.shared.history[-1] == second.leader.identity


@pytest.mark.parametrize("how", ["away", "silent"])
async def test_who_cannot_reach_the_server_stops_before_another_starts(
    led: tuple[Contender, Contender], clock: FakeClock, how: str
) -> None:
    first, second = led
    setattr(first.port, how, True)
    (began,) = await watch(clock, 30, first, second)
    assert began >= 13
    assert isinstance(first.ended, LeaseLost)
    assert not first.leader.leading


async def test_it_gives_up_after_ten_seconds_sharp_even_if_a_request_hangs(
    led: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, _ = led
    await clock.advance(1.9)
    first.port.silent = True
    await clock.advance(7.9)
    assert first.acting
    await clock.advance(2.3)
    assert isinstance(first.ended, LeaseLost)
    assert "10 s" in str(first.ended)


async def test_a_short_silence_loses_nothing(led: tuple[Contender, Contender], clock: FakeClock) -> None:
    first, second = led
    first.port.away = True
    await watch(clock, 6, first, second)
    first.port.away = False
    await watch(clock, 60, first, second)
    assert first.acting


async def test_a_lost_answer_to_a_renewal_is_not_taken_for_a_rival(
    led: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, second = led
    first.port.deaf = True
    await watch(clock, 3, first, second)
    first.port.deaf = False
    await watch(clock, 30, first, second)
    assert first.acting


async def test_a_lost_answer_to_the_first_write_is_not_taken_for_a_rival(
    contenders: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, _ = contenders
    first.port.deaf = True
    first.start()
    await clock.advance(1)
    assert not first.acting
    first.port.deaf = False
    await clock.advance(3)
    assert first.acting


async def test_a_lease_taken_by_force_ends_the_holder_at_its_next_beat(
    led: tuple[Contender, Contender], clock: FakeClock, shared: SharedLease
) -> None:
    first, second = led
    second.port.away = True
    assert shared.record is not None
    shared.store(type(shared.record)("somebody", 15, clock.now(), clock.now()))
    await clock.advance(2.5)
    assert isinstance(first.ended, LeaseLost)
    assert "somebody" in str(first.ended)


async def test_a_lease_deleted_by_a_person_is_made_again(
    led: tuple[Contender, Contender], clock: FakeClock, shared: SharedLease
) -> None:
    first, second = led
    second.port.away = True
    shared.record = None
    await watch(clock, 30, first, second)
    assert first.acting
    assert shared.record is not None


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(hours=-1), timedelta(hours=1), timedelta(days=400)])
async def test_a_jump_of_the_wall_clock_changes_no_leader(
    led: tuple[Contender, Contender], clock: FakeClock, jump: timedelta
) -> None:
    first, second = led
    clock.jump(jump)
    await watch(clock, 60, first, second)
    assert first.acting


async def test_a_clock_set_back_by_exactly_one_beat_still_shows_life(
    led: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, second = led
    for _ in range(20):
        await clock.advance(2)
        clock.jump(timedelta(seconds=-2))
    assert (first.acting, second.acting) == (True, False)


async def test_an_unreachable_server_at_the_start_is_waited_for(
    contenders: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, _ = contenders
    first.port.away = True
    first.start()
    await clock.advance(120)
    assert not first.acting
    first.port.away = False
    await clock.advance(3)
    assert first.acting


# --- Deletions ---


async def test_a_fresh_lease_lets_deletions_pass(led: tuple[Contender, Contender], clock: FakeClock) -> None:
    first, _ = led
    for _ in range(40):
        await clock.advance(0.5)
        first.leader.assert_fresh()


async def test_a_lease_not_renewed_for_five_seconds_refuses_deletions_before_it_is_lost(
    led: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, _ = led
    first.port.away = True
    await clock.advance(6)
    assert first.acting
    with pytest.raises(WorldFault, match=r"renewed [5-9]\.\d s ago"):
        first.leader.assert_fresh()
    first.port.away = False
    await clock.advance(2.5)
    first.leader.assert_fresh()


async def test_a_slow_answer_makes_no_renewal_look_young(led: tuple[Contender, Contender], clock: FakeClock) -> None:
    first, _ = led
    first.port.slow = lambda: clock.sleep(6)
    await clock.advance(7.5)
    with pytest.raises(WorldFault, match="renewed 6"):
        first.leader.assert_fresh()


async def test_a_pause_that_only_the_wall_clock_saw_refuses_deletions(
    led: tuple[Contender, Contender], clock: FakeClock
) -> None:
    """A virtual machine that was paused: its monotonic clock stood still, and another may act by now."""
    first, _ = led
    clock.jump(timedelta(minutes=2))
    with pytest.raises(WorldFault, match="another operator may be about to act"):
        first.leader.assert_fresh()
    await clock.advance(2.5)
    first.leader.assert_fresh()


async def test_who_never_led_or_leads_no_more_deletes_nothing(
    led: tuple[Contender, Contender], clock: FakeClock
) -> None:
    first, second = led
    with pytest.raises(WorldFault, match="not held"):
        second.leader.assert_fresh()
    first.port.silent = True
    await clock.advance(12)
    with pytest.raises(WorldFault, match="not held"):
        first.leader.assert_fresh()


def test_timings_that_could_let_two_act_are_refused() -> None:
    for wrong in ({"give_up_after": 15}, {"duration": 10}, {"renew_every": 6}, {"fresh_for": 11}):
        with pytest.raises(ValueError, match="expected renew_every < fresh_for"):
            LeaseTiming(**wrong)
