"""`fsmn-vad serve`: the application under uvicorn, from the settings to an exit status."""

import contextlib
import resource
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import uvicorn
from rich.console import Console
from rich.table import Table

from app.audio.child import stop_children
from app.cli.connections import HttpConnection, LiveConnection
from app.cli.terminal import ALL_WELL, NO_ADDRESS, NO_MODEL, failed, run_command
from app.config import Settings, variable_name
from app.logs import configure_logging

_HEAD_BYTES = 64 << 10
"""A request's head: eight times what browsers send at most."""
_CHUNK_BYTES = 1 << 20
"""A WebSocket message: 32 s of 16-bit audio at 16 kHz, far more than live audio comes in."""
_KEEP_ALIVE_S = 15
"""For the next request of a client that is busy with the answer to the last; proxies' own limits are above it."""

_DESCRIPTORS = 1 << 16
"""More than a process of this kind can serve."""


def run(overrides: Mapping[str, Any]) -> int:
    """Serve until stopped; the exit status."""
    return run_command(_serve, overrides)


def _serve(settings: Settings) -> int:
    configure_logging(settings.log_format, settings.log_level)
    from app.main import create_app  # with torch, which a wrong setting does not wait for

    failures: list[Exception] = []
    server: Server

    def give_up(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, give_up)
    server = Server(server_config(settings, app), on_stop=app.state.service.drain)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises what it caught again when it has stopped: an orderly stop is status 0, not death by signal.
        signal.signal(number, lambda *_: None)
    _allow_many_descriptors()
    try:
        server.run()
    except SystemExit:
        # uvicorn's, which has logged the system's words. Not the status of a missing model: trying again may help.
        return failed(f"VAD_HOST, VAD_PORT: {settings.host}:{settings.port} cannot be listened on", NO_ADDRESS)
    finally:
        stop_children()
    return _failed_start(failures[0]) if failures else ALL_WELL


def _allow_many_descriptors() -> None:
    """Each connection is one; the usual limit of 1,024 is for programs that ask for more when they need it."""
    given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    if given != resource.RLIM_INFINITY and given < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _failed_start(error: Exception) -> int:
    """Told once, and as text: what it says to do takes several lines. A fault of ours has a traceback as well."""
    from app.main import FORESEEN, log_failed_start

    if not isinstance(error, FORESEEN):
        log_failed_start(error)
    return failed(f"\nfsmn-vad could not start.\n{error}", NO_MODEL)


class Server(uvicorn.Server):
    """uvicorn's, which says at the first signal that it stops, and quits at once at the second."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """In the main thread, between two steps of the event loop."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._on_stop()


def server_config(settings: Settings, app: object) -> uvicorn.Config:
    """How uvicorn is run."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        http=HttpConnection,
        ws=LiveConnection,
        ws_max_size=_CHUNK_BYTES,
        ws_per_message_deflate=False,  # speech hardly shrinks, and unpacking is work that strangers would give us
        h11_max_incomplete_event_size=_HEAD_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.request_timeout_s),
    )


def print_settings() -> None:
    """Every setting with its default and meaning, as a table."""
    table = Table("variable", "default", "meaning", title="Settings: environment variables, or lines of a .env file")
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        table.add_row(variable_name(name), "" if default in (None, "", [], {}) else str(default), field.description)
    Console().print(table)
