"""A worker in a process of its own, at the other end of a pipe; it ends when the pipe does."""

import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection

from app.batch.ledger import Outcome
from app.batch.worker import Began, Ended, Order, ShardWorker, Task


class Ready:
    """The model is loaded."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The worker cannot start, or cannot put its results in place, and another try would be no better."""

    reason: str


def work(task: Task, pipe: Connection) -> None:
    """Do the orders that come, telling each file's begin and end and each shard's outcome."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; whoever holds the pipe decides
    try:
        worker = ShardWorker(task)
    except Exception as error:  # noqa: BLE001 - told in words at the other end
        _send(pipe, GivenUp(_words(error)))
        return
    _send(pipe, Ready())
    while (order := _receive(pipe)) is not None:
        try:
            outcome = worker.run(order, lambda step: _send(pipe, step))
        except Exception as error:  # noqa: BLE001 - the destination's own errors
            _send(pipe, GivenUp(_words(error)))
            break
        _send(pipe, outcome)
    worker.close()


def _send(pipe: Connection, message: Ready | GivenUp | Began | Ended | Outcome) -> None:
    try:
        pipe.send(message)
    except OSError:
        os._exit(1)  # nobody waits any more for what is under way


def _receive(pipe: Connection) -> Order | None:
    try:
        order: Order | None = pipe.recv()
    except (EOFError, OSError):
        os._exit(1)
    return order


def _words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
