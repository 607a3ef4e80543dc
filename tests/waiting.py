"""Waiting for what happens soon."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], limit_s: float = 60) -> None:
    """Return once `condition` holds; fail when it does not within the limit."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
