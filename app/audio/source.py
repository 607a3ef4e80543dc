"""A file as a detector wants it: blocks of equal length at the model's rate, one row for each stream to detect."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from app.audio.channel import Channel, ChannelChooser
from app.audio.choose import open_decoder
from app.audio.clock import ClockFacts
from app.audio.decode import AudioInfo, Block, Decoder
from app.audio.input import AudioInput
from app.audio.limits import AudioLimits
from app.audio.resample import Resampler
from app.audio.signal import Bandwidth
from app.audio.stop import Stop
from app.vad.errors import InvalidOption
from app.warnings import AnswerWarning

Rows = NDArray[np.float32]
_READ_BYTES = 4 << 20
"""Most that is decoded in one piece: rates and channels may be high."""
_IN_PROCESS = (b"RIFF", b"RIFX", b"RF64", b"fLaC")
"""What files begin with that are mostly read in this process."""
_SHORT_BYTES_PER_S = 384_000
"""Of a file that may be one block: 48 kHz, two channels, 32 bits. Others are read block by block without a look."""
_BYTES_PER_BYTE = 32
"""Memory for each byte of a file that is read in one go: mu-law at 8 kHz for a model at 16 kHz takes that, 16 bits at
16 kHz a third."""


def bytes_at_once(source: AudioInput, sample_rate: int, block_seconds: float) -> int | None:
    """Memory to set aside for reading a file in one go; None where it is certainly longer than a block, or a child
    process has to decode it.

    A guess by the file's size and first bytes, for the event loop: some microseconds, and none of it is decoded.
    `AudioSource.is_short` says afterwards whether it was right.
    """
    size, raw = source.size, source.raw
    per_second = raw.frame_bytes * raw.sample_rate if raw is not None else _SHORT_BYTES_PER_S
    if source.headerless is not None or size > block_seconds * per_second:
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
    decoder = open_decoder(source, limits, ffmpeg, stop, in_process=in_process)
    if isinstance(channel, int) and channel >= decoder.info.channels:
        decoder.close()
        raise InvalidOption("channel", f"the file has {decoder.info.channels} channels, counted from 0")
    return AudioSource(decoder, sample_rate, channel, round(block_seconds * sample_rate))


class AudioSource:
    """Iterating gives float32 [rows, n] at `sample_rate`; all blocks but the last have the same n.

    There is one block at least; its n is 0 only for audio too short to make a sample at this rate.
    Rows: one for each channel for `split`, else 1.
    """

    def __init__(self, decoder: Decoder, sample_rate: int, channel: Channel, block_samples: int) -> None:
        self.sample_rate = sample_rate
        self.decode_seconds = 0.0
        """Spent reading, decoding and resampling so far."""
        self._decoder = decoder
        self._chooser = ChannelChooser(channel, decoder.info.channels, decoder.info.sample_rate)
        self._block_samples = block_samples
        self._bandwidth = Bandwidth(sample_rate)

    @property
    def info(self) -> AudioInfo:
        """What the file says of its sound."""
        return self._decoder.info

    @property
    def decoder_name(self) -> str:
        """Which decoder reads it: `soundfile`, `raw`, `silk` or `ffmpeg`."""
        return self._decoder.name

    @property
    def duration_ms(self) -> int:
        """Audio decoded so far; all of it when the iteration has ended."""
        return self._decoder.decoded_frames * 1000 // self.info.sample_rate

    @property
    def expected_seconds(self) -> float | None:
        """Length as the header has it, for progress: a hint."""
        frames = self._decoder.frames
        return None if not frames else frames / self.info.sample_rate

    @property
    def truncated(self) -> bool:
        """After the last block: whether the file ends before its header says, or in damage."""
        return self._decoder.truncated

    @property
    def clock_facts(self) -> ClockFacts:
        """After the last block: how the container's clock differs from the count of samples."""
        return self._decoder.clock_facts

    @property
    def track(self) -> tuple[int, int]:
        """Which sound of the file is read, from 0, and how many it has."""
        return self._decoder.track, self._decoder.track_count

    def warnings(self) -> tuple[AnswerWarning, ...]:
        """After the last block: what is odd about the file, and what its samples have shown."""
        return (*self._decoder.warnings(), *self._chooser.warnings(), *self._bandwidth.warnings())

    def bytes_held(self, blocks: int) -> int:
        """Memory that samples take while they are read and so many blocks of each row are in use."""
        # A piece as decoded, and as resampled.
        return 4 * (2 * self._piece_frames * self.info.channels + blocks * self._rows * self._block_samples)

    def is_short(self, most_bytes: int) -> bool:
        """Whether it has one row, is at most one block long, and takes at most so much memory when read in one go."""
        frames, rate = self._decoder.frames or 0, self.info.sample_rate
        samples = -(-frames * self.sample_rate // rate)
        held = 4 * (2 * min(frames, self._piece_frames) * self.info.channels + 3 * samples)
        return 0 < samples <= self._block_samples and self._rows == 1 and held <= most_bytes

    def __iter__(self) -> Iterator[Rows]:
        """Blocks; raises the `AudioError`s where they occur."""
        pending: list[Block] = []
        held = given = 0
        pieces = self._pieces()
        while True:
            started = time.perf_counter()
            piece = next(pieces, None)
            self.decode_seconds += time.perf_counter() - started
            if piece is not None:
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
        """Decoded pieces, chosen channels, at the target rate."""
        resampler = Resampler(self.info.sample_rate, self.sample_rate, self._rows)
        frames = self._piece_frames
        while len(block := self._decoder.read(frames)):
            yield resampler.process(self._chooser.process(block))
        yield resampler.process(self._chooser.flush())
        yield resampler.flush()

    @property
    def _rows(self) -> int:
        return self._chooser.rows

    @property
    def _piece_frames(self) -> int:
        """At the source's rate: a block's, or as many as may be decoded in one piece."""
        info, wanted = self.info, self._block_samples
        if info.sample_rate != self.sample_rate:
            wanted = self._block_samples * info.sample_rate // self.sample_rate + 1
        return max(1, min(wanted, _READ_BYTES // (4 * info.channels)))

    def close(self) -> None:
        """Stop reading; a read under way in another thread ends soon."""
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
