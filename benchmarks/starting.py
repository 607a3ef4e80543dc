"""A server that may not be able to start, because what it needs is not installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.process import Missing
from benchmarks.servers import Server, stop


@contextmanager
def started_or_missing(name: str, start: Callable[[], Server], missing: dict[str, str]) -> Iterator[Server | None]:
    """The server, stopped in the end; or None, with the reason put down in `missing`."""
    try:
        server = start()
    except Missing as error:
        missing[name] = str(error)
        yield None
        return
    try:
        yield server
    finally:
        stop(server)
