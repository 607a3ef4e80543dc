"""What a stream looks like: a line of JSON for each message, or, for a person, a moving line and events above it."""

import json
import sys
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text
from typing_extensions import Self

from app.cli.stream_link import Message

_BAR_WIDTH = 30
_STATES = {True: ("speech ", "bold green"), False: ("silence", "dim")}


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
    return f"{len(done['segments'])} segments, {seconds} is speech ({share:.0%})"


def _segment_line(end: Message) -> str:
    times = f"{_time(end['start_ms'])} – {_time(end['end_ms'])}"
    cut = "  (cut)" if end["forced_end"] else ""
    return f"{times}  {end['duration_ms'] / 1000:.2f} s  p={end['speech_probability']:.2f}{cut}"


def _time(ms: int) -> str:
    minutes, rest = divmod(ms, 60_000)
    return f"{minutes:02}:{rest / 1000:05.2f}"
