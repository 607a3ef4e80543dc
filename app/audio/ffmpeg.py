"""Every other format, by an ffmpeg child that may do next to nothing.

The argument list is fixed. Only local files are opened, only audio containers and audio codecs are let in: without
these lists a playlist named `a.wav` makes ffmpeg read other files, and a cover picture costs hundreds of megabytes.
The child has no input, no environment, an empty directory of its own, and limits on memory, processor time, open
files and written files. Its output is AU: a fixed small header gives rate and channels, then 32-bit floats follow. What
it writes on stderr beside that is `ffmpeg_log`'s matter.

A file with several sounds is opened at the first one, which is nearly always the one that is wanted; the listing that
comes with it says whether another one is, and then that one is opened in its place.
"""

import contextlib
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from app.audio.child import ConfinedChild
from app.audio.clock import Clock, ClockFacts, ClockKeeper
from app.audio.containers import BY_NAME, DECODERS, DEMUXERS
from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.ffmpeg_log import LEAPS, FfmpegLog, Track
from app.audio.limits import AudioLimits
from app.audio.stop import Stop
from app.audio.structure import Structure
from app.vad.errors import AudioError, InvalidAudio, InvalidOption, UnsupportedAudio
from app.warnings import AnswerWarning

AU_HEAD = struct.Struct(">4s5I")
"""Magic, where samples begin, bytes of them, their coding, Hz, channels."""
AU_FLOAT32 = 6
"""The coding of 32-bit floats in Sun's header."""
_NOT_STARTED = (126, 127)
"""What a shell answers for a program that it may not start, or does not find."""
_MOST_TRIED = 8
"""Tracks of one file that are tried, one after the other: each costs a process, and no film has more languages in
codings that cannot be read."""
# What ffmpeg says, of versions 5 to 9, in lower case.
_NO_AUDIO_SIGNS = ("format not on whitelist", "matches no streams", "no decoder found for", "decoder (codec")
_REFUSED_CODEC_SIGNS = (") not on whitelist", "error while opening decoder")


def arguments(
    ffmpeg: Path,
    path: Path,
    limits: AudioLimits,
    *,
    track: int = 0,
    told: Sequence[str] = (),
    stamps: bool = False,
) -> list[str]:
    """The fixed command line.

    `track`: which sound, from 0. `told`: what a file does not say itself. `stamps`: whether its time stamps are to be
    seen as they are; ffmpeg else has the one sound that is asked for begin at 0, and takes leaps over 10 s out of
    transport streams and Ogg.

    Samples are numbered anew, or `-t` would measure time stamps and silently cut a recording with a pause in them.
    """
    return [
        str(ffmpeg), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-threads", "1",
        "-protocol_whitelist", "file", "-format_whitelist", DEMUXERS, "-codec_whitelist", DECODERS,
        *(["-copyts"] if stamps else []), *told, "-i", f"file:{path}", "-map", f"0:a:{track}", "-vn", "-sn", "-dn",
        "-map_metadata", "-1", "-af", f"asetpts='{LEAPS}'", "-t", f"{limits.max_seconds + 1:.3f}", "-threads", "1",
        "-c:a", "pcm_f32be", "-f", "au", "pipe:1",
    ]  # fmt: skip


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
    structure: Structure | None = None,
    track: int | None = None,
    clock: Clock = "samples",
    told: Sequence[str] = (),
    stop: Stop | None = None,
) -> "FfmpegDecoder":
    """The sound of a file: `track`, else the container's default one if it can be decoded, else the first that can.

    Raises the `AudioError`s, and `InvalidOption` for a track that the file does not have.
    """

    def opened(number: int) -> FfmpegDecoder:
        return FfmpegDecoder(
            path, container, limits, ffmpeg, structure=structure, track=number, clock=clock, told=told, stop=stop
        )

    if track and not (container in BY_NAME and BY_NAME[container].tracks):
        raise InvalidOption("track", f"a {container} file has one, number 0")
    try:
        decoder = opened(track or 0)
    except TrackUnreadable as unreadable:
        tracks, error = unreadable.tracks, unreadable.error
        if track is None and len(tracks) > 1:
            return _first_readable(opened, [number for number in _in_order(tracks) if number != 0], error)
        if track is not None and track >= len(tracks) > 0:
            raise _no_such_track(tracks) from None
        raise error from None
    order = _in_order(decoder.tracks)
    if track is None and order and order[0] != 0:
        try:
            better = opened(order[0])
        except TrackUnreadable:
            return decoder
        decoder.close()
        return better
    return decoder


def _in_order(tracks: list[Track]) -> list[int]:
    """Numbers of tracks in the order in which they are wanted: the first default one, then as they come."""
    numbers = list(range(len(tracks)))
    return sorted(numbers, key=lambda number: not tracks[number].default)


def _first_readable(opened: Callable[[int], "FfmpegDecoder"], numbers: list[int], error: AudioError) -> "FfmpegDecoder":
    for number in numbers[:_MOST_TRIED]:
        with contextlib.suppress(TrackUnreadable):
            return opened(number)
    raise error


