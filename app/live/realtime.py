"""OpenAI's realtime protocol, as far as it is about turns: a client's events in, what is to be done out; and what the
stream finds in, the service's events out. No socket, no clock, no audio.

Theory of operation. The client appends audio to a buffer. With turn detection (`server_vad`) the service says when
speech starts and stops, and commits the buffer at each stop; without it the client commits. Committed audio is an item
of the conversation, whose id `speech_started` has told before. Answers and transcripts belong to the protocol and not
to this service: who asks for them gets an `error` event, and the session goes on, as it does after every error of the
client's.

Two things have a state, each on a clock of its own: the buffer as the client fills it, and the turn as the stream is
scored, which is later. `_BUFFER` and `_TURN` have all that can happen to them; what they have not is refused, or, of a
turn, not told. The session is told in events (`session.created`, `session.updated`); an update is in force when it is
told, from the next frame on.

Times are ms of all audio that was ever appended. They are those of `POST /vad` in `mode=tight` with the same values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from app.live.hints import Hint
from app.live.messages import UNSAID, Json, Messages
from app.live.realtime_events import (
    SHOWN,
    Action,
    Append,
    Clear,
    Commit,
    Say,
    Update,
    audio_of,
    id_of,
    parsed,
)
from app.live.realtime_session import InvalidEvent, RealtimeSettings, name_of_option, wants_transcripts
from app.live.recording import Recorded
from app.vad.errors import InvalidOption
from app.vad.segment import Segment
from app.warnings import AnswerWarning

_Buffer = Literal["empty", "filled"]
_BUFFER: Mapping[tuple[_Buffer, str], _Buffer] = {
    ("empty", "append"): "filled",
    ("filled", "append"): "filled",
    ("filled", "commit"): "empty",
    ("empty", "clear"): "empty",
    ("filled", "clear"): "empty",
}
"""By state and event of the client's. To commit nothing is an error, as it is there."""
_Turn = Literal["silent", "speaking"]
_TURN: Mapping[tuple[_Turn, str], _Turn] = {
    ("silent", "start"): "speaking",
    ("speaking", "end"): "silent",
    ("silent", "drop"): "silent",
    ("speaking", "drop"): "silent",
}
"""By state and event of the stream's. An end without a start is that of a segment which began while nobody wanted turns
to be told."""
_ABSENT = ("response.", "conversation.item.", "output_audio_buffer.", "transcription_session.")
"""Beginnings of the events that are about answers and transcripts."""
_OURS = frozenset(("internal", "not_ready", "overloaded"))
"""Codes for which the client can do nothing."""


