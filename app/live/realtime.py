"""OpenAI's realtime protocol, as far as it is about turns. No socket, no clock.

Theory of operation. The client appends audio to a buffer. With turn detection (`server_vad`) the service says when
speech starts and stops, and commits the buffer at each stop; without it the client commits. Committed audio is an item
of the conversation; `speech_started` announces its id. Answers and transcripts belong to the protocol and not to this
service: a client that asks for them gets an `error` event, and the session goes on, as it does after every error of the
client's.

Each event of the client's has one function here, registered by its type (`@_on`), which carries it out on the
`LiveSession`. What the stream finds comes back through the methods of `ClientProtocol`, as events of the service's.

Two states move at different times: the buffer when an event of the client's comes (`_buffered`), and the turn when the
audio has been scored, which is later (`_item`). An update changes the session when the stream reaches it, from the next
frame on, and `session.updated` is sent then.

`session.update` comes in two shapes. The beta's session has `input_audio_format` and `turn_detection` at its top;
today's has them in `audio.input`, the format as an object. Both mean the same here, and the session is described in
both, so that a client of either finds its own. `server_vad` is this service's `mode=tight` under OpenAI's names. A
client may set that mode's other options beside them, under the mode's own names.

Times are ms of all audio that was ever appended. They are those of `POST /vad` in `mode=tight` with the same values.
"""

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.live.events import Hint, Recorded
from app.live.queues import Json, decode
from app.live.session import FIXED, NO_MESSAGES, LiveSession, Messages
from app.vad.errors import InvalidOption, VadError
from app.vad.segment import Segment
from app.vad.segmenters.registry import MODE, SEGMENTERS
from app.warnings import AnswerWarning

_ABSENT = ("response.", "conversation.item.", "output_audio_buffer.", "transcription_session.")
"""How the types of events about answers and transcripts begin."""
_SERVER_ERRORS = frozenset(("internal", "not_ready", "overloaded"))
"""Codes of errors that the client did not cause."""
_SHOWN = 64
"""Most characters of what was sent that an error repeats."""

# ---- what a client sets

_MODE = "tight"
_OPTION_OF = {
    "threshold": "threshold",
    "prefix_padding_ms": "speech_pad_ms",
    "silence_duration_ms": "min_silence_duration_ms",
}
"""Options of `mode=tight` by the names of `server_vad`."""
_USUAL_OPTIONS = {"speech_pad_ms": 300, "min_silence_duration_ms": 500}
"""OpenAI's documented defaults, which clients count on: turns are not cut at every breath. Their threshold is not among
them, because 0.5 of their model is not 0.5 of another: the model's own default holds."""
_FORMATS: Mapping[str, tuple[str, int, Mapping[str, Any]]] = {
    "pcm16": ("pcm_s16le", 24_000, {"type": "audio/pcm", "rate": 24_000}),
    "g711_ulaw": ("mulaw", 8_000, {"type": "audio/pcmu"}),
    "g711_alaw": ("alaw", 8_000, {"type": "audio/pcma"}),
}
"""By the beta's names: encoding, Hz, and the object that stands for it today."""
_TIGHT = next(kind.options for kind in SEGMENTERS if kind.mode == _MODE)
_OPTIONS = [name for name in _TIGHT.names() if name not in FIXED]
"""All but those that cannot change while a stream goes on."""
_OF_ANSWERS = ("create_response", "interrupt_response", "idle_timeout_ms", "eagerness")
"""Fields of turn detection that are about answers, of which there are none: they are accepted and have no effect."""
_TRANSCRIPTS = ("input_audio_transcription", "audio.input.transcription")


