"""What a live stream says to its client, in each protocol. `docs/asyncapi.yaml` documents every message.

A protocol renders what happened: no message, one, or several for one thing. Times are ms of the whole session, `at_ms`
is audio time received, `asked_for` that the client ended the utterance and not silence. Protocols without a state of
their own are here; `app.live.realtime` has one that has.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.formats.documents import SegmentTimes, WarningDocument
from app.live.hints import Hint
from app.live.recording import Recorded
from app.vad.segment import Segment
from app.warnings import AnswerWarning

Json = Any
Messages = Sequence[Json]
UNSAID: Messages = ()
"""For what a protocol has no form for."""


class Protocols(Protocol):
    """One way to say it."""

    @property
    def numbered(self) -> bool:
        """Whether messages carry `seq`, by which a client that comes back says what it has."""
        ...

    def start(self, start_ms: int, at_ms: int) -> Messages: ...
    def hint(self, hint: Hint, at_ms: int) -> Messages: ...
    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages: ...
    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages: ...
    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages: ...
    def flushed(self, at_ms: int) -> Messages: ...
    def cleared(self, at_ms: int) -> Messages: ...
    def reset(self) -> Messages: ...
    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]
    ) -> Messages: ...
    def error(self, code: str, detail: str) -> Messages: ...


class VadProtocol:
    """Objects with a `type`."""

    numbered = True

    def start(self, start_ms: int, at_ms: int) -> Messages:
        """Speech began: its segment is open."""
        return [{"type": "speech_start", "start_ms": start_ms, "at_ms": at_ms}]

    def hint(self, hint: Hint, at_ms: int) -> Messages:
        """The segment under way has become certain, or may be at its end."""
        times = {"start_ms": hint.start_ms, "at_ms": at_ms}
        if hint.silent_from_ms is None:
            return [{"type": "speech_confirmed", **times}]
        return [{"type": "speech_maybe_end", **times, "end_ms": hint.silent_from_ms}]

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        """The segment is complete; with its samples where the client asked for them."""
        message = {"type": "speech_end", **described(segment), "at_ms": at_ms}
        return [message if audio is None else {**message, "audio": audio.document()}]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages:
        """Mean speech probabilities of consecutive intervals."""
        return [{"type": "probability", "start_ms": start_ms, "interval_ms": interval_ms, "values": list(values)}]

    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages:
        """From the next frame on these are in force."""
        return [{"type": "options", "options": dict(options), "at_ms": at_ms}]

    def flushed(self, at_ms: int) -> Messages:
        """A `flush` has been carried out."""
        return [{"type": "flushed", "at_ms": at_ms}]

    def cleared(self, at_ms: int) -> Messages:
        """Has no form here: a client's `reset` begins a new time as well."""
        return UNSAID

    def reset(self) -> Messages:
        """A `reset` has been carried out; time begins again at 0."""
        return [{"type": "reset"}]

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]
    ) -> Messages:
        """The stream's end, after its last segment."""
        told = [WarningDocument.of(warning).dump() for warning in warnings]
        return [
            {"type": "done", "segments": [described(segment) for segment in segments], "warnings": told, **counters}
        ]

    def error(self, code: str, detail: str) -> Messages:
        """Something is wrong, and ends the stream."""
        return [{"type": "error", "code": code, "detail": detail}]


class FunasrProtocol(VadProtocol):
    """FunASR's streaming answers, pairs of which one side may be -1; its final message ends the stream. What FunASR has
    no form for is not said, but for errors, which are said as in `VadProtocol`."""

    def start(self, start_ms: int, at_ms: int) -> Messages:
        """Speech began: its segment is open."""
        return [[[start_ms, -1]]]

    def hint(self, hint: Hint, at_ms: int) -> Messages:
        """Has no form there."""
        return UNSAID

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        """The segment is complete."""
        return [[[-1, segment.end_ms]]]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages:
        """Has no form there."""
        return UNSAID

    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages:
        """Has no form there."""
        return UNSAID

    def flushed(self, at_ms: int) -> Messages:
        """Has no form there."""
        return UNSAID

    def reset(self) -> Messages:
        """Has no form there."""
        return UNSAID

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]
    ) -> Messages:
        """The runtime's last message for an utterance, with the segments in place of a text."""
        pairs = [[segment.start_ms, segment.end_ms] for segment in segments]
        return [{"mode": "vad", "is_final": True, "text": "", "value": pairs}]


PROTOCOLS: dict[str, Protocols] = {"vad": VadProtocol(), "funasr": FunasrProtocol()}


def described(segment: Segment) -> dict[str, Any]:
    """A segment as the file API describes it."""
    return SegmentTimes.of(segment).dump()


def encode(message: Json) -> str:
    """JSON in as few characters as it takes; letters of any script as they are."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