class RealtimeProtocol:
    """One connection's; a `Protocols` for its session."""

    numbered = False

    def __init__(
        self,
        token: str,
        model: Mapping[str, Any],
        asked_model: str | None,
        options: Mapping[str, Any],
        is_known_model: Callable[[str], bool],
    ) -> None:
        """`token`: what ids are made of; `model`: the one that answers, as documents have it; `asked_model`: what the
        client called it; `options`: in force, of `mode=tight`."""
        self.settings = RealtimeSettings()
        """As they are asked for; told when they are in force."""
        self._in_force = self.settings
        self._token, self._model, self._asked_model = token, model, asked_model
        self._options, self._is_known_model = options, is_known_model
        self._buffer: _Buffer = "empty"
        self._turn: _Turn = "silent"
        self._has_heard = False
        self._events = self._items = 0
        self._item: str | None = None
        """Of the turn under way."""
        self._uncommitted: str | None = None
        """Of a turn that a commit of the client's has ended."""
        self._last_item: str | None = None

    # ---- from the client

    def receive(self, text: str) -> Sequence[Action]:
        """What an event of the client's asks for; what is wrong with it is something to say, too."""
        event_id = None
        try:
            event = parsed(text)
            event_id = id_of(event)
            return self._receive(event, event_id)
        except InvalidEvent as error:
            return [Say(self.refusal(error, event_id))]

    def created(self) -> Json:
        """The first event, which tells of the session."""
        return self._event("session.created", session=self._session())

    def refusal(self, error: InvalidEvent, event_id: str | None) -> Json:
        """An `error` event about an event of the client's."""
        return self._error("invalid_request_error", error.code, str(error), error.param, event_id)

    def refused_update(self, update: Update, error: InvalidOption) -> Json:
        """The same for an `Update` that could not be carried out."""
        self.settings = update.before
        param = f"session.turn_detection.{name_of_option(error.option)}"
        return self.refusal(InvalidEvent(error.reason, param), update.event_id)

    def _receive(self, event: Mapping[str, Any], event_id: str | None) -> Sequence[Action]:
        kind = event.get("type")
        if kind == "input_audio_buffer.append":
            audio = audio_of(event.get("audio"))
            self._has_heard = True
            self._buffer = _BUFFER[self._buffer, "append"]
            return [Append(audio)]
        if kind == "input_audio_buffer.commit":
            if (self._buffer, "commit") not in _BUFFER:
                raise InvalidEvent("the buffer holds no audio", code="input_audio_buffer_commit_empty")
            self._buffer = _BUFFER[self._buffer, "commit"]
            return [Commit()]
        if kind == "input_audio_buffer.clear":
            self._buffer = _BUFFER[self._buffer, "clear"]
            return [Clear()]
        if kind == "session.update":
            return [self._update(event, event_id)]
        if isinstance(kind, str) and kind.startswith(_ABSENT):
            told = f"{kind[:SHOWN]}: this service tells turns, and gives neither answers nor transcripts"
            raise InvalidEvent(told, "type", "unsupported_event")
        raise InvalidEvent(f"there is no event of type {str(kind)[:SHOWN]!r}", "type")

    def _update(self, event: Mapping[str, Any], event_id: str | None) -> Update:
        session = event.get("session")
        if not isinstance(session, Mapping):
            raise InvalidEvent("session is an object", "session", "invalid_type")
        self._check_model(session.get("model"))
        before, settings = self.settings, self.settings.updated(session)
        if settings.format != before.format and self._has_heard:
            raise InvalidEvent(
                "the format cannot change once audio has come; open another session", "session.input_audio_format"
            )
        self.settings = settings
        param = wants_transcripts(session)
        notice = None
        if param is not None:
            told = "this service gives no transcripts; the rest of the update is in force"
            notice = self.refusal(InvalidEvent(told, param, "unsupported_field"), event_id)
        return Update(settings, before, settings.options, event_id, notice)

    def _check_model(self, model: object) -> None:
        """A client's habitual model name may come again; to change the model takes a new session."""
        if model in (None, self._asked_model, self._model["name"]):
            return
        if isinstance(model, str) and self._is_known_model(model):
            raise InvalidEvent(f"the model is settled by the address: ?model={model[:SHOWN]}", "session.model")

    # ---- from the stream, as `Protocols`

    def start(self, start_ms: int, at_ms: int) -> Messages:
        """Speech began: a turn is open."""
        if not self._in_force.detects:
            return UNSAID
        self._turn = _TURN[self._turn, "start"]
        self._item = self._new_item()
        return [self._event("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=self._item)]

    def hint(self, hint: Hint, at_ms: int) -> Messages:
        """Has no form there."""
        return UNSAID

    def end(self, segment: Segment, at_ms: int, audio: Recorded | None, *, asked_for: bool) -> Messages:
        """The turn is over, and with it the buffer is committed; where the client asked for that, `flushed` says so."""
        turn = _TURN.get((self._turn, "end"))
        if turn is None or self._item is None:
            return UNSAID
        self._turn, item, self._item = turn, self._item, None
        stopped = self._event("input_audio_buffer.speech_stopped", audio_end_ms=segment.end_ms, item_id=item)
        if not asked_for:
            return [stopped, self._committed(item)]
        earlier, self._uncommitted = self._uncommitted, item
        return [stopped] if earlier is None else [self._committed(earlier), stopped]

    def probability(self, start_ms: int, interval_ms: int, values: Sequence[float]) -> Messages:
        """Has no form there."""
        return UNSAID

    def options(self, options: Mapping[str, Any], at_ms: int, note: Any) -> Messages:
        """An `Update`, which `note` is, is in force."""
        update: Update = note
        if update.settings.detects != self._in_force.detects:
            self._drop_turn()
        self._options, self._in_force = options, update.settings
        updated = self._event("session.updated", session=self._session())
        return [updated] if update.notice is None else [updated, update.notice]

    def flushed(self, at_ms: int) -> Messages:
        """A `Commit` has been carried out."""
        item, self._uncommitted = self._uncommitted or self._new_item(), None
        return [self._committed(item)]

    def cleared(self, at_ms: int) -> Messages:
        """A `Clear` has been carried out."""
        self._drop_turn()
        return [self._event("input_audio_buffer.cleared")]

    def reset(self) -> Messages:
        """Has no form there."""
        return UNSAID

    def done(
        self, segments: Sequence[Segment], warnings: Sequence[AnswerWarning], counters: dict[str, int]
    ) -> Messages:
        """Has no form there: a client closes the connection."""
        return UNSAID

    def error(self, code: str, detail: str) -> Messages:
        """Something is wrong, and ends the session."""
        return [self._error("server_error" if code in _OURS else "invalid_request_error", code, detail, None, None)]

    # ---- events

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
        self._turn = _TURN[self._turn, "drop"]
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

    def _error(self, kind: str, code: str, message: str, param: str | None, event_id: str | None) -> Json:
        error = {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}
        return self._event("error", error=error)