class InvalidEvent(Exception):
    """An event of the client's that cannot be carried out; the session is as it was before."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param, self.code = param, code


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """The part of a session's configuration that has a meaning here."""

    format: str = "pcm16"
    """By the beta's name."""
    detects: bool = True
    """Whether turns are detected. Otherwise the client commits."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of `mode=tight` that the client has set, by the mode's names; None sets one back."""

    @property
    def stream(self) -> dict[str, Any]:
        """The samples of this format, as options of a request."""
        encoding, sample_rate, _ = _FORMATS[self.format]
        return {"encoding": encoding, "sample_rate": sample_rate}

    def updated(self, given: Mapping[str, Any]) -> "RealtimeSettings":
        """Apply a `session.update`, given by `_fields`; what it does not name stays. Raises `InvalidEvent`."""
        settings = self
        for place in ("input_audio_format", "audio.input.format"):
            if given.get(place) is not None:
                settings = replace(settings, format=_format(given[place], f"session.{place}"))
        for place in ("turn_detection", "audio.input.turn_detection"):
            if place in given:
                settings = settings._with_turn_detection(given[place], f"session.{place}")
        return settings

    def _with_turn_detection(self, given: Any, place: str) -> "RealtimeSettings":
        if given is None:
            return replace(self, detects=False)
        if not isinstance(given, Mapping):
            raise InvalidEvent(f"{place} is an object, or null for none", place, "invalid_type")
        kind = given.get("type", "server_vad")
        if kind == "none":
            return replace(self, detects=False)
        if kind != "server_vad":
            raise InvalidEvent(f"there is server_vad here, and no {str(kind)[:_SHOWN]!r}", f"{place}.type")
        options = dict(self.options)
        for name, value in given.items():
            if name == "type" or name in _OF_ANSWERS:
                continue
            option = _OPTION_OF.get(str(name), str(name))
            if option not in _OPTIONS:
                known = [*_OPTION_OF, *(each for each in _OPTIONS if each not in _OPTION_OF.values())]
                shown = name[:_SHOWN]
                raise InvalidEvent(f"there is no {shown!r} here; there are: {', '.join(known)}", f"{place}.{shown}")
            options[option] = value
        return replace(self, detects=True, options=options)

    def document(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the session in both shapes. `options`: those of `mode=tight` that are in force."""
        turn_detection = None
        if self.detects:
            values = {name: options[option] for name, option in _OPTION_OF.items()}
            turn_detection = {"type": "server_vad", **values, "create_response": False, "interrupt_response": False}
        audio = {"turn_detection": turn_detection, "transcription": None, "noise_reduction": None}
        return {
            "output_modalities": [],
            "audio": {"input": {"format": _FORMATS[self.format][2], **audio}},
            "modalities": [],
            "input_audio_format": self.format,
            "input_audio_transcription": None,
            "turn_detection": turn_detection,
        }


def request_options(*, preset: bool) -> dict[str, Any]:
    """Options of a request that the client's own win over. `preset`: the client names one, whose values take the place
    of the usual ones."""
    return {MODE: _MODE, **RealtimeSettings().stream, **({} if preset else _USUAL_OPTIONS)}


def _fields(session: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of both shapes by their places. Raises `InvalidEvent` for a place that is not an object."""
    audio = _object(session.get("audio"), "session.audio")
    audio_input = _object(audio.get("input"), "session.audio.input")
    return {**session, **{f"audio.input.{name}": value for name, value in audio_input.items()}}


def _object(given: Any, place: str) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidEvent(f"{place} is an object", place, "invalid_type")
    return given


def _format(given: Any, place: str) -> str:
    if isinstance(given, str) and given in _FORMATS:
        return given
    if isinstance(given, Mapping):
        for name, (_, rate, form) in _FORMATS.items():
            if given.get("type") == form["type"] and given.get("rate", rate) == rate:
                return name
    raise InvalidEvent("there are pcm16 (audio/pcm at 24000 Hz), g711_ulaw (audio/pcmu), g711_alaw (audio/pcma)", place)


# ---- the client's events


@dataclass(frozen=True, slots=True)
class _ClientEvent:
    """An event that the client has sent."""

    fields: Mapping[str, Any]
    event_id: str | None
    """The client's own id for it."""
    now: float
    """The receiver's clock."""


@dataclass(frozen=True, slots=True)
class _Update:
    """The note that goes with a change of the stream's options: what else comes into force with them."""

    settings: RealtimeSettings
    notice: Json | None
    """An error event that is sent then."""


_Handler = Callable[["RealtimeProtocol", LiveSession, _ClientEvent], None]
_HANDLERS: dict[str, _Handler] = {}
"""By the event's type. A handler raises `InvalidEvent` for what cannot be carried out."""


def _on(kind: str) -> Callable[[_Handler], _Handler]:
    def register(handler: _Handler) -> _Handler:
        _HANDLERS[kind] = handler
        return handler

    return register


class RealtimeProtocol:
    """The protocol's state on one connection; a `ClientProtocol` for its session."""

    numbered = False
    rest_s = math.inf  # its recordings never end

    def __init__(
        self,
        token: str,
        model: Mapping[str, Any],
        asked_model: str | None,
        options: Mapping[str, Any],
        is_known_model: Callable[[str], bool],
        *,
        preset: bool = False,
    ) -> None:
        """`token`: part of every id. `model`: the one that answers, as answers describe it. `asked_model`: the client's
        name for it. `options`: those of `mode=tight` in force. `preset`: as in `request_options`."""
        self.usual_options: Mapping[str, Any] = {} if preset else _USUAL_OPTIONS
        self._settings = RealtimeSettings()
        """As the client wants them."""
        self._in_force = self._settings
        """As the stream has them at the frame that was scored last."""
        self._token, self._model, self._asked_model = token, model, asked_model
        self._options, self._is_known_model = options, is_known_model
        self._has_audio = self._buffered = False
        """Whether any audio was ever appended, and whether any was since the last commit or clear."""
        self._events = self._items = 0
        self._item: str | None = None
        """Id of the turn under way."""
        self._uncommitted: str | None = None
        """Id of a turn that a commit of the client's has ended."""
        self._last_item: str | None = None

    # ---- from the client

    def greeting(self, session: LiveSession, name: str) -> Json | None:
        return self._event("session.created", session=self._session())

    def receive_bytes(self, session: LiveSession, data: bytes, now: float) -> None:
        self.receive_text(session, "", now)  # there are no binary frames: refused as any other that is no event

    def receive_text(self, session: LiveSession, text: str, now: float) -> None:
        event_id = None
        try:
            try:
                fields = decode(text)
            except ValueError:
                raise InvalidEvent("the message is not JSON, or has too many parts", code="invalid_json") from None
            if not isinstance(fields, dict):
                raise InvalidEvent("an event must be an object with a type", code="invalid_type")
            if isinstance(fields.get("event_id"), str):
                event_id = fields["event_id"][:_SHOWN]
            kind = fields.get("type")
            handler = _HANDLERS.get(kind) if isinstance(kind, str) else None
            if handler is not None:
                handler(self, session, _ClientEvent(fields, event_id, now))
            elif isinstance(kind, str) and kind.startswith(_ABSENT):
                reason = "this service tells turns, and gives neither answers nor transcripts"
                raise InvalidEvent(f"{kind[:_SHOWN]}: {reason}", "type", "unsupported_event")
            else:
                raise InvalidEvent(f"there is no event of type {str(kind)[:_SHOWN]!r}", "type")
        except InvalidEvent as error:
            session.say(self._refusal(error, event_id))

    @_on("input_audio_buffer.append")
    def _append(self, session: LiveSession, event: _ClientEvent) -> None:
        given = event.fields.get("audio")
        if not isinstance(given, str):
            raise InvalidEvent("audio must be a base64 string", "audio", "invalid_type")
        try:
            data = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidEvent("audio is not base64", "audio") from None
        self._has_audio = self._buffered = True
        session.receive_audio(data, event.now)

    @_on("input_audio_buffer.commit")
    def _commit(self, session: LiveSession, event: _ClientEvent) -> None:
        if not self._buffered:
            raise InvalidEvent("the buffer holds no audio", code="input_audio_buffer_commit_empty")
        self._buffered = False
        session.receive_command("flush")

    @_on("input_audio_buffer.clear")
    def _clear(self, session: LiveSession, event: _ClientEvent) -> None:
        self._buffered = False
        session.receive_clear()

    @_on("session.update")
    def _update(self, session: LiveSession, event: _ClientEvent) -> None:
        given = event.fields.get("session")
        if not isinstance(given, Mapping):
            raise InvalidEvent("session must be an object", "session", "invalid_type")
        model = given.get("model")
        # Clients repeat the name they always use. To change the model takes a new session.
        is_usual = model in (self._asked_model, self._model["name"])
        if isinstance(model, str) and not is_usual and self._is_known_model(model):
            raise InvalidEvent(f"the model is set by the address: ?model={model[:_SHOWN]}", "session.model")
        fields = _fields(given)
        settings = self._settings.updated(fields)
        if settings.format != self._settings.format and self._has_audio:
            reason = "the format cannot change once audio has come; open another session"
            raise InvalidEvent(reason, "session.input_audio_format")
        notice = None
        wanted = next((place for place in _TRANSCRIPTS if fields.get(place) is not None), None)
        if wanted is not None:
            reason = "this service gives no transcripts; the rest of the update is in force"
            notice = self._refusal(InvalidEvent(reason, f"session.{wanted}", "unsupported_field"), event.event_id)
        try:
            session.receive_options(settings.options, note=_Update(settings, notice))
            session.use_form(**settings.stream)
        except InvalidOption as error:
            name = next((name for name, option in _OPTION_OF.items() if option == error.option), error.option)
            raise InvalidEvent(error.reason, f"session.turn_detection.{name}") from None
        self._settings = settings

    # ---- from the stream, as `ClientProtocol`

    def start(self, start_ms: int, at_ms: int) -> Messages:
        if not self._in_force.detects:
            return NO_MESSAGES
        self._item = self._new_item()
        return [self._event("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._item)]

    def hint(self, hint: Hint, at_ms: int) -> Messages:
        return NO_MESSAGES

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        """The turn is over, and the buffer is committed with it; where the client has committed, `flushed` says so."""
        if self._item is None:
            return NO_MESSAGES  # the segment began while turns were not detected
        item, self._item = self._item, None
        stopped = self._event("input_audio_buffer.speech_stopped", audio_end_ms=segment.end_ms, item_id=item)
        if not asked_for:
            return [stopped, self._committed(item)]
        earlier, self._uncommitted = self._uncommitted, item
        return [stopped] if earlier is None else [self._committed(earlier), stopped]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages:
        return NO_MESSAGES

    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages:
        """`note`: the `_Update` that brought them."""
        update: _Update = note
        if update.settings.detects != self._in_force.detects:
            self._drop_turn()
        self._options, self._in_force = options, update.settings
        updated = self._event("session.updated", session=self._session())
        return [updated] if update.notice is None else [updated, update.notice]

    def flushed(self, at_ms: int) -> Messages:
        item, self._uncommitted = self._uncommitted or self._new_item(), None
        return [self._committed(item)]

    def cleared(self, at_ms: int) -> Messages:
        self._drop_turn()
        return [self._event("input_audio_buffer.cleared")]

    def reset(self) -> Messages:
        return NO_MESSAGES

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: Mapping[str, int]
    ) -> Messages:
        return NO_MESSAGES  # a client closes the connection

    def error(self, code: str, detail: str) -> Messages:
        return [self._error("server_error" if code in _SERVER_ERRORS else "invalid_request_error", code, detail)]

    # ---- the service's events

    def _session(self) -> Json:
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": f"sess_{self._token}",
            "model": self._model["name"],
            **self._in_force.document(self._options),
            "vad": {"asked_model": self._asked_model, "model": self._model, "options": self._options},
        }

    def _drop_turn(self) -> None:
        self._item = self._uncommitted = None

    def _committed(self, item: str) -> Json:
        previous, self._last_item = self._last_item, item
        return self._event("input_audio_buffer.committed", previous_item_id=previous, item_id=item)

    def _new_item(self) -> str:
        self._items += 1
        return f"item_{self._token}_{self._items}"

    def _event(self, kind: str, **fields: Json) -> Json:
        self._events += 1
        return {"type": kind, "event_id": f"event_{self._token}_{self._events}", **fields}

    def _refusal(self, error: InvalidEvent, event_id: str | None) -> Json:
        return self._error("invalid_request_error", error.code, str(error), error.param, event_id)

    def _error(self, kind: str, code: str, message: str, param: str | None = None, event_id: str | None = None) -> Json:
        return self._event("error", error=_error_document(kind, code, message, param, event_id))


def _error_document(kind: str, code: str, message: str, param: str | None = None, event_id: str | None = None) -> Json:
    return {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}


def refusal_event(error: VadError) -> Json:
    """The only event of a connection for which no session can be opened."""
    param = error.option if isinstance(error, InvalidOption) else None
    document = _error_document("invalid_request_error", error.code, str(error), param)
    return {"type": "error", "event_id": "event_0", "error": document}
