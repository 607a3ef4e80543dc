"""The samples of what is spoken, for a client that wants each utterance with its end.

Two places hold them. The *recent* samples are kept all the time, because a segment's start lies before the moment at
which it is known. Once it is known, the *utterance* takes the samples from its start on, and takes no more when it is
full: what a stream holds is bounded, however long somebody speaks.
"""

import base64
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.vad.posteriors import FloatArray

Pcm = NDArray[np.int16]

MOST_BYTES = 640_000
"""Of one utterance, 20 s at 16 kHz. In base64 that is 0.81 MiB: with what stands around it a message stays below the
1 MiB that WebSocket clients take by default (Python's websockets, among others)."""
_RECENT_S = 10
"""A block of a stream that is behind has 5 s, and a start may be found at its head: so much, and 5 s more, which is
longer than any start or cut lies back with usual options. With unusual ones the utterance says that it is cut."""
_FULL_SCALE = 32_768
"""Of 16 bits with a sign: what 1.0 is in them."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An utterance's samples: mono, 16 bits, at the model's rate."""

    pcm: bytes
    sample_rate: int
    truncated: bool
    """Whether some are missing at either end, because there were too many."""

    def document(self) -> dict[str, Any]:
        """As a message's JSON has it."""
        data = base64.b64encode(self.pcm).decode()
        return {
            "encoding": "pcm_s16le",
            "sample_rate": self.sample_rate,
            "truncated": self.truncated,
            "data": data,
        }


class Recording:
    """One for each stream whose client asked for its utterances' samples."""

    def __init__(self, sample_rate: int) -> None:
        """`sample_rate`: of the samples that will come, Hz."""
        self._rate, self._most = sample_rate, MOST_BYTES // 2
        self.restart()

    def restart(self) -> None:
        """The next sample is the first of an utterance."""
        self._recent: deque[Pcm] = deque()
        self._recent_from = self._total = 0
        self._kept: list[Pcm] | None = None
        """Of the segment under way; None: there is none."""
        self._kept_from = self._kept_count = 0

    def add(self, samples: FloatArray) -> None:
        """The next samples, float32 [n] in [-1, 1]."""
        pcm = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
        self._keep(pcm)
        self._recent.append(pcm)
        self._total += len(pcm)
        while self._recent and self._total - self._recent_from - len(self._recent[0]) >= _RECENT_S * self._rate:
            self._recent_from += len(self._recent.popleft())

    def open(self, start_ms: int) -> None:
        """A segment has begun there."""
        self._kept, self._kept_count = [], 0
        self._kept_from = max(self._at(start_ms), self._recent_from)
        first = self._recent_from
        for pcm in self._recent:
            self._keep(pcm[max(0, self._kept_from - first) :])
            first += len(pcm)

    def close(self, start_ms: int, end_ms: int) -> Recorded:
        """The segment is complete: its samples, as far as they are kept."""
        start, end = self._at(start_ms), min(self._at(end_ms), self._total)
        held = self._kept or [np.zeros(0, dtype="<i2")]
        pcm = np.concatenate(held)[: max(0, end - self._kept_from)]
        self._kept, self._kept_count = None, 0
        return Recorded(pcm.tobytes(), self._rate, truncated=len(pcm) < end - start)

    def _keep(self, pcm: Pcm) -> None:
        if self._kept is not None and self._kept_count < self._most:
            piece = pcm[: self._most - self._kept_count]
            self._kept.append(piece)
            self._kept_count += len(piece)

    def _at(self, time_ms: int) -> int:
        return time_ms * self._rate // 1000
