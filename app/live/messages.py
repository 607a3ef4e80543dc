"""What a live stream says to its client, in the two protocols. `docs/asyncapi.yaml` documents every message."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

from app.formats.documents import SegmentTimes, WarningDocument
from app.vad.segment import Segment
from app.warnings import AnswerWarning

Json = Any


class Protocols(Protocol):
    """One way to say it. None: it is not said. Times are ms of the whole session; `at_ms` is audio time received."""

    def start(self, start_ms: int, at_ms: int) -> Json: ...
    def end(self, segment: Segment, at_ms: int) -> Json: ...
    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Json: ...
    def flushed(self, at_ms: int) -> Json: ...
    def reset(self) -> Json: ...
    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]
    ) -> Json: ...


class VadProtocol:
    """Objects with a `type`."""

    def start(self, start_ms: int, at_ms: int) -> Json:
        """Speech began."""
        return {"type": "speech_start", "start_ms": start_ms, "at_ms": at_ms}

    def end(self, segment: Segment, at_ms: int) -> Json:
        """The segment is complete."""
        return {"type": "speech_end", **described(segment), "at_ms": at_ms}

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Json:
        """Mean speech probabilities of consecutive intervals."""
        return {"type": "probability", "start_ms": start_ms, "interval_ms": interval_ms, "values": list(values)}

    def flushed(self, at_ms: int) -> Json:
        """A `flush` has been carried out."""
        return {"type": "flushed", "at_ms": at_ms}

    def reset(self) -> Json:
        """A `reset` has been carried out; time begins again at 0."""
        return {"type": "reset"}

    def done(self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]) -> Json:
        """The end."""
        told = [WarningDocument.of(warning).dump() for warning in warnings]
        return {"type": "done", "segments": [described(segment) for segment in segments], "warnings": told, **counters}


class FunasrProtocol:
    """FunASR's streaming answers, pairs of which one side may be -1; its final message ends the stream."""

    def start(self, start_ms: int, at_ms: int) -> Json:
        """Speech began."""
        return [[start_ms, -1]]

    def end(self, segment: Segment, at_ms: int) -> Json:
        """The segment is complete."""
        return [[-1, segment.end_ms]]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Json:
        """Has no form there."""
        return None

    def flushed(self, at_ms: int) -> Json:
        """Has no form there."""
        return None

    def reset(self) -> Json:
        """Has no form there."""
        return None

    def done(self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]) -> Json:
        """The runtime's last message for an utterance, with the segments in place of a text."""
        pairs = [[segment.start_ms, segment.end_ms] for segment in segments]
        return {"mode": "vad", "is_final": True, "text": "", "value": pairs}


PROTOCOLS: dict[str, Protocols] = {"vad": VadProtocol(), "funasr": FunasrProtocol()}


def described(segment: Segment) -> dict[str, Any]:
    """A segment as the file API describes it."""
    return SegmentTimes.of(segment).dump()


def encode(message: Json) -> str:
    """Compact JSON."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
