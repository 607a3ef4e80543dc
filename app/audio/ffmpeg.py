"""Every other format, by an ffmpeg child that may do next to nothing.

The argument list is fixed. Only local files are opened, only audio containers and audio codecs are let in: without
these lists a playlist named `a.wav` makes ffmpeg read other files, and a cover picture costs hundreds of megabytes. The
child is confined (`child`). Its output is AU: a fixed small header gives rate and channels, then 32-bit floats follow.
On stderr it lists the file's streams and prints the leaps of the file's clock.

A file with several sounds is opened at the first one, which is nearly always the one that is wanted; the listing that
comes with it says whether another one is, and then that one is opened in its place.
"""

import contextlib
import os
import re
import shutil
import struct
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from app.audio.child import ConfinedChild
from app.audio.clock import LEAP_S, Clock, ClockFacts, ClockKeeper, Leap
from app.audio.containers import BY_NAME, DECODERS, DEMUXERS
from app.audio.damage import Trouble
from app.audio.decode import AudioInfo, AudioLimits, Block, Decoder, Stop
from app.audio.facts import FileFacts
from app.audio.signal import silence
from app.vad.errors import AudioError, InvalidAudio, InvalidOption, UnsupportedAudio
from app.warnings import AnswerWarning

# --- The program and its command line -------------------------------------------------------------------------------

_LONG_PAUSE_S = 600.0
"""From here on a pause has the rest of the file looked at, for how long all is together."""
_PACKETS_BYTES = 1 << 20
"""Of a listing of packets that is read at a time."""
_ASKED_S = 10
"""For an ffmpeg that is asked what it can do, which takes it a twentieth of a second."""
_MOST_LEAPS = 10_000
"""A recording that loses packets every second for three hours has as many."""
# For each frame: how far its time stamp lies ahead of the samples before it (drift), printed with the number of those
# samples whenever that has changed; then the time stamp that the samples alone give, which is what goes on.
LEAPS = (
    f"st(0,T-N/SR);if(gt(abs(ld(0)-ld(1)),{LEAP_S})*lt(ld(2),{_MOST_LEAPS}),"
    "print(N);print(ld(0));st(1,ld(0));st(2,ld(2)+1));N/SR/TB"
)
"""The expression of an `asetpts` filter."""


def find_ffmpeg(configured: str | None) -> Path | None:
    """The ffmpeg to use: `configured`, else the one in the imageio-ffmpeg package, else the PATH's; None if there is
    none.

    Raises FileNotFoundError when the configured one is not there.
    """
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise FileNotFoundError(f"VAD_FFMPEG: {configured} is not an executable file")
        return Path(found).resolve()
    # Found by hand: the package's own function falls back to the PATH and raises, and importing it takes longer.
    with contextlib.suppress(ImportError):
        import imageio_ffmpeg  # noqa: PLC0415 - absent where a system ffmpeg is wanted

        binaries = sorted((Path(imageio_ffmpeg.__file__).parent / "binaries").glob("ffmpeg*"))
        if bundled := next((path for path in binaries if os.access(path, os.X_OK)), None):
            return bundled
    on_path = shutil.which("ffmpeg")
    return Path(on_path) if on_path else None


def arguments(
    ffmpeg: Path,
    path: Path,
    limits: AudioLimits,
    *,
    track: int = 0,
    options: Sequence[str] = (),
    stamps: bool = False,
) -> list[str]:
    """The fixed command line.

    `track`: which sound, from 0. `options`: ffmpeg's, for what the file does not say itself. `stamps`: whether its time
    stamps are to be seen as they are; ffmpeg else has the one sound that is asked for begin at 0, and takes leaps over
    10 s out of transport streams and Ogg.

    However many packets fail, the others are heard (`-max_error_rate`), and each that fails is told (`repeat`).

    Samples are numbered anew, or `-t` would measure time stamps and silently cut a recording with a pause in them.
    """
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "repeat+level+info", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", DEMUXERS, "-codec_whitelist", DECODERS,
        "-max_error_rate", "1",
        *(["-copyts"] if stamps else []), *options, "-i", f"file:{path}", "-map", f"0:a:{track}", "-vn", "-sn", "-dn",
        "-map_metadata", "-1", "-af", f"asetpts='{LEAPS}'", "-t", f"{limits.max_seconds + 1:.3f}", "-threads", "1",
        "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip


