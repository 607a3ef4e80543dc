"""`fsmn-vad stream`: a microphone, a file or a pipe as a live stream, here or on a server, told as it is heard: a line
of JSON for each message, or, for a person, a moving line and events above it."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text
from typing_extensions import Self

from app.audio.channel import parse_channel
from app.audio.options import AudioInput, InputOptions
from app.cli.local import check_options, check_values
from app.cli.stream_links import Link, Message, RemoteLink, StreamFailed, local_link, stream_url
from app.cli.stream_sources import Chunks, Feed, Source, at_real_time, open_file, open_microphone, open_stdin
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
from app.live.parameters import StreamParameters
from app.registry import installed
from app.vad.errors import InvalidOption, ModelError, VadError

_BAR_WIDTH = 30
"""Characters: leaves room for times and words on a terminal of 80."""
_STATES = {True: ("speech ", "bold green"), False: ("silence", "dim")}


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What the command line of `fsmn-vad stream` asks for."""

    source: str | None
    """A file, or `-`; None with `mic`."""
    mic: bool
    options: Mapping[str, Any]
    """Detection options that were set, and `mode`."""
    encoding: str | None
    """Of stdin, or of a file without a header."""
    sample_rate: int | None
    """Of the same and the microphone, Hz."""
    channels: int
    channel: str
    chunk_ms: int
    speed: Literal["realtime", "full"]
    """Of a file."""
    json: bool
    probabilities: bool
    model: str | None
    preset: str | None
    url: str | None
    service: bool
    """Use the service of the settings' host and port."""
    key: str | None


def run(request: StreamRequest) -> int:
    """Stream to the end, or until interrupted; the exit status, as of `detect`."""
    return run_command(lambda settings: _run(request, settings))


def _run(request: StreamRequest, settings: Settings) -> int:
    try:
        return asyncio.run(_stream(request, settings))
    except StreamFailed as error:
        return failed(error, WRONG_USAGE if error.reason == InvalidOption.code else SOME_FAILED)
    except (InvalidOption, ModelError):
        raise
    except VadError as error:
        return failed(error, SOME_FAILED)
    except asyncio.CancelledError:
        return INTERRUPTED


async def _stream(request: StreamRequest, settings: Settings) -> int:
    """All that can be wrong with the command line is found before a model is loaded or a server asked."""
    url = _url(request, settings)
    if url is None:
        check_options(installed(), settings, request.model, request.options, ("live",), request.preset)
    else:
        check_values(installed(), request.options)
    asked = {"encoding": request.encoding, "sample_rate": request.sample_rate, "channels": request.channels,
             "channel": request.channel, "model": request.model}  # fmt: skip
    asked = {name: value for name, value in asked.items() if value is not None}
    asked["preset"] = request.preset
    parameters, _ = StreamParameters.parse(asked)
    if parameters.container is not None:
        raise InvalidOption("encoding", "is that of samples here: a file is decoded by itself, so name it without one")
    source = _open_source(request, settings, parameters)
    view = _view(request, source)
    parameters = parameters.model_copy(
        update={
            "encoding": source.encoding,
            "sample_rate": source.sample_rate,
            "channels": source.channels,
            "channel": request.channel if source.channels > 1 else "mix",
            "probabilities": view.wants_probabilities,
        }
    )
    feed = Feed(_paced(request, source, parameters))
    try:
        async with _open_link(request, settings, parameters, url) as link:
            with _interruptible(feed) as interrupted, view:
                await link.run(feed, view.show)
    finally:
        await feed.close()
    # A microphone has no other end.
    return INTERRUPTED if interrupted and not request.mic else ALL_WELL


def _url(request: StreamRequest, settings: Settings) -> str | None:
    """The server's; None for this process."""
    if request.url is not None:
        return stream_url(request.url)
    return stream_url(f"ws://{service_address(settings)}") if request.service else None


