"""What is asked of the reference packages: which recordings, under which options. Plain data, standard library alone.

Every option is moved both ways where that decides something else, and options that bear on each other are moved
together; the tests count the cases, so that none goes missing unseen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Options = Mapping[str, Any]
Case = tuple[str, Options]
"""A recording's name, and the options that differ from the package's defaults."""

_VAD, _SILERO, _ASR = "vad_example.wav", "silero_test.wav", "asr_example.wav"
_LONG, _MID = "funasr_long.wav", "funasr_mid.wav"
_ZH, _EN, _EVENT = "firered_hello_zh.wav", "firered_hello_en.wav", "firered_event.wav"

_FSMN_AUDIO = (_VAD, _SILERO, _ASR, _LONG, _MID)
_FSMN_OPTIONS: Sequence[Options] = (
    {},
    {"max_end_silence_time": 500},
    {"max_end_silence_time": 300},
    {"max_end_silence_time": 2000},
    {"speech_noise_thres": 0.4},
    {"speech_noise_thres": 0.8},
    {"max_single_segment_time": 5000},
    {"max_single_segment_time": 15000, "max_end_silence_time": 500},
    {"do_extend": 0},
    {"lookback_time_start_point": 100, "lookahead_time_end_point": 50},
    {"sil_to_speech_time_thres": 80, "speech_to_sil_time_thres": 80},
    {"window_size_ms": 300},
    {"decibel_thres": 0.0},
    {"snr_thres": 10.0},
    {"speech_2_noise_ratio": 0.5},
    {"detect_mode": 0},
)
FSMN_STREAMS: Sequence[tuple[str, int]] = tuple((name, ms) for name in (_VAD, _SILERO, _LONG) for ms in (60, 200, 600))
"""A recording's name, and the length of the pieces that it is fed in, ms."""
FSMN_POSTERIOR = _VAD