def packet_arguments(ffmpeg: Path, path: Path, track: int, options: Sequence[str] = ()) -> list[str]:
    """The command line that lists a sound's packets, undecoded, a line each: `track, dts, pts, duration, …` in steps of
    a `#tb` that comes before them."""
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "quiet", "-protocol_whitelist", "file",
        "-format_whitelist", DEMUXERS, "-codec_whitelist", DECODERS, "-copyts", *options, "-i", f"file:{path}",
        "-map", f"0:a:{track}", "-c", "copy", "-f", "framecrc", "pipe:1",
    ]  # fmt: skip


_CHECKED = frozenset({"WAVPACK", "TTA", "FLAC", "AC3", "OGG", "MATROSKA", "MP4"})
"""Containers of codings with check sums that every encoder writes right."""


def reading_options(ffmpeg: Path, container: str, facts: FileFacts | None) -> tuple[str, ...]:
    """ffmpeg's, for what a look at the file has found: compare check sums; hear the pauses of an AMR file, which its
    own decoder drops, so that all that follows would be early."""
    if container == "AMR" and facts is not None and facts.pauses and "libopencore_amrnb" in decoders(ffmpeg):
        return ("-c:a", "libopencore_amrnb")
    return ("-err_detect", "crccheck") if container in _CHECKED else ()


@cache
def decoders(ffmpeg: Path) -> frozenset[str]:
    """What it can decode; empty where it cannot be asked."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [str(ffmpeg), "-hide_banner", "-decoders"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ASKED_S).stdout
        return frozenset(words[1] for line in listing.splitlines() if len(words := line.split()) > 1)
    return frozenset()


AU_HEAD_BYTES = 24
"""Of the header that every AU file begins with."""


def read_au_head(head: bytes | bytearray, container: str) -> tuple[AudioInfo, int]:
    """What the header of ffmpeg's output says of the sound, and how many bytes stand before the samples. Raises
    `InvalidAudio`."""
    magic, offset, _, encoding, rate, channels = struct.unpack(">4s5I", head)
    # 6: 32-bit floats; the header is followed by some text of a few bytes.
    if magic != b".snd" or encoding != 6 or not AU_HEAD_BYTES <= offset <= 1 << 16:
        raise InvalidAudio("the decoder gave unusable output")
    return AudioInfo(rate, channels, container, ""), offset - AU_HEAD_BYTES


# --- What it writes on stderr ---------------------------------------------------------------------------------------
# Three things in it are facts to build on: the listing of streams, whose form is that of ffmpeg 5 to 9, the numbers
# that the expression above prints, and, once the listing has ended, each packet that could not be decoded (`damage`).
# The first errors also decide how a refusal is worded.
#
# Every call of ffmpeg's log that begins a line puts the level in front, and ffmpeg indents by what a line tells of: its
# own steps not at all, a file's streams by two blanks, tags by four or more. A tag's text can say anything, so nothing
# but a line's beginning is believed: a value's further lines have no level in front, and no tag stands at two blanks.

_START = re.compile(r"\[info\]   duration: (?:n/a|[\d:.]+), start: (-?\d+\.\d+)")
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
_ERROR = re.compile(r"(?:\[[^\]\n]+ @ [0-9a-fx]+\] )*\[(error|fatal|panic|warning)\] ")
# Signs in errors of versions 5 to 9, in lower case: that there is no audio, and, all of them together, that its coding
# is not let in.
_NO_AUDIO_SIGNS = ("format not on whitelist", "matches no streams", "no decoder found for", "decoder (codec")
_REFUSED_CODEC_SIGNS = (") not on whitelist", "error while opening decoder")
_MOST_ERRORS = 64
"""Far more than the few that say why nothing could be decoded; they come first."""
_MOST_TRACKS = 64
"""As many as `track=` can name."""
_LISTING_ENDS_BYTES = 4 << 10
"""Of a listing of packets, its beginning and its end: some tens of lines each."""
_ENTRY_CHARS = 16 << 10
"""Of a stream's entry in the listing: far more than one without a hostile language has."""


