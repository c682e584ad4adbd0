"""When the predictor counts itself as overloaded."""

import asyncio
import time

import pytest

from services.predictor.request import WAIT_SECONDS, Pulse


@pytest.mark.parametrize(("late_passes", "overloaded"), [(0, False), (1, False), (2, True)])
def test_one_long_pass_is_a_stall_and_two_are_a_queue(late_passes: int, overloaded: bool) -> None:
    async def run() -> bool:
        pulse = Pulse()
        assert not pulse.overloaded()
        await asyncio.sleep(2 * Pulse.PERIOD_SECONDS)
        for remaining in reversed(range(late_passes)):
            time.sleep(WAIT_SECONDS + 3 * Pulse.PERIOD_SECONDS)
            if remaining:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        return pulse.overloaded()

    assert asyncio.run(run()) is overloaded
