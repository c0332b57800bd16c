"""Time limits of questions asked side by side: on time, one timer for many, and nobody else's cancellation is lost."""

import asyncio
from typing import Any

import pytest

from graph.models.time_limits import SHARED, TimeLimits

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def limited(limits: TimeLimits, seconds: float, takes_s: float) -> tuple[str, float]:
    """How a block ends, and when."""
    try:
        async with limits.within(seconds) as limit:
            await asyncio.sleep(takes_s)
    except TimeoutError:
        assert limit.expired()
        return "late", now()
    assert not limit.expired()
    return "done", now()


async def test_a_block_ends_when_its_time_is_over() -> None:
    limits = TimeLimits()
    assert await limited(limits, 5.0, 4.0) == ("done", 4.0)
    assert await limited(limits, 5.0, 100.0) == ("late", 9.0)
    assert await limited(limits, float("inf"), 1000.0) == ("done", 1009.0)


async def test_blocks_that_begin_together_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, limits, timers = asyncio.get_running_loop(), TimeLimits(), []
    call_at = loop.call_at

    def counting(when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, callback, *args, **options)

    monkeypatch.setattr(loop, "call_at", counting)
    waiting = [limited(limits, 20.0, 30.0) for _ in range(50)]
    begun = now()
    ended = await asyncio.gather(*waiting, limited(limits, 20.0, 10.0))
    assert ended == [("late", begun + 20.0)] * 50 + [("done", begun + 10.0)]
    assert timers.count(begun + 20.0) == 1


async def test_a_block_loses_a_hundredth_of_its_time_at_most() -> None:
    limits = TimeLimits()

    async def later(delay_s: float, seconds: float) -> tuple[str, float]:
        await asyncio.sleep(delay_s)
        return await limited(limits, seconds, 100.0)

    begun = now()
    ends = await asyncio.gather(*[later(0.05 * k, 20.0) for k in range(20)], later(0.3, 5.0), later(0.5, 30.0))
    for (how, at), (delay, seconds) in zip(
        ends, [*((0.05 * k, 20.0) for k in range(20)), (0.3, 5), (0.5, 30)], strict=True
    ):
        assert how == "late"
        assert (1 - SHARED) * seconds - 1e-9 <= at - begun - delay <= seconds + 1e-9


async def test_a_task_that_is_cancelled_by_others_stays_cancelled() -> None:
    limits = TimeLimits()
    task = asyncio.ensure_future(limited(limits, 5.0, 100.0))
    other = asyncio.ensure_future(limited(limits, 5.0, 100.0))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    begun = now()
    assert await other == ("late", begun + 4.0)


async def test_a_cancellation_at_the_same_moment_as_the_end_is_not_swallowed() -> None:
    limits = TimeLimits()
    task = asyncio.ensure_future(limited(limits, 5.0, 100.0))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(5.0, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ValueError, match="broken"):
        async with TimeLimits().within(5.0):
            raise ValueError("broken")
