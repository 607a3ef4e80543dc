"""An interruption ends what its task awaits within it, and nothing else."""

import asyncio

import pytest

from app.api.interruption import Interruption


class Late(Exception):
    """What a wait is ended by."""


async def interrupted(*texts: str) -> None:
    """Wait, and be interrupted in the next turn of the event loop."""
    with Interruption() as wait:
        for text in texts:
            asyncio.get_running_loop().call_soon(wait.interrupt, Late(text))
        await asyncio.sleep(10)


async def test_what_is_awaited_within_ends_by_the_error_and_the_task_goes_on() -> None:
    with pytest.raises(Late):
        await interrupted("once")
    await asyncio.sleep(0)  # nothing of it is left


async def test_nothing_outside_is_interrupted() -> None:
    wait = Interruption()
    wait.interrupt(Late())
    with wait:
        await asyncio.sleep(0)
    wait.interrupt(Late())
    await asyncio.sleep(0)


async def test_the_first_error_counts() -> None:
    with pytest.raises(Late, match="first"):
        await interrupted("first", "second")


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    async def waiting(wait: Interruption) -> None:
        with wait:
            await asyncio.sleep(10)

    wait = Interruption()
    task = asyncio.ensure_future(waiting(wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