@dataclass(frozen=True, slots=True)
class Track:
    """A sound of a file, as listed."""

    coding: str
    """ffmpeg's name, such as `aac`."""
    language: str | None
    default: bool
    """Whether the container marks it as the one to play."""


_TIME_BASE = re.compile(rb"#tb 0: (\d+)/(\d+)")
_PACKET = re.compile(rb"0, *-?\d+, *(-?\d+), *(\d+),")


def last_stamp_s(listing: Iterator[bytes]) -> float:
    """Where the last packet of a listing ends, s by the file's clock; 0 where it lists none."""
    head, tail = b"", b""
    for piece in listing:
        head = head if len(head) >= _LISTING_ENDS_BYTES else head + piece
        tail = (tail + piece)[-_LISTING_ENDS_BYTES:]
    base, packets = _TIME_BASE.search(head), _PACKET.findall(tail)
    if base is None or not packets:
        return 0.0
    stamp, duration = packets[-1]
    return (int(stamp) + int(duration)) * int(base[1]) / max(1, int(base[2]))


class FfmpegLog:
    """Sorts stderr as it comes, line by line; keeps a bounded part of whatever a hostile file makes ffmpeg say."""

    def __init__(self) -> None:
        self.leaps: list[Leap] = []
        self.trouble = Trouble()
        self._errors: list[str] = []
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

    @property
    def refuses(self) -> bool:
        """Whether the errors say that the file contains no audio, or none that is let in."""
        lines = self._errors
        no_audio = any(sign in line for line in lines for sign in _NO_AUDIO_SIGNS)
        return no_audio or all(any(sign in line for line in lines) for sign in _REFUSED_CODEC_SIGNS)

    def push(self, line: str) -> None:
        """Sort in the next line, without its end."""
        line = line.lower()
        if printed := _PRINTED.fullmatch(line):
            self._push_number(float(printed[1]))
        elif error := _ERROR.match(line):
            if error[1] != "warning" and len(self._errors) < _MOST_ERRORS:
                self._errors.append(line)
            self.trouble.add(line[error.end() :], early=self._listing)
        elif self._listing:
            self._push_listing(line)

    def _push_number(self, number: float) -> None:
        """Two in turn: the sample, and the drift from it on."""
        if self._printed is None:
            self._printed = number
            return
        at, self._printed = self._printed, None
        # A changed rate or channel count begins the count anew: from there on the numbers are of no use.
        if len(self.leaps) < _MOST_LEAPS and (not self.leaps or at > self.leaps[-1].at):
            self.leaps.append(Leap(int(at), number - self.start_s))

    def _push_listing(self, line: str) -> None:
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


# --- The decoder ----------------------------------------------------------------------------------------------------

_NOT_STARTED = (126, 127)
"""What a shell answers for a program that it may not start, or does not find."""
_MOST_TRIED = 8
"""Tracks of one file that are tried, one after the other: each costs a process, and no film has more languages in
codings that cannot be read."""


_MOST_RESUMED = 64
"""Places of damage behind which a file is heard: each costs a process."""


class TrackUnreadable(Exception):
    """This sound of the file cannot be decoded; others of it may."""

    def __init__(self, error: AudioError, tracks: list[Track]) -> None:
        super().__init__(str(error))
        self.error, self.tracks = error, tracks


