"""Whose name a request calls us by, and whose page sent it, as pure ASGI.

`Host`: with a list of names, any other is refused: a page that has its own name point at this machine (DNS rebinding)
is then answered nothing.

`Origin` of a WebSocket: browsers let any page open one, and CORS does not hold there, so it is checked here by the same
list: the page's own origin always, others only when they are allowed. Programs send none, and may come.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import ForeignOrigin, UnknownHost, refuse
from app.api.paths import treatment_of
from app.vad.errors import VadError

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_ANY = "*"


class HostMiddleware:
    """Outermost but for what every answer needs."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], origins: Sequence[str]) -> None:
        """`hosts`: names without ports, `*.example.com` for all below it; none: any. `origins`: as CORS has them."""
        self._app = app
        self._hosts = [host.lower() for host in hosts]
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: answers 421 to a host that is not one of ours."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._check(scope)
            except VadError as error:
                await refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        # Probes come by address, as kubelets send them, and are told nothing worth having.
        if self._hosts and not treatment_of(scope["path"]).quiet and not self._is_ours(_name_of(host)):
            raise UnknownHost("this service does not go by that name")
        origin = headers.get("origin")
        if scope["type"] == "websocket" and origin is not None and not self._may_come(origin.lower(), host):
            raise ForeignOrigin("pages of this origin may not open live streams here (see VAD_CORS_ORIGINS)")

    def _is_ours(self, name: str) -> bool:
        return any(host in (name, _ANY) or (host.startswith("*.") and name.endswith(host[1:])) for host in self._hosts)

    def _may_come(self, origin: str, host: str) -> bool:
        return _ANY in self._origins or origin in self._origins or _is_same(origin, host)


def _is_same(origin: str, host: str) -> bool:
    """Whether the page came from the host that is asked now. Not by scheme: a proxy may have taken TLS off."""
    try:
        page = urlsplit(origin)
        port = page.port or _DEFAULT_PORTS.get(page.scheme)
        asked = urlsplit(f"{page.scheme}://{host}")
        return bool(page.hostname) and (page.hostname, port) == (
            asked.hostname,
            asked.port or _DEFAULT_PORTS.get(page.scheme),
        )
    except ValueError:  # a port that is no number
        return False


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
