"""Events of OpenAI's realtime protocol as a client sends them, and what they ask to be done."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.live.messages import Json
from app.live.realtime_session import InvalidEvent, RealtimeSettings

SHOWN = 64
"""Characters that an error repeats of what was sent."""


@dataclass(frozen=True, slots=True)
class Append:
    """Feed these bytes of samples to the stream."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """End the utterance under way, and go on."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Drop the utterance under way, and go on."""


@dataclass(frozen=True, slots=True)
class Update:
    """Bring these settings into force; `options` is what changes of those that the stream was opened with."""

    settings: RealtimeSettings
    before: RealtimeSettings
    options: Mapping[str, Any]
    event_id: str | None
    notice: Json | None = None
    """To be said once it is in force."""


@dataclass(frozen=True, slots=True)
class Say:
    """Send this event to the client."""

    message: Json


Action = Append | Commit | Clear | Update | Say


def parsed(text: str) -> Mapping[str, Any]:
    """An event. Raises `InvalidEvent` for what is none."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidEvent("the message is not JSON", code="invalid_json") from None
    if not isinstance(event, dict):
        raise InvalidEvent("an event is an object with a type", code="invalid_type")
    return event


def id_of(event: Mapping[str, Any]) -> str | None:
    """The name that a client gave its event."""
    event_id = event.get("event_id")
    return event_id[:SHOWN] if isinstance(event_id, str) else None


def audio_of(given: object) -> bytes:
    """What `append` brings. Raises `InvalidEvent` for what is not base64."""
    if not isinstance(given, str):
        raise InvalidEvent("audio is a string in base64", "audio", "invalid_type")
    try:
        return base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidEvent("audio is not base64", "audio") from None
