"""The one door to samples: a file becomes blocks of equal length at a model's rate, one row for each stream to detect.

`open_decoder` decides by the file's first bytes alone who reads it: bare samples and FLAC this process, and everything
else a confined child. `open_audio` adds the choice of channels and the rate. `SourcePasses` reads a file again, for
what is cut out of it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from app.audio.child import SilkDecoder
from app.audio.containers import (
    BY_NAME,
    HEAD_BYTES,
    advice,
    begins_later,
    container_for_certain,
    has_mpeg_audio_after_junk,
    sniff,
)
from app.audio.decode import (
    AudioLimits,
    Block,
    CannotRead,
    Decoder,
    NeedsChild,
    RawDecoder,
    SoundfileDecoder,
    Stop,
)
from app.audio.facts import FileFacts, examine
from app.audio.ffmpeg import open_with_ffmpeg
from app.audio.follow import next_file
from app.audio.options import AudioInput
from app.audio.signal import Bandwidth, Channel, ChannelChooser, Resampler
from app.audio.sphere import read_sphere
from app.audio.tracks import MOST_TRACKS, AllTracks
from app.vad.errors import InvalidAudio, InvalidOption, NoAudio, UnsupportedAudio
from app.warnings import AnswerWarning

Rows = NDArray[np.float32]
_READ_BYTES = 4 << 20
"""Most that is decoded in one piece: rates and channels may be high."""
_IN_PROCESS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"fLaC", b"NIST")
"""What files begin with that are mostly read in this process."""
_SHORT_BYTES_PER_S = 384_000
"""Of a file that may be one block: 48 kHz, two channels, 32 bits. Others are read block by block without a look."""
_BYTES_PER_BYTE = 32
"""Memory for each byte of a file that is read in one go: mu-law at 8 kHz for a model at 16 kHz takes that, 16 bits at
16 kHz a third."""
_PASS_FRAMES = 1 << 16
"""Samples of every channel in a block of a further pass, 256 KiB of them: neither many calls nor much memory."""
_NOT_FOR_LIBSNDFILE = (0x50, 0x55)
"""MPEG audio in WAV, layers II and III: it takes the header's estimate for the number of frames."""


@dataclass(frozen=True, slots=True)
class AudioPolicy:
    """How a service reads audio files."""

    limits: AudioLimits
    ffmpeg: Path | None
    block_seconds: float
    max_probability_s: float
    """Audio whose probabilities one request may have, all its files and channels together."""
    decoded_bytes: int
    """Memory for samples on their way from decoders to scores, of all runs together."""
    patience_s: float
    """How long a run waits for memory."""


def open_decoder(
    source: AudioInput,
    limits: AudioLimits,
    ffmpeg: Path | None,
    stop: Stop | None = None,
    *,
    in_process: bool = False,
) -> Decoder:
    """Open a file by its content, or as it is said to be. Raises `NoAudio`, `UnsupportedAudio`, `InvalidAudio`, and
    `InvalidOption` where what is said is not so.

    `ffmpeg`: None when there is none; then WAV, FLAC and raw samples alone can be read. `stop`: ends the opening from
    another thread. `in_process`: raise `NeedsChild` instead of starting a child process.
    """
    if source.track != "all":
        return _open_one(source, limits, ffmpeg, stop, in_process=in_process)
    with contextlib.ExitStack() as opening:
        first = opening.enter_context(
            contextlib.closing(_open_one(replace(source, track=None), limits, ffmpeg, stop, in_process=in_process))
        )
        if first.track_count > MOST_TRACKS:
            most = f"up to {MOST_TRACKS} can be heard together: name one by its number"
            raise InvalidOption("track", f"the file has {first.track_count} sound tracks; {most}")
        decoders: list[Decoder | None] = []
        for number in range(first.track_count):
            if number == first.track:
                decoders.append(first)
                continue
            try:
                decoder = _open_one(replace(source, track=number), limits, ffmpeg, stop)
                decoders.append(opening.enter_context(contextlib.closing(decoder)))
            except (UnsupportedAudio, InvalidAudio):
                decoders.append(None)
        together = AllTracks(decoders, limits)
        opening.pop_all()
        return together


