"""A gate for coroutines: it tells the gate what time it is, and wakes those on whom the gate has decided."""

import asyncio
import time
from collections.abc import Callable

from app.engine.gate import Gate, State, Ticket
from app.vad.errors import Overloaded


class Turnstile:
    """Used from one event loop."""

    def __init__(self, gate: Gate, refusal: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`refusal`: what those are told who are not let in."""
        self.gate = gate
        self._refusal, self._clock = refusal, clock
        self._sleepers: dict[Ticket, asyncio.Future[None]] = {}

    async def enter(self, client: str, amount: int = 1) -> Ticket:
        """Wait until the gate lets the client in, and give the ticket to `leave` with. Cancelling gives everything
        back. Raises `Overloaded`: at once when too many wait, or when the time to wait is over."""
        ticket = self.gate.arrive(client, self._clock(), amount)
        self._wake()
        if ticket.state is State.WAITING:
            await self._decision(ticket)
        if ticket.state is not State.ADMITTED:
            raise Overloaded(self._refusal)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give back what the ticket stands for."""
        self.gate.leave(ticket)
        self._wake()

    async def _decision(self, ticket: Ticket) -> None:
        loop = asyncio.get_running_loop()
        self._sleepers[ticket] = loop.create_future()
        alarm = loop.call_later(max(0.0, ticket.deadline - self._clock()), self._tick)
        try:
            await self._sleepers[ticket]
        except asyncio.CancelledError:
            self.leave(ticket)
            raise
        finally:
            alarm.cancel()
            del self._sleepers[ticket]

    def _tick(self) -> None:
        # The loop's clock may be a little ahead of the one that deadlines were made with.
        self.gate.tick(self._clock() + 0.001)
        self._wake()

    def _wake(self) -> None:
        for ticket in self.gate.decided():
            sleeper = self._sleepers.get(ticket)
            if sleeper is not None and not sleeper.done():
                sleeper.set_result(None)
