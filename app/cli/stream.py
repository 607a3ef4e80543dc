"""`fsmn-vad stream`: a microphone, a file or a pipe as a live stream, in this process or on a server.

Its messages are printed as they come: each as a line of JSON, or, on a terminal, as a moving line with events above it.
"""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text
from typing_extensions import Self

from app.audio.signal import parse_channel
from app.cli.local import check
from app.cli.pipes import is_pipe, open_pipe
from app.cli.stream_links import Link, Message, RemoteLink, StreamFailed, local_link, stream_url
from app.cli.stream_sources import ChunkSource, Feed, at_real_time, open_file, open_microphone, read_head
from app.cli.terminal import (
    ALL_WELL,
    INTERRUPTED,
    SOME_FAILED,
    WRONG_USAGE,
    UsageError,
    counted,
    failed,
    note,
    run_command,
    service_address,
)
from app.config import Settings
from app.registry import installed
from app.request import STREAM_CONTAINERS, DetectionRequest
from app.vad.errors import InvalidOption, ModelError, VadError

_BAR_WIDTH = 30
"""Characters. Leaves room for times and words on a terminal of 80."""
_STATES = {True: ("speech ", "bold green"), False: ("silence", "dim")}


@dataclass(frozen=True, slots=True)
class StreamCommand:
    """A command line of `fsmn-vad stream`."""

    asked: Mapping[str, Any]
    """What a `DetectionRequest` holds: options that were set, model and preset; `encoding`, `sample_rate`,
    `channels` of stdin, a file without a header, or the microphone."""
    source: str | None
    """A file, a pipe, or `-`; None with `mic`."""
    mic: bool
    chunk_ms: int
    speed: Literal["realtime", "full"]
    """Of a file."""
    json: bool
    url: str | None
    service: bool
    """Use the service of the settings' host and port."""
    key: str | None


def run(command: StreamCommand) -> int:
    """Stream to the end, or until interrupted. Return the exit status, as `detect` does."""
    return run_command(lambda settings: _run(command, settings))