def _no_such_track(tracks: list[Track]) -> InvalidOption:
    return InvalidOption("track", f"the file has {len(tracks)} sound tracks, counted from 0")


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
        structure: Structure | None = None,
        track: int = 0,
        clock: Clock = "samples",
        told: Sequence[str] = (),
        stop: Stop | None = None,
    ) -> None:
        """Raises `TrackUnreadable`, and the `AudioError`s for one whose rate or channels are out of range."""
        self._container, self.track, self._clock = container, track, clock
        known = BY_NAME.get(container)
        self._follows_clock = known is not None and known.clock
        self._log = FfmpegLog()
        path = path.resolve()
        self._child = ConfinedChild(
            arguments(ffmpeg, path, limits, track=track, told=told, stamps=self._follows_clock),
            memory_mb=limits.child_memory_mb,
            cpu_s=limits.child_cpu_s,
            silence_s=limits.child_silence_s,
            directory_beside=path,
            listen=self._log.hear,
        )
        if stop is not None:
            stop.when_stopped(self._child.kill)
        try:
            info = self._read_head()
            super().__init__(info, limits, None, structure)
        except BaseException:
            self.close()
            raise
        self._child.drop_directory()
        self._child.catch_up()
        self.tracks = self._log.tracks
        """All sounds of the file."""
        self._keeper = ClockKeeper(clock, info.sample_rate, spliced=known is not None and known.spliced)
        self._pieces: deque[Block | int] = deque()

    @property
    def pid(self) -> int:
        """Of the process that decodes."""
        return self._child.pid

    @property
    def track_count(self) -> int:
        """How many sounds the file has."""
        return max(1, len(self.tracks))

    @property
    def clock_facts(self) -> ClockFacts:
        """How the container's clock differs from the count of samples read so far."""
        return self._keeper.facts()

    def _read_head(self) -> AudioInfo:
        head = self._child.read(AU_HEAD.size)
        if len(head) < AU_HEAD.size:
            raise TrackUnreadable(self._failure(), self._log.tracks)
        magic, offset, _, encoding, rate, channels = AU_HEAD.unpack(head)
        if magic != b".snd" or encoding != AU_FLOAT32 or not AU_HEAD.size <= offset <= 1 << 16:
            raise InvalidAudio("the decoder's output makes no sense")
        self._child.read(offset - AU_HEAD.size)
        return AudioInfo(rate, channels, self._container, "")

    def _read(self, frames: int) -> Block:
        while not self._pieces:
            block = self._read_child(frames)
            if not len(block):
                return block
            if not self._follows_clock:
                return block
            # ffmpeg tells of a leap before it gives out the samples after it, so what has been read is complete.
            self._child.catch_up()
            self._pieces.extend(self._keeper.pieces(block, self._log.leaps))
        piece = self._pieces.popleft()
        if not isinstance(piece, int):
            if len(piece) > frames:
                self._pieces.appendleft(piece[frames:])
            return piece[:frames]
        if piece > frames:
            self._pieces.appendleft(piece - frames)
        return np.zeros((min(piece, frames), self.info.channels), dtype=np.float32)

    def _read_child(self, frames: int) -> Block:
        width = 4 * self.info.channels
        data = self._child.read(frames * width)
        whole = len(data) // width
        if whole == 0 and not self.closed:
            self._finish()
        block = np.frombuffer(data, dtype=">f4", count=whole * self.info.channels).astype(np.float32)
        return block.reshape(whole, self.info.channels)

    def _finish(self) -> None:
        """At the end of the output: was it the end of the audio?"""
        if self.decoded_frames == 0:
            raise self._failure()
        status = self._child.finish()
        if _was_stopped(status) and not self.closed:
            raise self._failure()
        if status != 0 and self.cut is None:
            self.cut = "it is damaged, and could not be decoded to its end"

    def _failure(self) -> AudioError:
        status = self._child.finish()
        if _was_stopped(status):
            return InvalidAudio(f"the decoder broke down over the {self._container} file, or needed more than it may")
        if status in _NOT_STARTED:
            return UnsupportedAudio(f"{self._container} needs ffmpeg, which cannot be started here")
        if _is_refusal(self._log.errors):
            return UnsupportedAudio(f"the {self._container} file holds no audio, or audio in a coding not known here")
        return InvalidAudio(f"the {self._container} file is damaged: nothing in it can be decoded")

    def warnings(self) -> Iterator[AnswerWarning]:
        """As `Decoder`; of tracks and of the clock too."""
        yield from super().warnings()
        if len(self.tracks) > 1:
            others = ", ".join(
                _described(number, each) for number, each in enumerate(self.tracks) if number != self.track
            )
            yield AnswerWarning(
                "other_tracks", f"track {self.track} of {len(self.tracks)} was heard; there are: {others}"
            )
        yield from self.clock_facts.warnings(self._clock)

    def close(self) -> None:
        """Kill the child, if it runs."""
        self.closed = True
        self._child.close()


def _described(number: int, track: Track) -> str:
    return f"{number} ({track.coding}{', ' + track.language if track.language else ''})"


def _was_stopped(status: int) -> bool:
    # 255 is what ffmpeg answers when a signal made it stop in good order.
    return status < 0 or status == 255


def _is_refusal(lines: list[str]) -> bool:
    if any(sign in line for line in lines for sign in _NO_AUDIO_SIGNS):
        return True
    return all(any(sign in line for line in lines) for sign in _REFUSED_CODEC_SIGNS)
