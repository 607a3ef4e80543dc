"""Decoding an untrusted file into blocks at its own rate.

WAV and FLAC are read in process; everything else, and what libsndfile cannot read of these two, by a confined child
process. Which one is decided by the file's first bytes alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.audio.clock import ClockFacts
from app.audio.limits import AudioLimits
from app.audio.signal import Levels
from app.audio.structure import Structure
from app.vad.errors import AudioTooLong, InvalidAudio
from app.warnings import AnswerWarning

Block = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What an opened file says of its sound."""

    sample_rate: int
    """Hz, of the file."""
    channels: int
    format: str
    """Container, such as WAV."""
    subtype: str
    """Coding of the samples, such as PCM_16; empty when the decoder does not tell."""


class Decoder(ABC):
    """An open file. One thread reads; any thread may close."""

    name: str
    track = 0
    """Which sound of the file is read."""
    closed = False
    """Whether somebody has asked it to stop."""

    def __init__(
        self, info: AudioInfo, limits: AudioLimits, frames: int | None, structure: Structure | None = None
    ) -> None:
        self.info = check_info(info, limits)
        self.frames = frames
        """Frames as the header has it: a hint, never a promise."""
        self.decoded_frames = 0
        self.levels = Levels()
        """Of what has been read so far."""
        self.cut = structure.cut if structure is not None else None
        """After the last block: how the file ends before its own structure says; None: it does not."""
        self._repaired = structure.repaired if structure is not None else None
        self._limits = limits

    def read(self, frames: int) -> Block:
        """The next block, float32 [n, channels], n <= frames; n is 0 only at the end.

        A closed decoder is at its end. Raises `AudioTooLong`, and `InvalidAudio` for a file that holds no frame, for
        samples that are not finite, for a decoder that broke down.
        """
        block = self._read(frames)
        if self.closed:
            return block[:0]
        self.decoded_frames += len(block)
        if len(block) == 0 and self.decoded_frames == 0:
            raise InvalidAudio("the file holds no audio")
        if self.decoded_frames > self._limits.max_seconds * self.info.sample_rate:
            raise AudioTooLong(f"the audio is longer than {self._limits.max_seconds / 3600:g} h")
        if len(block):
            peak = max(float(block.max()), -float(block.min()))
            if not peak <= self._limits.max_magnitude:
                raise InvalidAudio("the audio holds samples that are not finite numbers of a sane size")
            self.levels.add(block, peak)
        return block

    @property
    def truncated(self) -> bool:
        """After the last block: whether the file ends before its own structure says."""
        return self.cut is not None

    @property
    def track_count(self) -> int:
        """How many sounds the file has."""
        return 1

    @property
    def clock_facts(self) -> ClockFacts:
        """How the container's clock differs from the count of samples read so far."""
        return ClockFacts()

    def warnings(self) -> Iterator[AnswerWarning]:
        """After the last block: what is odd about the file."""
        if self.cut is not None:
            yield AnswerWarning("truncated", f"what is there was decoded: {self.cut}")
        if self._repaired is not None:
            yield AnswerWarning("header_repaired", self._repaired)
        yield from self.levels.warnings()

    @abstractmethod
    def _read(self, frames: int) -> Block: ...

    @abstractmethod
    def close(self) -> None:
        """Stop, and give everything back; a `read` under way in another thread ends soon."""


def check_info(info: AudioInfo, limits: AudioLimits) -> AudioInfo:
    """`info` itself. Raises `InvalidAudio` for a rate or a channel count out of range."""
    if not limits.min_rate <= info.sample_rate <= limits.max_rate:
        raise InvalidAudio(
            f"the sample rate is {info.sample_rate} Hz; {limits.min_rate} to {limits.max_rate} Hz can be used"
        )
    if not 1 <= info.channels <= limits.max_channels:
        raise InvalidAudio(f"the audio has {info.channels} channels; 1 to {limits.max_channels} can be used")
    return info
