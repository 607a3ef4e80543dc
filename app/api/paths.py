"""What a request has to show and to take before a route sees it, by its path. A path that is not listed is closed: it
needs a key where keys are set, counts against the rate limit, and passes admission. So a route that is added, here or
by another application, opens nothing until it is listed on purpose.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class PathPolicy:
    """What the requests to a path may do without."""

    open: bool = False
    """Needs no key, and has no rate limit."""
    admitted: Collection[str] | None = None
    """Methods that pass admission; None: all. Others bring no body and take no time: they are answered when the service
    is full, as are all WebSockets, of which live streams have a limit of their own."""
    quiet: bool = False
    """A probe, which comes all the time and by address: left out of the log (but for debugging) and of traces, and
    answered under any host name."""


CLOSED: Final = PathPolicy()
_PUBLIC: Final = PathPolicy(open=True, admitted=())
_PROBE: Final = PathPolicy(open=True, admitted=(), quiet=True)
_UPLOADS: Final = PathPolicy(admitted=("POST", "PUT"))

PATHS: Final = {
    "/": _PUBLIC,
    "/ui": _PUBLIC,
    "/docs": _PUBLIC,
    "/redoc": _PUBLIC,
    "/openapi.json": _PUBLIC,
    "/client/microphone.js": _PUBLIC,
    "/models": _PUBLIC,
    "/options": _PUBLIC,
    "/health": _PROBE,
    "/health/live": _PROBE,
    "/health/ready": _PROBE,
    "/metrics": _PROBE,
    "/vad": _UPLOADS,
    "/v1/realtime": PathPolicy(admitted=()),
}
FOLDERS: Final = {
    "/ui/": _PUBLIC,
    "/docs/": _PUBLIC,
    # With a file's name behind it, as `curl -T` sends it, even if the file is called `stream`.
    "/vad/": _UPLOADS,
}
"""Of everything below. The open ones hold built files, and nothing else."""
METRICS: Final = "/metrics"
"""`VAD_GUARD_METRICS` closes it."""
QUIET_PATHS: Final = tuple(path for path, policy in PATHS.items() if policy.quiet)


def policy_of(path: str) -> PathPolicy:
    """The policy of a path, which begins behind the application's own prefix (`route_path`)."""
    policy = PATHS.get(path)
    if policy is None:
        policy = next((policy for folder, policy in FOLDERS.items() if path.startswith(folder)), CLOSED)
    return policy


def route_path(scope: Scope) -> str:
    """The path without the prefix under which the application is mounted, as routes have it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and (len(path) == len(root) or path[len(root)] == "/"):
        return path[len(root) :]
    return path
