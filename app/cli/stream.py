"""`fsmn-vad stream`: a microphone, a file or a pipe as a live stream, here or on a server, told as it is heard."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console

from app.cli.detect import ALL_WELL, NO_MODEL, SOME_FAILED, WRONG_USAGE
from app.cli.inputs import UsageError
from app.cli.settings import read_settings_or_say
from app.cli.stream_feed import Feed
from app.cli.stream_link import Link, StreamFailed
from app.cli.stream_sources import Source, at_real_time, open_file, open_microphone, open_stdin
from app.cli.stream_view import JsonView, TerminalView, View
from app.config import Settings
from app.live.parameters import StreamParameters
from app.vad.errors import InvalidOption, ModelError, VadError
from app.vad.segmenters.options import VadOptions

INTERRUPTED = 130
_STDERR = Console(stderr=True, highlight=False)
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - one listens there, and is asked here


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """The command line."""

    source: str | None
    """A file, or `-`; None with `mic`."""
    mic: bool
    options: Mapping[str, Any]
    """Detection options that were set."""
    encoding: str
    sample_rate: int
    """Of stdin and the microphone, Hz."""
    chunk_ms: int
    speed: Literal["realtime", "full"]
    """Of a file."""
    json: bool
    probabilities: bool
    model: str | None
    url: str | None
    service: bool
    """Use the service of the settings' host and port."""
    key: str | None


def run(request: StreamRequest) -> int:
    """Stream to the end, or until interrupted; the exit status, as of `detect`."""
    settings = read_settings_or_say(_STDERR, {"model": request.model} if request.model else {})
    if settings is None:
        return WRONG_USAGE
    try:
        return asyncio.run(_run(request, settings))
    except (UsageError, VadError, OSError) as error:
        _STDERR.print(str(error), style="red", markup=False, soft_wrap=True)
        return _status_of(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED


def _status_of(error: Exception) -> int:
    if isinstance(error, StreamFailed):
        return WRONG_USAGE if error.code == "invalid_option" else SOME_FAILED
    if isinstance(error, UsageError | InvalidOption):
        return WRONG_USAGE
    return NO_MODEL if isinstance(error, ModelError | FileNotFoundError) else SOME_FAILED


async def _run(request: StreamRequest, settings: Settings) -> int:
    VadOptions.parse(settings.default_options, request.options)
    parameters, _ = StreamParameters.parse({
        "encoding": request.encoding, "sample_rate": str(request.sample_rate),
    })  # fmt: skip
    source = _open_source(request, settings, parameters)
    view = _view(request, source)
    parameters = parameters.model_copy(
        update={
            "encoding": source.encoding,
            "sample_rate": source.sample_rate,
            "probabilities": view.wants_probabilities,
        }
    )
    feed = Feed(_paced(request, source, parameters))
    try:
        async with _open_link(request, settings, parameters) as link:
            with _interruptible(feed) as interrupted, view:
                await link.run(feed, view.show)
    finally:
        await feed.close()
    # A microphone has no other end.
    return INTERRUPTED if interrupted and not request.mic else ALL_WELL


def _open_source(request: StreamRequest, settings: Settings, parameters: StreamParameters) -> Source:
    if request.mic == (request.source is not None):
        raise UsageError("name one thing to listen to: --mic, a file, or - for raw PCM on stdin")
    if request.mic:
        return open_microphone(parameters.sample_rate, request.chunk_ms)
    if request.source == "-":
        return open_stdin(parameters, request.chunk_ms)
    return open_file(str(request.source), settings, request.chunk_ms)


def _paced(request: StreamRequest, source: Source, parameters: StreamParameters) -> Any:
    is_file = not request.mic and request.source != "-"
    if is_file and request.speed == "realtime":
        return at_real_time(source, parameters.bytes_per_sample)
    return source.chunks


def _view(request: StreamRequest, source: Source) -> View:
    if request.json or not sys.stdout.isatty():
        return JsonView(probabilities=request.probabilities)
    return TerminalView(Console(highlight=False), source.expected_ms)


@asynccontextmanager
async def _open_link(request: StreamRequest, settings: Settings, parameters: StreamParameters) -> AsyncIterator[Link]:
    url = request.url
    if url is None and request.service:
        url = f"ws://{_ANY_ADDRESS.get(settings.host, settings.host)}:{settings.port}"
    if url is not None:
        from app.cli.stream_remote import RemoteLink

        yield RemoteLink(_stream_url(url), request.key, parameters, request.options, _note)
        return
    from app.cli.stream_local import local_link

    async with local_link(settings, parameters, request.options) as link:
        yield link


def _stream_url(url: str) -> str:
    from app.cli.stream_remote import stream_url

    try:
        return stream_url(url)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _note(text: str) -> None:
    _STDERR.print(text, style="yellow", markup=False, soft_wrap=True)


@contextlib.contextmanager
def _interruptible(feed: Feed) -> Any:
    """The first interrupt ends the sound, so that what was heard is still told; the second ends the command."""
    interrupted: list[int] = []
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_interrupt() -> None:
        interrupted.append(signal.SIGINT)
        if len(interrupted) > 1 and task is not None:
            task.cancel()
        feed.stop()

    with contextlib.suppress(NotImplementedError):  # on Windows: it ends the command at once
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
    try:
        yield interrupted
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