_FIRERED: Sequence[tuple[Options, Sequence[str]]] = (
    ({}, (_VAD, _SILERO, _ASR, _LONG, _MID, _ZH, _EN, _EVENT)),
    ({"speech_threshold": 0.2}, (_VAD, _EVENT)),
    ({"speech_threshold": 0.6}, (_VAD, _SILERO)),
    ({"speech_threshold": 0.9}, (_VAD, _EVENT)),
    ({"smooth_window_size": 1}, (_VAD, _SILERO)),
    ({"smooth_window_size": 10}, (_VAD, _EVENT)),
    ({"smooth_window_size": 31}, (_SILERO, _LONG)),
    ({"min_speech_frame": 1}, (_VAD, _EVENT)),
    ({"min_speech_frame": 60}, (_VAD, _MID)),
    ({"min_silence_frame": 0}, (_VAD, _SILERO)),
    ({"min_silence_frame": 5}, (_VAD, _ASR)),
    ({"min_silence_frame": 50}, (_VAD, _EVENT)),
    ({"merge_silence_frame": 15}, (_VAD, _EVENT)),
    ({"merge_silence_frame": 40}, (_VAD, _SILERO)),
    ({"extend_speech_frame": 5}, (_VAD, _ZH)),
    ({"extend_speech_frame": 20}, (_VAD, _EVENT)),
    ({"max_speech_frame": 100}, (_VAD, _SILERO, _EVENT)),
    ({"max_speech_frame": 137}, (_VAD, _LONG)),
    ({"max_speech_frame": 250}, (_SILERO, _ASR)),
    ({"max_speech_frame": 500}, (_VAD, _SILERO, _EVENT)),
    ({"max_speech_frame": 30}, (_EN, _ZH)),
    ({"smooth_window_size": 1, "min_speech_frame": 1, "min_silence_frame": 1}, (_VAD, _EVENT)),
    ({"merge_silence_frame": 30, "extend_speech_frame": 10}, (_VAD, _SILERO)),
    ({"merge_silence_frame": 25, "extend_speech_frame": 8, "max_speech_frame": 300}, (_VAD, _SILERO, _EVENT)),
    (
        {
            "speech_threshold": 0.7, "min_speech_frame": 8, "min_silence_frame": 8, "merge_silence_frame": 20,
            "extend_speech_frame": 5, "max_speech_frame": 401,
        },
        (_VAD, _SILERO),
    ),
    (
        {"speech_threshold": 0.5, "smooth_window_size": 3, "min_speech_frame": 10, "min_silence_frame": 10},
        (_VAD, _EVENT),
    ),
)  # fmt: skip
_FIRERED_STREAM: Sequence[tuple[Options, Sequence[str]]] = (
    ({}, (_VAD, _SILERO, _ASR, _LONG, _MID, _ZH, _EN, _EVENT)),
    ({"speech_threshold": 0.3}, (_VAD,)),
    ({"speech_threshold": 0.4}, (_EN, _SILERO)),
    ({"speech_threshold": 0.9}, (_VAD, _EVENT)),
    ({"smooth_window_size": 1, "pad_start_frame": 0}, (_VAD,)),
    ({"smooth_window_size": 12}, (_SILERO,)),
    ({"pad_start_frame": 30}, (_VAD,)),
    ({"min_speech_frame": 1}, (_EVENT,)),
    ({"min_speech_frame": 30}, (_VAD,)),
    ({"min_silence_frame": 1}, (_VAD,)),
    ({"min_silence_frame": 60}, (_VAD, _SILERO)),
    ({"max_speech_frame": 100}, (_VAD, _EVENT)),
    ({"max_speech_frame": 333}, (_SILERO,)),
    ({"max_speech_frame": 50, "min_silence_frame": 5, "pad_start_frame": 10}, (_VAD, _LONG)),
    ({"speech_threshold": 0.7, "min_speech_frame": 15, "min_silence_frame": 10}, (_SILERO,)),
)
_FIRERED_AED: Sequence[tuple[Options, Sequence[str]]] = (
    ({}, (_EVENT, _VAD, _SILERO, _ASR, _ZH, _EN)),
    ({"singing_threshold": 0.3, "music_threshold": 0.3}, (_EVENT, _VAD)),
    ({"speech_threshold": 0.8, "singing_threshold": 0.9, "music_threshold": 0.9}, (_EVENT,)),
    ({"max_event_frame": 200}, (_EVENT, _SILERO)),
    ({"min_event_frame": 0, "min_silence_frame": 0}, (_EVENT,)),
    ({"min_event_frame": 5, "min_silence_frame": 5, "smooth_window_size": 1}, (_EVENT,)),
    ({"merge_silence_frame": 30, "extend_speech_frame": 10}, (_EVENT, _VAD)),
)
FIRERED_POSTERIORS = (_VAD, _EVENT)
FIRERED_STREAM_POSTERIORS = (_VAD,)
FIRERED_AED_POSTERIORS = (_EVENT,)

_SILERO_OPTIONS: Sequence[Options] = (
    {},
    {"threshold": 0.3},
    {"threshold": 0.7},
    {"min_speech_duration_ms": 0, "min_silence_duration_ms": 0, "speech_pad_ms": 0},
    {"min_silence_duration_ms": 500, "speech_pad_ms": 200},
    {"max_speech_duration_s": 2.5},
    {"max_speech_duration_s": 6, "min_silence_duration_ms": 32},
)
SILERO_POSTERIOR = _VAD


def fsmn() -> Iterator[Case]:
    """Whole recordings through FSMN-VAD."""
    return ((audio, options) for options in _FSMN_OPTIONS for audio in _FSMN_AUDIO)


def firered() -> Iterator[Case]:
    """Whole recordings through FireRedVAD."""
    return _each(_FIRERED)


def firered_stream() -> Iterator[Case]:
    """Whole recordings through its Stream-VAD."""
    return _each(_FIRERED_STREAM)


def firered_aed() -> Iterator[Case]:
    """Whole recordings through its AED."""
    return _each(_FIRERED_AED)


def silero() -> Iterator[Case]:
    """Whole recordings through Silero VAD, at 16 kHz."""
    return ((audio, options) for options in _SILERO_OPTIONS for audio in (_VAD, _SILERO, _ASR))


def _each(table: Sequence[tuple[Options, Sequence[str]]]) -> Iterator[Case]:
    return ((audio, options) for options, recordings in table for audio in recordings)
