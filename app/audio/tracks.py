"""Every sound of a file at once, each the mean of its channels: as channels of one sound.

Sounds of one file may have different rates and lengths. All come at the highest rate, and where one has ended silence
stands for it until the last one has. A sound that cannot be decoded is silence, which is told.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from app.audio.decode import AudioInfo, AudioLimits, Block, Decoder
from app.audio.signal import HEARD_TOGETHER, ChannelChooser, Resampler
from app.warnings import AnswerWarning

MOST_TRACKS = HEARD_TOGETHER
"""Each costs a process."""


class _Sound:
    """One of them, as blocks of any length."""

    def __init__(self, decoder: Decoder, rate: int) -> None:
        info = decoder.info
        self.decoder = decoder
        self.chooser = ChannelChooser("mix", info.channels, info.sample_rate)
        self._resampler = Resampler(info.sample_rate, rate, 1)
        self._ratio = info.sample_rate / rate
        self._held = np.zeros((0, 1), dtype=np.float32)
        self._ended = False

    def read(self, frames: int) -> Block:
        """The next samples, [n, 1]; fewer than `frames` only at its end."""
        parts, held = [self._held], len(self._held)
        while held < frames and not self._ended:
            block = self.decoder.read(max(1, int((frames - held) * self._ratio)))
            self._ended = not len(block)
            part = self._resampler.flush() if self._ended else self._resampler.process(self.chooser.process(block))
            parts.append(part)
            held += len(part)
        whole = np.concatenate(parts)
        self._held = whole[frames:]
        return whole[:frames]


class AllTracks(Decoder):
    """Owns the decoders that it is given, once it is made."""

    track = None

    def __init__(self, decoders: Sequence[Decoder | None], limits: AudioLimits) -> None:
        """`decoders`: of all sounds in order, one at least; None for one that cannot be decoded."""
        there = [decoder for decoder in decoders if decoder is not None]
        rate = max(decoder.info.sample_rate for decoder in there)
        lengths = [decoder.frames * rate // decoder.info.sample_rate for decoder in there if decoder.frames]
        self._sounds = [None if decoder is None else _Sound(decoder, rate) for decoder in decoders]
        self.name, self.track_count = there[0].name, len(decoders)
        info = AudioInfo(rate, len(decoders), there[0].info.format, there[0].info.subtype)
        super().__init__(info, limits, max(lengths) if len(lengths) == len(there) else None)

    def _read(self, frames: int) -> Block:
        rows = [None if sound is None else sound.read(frames) for sound in self._sounds]
        block = np.zeros((max(len(row) for row in rows if row is not None), len(rows)), dtype=np.float32)
        for number, row in enumerate(rows):
            if row is not None:
                block[: len(row), number] = row[:, 0]
        return block

    @property
    def truncated(self) -> bool:
        """Whether any of them is."""
        return any(sound.decoder.truncated for sound in self._sounds if sound is not None)

    def warnings(self) -> Iterator[AnswerWarning]:
        """Those of each sound, which they name."""
        for number, sound in enumerate(self._sounds):
            if sound is None:
                yield AnswerWarning("other_tracks", f"track {number} cannot be decoded and is treated as silence")
                continue
            for warning in (*sound.decoder.warnings(), *sound.chooser.warnings()):
                if warning.code != "other_tracks":  # they are heard
                    detail = f"track {number}: {warning.detail}" if self.track_count > 1 else warning.detail
                    yield AnswerWarning(warning.code, detail)

    def close(self) -> None:
        self.closed = True
        for sound in self._sounds:
            if sound is not None:
                sound.decoder.close()
