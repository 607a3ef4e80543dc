"""What the middleware finds out about a request, for the routes and for every error's document."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.types import Scope

from app.api.paths import PathPolicy

if TYPE_CHECKING:
    from app.api.admission import RequestLease

_KEY = "vad.context"


@dataclass(slots=True)
class RequestContext:
    """Of one request or WebSocket, from its arrival to the end of its answer."""

    request_id: str
    policy: PathPolicy
    client: str
    """Who asks: the digest of its key, else its address."""
    lease: "RequestLease | None" = None
    """What the request holds; None where it passes no admission."""

    def attach(self, scope: Scope) -> None:
        """Make it the context of the request that `scope` belongs to."""
        scope[_KEY] = self


def context_of(scope: Scope) -> RequestContext:
    """Raises LookupError for a request that did not come through the middleware."""
    context: RequestContext = scope[_KEY]
    return context


def request_id_of(scope: Scope) -> str:
    """The id of the request that `scope` belongs to; `-` where it has none."""
    context: RequestContext | None = scope.get(_KEY)
    return "-" if context is None else context.request_id


def client_of(scope: Scope) -> str:
    """Who asks, for fair shares, limits and ownership: the digest of the key, else the address."""
    return context_of(scope).client
