"""When audio came: which chunk made an event known.

An event's time depends on the audio alone, not on how chunks happened to be gathered for scoring: it is the end of the
first chunk with which all samples had come that the event's last frame needs, look-ahead included.
"""

from collections import deque

from app.vad.grid import Grid


class Arrivals:
    """The chunks that are not yet scored to their end, and counters of one stream."""

    def __init__(self, grid: Grid, source_rate: int) -> None:
        self._grid, self._source_rate = grid, source_rate
        self.source_samples = 0
        """Received since the start of the session, at the client's rate."""
        self._model_samples = 0
        self._chunks: deque[tuple[int, int]] = deque()

    @property
    def received_ms(self) -> int:
        """Audio that has been received, in ms."""
        return self.source_samples * 1000 // self._source_rate

    def add(self, source_samples: int, model_samples: int) -> None:
        """A chunk came: `source_samples` in all by now, and with it `model_samples` more at the model's rate."""
        self.source_samples = source_samples
        self._model_samples += model_samples
        self._chunks.append((self._model_samples, self.received_ms))

    def known_at_ms(self, at_ms: int) -> int:
        """Audio time received when the frames up to `at_ms` of the present utterance could be scored."""
        self._forget(self._needed(at_ms))
        return self._chunks[0][1] if self._chunks else self.received_ms

    def scored(self, until_ms: int) -> None:
        """Frames up to `until_ms` have been scored: the chunks before are of no more use."""
        self._forget(self._needed(until_ms))

    def restart(self) -> None:
        """The next sample is the first of a new utterance."""
        self._model_samples = 0
        self._chunks.clear()

    def _needed(self, at_ms: int) -> int:
        frames = -(-at_ms // self._grid.frame_ms)
        return self._grid.span(frames + self._grid.look_ahead_frames)

    def _forget(self, samples: int) -> None:
        while self._chunks and self._chunks[0][0] < samples:
            self._chunks.popleft()