def _open_source(request: StreamRequest, settings: Settings, parameters: StreamParameters) -> Source:
    if request.mic == (request.source is not None):
        raise UsageError("name one thing to listen to: --mic, a file, or - for raw PCM on stdin")
    if request.mic:
        return open_microphone(parameters.sample_rate, request.chunk_ms)
    if request.source == "-":
        return open_stdin(parameters, request.chunk_ms)
    return open_file(_input(request), settings, request.chunk_ms, parse_channel(request.channel))


def _input(request: StreamRequest) -> AudioInput:
    """The file, as bare samples where that is said."""
    raw = {"encoding": request.encoding, "sample_rate": request.sample_rate, "channels": request.channels}
    given = {name: value for name, value in raw.items() if value is not None} if request.encoding else {}
    return InputOptions.parse(given).source(Path(str(request.source)))


def _paced(request: StreamRequest, source: Source, parameters: StreamParameters) -> Chunks:
    is_file = not request.mic and request.source != "-"
    if is_file and request.speed == "realtime":
        return at_real_time(source, parameters.bytes_per_sample)
    return source.chunks


def _view(request: StreamRequest, source: Source) -> "View":
    if request.json or not sys.stdout.isatty():
        return JsonView(probabilities=request.probabilities)
    return TerminalView(Console(highlight=False), source.expected_ms)


@asynccontextmanager
async def _open_link(
    request: StreamRequest, settings: Settings, parameters: StreamParameters, url: str | None
) -> AsyncIterator[Link]:
    if url is not None:
        yield RemoteLink(url, request.key, parameters, request.options, note)
        return
    async with local_link(settings, installed(), parameters, request.options) as link:
        yield link


@contextlib.contextmanager
def _interruptible(feed: Feed) -> Iterator[list[int]]:
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


class View(Protocol):
    """Used as a context while the stream lasts."""

    @property
    def wants_probabilities(self) -> bool:
        """Whether it shows them."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def show(self, message: Message) -> None:
        """A message of the stream."""
        ...


class JsonView:
    """Messages as they come, one a line; `done` is the last."""

    def __init__(self, *, probabilities: bool) -> None:
        self.wants_probabilities = probabilities

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def show(self, message: Message) -> None:
        """Print it at once."""
        sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class TerminalView:
    """For somebody who watches."""

    wants_probabilities = True

    def __init__(self, console: Console, expected_ms: int | None) -> None:
        self._console, self._expected_ms = console, expected_ms
        self._heard_ms = self._probability_ms = 0
        self._speaks = False
        self._probability = 0.0
        self._live = Live(self._line(), console=console, refresh_per_second=12, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, message: Message) -> None:
        """Move the line, and put a line above it for what is worth one."""
        kind = message["type"]
        if kind == "probability":
            self._probability = message["values"][-1]
            self._heard_ms = message["start_ms"] + message["interval_ms"] * len(message["values"])
        elif kind == "speech_start":
            self._speaks = True
            self._print(f"{_time(message['start_ms'])}  speech …", message)
        elif kind == "speech_end":
            self._speaks = False
            self._print(_segment_line(message), message)
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
            f"{_time(self._heard_ms)}{of}  ", (state, style), "  ", ("━" * filled, style),
            ("━" * (_BAR_WIDTH - filled), "grey30"), f" {self._probability:4.2f}",
        )  # fmt: skip


def summary(done: Message) -> str:
    """One line about a whole stream."""
    speech_ms = sum(segment["duration_ms"] for segment in done["segments"])
    duration_ms = done["duration_ms"]
    share = speech_ms / duration_ms if duration_ms else 0.0
    seconds = f"{speech_ms / 1000:.3f} s of {duration_ms / 1000:.3f} s"
    if not done["segments"]:
        return f"no speech in {duration_ms / 1000:.3f} s"
    return f"{counted(len(done['segments']), 'segment')}, {seconds} is speech ({share:.0%})"


def _segment_line(end: Message) -> str:
    times = f"{_time(end['start_ms'])} – {_time(end['end_ms'])}"
    cut = "  (cut)" if end["forced_end"] else ""
    return f"{times}  {end['duration_ms'] / 1000:.2f} s  p={end['speech_probability']:.2f}{cut}"


def _time(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes:02}:{rest / 1000:05.2f}"
