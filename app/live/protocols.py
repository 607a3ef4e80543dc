"""This service's own protocol on a live stream, and FunASR's: what a client's frames mean, and what it is sent.

`docs/asyncapi.yaml` describes every message. Neither protocol has a state, so one object of each serves all sessions.
OpenAI's, which has one, is in `app.live.realtime`.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from app.audio.piped import piped_wave
from app.formats.documents import ModelDocument, SegmentTimes, WarningDocument
from app.live.events import Hint, Recorded
from app.live.queues import Json, decode, encode
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
    rest_s = math.inf

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
            message = decode(text)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not self._carry_out(session, message):
            detail = (
                f"not a message that is known here: {text[:_SHOWN]!r}; there are options, flush, reset, end and ping"
            )
            for answer in self.error("bad_message", f"{detail}; send audio in binary frames"):
                session.say(answer)

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
    """FunASR's: pairs of which one side may be -1, as its models give them, and a message for each whole recording.

    FunASR has no message for errors, so they are sent as in `VadProtocol`, whose messages a client may send, too.
    """

    rest_s = 2.0
    """A client that has sent all it has need not say so."""

    def greeting(self, session: LiveSession, name: str) -> Json | None:
        return None

    def _carry_out(self, session: LiveSession, message: Mapping[str, Any]) -> bool:
        """FunASR's clients begin a recording with `audio_fs`, among other things, and end it with `is_speaking: false`.
        Another may follow, as with its server."""
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
            self._end_recording(session)
        return True

    def _end_recording(self, session: LiveSession) -> None:
        if session.form.container is None:
            session.receive_recording_end()
        else:
            session.receive_command("end")  # one file, one decoder

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


class FunasrServerProtocol(FunasrProtocol):
    """As FunASR's own server speaks to FunASR's own clients: what it makes of a recording depends on the `mode`.

    `offline`: one message when the recording has ended. `online`: one for each start and end of speech as well.
    `2pass`: the same, those of starts as `2pass-online` and the others as `2pass-offline`. Every message has the `text`
    that such clients read, which is empty here, and `is_final`, true once the recording has ended. One object serves
    one session.
    """

    numbered = False
    rest_s = math.inf
    """Its clients go on with a connection whenever somebody speaks again."""

    def __init__(self) -> None:
        self._mode, self._name = "2pass", "microphone"
        self._ended: deque[tuple[str, str]] = deque()
        """Mode and name of recordings that have ended, and whose last message has not been made."""

    def receive_bytes(self, session: LiveSession, data: bytes, now: float) -> None:
        """A WAV's head says what its samples are; some clients send it along."""
        wave = piped_wave(data) if session.is_new and data.startswith((b"RIFF", b"RIFX")) else None
        if wave is not None:
            raw, data = wave.raw, data[wave.start :]
            try:
                session.use_form(encoding=raw.encoding.name, sample_rate=raw.sample_rate, channels=raw.channels)
            except InvalidOption as error:
                session.fail(error.code, str(error))
        if data:
            session.receive_audio(data, now)

    def _carry_out(self, session: LiveSession, message: Mapping[str, Any]) -> bool:
        """Take anything: its clients tell more than this service knows."""
        if isinstance(message.get("mode"), str):
            self._mode = message["mode"][:_SHOWN]
        if isinstance(message.get("wav_name"), str):
            self._name = message["wav_name"][:_SHOWN]
        super()._carry_out(session, message)
        return True

    def _end_recording(self, session: LiveSession) -> None:
        self._ended.append((self._mode, self._name))
        super()._end_recording(session)

    def start(self, start_ms: int, at_ms: int) -> Messages:
        return self._told("online", [[start_ms, -1]])

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        return self._told("offline", [[-1, segment.end_ms]], [[segment.start_ms, segment.end_ms]])

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: Mapping[str, int]
    ) -> Messages:
        pairs = [[segment.start_ms, segment.end_ms] for segment in segments]
        messages = self._told("offline", pairs, pairs, is_final=True)
        if self._ended:
            self._ended.popleft()
        return messages

    def error(self, code: str, detail: str) -> Messages:
        """With what its clients read of every message: else they fail, or wait for a last one."""
        mode, name = self._ended[0] if self._ended else (self._mode, self._name)
        told = {"mode": mode, "wav_name": name, "text": "", "is_final": True}
        return [{"type": "error", "code": code, "detail": detail, **told}]

    def _told(
        self, part: str, value: list[list[int]], whole: list[list[int]] | None = None, *, is_final: bool = False
    ) -> Messages:
        """`part`: of `2pass`. `whole`: segments whose both ends are known, which clients show as time stamps."""
        mode, name = self._ended[0] if self._ended else (self._mode, self._name)
        if mode == "offline" and not is_final:
            return NO_MESSAGES
        if mode == "2pass":
            mode = f"{mode}-{part}"
        message = {"mode": mode, "wav_name": name, "text": "", "is_final": is_final, "value": value}
        return [message if whole is None else {**message, "timestamp": encode(whole)}]


PROTOCOLS: Mapping[str, ClientProtocol] = {"vad": VadProtocol(), "funasr": FunasrProtocol()}
"""By the name that `protocol=` takes."""


def error_message(error: VadError) -> Json:
    """The message that says what could not be done."""
    message = {"type": "error", "code": error.code, "detail": str(error)}
    return {**message, "option": error.option} if isinstance(error, InvalidOption) else message
