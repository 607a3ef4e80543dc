"""What a client of OpenAI's realtime protocol sets in `session.update`, in the two shapes that there are.

The beta's session has `input_audio_format` and `turn_detection` at its top; today's has them in `audio.input`, the
format as an object. Both mean the same here, and a session is told in both, so that a client of either finds its own.

`server_vad` is this service's `mode=tight`, under OpenAI's names. Whatever else of that mode a client wants it may set
beside them, under the mode's own names.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.vad.segmenters.registry import SEGMENTERS

OPTION_OF = {
    "threshold": "threshold",
    "prefix_padding_ms": "speech_pad_ms",
    "silence_duration_ms": "min_silence_duration_ms",
}
"""Options of `mode=tight` by the names of `server_vad`."""
USUAL_OPTIONS = {"speech_pad_ms": 300, "min_silence_duration_ms": 500}
"""OpenAI's documented defaults, which clients count on: turns are not cut at every breath. The threshold's default is
not among them: 0.5 of their model is not 0.5 of another one, so the model's own holds."""
_FORMATS: Mapping[str, tuple[str, int, Mapping[str, Any]]] = {
    "pcm16": ("pcm_s16le", 24_000, {"type": "audio/pcm", "rate": 24_000}),
    "g711_ulaw": ("mulaw", 8_000, {"type": "audio/pcmu"}),
    "g711_alaw": ("alaw", 8_000, {"type": "audio/pcma"}),
}
"""By the beta's names: encoding, Hz, and today's form."""
_TIGHT = next(kind.options for kind in SEGMENTERS if kind.mode == "tight")
_OF_ANSWERS = ("create_response", "interrupt_response", "idle_timeout_ms", "eagerness")
"""Fields of turn detection that are about answers, of which there are none: taken, and told to be off."""
_TRANSCRIPTS = ("input_audio_transcription", "audio.input.transcription")


class InvalidEvent(Exception):
    """An event of the client's that cannot be carried out; the session is as it was before."""

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param, self.code = param, code


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """What of a session's configuration means something here."""

    format: str = "pcm16"
    """By the beta's name."""
    detects: bool = True
    """Whether turns are detected; otherwise the client commits."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """That the client has set, by the names of `mode=tight`."""

    @property
    def form(self) -> dict[str, Any]:
        """Of the samples, as `StreamParameters` has it."""
        encoding, sample_rate, _ = _FORMATS[self.format]
        return {"encoding": encoding, "sample_rate": sample_rate}

    def updated(self, session: Mapping[str, Any]) -> "RealtimeSettings":
        """With what a `session.update` says; what it does not name stays. Raises `InvalidEvent`."""
        given = dict(_flat(session))
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
            raise InvalidEvent(f"there is server_vad here, and no {str(kind)[:32]!r}", f"{place}.type")
        options = dict(self.options)
        for name, value in given.items():
            if name != "type" and name not in _OF_ANSWERS:
                options[_option(name, place)] = value
        return replace(self, detects=True, options=options)

    def document(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The session in both shapes. `options`: those in force, as `mode=tight` has them."""
        turn_detection = None
        if self.detects:
            told = {name: options[option] for name, option in OPTION_OF.items()}
            turn_detection = {"type": "server_vad", **told, "create_response": False, "interrupt_response": False}
        heard = {"turn_detection": turn_detection, "transcription": None, "noise_reduction": None}
        return {
            "output_modalities": [],
            "audio": {"input": {"format": _FORMATS[self.format][2], **heard}},
            "modalities": [],
            "input_audio_format": self.format,
            "input_audio_transcription": None,
            "turn_detection": turn_detection,
        }


def wants_transcripts(session: Mapping[str, Any]) -> str | None:
    """The field by which a `session.update` asks for transcripts; None: it does not."""
    given = dict(_flat(session))
    return next((f"session.{place}" for place in _TRANSCRIPTS if given.get(place) is not None), None)


def name_of_option(option: str) -> str:
    """What `server_vad` calls an option of `mode=tight`."""
    return next((name for name, ours in OPTION_OF.items() if ours == option), option)


def _flat(session: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields that matter, by their places. Raises `InvalidEvent` for a place that is no object."""
    audio = _object(session.get("audio"), "session.audio")
    heard = _object(audio.get("input"), "session.audio.input")
    yield from session.items()
    for name, value in heard.items():
        yield f"audio.input.{name}", value


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


def _option(name: str, place: str) -> str:
    option = OPTION_OF.get(name, name)
    # Not `merge_gap_ms`, which cannot change while a stream goes on, nor what has a name of OpenAI's.
    if option not in _TIGHT.model_fields or option == "merge_gap_ms":
        known = [*OPTION_OF, *(each for each in _TIGHT.names() if each not in OPTION_OF.values())]
        raise InvalidEvent(f"there is no {name[:64]!r} here; there are: {', '.join(known)}", f"{place}.{name[:64]}")
    return option
