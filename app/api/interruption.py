"""An error raised where a request's task waits, by a timer or by a task beside it.

The usual way round, a task for the work and one that waits for both, takes the event loop five turns more.
"""

import asyncio
import sys
from types import TracebackType

from typing_extensions import Self


class Interruption:
    """Used as a context, again and again if need be. What its task awaits within it can be interrupted, and nothing
    else."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._error: Exception | None = None

    def interrupt(self, error: Exception) -> None:
        """Cancel what is awaited, and raise `error` there instead; nothing outside of the context, or once that has
        been done."""
        if self._task is not None and self._error is None:
            self._error = error
            self._task.cancel()

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._error is None or task is None or kind is not asyncio.CancelledError:
            return
        # From Python 3.11 on a task counts who cancels it: somebody else may want it to end as well.
        if sys.version_info >= (3, 11) and task.uncancel() > 0:
            return
        interrupting, self._error = self._error, None
        try:
            raise interrupting from None
        finally:
            # Its traceback has the frames of all that was under way, with their audio: were it still known here, or
            # in the context, they would wait for Python to look for cycles.
            del interrupting
