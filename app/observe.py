"""What a running service reports about itself: engine, detection, live streams and doors call it, and whoever counts
(`app.api.metrics`) overrides it. Times are in seconds unless a name says otherwise."""

from collections.abc import Iterable, Sequence

from app.vad.models.family import ModelInfo


class Observer:
    """Ignores all reports. Called from the event loop, `rung_taken` from any thread."""

    def block_scored(self, model: str, waited_s: float, inference_s: float) -> None:
        """A block, or a batch of blocks, was scored, after waiting for a thread."""

    def model_loaded(self, model: ModelInfo, device: str) -> None:
        """A model is ready to serve."""

    def rung_taken(self, action: str) -> None:
        """Memory ran out on the device: `free`, `halve` or `cpu`."""

    def file_done(self, model: str, decoder: str, decode_s: float, audio_ms: int) -> None:
        """A file was detected to its end."""

    def warned(self, codes: Iterable[str]) -> None:
        """An answer, or a live stream that has ended, carries these warnings."""

    def rejected(self, reason: str) -> None:
        """A request was refused before any work was done for it."""

    def live_batch(self, streams: int) -> None:
        """Chunks of this many streams were scored together."""

    def live_chunks(self, lags_s: Sequence[float]) -> None:
        """The events of these chunks were sent, each so long after its receipt."""

    def live_dropped(self, reason: str) -> None:
        """The service ended a live stream that its client had not ended."""