def open_with_ffmpeg(
    path: Path,
    container: str,
    limits: AudioLimits,
    ffmpeg: Path,
    *,
    facts: FileFacts | None = None,
    track: int | None = None,
    clock: Clock = "samples",
    options: Sequence[str] = (),
    stop: Stop | None = None,
) -> "FfmpegDecoder":
    """Open a sound of a file: `track`, else the container's default one if it can be decoded, else the first that can.

    Raises the `AudioError`s, and `InvalidOption` for a track that the file does not have.
    """
    opened = partial(
        FfmpegDecoder, path, container, limits, ffmpeg, facts=facts, clock=clock, options=options, stop=stop
    )
    if track and not (container in BY_NAME and BY_NAME[container].tracks):
        raise InvalidOption("track", f"a {container} file has one track, number 0")
    try:
        decoder = opened(track=track or 0)
    except TrackUnreadable as unreadable:
        tracks, error = unreadable.tracks, unreadable.error
        if track is not None and track >= len(tracks) > 0:
            raise InvalidOption("track", f"the file has {len(tracks)} sound tracks, numbered from 0") from None
        others = [number for number in _in_order(tracks) if number != 0] if track is None else []
        for number in others[:_MOST_TRIED]:
            with contextlib.suppress(TrackUnreadable):
                return opened(track=number)
        raise error from None
    wanted = next(iter(_in_order(decoder.tracks)), 0)
    if track is not None or wanted == 0:
        return decoder
    try:
        better = opened(track=wanted)
    except TrackUnreadable:
        return decoder
    except BaseException:
        decoder.close()
        raise
    decoder.close()
    return better


def _in_order(tracks: list[Track]) -> list[int]:
    """Numbers of tracks in the order in which they are wanted: the default ones first."""
    return sorted(range(len(tracks)), key=lambda number: not tracks[number].default)


