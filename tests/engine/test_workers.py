"""The threads that score: who gets the next call, what becomes of calls that wait, and each thread's own heap."""

import asyncio
import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.engine.workers import Work, Workers
from app.vad.errors import NotReady
from tests.waiting import eventually

_HEAPS = """
import ctypes, json, threading
from concurrent.futures import ThreadPoolExecutor
from app.engine.memory import hand_out_heaps, prepare_heap, resident_bytes, trim_heap

THREADS, PIECES, PIECE = 3, 80, 250_000  # 20 MB each, in pieces that come from a heap
prepare_heap(THREADS)
hand_out_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
together = threading.Barrier(THREADS)

def fill(_):
    pieces = (ctypes.c_size_t * PIECES)()  # before them, so that nothing of Python's lies above
    for number in range(PIECES):
        pieces[number] = libc.malloc(PIECE)
        ctypes.memset(pieces[number], 1, PIECE)
    together.wait()
    return pieces

with ThreadPoolExecutor(THREADS) as pool:
    trim_heap()
    before = resident_bytes()
    of_threads = list(pool.map(fill, range(THREADS)))
    full = resident_bytes()
    for pieces in of_threads:
        for piece in pieces:
            libc.free(piece)
    trim_heap()
    after = resident_bytes()
heaps = [sorted({piece >> 26 for piece in pieces}) for pieces in of_threads]
print(json.dumps({"heaps": heaps, "taken": full - before, "kept": after - before}))
"""


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers("test", 3)
    yield made
    made.close(NotReady("closed"))


def ask(workers: Workers, call: Callable[[], Any]) -> "tuple[Work, asyncio.Future[Any]]":
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Any] = loop.create_future()

    def end(result: Any, error: BaseException | None) -> None:
        if error is None:
            answered.set_result(result)
        else:
            answered.set_exception(error)

    work = Work(call, loop, end)
    workers.submit(work)
    return work, answered


async def test_calls_one_after_the_other_are_made_by_one_thread(workers: Workers) -> None:
    threads = set()
    for _ in range(20):
        threads.add(await ask(workers, threading.get_ident)[1])
        await asyncio.sleep(0.001)  # it is idle before it is asked again
    assert len(threads) == 1


async def test_calls_at_the_same_time_are_made_by_all(workers: Workers) -> None:
    together = threading.Barrier(3)
    asked = [ask(workers, lambda: (together.wait(20), threading.get_ident())[1])[1] for _ in range(6)]
    assert len(set(await asyncio.gather(*asked))) == 3


async def test_what_a_call_raises_is_told_and_the_thread_goes_on(workers: Workers) -> None:
    for _ in range(4):
        with pytest.raises(ZeroDivisionError):
            await ask(workers, lambda: 1 / 0)[1]
    assert await ask(workers, lambda: "next")[1] == "next"


async def test_a_call_that_waits_can_be_withdrawn_and_one_that_has_begun_cannot(workers: Workers) -> None:
    begun, go_on, made = threading.Semaphore(0), threading.Event(), []
    asked = [ask(workers, lambda: (begun.release(), go_on.wait(20))) for _ in range(3)]
    await asyncio.to_thread(lambda: [begun.acquire(timeout=20) for _ in range(3)])
    waiting, _ = ask(workers, lambda: made.append("withdrawn"))
    assert not workers.withdraw(asked[0][0])
    assert workers.withdraw(waiting)
    assert not workers.withdraw(waiting)
    go_on.set()
    await asyncio.gather(*(answered for _, answered in asked))
    await ask(workers, lambda: made.append("made"))[1]
    assert made == ["made"]


async def test_closing_drops_what_waits_and_ends_what_has_begun() -> None:
    workers = Workers("test", 1)
    begun, go_on = threading.Event(), threading.Event()
    _, first = ask(workers, lambda: (begun.set(), go_on.wait(20), "done")[2])
    _, second = ask(workers, lambda: "never")
    await asyncio.to_thread(begun.wait, 20)
    closing = asyncio.ensure_future(asyncio.to_thread(workers.close, NotReady("closed")))
    with pytest.raises(NotReady):
        await second
    assert not first.done()
    go_on.set()
    assert await first == "done"
    await closing
    with pytest.raises(RuntimeError):
        ask(workers, lambda: "late")


def test_the_threads_of_workers_that_nobody_has_any_more_end() -> None:
    workers = Workers("forgotten", 2)
    named = [thread for thread in threading.enumerate() if thread.name.startswith("forgotten")]
    assert len(named) == 2
    del workers
    gc.collect()
    eventually(lambda: not any(thread.is_alive() for thread in named), 10)


async def test_what_a_call_holds_is_free_when_it_is_over(workers: Workers) -> None:
    class Held:
        pass

    held = Held()
    gone = threading.Event()

    weakref.finalize(held, gone.set)
    await ask(workers, lambda held=held: None)[1]
    del held
    await asyncio.to_thread(gone.wait, 5)
    assert gone.is_set()


def test_each_scoring_thread_has_a_heap_that_gives_everything_back() -> None:
    """Else threads that score side by side wait for one another at every piece of memory, or keep what they freed."""
    if sys.platform != "linux":
        pytest.skip("needs Linux: heaps are glibc's")
    run = subprocess.run([sys.executable, "-c", _HEAPS], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    heaps = [set(each) for each in found["heaps"]]
    assert len(set.union(*heaps)) == sum(len(each) for each in heaps), "no two threads share one"
    assert found["taken"] > 50 << 20
    assert found["kept"] < 3 << 20