def _open_one(
    source: AudioInput,
    limits: AudioLimits,
    ffmpeg: Path | None,
    stop: Stop | None = None,
    *,
    in_process: bool = False,
) -> Decoder:
    with contextlib.ExitStack() as opening:
        file = opening.enter_context(source.open())
        head = file.read(HEAD_BYTES)
        if not head:
            raise NoAudio("the file is empty")

        def recover() -> Decoder:
            """Read a FLAC that is damaged: ffmpeg goes on behind that."""
            return open_with_ffmpeg(source.on_disk(), "FLAC", limits, cast("Path", ffmpeg), stop=stop)

        opened = _open_as_said(source, file, head, limits) or _open_by_content(
            source, file, head, limits, ffmpeg, recover if ffmpeg is not None else None
        )
        if isinstance(opened, Decoder):
            opening.pop_all()  # the file is the decoder's now
            opened.may_start_child = not in_process
            return opened
    if in_process:
        raise NeedsChild
    container, facts = opened.container, opened.facts
    if container == "SILK":
        return SilkDecoder(source.on_disk(), limits, facts, stop)
    if ffmpeg is None:
        raise UnsupportedAudio(f"{container} needs ffmpeg, which is not installed here; WAV and FLAC can be read")
    return open_with_ffmpeg(
        source.on_disk(), container, limits, ffmpeg, facts=facts, track=cast("int | None", source.track),
        clock=source.clock, options=opened.options, stop=stop,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _ForChild:
    """What a child process is told of a file."""

    container: str
    facts: FileFacts = field(default_factory=FileFacts)
    options: tuple[str, ...] = ()
    """ffmpeg's, for what the file does not say itself."""


def _open_as_said(source: AudioInput, file: BinaryIO, head: bytes, limits: AudioLimits) -> Decoder | _ForChild | None:
    """What has no header, as the request says; None where nothing is said, or the file's own header is believed."""
    if source.raw is None and source.headerless is None:
        return None
    container = container_for_certain(head)
    if container is not None:
        if source.headerless is None and not source.raw_for_certain:
            return None
        text = f"this is a {container} file, which says itself what it holds; leave this out"
        raise InvalidOption("encoding", text)
    if source.headerless is not None:
        return _ForChild(source.headerless.container, options=source.headerless.arguments)
    if source.track:
        raise InvalidOption("track", "raw samples have one track, number 0")
    return None if source.raw is None else RawDecoder(file, source.raw, limits)


def _open_by_content(
    source: AudioInput,
    file: BinaryIO,
    head: bytes,
    limits: AudioLimits,
    ffmpeg: Path | None,
    recover: Callable[[], Decoder] | None,
) -> Decoder | _ForChild:
    container, begin = sniff(head), 0
    if container_for_certain(head) is None and (later := begins_later(head)) is not None:
        container, begin = later
    if container is None:
        if not has_mpeg_audio_after_junk(head):
            raise UnsupportedAudio(advice(head))
        return _ForChild("MP3", examine(file, "MP3"), ("-f", "mp3"))
    known = BY_NAME[container]
    if source.track and not known.tracks:
        raise InvalidOption("track", f"a {container} file has one track, number 0")
    if container == "SPHERE":
        return _open_sphere(file, limits)
    facts = examine(file, container, begin)
    decoder = _open_in_process(file, container, facts, limits, ffmpeg, recover, begin)
    return decoder or _ForChild(container, facts, ("-f", known.demuxers[0]) if known.forced else ())


def _open_sphere(file: BinaryIO, limits: AudioLimits) -> Decoder:
    sphere, size = read_sphere(file), file.seek(0, 2)
    there = size - sphere.start
    declared = there if sphere.declared is None else sphere.declared
    cut = f"{declared - there} of {declared} bytes of samples are missing" if declared > there else None
    next_at = next_file(file, sphere.start + declared, size) if declared < there else None
    ranges = [(sphere.start, min(declared, there))]
    return RawDecoder(
        file, sphere.raw, limits, container="SPHERE", ranges=ranges, facts=FileFacts(cut, next_at=next_at)
    )


def _open_in_process(
    file: BinaryIO,
    container: str,
    facts: FileFacts,
    limits: AudioLimits,
    ffmpeg: Path | None,
    recover: Callable[[], Decoder] | None,
    begin: int,
) -> Decoder | None:
    """WAV, RF64 and FLAC; None for what ffmpeg reads better, where there is one, and for everything else. `begin`: the
    file's first byte."""
    wave = facts.wave
    if wave is not None and wave.bare is not None:
        return RawDecoder(file, wave.bare, limits, container=container, ranges=wave.ranges, facts=facts)
    better_by_ffmpeg = wave is not None and not begin and (not wave.as_declared or wave.tag in _NOT_FOR_LIBSNDFILE)
    if container not in ("WAV", "FLAC") or (better_by_ffmpeg and ffmpeg is not None):
        return None
    try:
        return SoundfileDecoder(file, container, limits, facts, recover if container == "FLAC" else None, begin)
    except CannotRead as error:
        if ffmpeg is None:
            raise InvalidAudio(f"the {container} file cannot be read: {error}") from None
        return None


def bytes_at_once(source: AudioInput, sample_rate: int, block_seconds: float) -> int | None:
    """Memory to set aside for reading a file in one go; None where it is certainly longer than a block, or a child
    process has to decode it.

    A guess by the file's size and first bytes, for the event loop: some microseconds, and none of it is decoded.
    `AudioSource.is_short` says afterwards whether it was right.
    """
    size, raw = source.size, source.raw
    per_second = raw.frame_bytes * raw.sample_rate if raw is not None else _SHORT_BYTES_PER_S
    if source.headerless is not None or source.track == "all" or size > block_seconds * per_second:
        return None
    if raw is None:
        with source.open() as file:
            if file.read(4) not in _IN_PROCESS:
                return None
    most = 2 * _READ_BYTES + 3 * 4 * round(block_seconds * sample_rate)
    return min(most, _BYTES_PER_BYTE * size + 4096)


def open_audio(
    source: AudioInput,
    *,
    sample_rate: int,
    channel: Channel,
    block_seconds: float,
    limits: AudioLimits,
    ffmpeg: Path | None,
    stop: Stop | None = None,
    in_process: bool = False,
) -> "AudioSource":
    """Open a file; `stop` ends that from another thread. `in_process`: raise `NeedsChild` instead of starting a child.

    Raises the `AudioError`s, and `InvalidOption` for a channel or a track that the file does not have, and for a raw
    form that it contradicts.
    """
    if isinstance(channel, int):
        limits = limits.of_one_channel()
    decoder = open_decoder(source, limits, ffmpeg, stop, in_process=in_process)
    if isinstance(channel, int) and channel >= decoder.info.channels:
        decoder.close()
        raise InvalidOption("channel", f"the file has {decoder.info.channels} channels, numbered from 0")
    return AudioSource(decoder, sample_rate, channel, round(block_seconds * sample_rate))


class AudioSource:
    """Iterating gives float32 [rows, n] at `sample_rate`; all blocks but the last have the same n.

    There is one block at least; its n is 0 only for audio too short to make a sample at this rate.
    Rows: one for each channel for `split`, else 1.
    """

    def __init__(self, decoder: Decoder, sample_rate: int, channel: Channel, block_samples: int) -> None:
        info = decoder.info
        self.decoder, self.info = decoder, info
        self.sample_rate = sample_rate
        self.expected_seconds = decoder.frames / info.sample_rate if decoder.frames else None
        """Length as the header has it, for progress: a hint."""
        self.decode_seconds = 0.0
        """Spent reading, decoding and resampling so far."""
        self._chooser = ChannelChooser(channel, info.channels, info.sample_rate)
        self._bandwidth = Bandwidth(sample_rate)
        self._block_samples = block_samples
        # At the source's rate: a block's, or as many as may be decoded in one piece.
        same_rate = info.sample_rate == sample_rate
        wanted = block_samples if same_rate else block_samples * info.sample_rate // sample_rate + 1
        self._piece_frames = max(1, min(wanted, _READ_BYTES // (4 * info.channels)))

    @property
    def duration_ms(self) -> int:
        """Audio decoded so far; all of it when the iteration has ended."""
        return self.decoder.decoded_frames * 1000 // self.info.sample_rate

    def warnings(self) -> tuple[AnswerWarning, ...]:
        """After the last block: what is odd about the file, and what its samples have shown."""
        return (*self.decoder.warnings(), *self._chooser.warnings(), *self._bandwidth.warnings())

    def bytes_held(self, blocks: int, samples: int) -> int:
        """Memory that samples take while they are read, and so many blocks and further samples of each row are in
        use."""
        # A piece as decoded, and as resampled.
        in_use = self._chooser.rows * (blocks * self._block_samples + samples)
        return 4 * (2 * self._piece_frames * self.info.channels + in_use)

    def is_short(self, most_bytes: int) -> bool:
        """Whether it has one row, is at most one block long, and takes at most so much memory when read in one go."""
        frames, info = self.decoder.frames or 0, self.info
        samples = -(-frames * self.sample_rate // info.sample_rate)
        held = 4 * (2 * min(frames, self._piece_frames) * info.channels + 3 * samples)
        return 0 < samples <= self._block_samples and self._chooser.rows == 1 and held <= most_bytes

    def __iter__(self) -> Iterator[Rows]:
        """Blocks; raises the `AudioError`s where they occur."""
        pending: list[Block] = []
        held = given = 0
        pieces = self._pieces()
        while True:
            started = time.perf_counter()
            piece = next(pieces, None)
            self.decode_seconds += time.perf_counter() - started
            if piece is not None and (len(piece) or not pending):  # an empty one would have the others copied
                pending.append(piece)
                held += len(piece)
            # One block at least, or a file of a sample or two at a high rate would have no rows at all.
            while held >= self._block_samples or (piece is None and (held or not given)):
                whole = pending[0] if len(pending) == 1 else np.concatenate(pending)
                block, rest = whole[: self._block_samples], whole[self._block_samples :]
                pending, held = [rest], len(rest)
                given += 1
                rows = np.ascontiguousarray(block.T)
                self._bandwidth.add(rows[0])
                yield rows
            if piece is None:
                return

    def _pieces(self) -> Iterator[Block]:
        """Decoded pieces of the chosen channels, at the target rate."""
        resampler = Resampler(self.info.sample_rate, self.sample_rate, self._chooser.rows)
        while len(block := self.decoder.read(self._piece_frames)):
            yield resampler.process(self._chooser.process(block))
        yield resampler.process(self._chooser.flush())
        yield resampler.flush()

    def close(self) -> None:
        """Stop reading; a read under way in another thread ends soon."""
        self.decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class SourcePasses:
    """Fresh passes over a file's decoded samples; leaving the context ends all of them."""

    def __init__(self, source: AudioInput, audio: AudioPolicy, sample_rate: int | None = None) -> None:
        """`sample_rate`: of the passes, where it is not to be the file's own."""
        self._source, self._audio, self._sample_rate = source, audio, sample_rate
        self._decoders: list[Decoder] = []
        self._over = False
        self._lock = threading.Lock()

    def blocks(self) -> Iterator[Block]:
        """Float32 [n, channels], from the beginning; blocking."""
        # How many channels there may be was judged when the file was heard.
        decoder = open_decoder(self._source, self._audio.limits.of_one_channel(), self._audio.ffmpeg)
        with self._lock:
            if self._over:  # left while a thread was opening it: nobody else closes it
                decoder.close()
                return
            self._decoders.append(decoder)
        rate = decoder.info.sample_rate
        resampler = Resampler(rate, self._sample_rate or rate, decoder.info.channels)
        while len(block := decoder.read(_PASS_FRAMES)):
            yield resampler.process(block)
        yield resampler.flush()
        decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._over = True
        for decoder in self._decoders:
            decoder.close()
