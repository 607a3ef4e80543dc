"""A client of the FSMN-VAD service: files over HTTP, live streams over a WebSocket.

    from fsmn_vad_client import Client

    with Client("http://localhost:8000", key=None) as client:
        detection = client.detect("talk.mp3", model="silero", max_chunk_s=30)
        for segment in detection.segments:
            print(segment.start_ms, segment.end_ms, segment.speech_probability)

        subtitles = client.detect_bytes("talk.mp3", "srt").content

        with client.open_answer("talk.mp3", "wav", silence="zero") as answer, open("speech.wav", "wb") as file:
            file.writelines(answer)

- Sources are paths, bytes or open files; files are sent in pieces, never read whole.
- Options are those of the service (docs/options.md, `client.options()`), by their names.
- Answers are typed (`Detection`, `Segment`, ...), with the names of the JSON members; unknown members are kept.
- `ServiceError` has the service's `code`, `status`, `detail`, `option`, `request_id` and `retry_after`;
  `InvalidOption`, `AudioRefused`, `Unauthorized` and `Unavailable` are the ones that programs tell apart.
  `ConnectionFailed`: there was no whole answer. `retries=2` tries again when the service is full.
- `AsyncClient` is the same for asyncio.

It needs httpx, pydantic and, for streams, websockets.
"""

from fsmn_vad_client.answers import (
    Accuracy,
    AnswerWarning,
    Audio,
    AudioRefused,
    Channel,
    Chunk,
    ClientError,
    ConnectionFailed,
    Detection,
    Done,
    Event,
    Flushed,
    Form,
    Health,
    Input,
    InvalidOption,
    ListedModel,
    Mode,
    Model,
    ModelOptions,
    Options,
    OptionsInForce,
    Pong,
    Preset,
    Probabilities,
    ProbabilityEvent,
    Ready,
    Rejected,
    Reset,
    Segment,
    SegmentTimes,
    ServiceError,
    SpeechConfirmed,
    SpeechEnd,
    SpeechMaybeEnd,
    SpeechStart,
    TimeGap,
    Timing,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Utterance,
)
from fsmn_vad_client.client import Answer, AsyncClient, AsyncOpenAnswer, Client, OpenAnswer, Source

__all__ = [
    "Accuracy", "Answer", "AnswerWarning", "AsyncClient", "AsyncOpenAnswer", "Audio", "AudioRefused", "Channel",
    "Chunk", "Client", "ClientError", "ConnectionFailed", "Detection", "Done", "Event", "Flushed", "Form", "Health",
    "Input", "InvalidOption", "ListedModel", "Mode", "Model", "ModelOptions", "OpenAnswer", "Options",
    "OptionsInForce", "Pong", "Preset", "Probabilities", "ProbabilityEvent", "Ready", "Rejected", "Reset", "Segment",
    "SegmentTimes", "ServiceError", "Source", "SpeechConfirmed", "SpeechEnd", "SpeechMaybeEnd", "SpeechStart",
    "TimeGap", "Timing", "Unauthorized", "Unavailable", "UnexpectedAnswer", "Utterance",
]  # fmt: skip
