"""Detection options of one request, under FunASR's and Silero's own names.

`VadOptions` is the single place that knows an option's name, default, unit, range and meaning: the HTTP parameters, the
command line and the documentation are derived from it. An instance is frozen and belongs to one stream.

Precedence, lowest first: the defaults here, the checkpoint's `config.yaml`, the server's defaults, the request.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, model_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption

FRAME_MS = 10
"""Distance of two frames: the grid of every posterior, segment and event."""


class VadOptions(BaseModel):
    """Every option that shapes the segments. Raises `InvalidOption` through `VadOptions.parse`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    mode: Literal["endpoint", "tight"] = Field(
        "endpoint",
        description="`endpoint`: FSMN-VAD's end-point machine, made to feed speech recognition, so it keeps the pauses "
        "inside an utterance. `tight`: hysteresis on the same posteriors, close around what is spoken.",
    )

    # The end-point machine (mode=endpoint), FunASR's names.
    max_end_silence_time: int = Field(
        800, ge=200, le=10_000, description="ms. Silence that ends a segment. Lower cuts earlier and more often."
    )
    speech_noise_thres: float = Field(
        0.6,
        ge=-1,
        le=1,
        description="How far the speech posterior must exceed the silence posterior for a frame to count as speech. "
        "Higher is stricter.",
    )
    max_single_segment_time: int = Field(
        60_000, ge=1_000, le=3_600_000, description="ms. Longer segments are cut (`forced_end` is true)."
    )
    window_size_ms: int = Field(200, ge=50, le=1_000, description="ms. Smoothing window over the frame decisions.")
    sil_to_speech_time_thres: int = Field(
        150, ge=0, le=1_000, description="ms, at most `window_size_ms`. Speech in the window that opens a segment."
    )
    speech_to_sil_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="ms, at most `window_size_ms` and below `max_end_silence_time`. Speech in the window at or below "
        "which the window counts as silence.",
    )
    lookback_time_start_point: int = Field(
        200, ge=0, le=2_000, description="ms. A segment's start is moved back by this (with `do_extend`)."
    )
    lookahead_time_end_point: int = Field(
        100, ge=0, le=2_000, description="ms. Kept after a segment's end (with `do_extend`)."
    )
    do_extend: bool = Field(
        True, description="Whether `lookback_time_start_point` and `lookahead_time_end_point` apply."
    )
    detect_mode: int = Field(1, ge=0, le=1, description="1: every utterance. 0: stop after the first one.")
    max_start_silence_time: int = Field(
        3_000, ge=0, le=3_600_000, description="ms. With `detect_mode=0`: give up after this much leading silence."
    )
    decibel_thres: float = Field(
        -100.0, ge=-200, le=200, description="dB of a frame's energy. Quieter frames are always silence."
    )
    snr_thres: float = Field(
        -100.0, ge=-200, le=200, description="dB a frame must stand above the running noise level to be speech."
    )
    noise_frame_num_used_for_snr: int = Field(
        100, ge=1, le=100_000, description="Frames. Memory of the running noise level."
    )
    speech_2_noise_ratio: float = Field(
        1.0, gt=0, le=100, description="Exponent on the silence posterior. Above 1 favours speech."
    )

    # Hysteresis (mode=tight), Silero's names.
    threshold: float = Field(0.7, gt=0, le=1, description="Tight mode: speech begins at this speech probability.")
    neg_threshold: float = Field(
        0.5, ge=0, le=1, description="Tight mode, at most `threshold`: speech goes on until below this probability."
    )
    min_speech_duration_ms: int = Field(100, ge=0, le=60_000, description="ms. Tight mode: shorter speech is dropped.")
    min_silence_duration_ms: int = Field(
        100, ge=0, le=60_000, description="ms. Tight mode: shorter silence does not end a segment."
    )
    speech_pad_ms: int = Field(
        20, ge=0, le=2_000, description="ms. Tight mode: added at both sides, never into a neighbour."
    )
    max_speech_duration_s: float = Field(
        math.inf,
        ge=1,
        description="s (`inf`: no limit). Tight mode: longer segments are cut at the least speech-like frame near it.",
    )

    @field_serializer("max_speech_duration_s", when_used="json")
    def _inf_as_text(self, value: float) -> float | str:
        return "inf" if math.isinf(value) else value

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        for name in ("sil_to_speech_time_thres", "speech_to_sil_time_thres"):
            if getattr(self, name) > self.window_size_ms:
                raise InvalidOption(name, f"must be at most window_size_ms ({self.window_size_ms})")
        if self.speech_to_sil_time_thres >= self.max_end_silence_time:
            raise InvalidOption(
                "speech_to_sil_time_thres", f"must be below max_end_silence_time ({self.max_end_silence_time})"
            )
        if self.neg_threshold > self.threshold:
            raise InvalidOption("neg_threshold", f"must be at most threshold ({self.threshold:g})")
        return self

    @classmethod
    def parse(cls, *layers: Mapping[str, Any]) -> Self:
        """Options from layers of raw values (strings allowed), the later ones winning.

        Raises `InvalidOption` naming the first option that is unknown, of the wrong type, out of range, or in
        contradiction with another.
        """
        merged = {name: value for layer in layers for name, value in layer.items()}
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise _first_problem(error, cls.names()) from None

    @classmethod
    def names(cls) -> Iterable[str]:
        """Every option's name."""
        return cls.model_fields.keys()


def _first_problem(error: ValidationError, known: Iterable[str]) -> InvalidOption:
    problem = error.errors(include_url=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else "options"
    if problem["type"] == "extra_forbidden":
        return InvalidOption(name[:64], f"there is no such option; there are: {', '.join(known)}")
    reason = problem["msg"]
    return InvalidOption(name, reason[:1].lower() + reason[1:])
