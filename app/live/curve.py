"""Speech probabilities of a live stream, thinned out to the interval that its client asked for."""

from app.vad.posteriors import DoubleArray


class ProbabilityCurve:
    """Means over consecutive intervals of whole frames."""

    def __init__(self, interval_ms: int, frame_ms: int) -> None:
        self.interval_ms = max(1, interval_ms // frame_ms) * frame_ms
        self._frames = self.interval_ms // frame_ms
        self.restart()

    def restart(self) -> None:
        """The next frame is the first of an utterance."""
        self.next_ms = 0
        """Start of the next interval within the utterance."""
        self._sum, self._count = 0.0, 0

    def accept(self, speech: DoubleArray, *, final: bool) -> list[float]:
        """Mean speech probabilities, rounded to 4 places, of the intervals that these frames complete; at the end of
        an utterance of a broken one too."""
        values = []
        for probability in speech.tolist():
            self._sum += probability
            self._count += 1
            if self._count == self._frames:
                values.append(self._take())
        if final and self._count:
            values.append(self._take())
        return values

    def _take(self) -> float:
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return round(mean, 4)
