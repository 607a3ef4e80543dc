"""How many connections there are, and whose.

Each is a descriptor, of which a process has so many and no more; when they have run out nobody gets in, whatever he
wants. So half of them are for connections, dealt by address as all that is scarce (`app.engine.shares`): free means
free; who holds none has a reserve; and when all are taken, whoever has most gives up the newest one that waits for a
request or for the rest of its head. One on which a request or a stream is under way is never closed for another. The
other half are for what requests have open: uploads, and the pipes of decoders.
"""

import asyncio
import resource
from collections.abc import Callable

from app.api.admission import address_name
from app.engine.shares import Holder, Shares, State, Ticket

_PART = 2
"""One part in so many of the descriptors."""


class Crowd:
    """The connections of one server."""

    def __init__(self, most: int | None = None) -> None:
        """`most`: at a time; None: by the process's limit, as it is now."""
        self._shares = Shares(most or resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _PART)
        self._closers: dict[Ticket, Callable[[], None]] = {}
        """Of those that may be closed for others."""

    def arrive(self, transport: asyncio.BaseTransport, close: Callable[[], None]) -> Ticket | None:
        """Count a connection, which waits from now on for a request; `close` ends it for another's sake. None: there is
        no room for it."""
        peer = transport.get_extra_info("peername")
        address = address_name(str(peer[0])) if isinstance(peer, tuple) else "local"
        ticket = self._shares.arrive(Holder(address))
        self._close_displaced()
        if ticket.state is not State.IN_USE:
            return None
        self.wait(ticket, close)
        return ticket

    def wait(self, ticket: Ticket, close: Callable[[], None]) -> None:
        """Record that nothing is under way on a connection."""
        if ticket.state is State.IN_USE:
            self._closers[ticket] = close
            self._shares.keep(ticket)
            self._close_displaced()

    def work(self, ticket: Ticket) -> None:
        """Record that a request or a stream is."""
        self._shares.use(ticket)
        self._closers.pop(ticket, None)

    def leave(self, ticket: Ticket) -> None:
        """Forget a connection. A second call does nothing."""
        self._closers.pop(ticket, None)
        self._shares.leave(ticket)

    def _close_displaced(self) -> None:
        for ticket in self._shares.decided():
            close = self._closers.pop(ticket, None)
            if close is not None:
                close()
