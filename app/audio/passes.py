"""How a service reads audio files, and further passes over one: what is cut out of a file is decoded again for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Self

from app.audio.choose import open_decoder
from app.audio.decode import Block, Decoder
from app.audio.input import AudioInput
from app.audio.limits import AudioLimits
from app.audio.resample import Resampler

_PASS_FRAMES = 1 << 16
"""Samples of every channel in a block, 256 KiB of them: neither many calls nor much memory."""


@dataclass(frozen=True, slots=True)
class AudioPolicy:
    """How audio files are read."""

    limits: AudioLimits
    ffmpeg: Path | None
    block_seconds: float
    max_probability_s: float
    """Audio whose probabilities one request may have, all its files and channels together."""
    decoded_bytes: int
    """Memory for samples on their way from decoders to scores, of all runs together."""
    kept_bytes: int
    """Memory for posteriors that are to be kept, of all runs together while they are found."""
    patience_s: float
    """How long a run waits for memory."""


class SourcePasses:
    """Fresh passes over a file's decoded samples at its own rate; leaving the context ends all of them."""

    def __init__(self, source: AudioInput, audio: AudioPolicy, sample_rate: int | None = None) -> None:
        """`sample_rate`: of the passes, where it is not to be the file's own."""
        self._source, self._audio, self._sample_rate = source, audio, sample_rate
        self._decoders: list[Decoder] = []

    def blocks(self) -> Iterator[Block]:
        """Float32 [n, channels], from the beginning; blocking."""
        decoder = open_decoder(self._source, self._audio.limits, self._audio.ffmpeg)
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
        for decoder in self._decoders:
            decoder.close()
