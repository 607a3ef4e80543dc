"""The process that serves: the application under uvicorn, from the settings to an orderly stop."""

import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn

from app.audio.child import stop_children
from app.config import Settings
from app.logs import configure_logging
from app.server.connections import HttpConnection, WebSocketConnection

log = structlog.get_logger(__name__)

_KEEP_ALIVE_S = 15
"""For the first request, and for the next one of a client that is busy with the answer to the last; proxies' own
limits are above it."""
_DESCRIPTORS = 1 << 16
"""More than a process of this kind can serve."""


class CannotListen(Exception):
    """The address is taken, or not one of this machine's. uvicorn has logged the system's words."""


class FailedStart(Exception):
    """The models could not be loaded, or there is no place for uploads; its cause says why, and what to do."""


def serve(settings: Settings) -> None:
    """Serve until a signal stops it. Raises `CannotListen` and `FailedStart`."""
    configure_logging(settings.log_format, settings.log_level)
    from app.main import create_app  # noqa: PLC0415 - with torch, which a wrong setting does not wait for

    failures: list[Exception] = []
    server: Server

    def give_up(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    def invite() -> None:
        # The last line of a start, where a person looks.
        log.info(f"Open {address(settings.host, server.port or settings.port)} (Ctrl-C stops)")

    app = create_app(settings, give_up, on_ready=invite)
    server = Server(server_config(settings, app), on_stop=app.state.service.drain)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises what it caught again when it has stopped: an orderly stop is status 0, not death by signal.
        signal.signal(number, lambda *_: None)
    _allow_many_descriptors()
    try:
        server.run()
    except SystemExit:
        raise CannotListen(
            f"Port {settings.port} of {settings.host} cannot be used: another program may be using it. Choose another "
            f"port, for example `fsmn-vad serve --port {settings.port + 1}` (in a clone: make run ARGS='--port "
            f"{settings.port + 1}'). VAD_HOST and VAD_PORT set the address."
        ) from None
    finally:
        stop_children()
    if failures:
        raise FailedStart from failures[0]


class Server(uvicorn.Server):
    """uvicorn's server. Calls `on_stop` at the first signal, and quits at once at the second. Hides what has been
    imported from the collector of garbage."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        # Two hundred thousand objects, torch's above all, which stay. To go through them again and again was a
        # twentieth of what a short request costs the event loop.
        gc.freeze()

    @property
    def port(self) -> int | None:
        """The port that it listens on; None before it does."""
        sockets = [each for server in self.servers for each in server.sockets] if self.started else []
        return int(sockets[0].getsockname()[1]) if sockets else None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called in the main thread, between two steps of the event loop."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._on_stop()


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds the service; an address that stands for all of them is none to open."""
    name = {"0.0.0.0": "127.0.0.1", "::": "localhost", "": "localhost"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def server_config(settings: Settings, app: object) -> uvicorn.Config:
    """How uvicorn is run. What bounds a connection stands in `app.server.connections`."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        http=HttpConnection,
        ws=WebSocketConnection,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.request_timeout_s),
    )


def _allow_many_descriptors() -> None:
    """Raise the limit of open files: each connection is one, and the usual 1,024 is for programs that ask for more."""
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    if given != resource.RLIM_INFINITY and given < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