class FfmpegDecoder(Decoder):
    """One sound of a file; see the module's head."""

    name = "ffmpeg"

    def __init__(
        self,
        path: Path,
        container: str,
        limits: AudioLimits,
        ffmpeg: Path,
        *,
        facts: FileFacts | None = None,
        track: int = 0,
        clock: Clock = "samples",
        options: Sequence[str] = (),
        stop: Stop | None = None,
    ) -> None:
        """Raises `TrackUnreadable`, and the `AudioError`s for one whose rate or channels are out of range."""
        self._container, self.track, self._clock = container, track, clock
        self._stop = stop
        known = BY_NAME.get(container)
        self._follows_clock = known is not None and known.clock
        self._log = FfmpegLog()
        path = path.resolve()
        options = (*options, *reading_options(ffmpeg, container, facts))
        self._command = partial(arguments, ffmpeg, path, limits, track=track, stamps=self._follows_clock)
        self._options, self._limits = options, limits
        self._packets = packet_arguments(ffmpeg, path, track, options)
        self._path, self._end_is_known = path, known is None or known.spliced
        info = self._start()
        try:
            if info is None:
                raise TrackUnreadable(self._failure(), self._log.tracks)
            super().__init__(info, limits, None, facts)
        except BaseException:
            self.close()
            raise
        self.trouble = self._log.trouble
        self._resumes = deque(() if facts is None else facts.resumes[:_MOST_RESUMED])
        self._child.drop_directory()
        self._child.catch_up()
        self.tracks = self._log.tracks
        """All sounds of the file."""
        self.track_count = max(1, len(self.tracks))
        self._keeper = ClockKeeper(clock, info.sample_rate, spliced=known is not None and known.spliced)
        self._heard = 0
        self._pieces: deque[Block | int] = deque()
        """What has been decoded and not been given out: blocks, and numbers of silent samples."""

    def _start(self, *options: str) -> AudioInfo | None:
        """Start a child, and read the head of its output; None where it has none."""
        command = self._command(options=(*self._options, *options))
        self._child = ConfinedChild(command, self._limits, directory_beside=self._path, listen=self._log.push)
        if self._stop is not None:
            self._stop.when_stopped(self._child.kill)
        self.pid = self._child.pid
        try:
            head = self._child.read(AU_HEAD_BYTES)
            if len(head) < AU_HEAD_BYTES:
                return None
            info, text_bytes = read_au_head(head, self._container)
            self._child.read(text_bytes)
        except BaseException:
            self._child.close()
            raise
        return info

    def _resume(self) -> bool:
        """Whether another child goes on behind damage at which this one has stopped."""
        while self._resumes and not self.closed:
            self._child.close()
            # The container is found out by the file's beginning all the same.
            with contextlib.suppress(InvalidAudio):
                if self._start("-skip_initial_bytes", str(self._resumes.popleft())) == self.info and not self.closed:
                    self._child.drop_directory()
                    return True
        if self.closed:  # by another thread, which knew the child before
            self._child.close()
        return False

    @property
    def clock_facts(self) -> ClockFacts:
        return self._keeper.facts()

    @property
    def heard_frames(self) -> int:
        return self._heard

    def _read(self, frames: int) -> Block:
        while not self._pieces:
            block = self._read_child(frames)
            if not len(block) or not self._follows_clock:
                return block
            # ffmpeg tells of a leap before it gives out the samples after it, so what has been read is complete.
            self._child.catch_up()
            self._pieces.extend(self._keeper.pieces(block, self._log.leaps))
            self._refuse_too_long()
        piece = self._pieces.popleft()
        if not isinstance(piece, int):
            if len(piece) > frames:
                self._pieces.appendleft(piece[frames:])
            return piece[:frames]
        if piece > frames:
            self._pieces.appendleft(piece - frames)
        return silence(min(piece, frames), self.info.channels)

    def _refuse_too_long(self) -> None:
        """Judge a pause before it is given out, let alone scored, and a long one together with all that comes after it:
        pauses cost their sender nothing."""
        rate, silent = self.info.sample_rate, [piece for piece in self._pieces if isinstance(piece, int)]
        if not silent:
            return
        if max(silent) > _LONG_PAUSE_S * rate and not self._end_is_known:
            self._end_is_known = True
            if self._last_stamp_s() - self._log.start_s > self._limits.max_seconds + LEAP_S:
                raise self._too_long()
        waiting = sum(piece if isinstance(piece, int) else len(piece) for piece in self._pieces)
        if self.decoded_frames + waiting > self._limits.max_seconds * rate:
            raise self._too_long()

    def _last_stamp_s(self) -> float:
        """The end of the sound by the file's clock, which takes some tens of ms for each 100 MB of the file."""
        child = ConfinedChild(self._packets, self._limits, directory_beside=self._path)
        if self._stop is not None:
            self._stop.when_stopped(child.kill)
        with contextlib.closing(child):
            return last_stamp_s(iter(lambda: bytes(child.read(_PACKETS_BYTES)), b""))

    def _read_child(self, frames: int) -> Block:
        width = 4 * self.info.channels
        data = self._child.read(frames * width)
        whole = len(data) // width
        if whole == 0 and not self.closed:
            # The end of the output: was it the end of the audio?
            status = self._child.finish()
            if not _was_stopped(status) and self._resume():
                return self._read_child(frames)
            if self.decoded_frames == 0 or (_was_stopped(status) and not self.closed):
                raise self._failure()
            if status != 0:
                self.cut = self.cut or "it is damaged, and could not be decoded to its end"
        self._heard += whole
        block = np.frombuffer(data, dtype=">f4", count=whole * self.info.channels).astype(np.float32)
        return block.reshape(whole, self.info.channels)

    def _failure(self) -> AudioError:
        """Why nothing, or nothing more, can be decoded."""
        status = self._child.finish()
        if _was_stopped(status):
            return InvalidAudio(
                f"the decoder failed on the {self._container} file, or needed more memory or time than allowed"
            )
        if status in _NOT_STARTED:
            return UnsupportedAudio(f"{self._container} needs ffmpeg, which cannot be started here")
        if self._log.refuses:
            return UnsupportedAudio(f"the {self._container} file contains no audio, or audio in an unknown codec")
        return InvalidAudio(f"the {self._container} file is damaged: nothing in it can be decoded")

    def warnings(self) -> Iterator[AnswerWarning]:
        yield from super().warnings()
        if len(self.tracks) > 1:
            others = ", ".join(
                f"{number} ({track.coding}{', ' + track.language if track.language else ''})"
                for number, track in enumerate(self.tracks)
                if number != self.track
            )
            read = f"track {self.track} of {len(self.tracks)} was heard"
            yield AnswerWarning("other_tracks", f"{read}; there are: {others}")
        yield from self.clock_facts.warnings(self._clock)

    def close(self) -> None:
        self.closed = True
        self._child.close()


def _was_stopped(status: int) -> bool:
    # 255 is what ffmpeg answers when a signal made it stop in good order.
    return status < 0 or status == 255