def _run(command: StreamCommand, settings: Settings) -> int:
    try:
        # What waits for a pipe's beginning does so before there is an event loop, which would swallow an interrupt.
        with contextlib.ExitStack() as held:
            return asyncio.run(_stream(command, settings, _prepare(command, settings, held)))
    except StreamFailed as error:
        return failed(error, WRONG_USAGE if error.reason == InvalidOption.code else SOME_FAILED)
    except (InvalidOption, ModelError):
        raise
    except VadError as error:
        return failed(error, SOME_FAILED)
    except asyncio.CancelledError:
        return INTERRUPTED


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A stream that nothing is wrong with, as far as can be known before a model is loaded or a server asked."""

    request: DetectionRequest
    source: ChunkSource
    url: str | None
    """Of the server; None: in this process."""
    at_once: bool
    """Whether chunks are sent as soon as they can be read."""


def _prepare(command: StreamCommand, settings: Settings, held: contextlib.ExitStack) -> _Prepared:
    """Find all that can be wrong with the command line, and open what is to be heard."""
    registry, asked = installed(), DetectionRequest.parse(command.asked)
    if asked.encoding in STREAM_CONTAINERS:
        raise InvalidOption("encoding", "is only for raw samples; a file states its own format, so leave this out")
    if command.mic == (command.source is not None):
        raise UsageError("name one source: --mic, a file, a pipe, or - for stdin")
    # What is streamed of a file is its decoded sound, and its channel is picked here.
    channel = None if asked.channel.isdigit() else asked.channel
    of_file = asked.changed(encoding=None, sample_rate=None, channels=None, channel=channel)
    address = command.url
    if address is None and command.service:
        address = f"ws://{service_address(settings)}"
    url = None if address is None else stream_url(address)

    def checked(request: DetectionRequest) -> DetectionRequest:
        if url is None:
            check(request, registry, settings, live=True)
        else:
            registry.segmenters.check_defaults(request.segmenter_options)  # nothing is known of the server's model
        return request

    request, at_once = checked(asked if command.mic else of_file), command.speed == "full"
    if command.mic:
        form = request.stream_form()
        source, at_once = open_microphone(form.sample_rate, command.chunk_ms), True
    elif is_pipe(name := str(command.source)):
        piped, at_once = read_head(held.enter_context(open_pipe(name))), True
        if piped.is_samples(asked.encoding):
            request = checked(asked)
            source = piped.samples(request.stream_form(), command.chunk_ms)
        else:
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="fsmn-vad-"))
            wave = piped.wave(command.chunk_ms)
            source = wave or _open_file(piped.kept(Path(folder)), asked, settings, command.chunk_ms)
    else:
        source = _open_file(Path(name), asked, settings, command.chunk_ms)
    return _Prepared(request, source, url, at_once)


def _open_file(path: Path, asked: DetectionRequest, settings: Settings, chunk_ms: int) -> ChunkSource:
    # Without an encoding the file itself says what it is.
    read = asked if asked.encoding else asked.changed(sample_rate=None, channels=None)
    return open_file(read.source(path), settings, chunk_ms, parse_channel(asked.channel))


async def _stream(command: StreamCommand, settings: Settings, prepared: _Prepared) -> int:
    """Stream to the end, or until interrupted."""
    source, asked = prepared.source, DetectionRequest.parse(command.asked)
    view: View
    if command.json or not sys.stdout.isatty():
        view = JsonView(probabilities=asked.probabilities)
    else:
        view = TerminalView(Console(highlight=False), source.expected_ms)
    request = prepared.request.changed(
        encoding=source.encoding,
        sample_rate=source.sample_rate,
        channels=source.channels,
        channel=asked.channel if source.channels > 1 else None,
        probabilities=view.wants_probabilities or None,
    )
    feed = Feed(source.chunks if prepared.at_once else at_real_time(source, request.stream_form().raw.frame_bytes))
    try:
        async with _open_link(command, settings, request, prepared.url) as link:
            with _interruptible(feed) as interrupted, view:
                await link.run(feed, view.show)
    finally:
        await feed.close()
    # An interrupt is the only way to end a microphone.
    return INTERRUPTED if interrupted and not command.mic else ALL_WELL


@asynccontextmanager
async def _open_link(
    command: StreamCommand, settings: Settings, request: DetectionRequest, url: str | None
) -> AsyncIterator[Link]:
    if url is not None:
        yield RemoteLink(url, command.key, request, note)
        return
    async with local_link(settings, installed(), request) as link:
        yield link


@contextlib.contextmanager
def _interruptible(feed: Feed) -> Iterator[list[int]]:
    """Let the first interrupt end the audio, so that its last events still come, and the second one the command."""
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


class View(Protocol):
    """What prints the messages; a context while the stream lasts."""

    @property
    def wants_probabilities(self) -> bool: ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def show(self, message: Message) -> None: ...


class JsonView:
    """Prints each message at once, one a line; `done` is the last."""

    def __init__(self, *, probabilities: bool) -> None:
        self.wants_probabilities = probabilities

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def show(self, message: Message) -> None:
        sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class TerminalView:
    """Shows a moving line: the time, whether there is speech, and its probability."""

    wants_probabilities = True

    def __init__(self, console: Console, expected_ms: int | None) -> None:
        self._console, self._expected_ms = console, expected_ms
        self._received_ms = self._probability_ms = 0
        self._speaks = False
        self._probability = 0.0
        self._live = Live(self._line(), console=console, refresh_per_second=12, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, message: Message) -> None:
        """Update the line, and print a line above it for the start and the end of a segment."""
        kind = message["type"]
        if kind == "probability":
            self._probability = message["values"][-1]
            self._received_ms = message["start_ms"] + message["interval_ms"] * len(message["values"])
        elif kind == "speech_start":
            self._speaks = True
            self._print(f"{_time(message['start_ms'])}  speech …", message)
        elif kind == "speech_end":
            self._speaks = False
            times = f"{_time(message['start_ms'])} – {_time(message['end_ms'])}"
            facts = f"{message['duration_ms'] / 1000:.2f} s  p={message['speech_probability']:.2f}"
            self._print(f"{times}  {facts}{'  (cut)' if message['forced_end'] else ''}", message)
        elif kind == "done":
            self._console.print(summary(message), style="bold")
        self._live.update(self._line())

    def _print(self, text: str, message: Message) -> None:
        self._console.print(f"{text:<62}", f"known at {_time(message['at_ms'])}", style="default", markup=False)

    def _line(self) -> Text:
        filled = round(self._probability * _BAR_WIDTH)
        state, style = _STATES[self._speaks]
        of = f" / {_time(self._expected_ms)}" if self._expected_ms else ""
        return Text.assemble(
            f"{_time(self._received_ms)}{of}  ", (state, style), "  ", ("━" * filled, style),
            ("━" * (_BAR_WIDTH - filled), "grey30"), f" {self._probability:4.2f}",
        )  # fmt: skip


def summary(done: Message) -> str:
    """Describe a whole stream in one line."""
    speech_ms = sum(segment["duration_ms"] for segment in done["segments"])
    duration_ms = done["duration_ms"]
    share = speech_ms / duration_ms if duration_ms else 0.0
    seconds = f"{speech_ms / 1000:.3f} s of {duration_ms / 1000:.3f} s"
    if not done["segments"]:
        return f"no speech in {duration_ms / 1000:.3f} s"
    return f"{counted(len(done['segments']), 'segment')}, {seconds} is speech ({share:.0%})"


def _time(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes:02}:{rest / 1000:05.2f}"
