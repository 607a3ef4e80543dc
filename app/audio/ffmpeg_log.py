"""What ffmpeg writes on stderr, sorted as it comes: errors, the listing of tracks, and leaps of the file's clock.

Only two things in it are facts to build on, and both are ours to shape: the listing of streams, whose form is that of
ffmpeg 5 to 9, and numbers that an expression of our own prints (`LEAPS`). Errors decide nothing but how a refusal is
worded. Whatever a hostile file makes ffmpeg say, what is kept is bounded.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

_MOST_ERRORS = 64
"""Far more than the few that say why nothing could be decoded; they come first."""
_MOST_TRACKS = 64
"""As many as `track=` can name."""
_MOST_LEAPS = 10_000
"""A recording that loses packets every second for three hours has as many."""
_ENTRY_CHARS = 16 << 10
"""Of a stream's entry in the listing: far more than one without a hostile language has."""
LEAP_S = 0.1
"""What a clock may drift before it is a leap: muxers round to milliseconds, live recorders jitter by tens of them."""

# For each frame: how far its time stamp lies ahead of the samples before it (drift), printed with the number of those
# samples whenever that has changed; then the time stamp that the samples alone give, which is what goes on.
LEAPS = (
    f"st(0,T-N/SR);if(gt(abs(ld(0)-ld(1)),{LEAP_S})*lt(ld(2),{_MOST_LEAPS}),"
    "print(N);print(ld(0));st(1,ld(0));st(2,ld(2)+1));N/SR/TB"
)
"""The expression of an `asetpts` filter."""

# Every call of ffmpeg's log that begins a line puts the level in front, and ffmpeg indents by what a line tells of: its
# own steps not at all, a file's streams by two blanks, tags by four or more. A tag's text can say anything, so nothing
# but a line's beginning is believed: a value's further lines have no level in front, and no tag stands at two blanks.
_START = re.compile(r"\[info\]   ?duration: (?:n/a|[\d:.]+), start: (-?\d+\.\d+)")
"""The file's first time stamp, of all its streams."""
_ENTRY = "[info]   stream #0:"
_STREAM = re.compile(
    r"\[info\]   stream #0:(?P<index>\d+)(?:\[0x[0-9a-f]+\])?(?:\((?P<language>.*)\))?"
    r": (?P<kind>audio|video|subtitle|data|attachment|unknown): (?P<coding>[\w.-]+)(?P<rest>.*)",
    re.DOTALL,
)
"""The language is a tag as well and may hold anything: the last kind in an entry is the one that ffmpeg wrote."""
_LISTING_ENDS = ("[info] stream mapping:", "[info] output #")
_PRINTED = re.compile(r"(?:\[eval @ [0-9a-fx]+\] )?\[info\] (-?\d+\.\d{6})")
_ERROR = re.compile(r"(?:\[[^\]\n]+ @ [0-9a-fx]+\] )*\[(?:error|fatal|panic)\] ")


@dataclass(frozen=True, slots=True)
class Track:
    """A sound of a file, as listed."""

    coding: str
    """ffmpeg's name, such as `aac`."""
    language: str | None
    default: bool
    """Whether the container marks it as the one to play."""


class Leap(NamedTuple):
    """From a sample on, the container's clock runs otherwise against the count of samples."""

    at: int
    """The sample, counted from 0."""
    drift_s: float
    """How far the clock is ahead of the count from here on; the file begins at 0."""


class FfmpegLog:
    """Fed line by line."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        """In lower case."""
        self.leaps: list[Leap] = []
        self.start_s = 0.0
        """Where the file's clock begins; leaps count from there."""
        self._tracks: dict[int, Track] = {}
        self._listing = True
        self._entry = ""
        """The stream whose entry may go on: a language with a line end in it."""
        self._printed: float | None = None

    @property
    def tracks(self) -> list[Track]:
        """In the container's order; empty while they have not been listed."""
        return [self._tracks[index] for index in sorted(self._tracks)]

    def hear(self, line: str) -> None:
        """Sort in the next line, without its end."""
        line = line.lower()
        if printed := _PRINTED.fullmatch(line):
            self._hear_number(float(printed[1]))
        elif _ERROR.match(line):
            if len(self.errors) < _MOST_ERRORS:
                self.errors.append(line)
        elif self._listing:
            self._hear_listing(line)

    def _hear_number(self, number: float) -> None:
        if self._printed is None:
            self._printed = number
            return
        at, self._printed = self._printed, None
        # A changed rate or channel count begins the count anew: from there on the numbers are of no use.
        if len(self.leaps) < _MOST_LEAPS and (not self.leaps or at > self.leaps[-1].at):
            self.leaps.append(Leap(int(at), number - self.start_s))

    def _hear_listing(self, line: str) -> None:
        if line.startswith(_LISTING_ENDS):
            self._listing = False
        elif start := _START.match(line):
            self.start_s = float(start[1])
        if line.startswith(_ENTRY):
            self._entry = line
        elif self._entry and not line.startswith("[") and len(self._entry) < _ENTRY_CHARS:
            self._entry += "\n" + line
        else:
            self._entry = ""
        stream = _STREAM.fullmatch(self._entry)
        if stream is not None and stream["kind"] == "audio" and len(self._tracks) < _MOST_TRACKS:
            track = Track(stream["coding"], stream["language"], "(default)" in stream["rest"])
            self._tracks[int(stream["index"])] = track
