"""This service's own protocol on a live stream, and FunASR's: what a client's frames mean, and what it is sent.

`docs/asyncapi.yaml` describes every message. Neither protocol has a state, so one object of each serves all sessions.
OpenAI's, which has one, is in `app.live.realtime`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from app.formats.documents import ModelDocument, SegmentTimes, WarningDocument
from app.live.events import Hint, Recorded
from app.live.queues import Json
from app.live.session import NO_MESSAGES, ClientProtocol, Command, LiveSession, Messages
from app.vad.errors import InvalidOption, VadError
from app.vad.segment import Segment
from app.warnings import AnswerWarning

_COMMANDS: tuple[Command, ...] = get_args(Command)
_SHOWN = 80
"""Most characters of an unknown message that the error repeats."""


class VadProtocol:
    """This service's own: every message is an object with a `type`."""

    numbered = True
    usual_options: Mapping[str, Any] = {}

    # ---- from the client

    def greeting(self, session: LiveSession, name: str) -> Json | None:
        return {
            "type": "ready",
            "session": name,
            "offset_ms": session.received_ms,
            "offset_samples": session.received_samples,
            "seq": session.last_seq,
            "sample_rate": session.form.sample_rate,
            "encoding": session.form.encoding,
            "channels": session.form.channels,
            "model": ModelDocument.of(session.plan.chosen.model.info).dump(),
            "options": session.plan.segmentation.document(),
        }

    def receive_bytes(self, session: LiveSession, data: bytes, now: float) -> None:
        session.receive_audio(data, now)

    def receive_text(self, session: LiveSession, text: str, now: float) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or not self._carry_out(session, message):
            session.say({
                "type": "error", "code": "bad_message",
                "detail": f"not a message that is known here: {text[:_SHOWN]!r}; there are options, flush, reset, end "
                "and ping, and audio goes in binary frames",
            })  # fmt: skip

    def _carry_out(self, session: LiveSession, message: Mapping[str, Any]) -> bool:
        """Do what a message asks for. Return False for an unknown one."""
        kind = message.get("type")
        if kind in _COMMANDS:
            session.receive_command(kind)
        elif kind == "ping":
            session.say({"type": "pong", "received_ms": session.received_ms})
        elif kind == "options":
            try:
                session.receive_options({name: value for name, value in message.items() if name != "type"})
            except InvalidOption as error:
                session.say(error_message(error))
        else:
            return False
        return True

    # ---- to the client

    def start(self, start_ms: int, at_ms: int) -> Messages:
        return [{"type": "speech_start", "start_ms": start_ms, "at_ms": at_ms}]

    def hint(self, hint: Hint, at_ms: int) -> Messages:
        times = {"start_ms": hint.start_ms, "at_ms": at_ms}
        if hint.silent_from_ms is None:
            return [{"type": "speech_confirmed", **times}]
        return [{"type": "speech_maybe_end", **times, "end_ms": hint.silent_from_ms}]

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        message = {"type": "speech_end", **SegmentTimes.of(segment).dump(), "at_ms": at_ms}
        return [message if audio is None else {**message, "audio": audio.document()}]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages:
        return [{"type": "probability", "start_ms": start_ms, "interval_ms": interval_ms, "values": list(values)}]

    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages:
        return [{"type": "options", "options": dict(options), "at_ms": at_ms}]

    def flushed(self, at_ms: int) -> Messages:
        return [{"type": "flushed", "at_ms": at_ms}]

    def cleared(self, at_ms: int) -> Messages:
        return NO_MESSAGES  # this protocol has no `clear`

    def reset(self) -> Messages:
        return [{"type": "reset"}]

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: Mapping[str, int]
    ) -> Messages:
        return [
            {
                "type": "done",
                "segments": [SegmentTimes.of(segment).dump() for segment in segments],
                "warnings": [WarningDocument.of(warning).dump() for warning in warnings],
                **counters,
            }
        ]

    def error(self, code: str, detail: str) -> Messages:
        return [{"type": "error", "code": code, "detail": detail}]


class FunasrProtocol(VadProtocol):
    """FunASR's runtime's: pairs of which one side may be -1, and a final message that ends the stream.

    FunASR has no message for errors, so they are sent as in `VadProtocol`, whose messages a client may send, too.
    """

    def greeting(self, session: LiveSession, name: str) -> Json | None:
        return None

    def _carry_out(self, session: LiveSession, message: Mapping[str, Any]) -> bool:
        """FunASR's clients begin with `audio_fs`, among other things, and end with `is_speaking: false`."""
        if super()._carry_out(session, message):
            return True
        if "is_speaking" not in message:
            return False
        try:
            if "audio_fs" in message:
                session.use_form(sample_rate=message["audio_fs"])
        except InvalidOption as error:
            session.fail(error.code, str(error))
        if message["is_speaking"] is False:
            session.receive_command("end")
        return True

    def start(self, start_ms: int, at_ms: int) -> Messages:
        return [[[start_ms, -1]]]

    def hint(self, hint: Hint, at_ms: int) -> Messages:
        return NO_MESSAGES

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        return [[[-1, segment.end_ms]]]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages:
        return NO_MESSAGES

    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages:
        return NO_MESSAGES

    def flushed(self, at_ms: int) -> Messages:
        return NO_MESSAGES

    def reset(self) -> Messages:
        return NO_MESSAGES

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: Mapping[str, int]
    ) -> Messages:
        pairs = [[segment.start_ms, segment.end_ms] for segment in segments]
        return [{"mode": "vad", "is_final": True, "text": "", "value": pairs}]


PROTOCOLS: Mapping[str, ClientProtocol] = {"vad": VadProtocol(), "funasr": FunasrProtocol()}
"""By the name that `protocol=` takes."""


def error_message(error: VadError) -> Json:
    """The message that says what could not be done."""
    message = {"type": "error", "code": error.code, "detail": str(error)}
    return {**message, "option": error.option} if isinstance(error, InvalidOption) else message
