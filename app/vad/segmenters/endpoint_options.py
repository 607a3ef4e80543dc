"""Options of the end-point machine, under FunASR's names."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from app.vad.errors import InvalidOption
from app.vad.segmenters.options import SegmenterOptions


class EndpointOptions(SegmenterOptions):
    """Options of `mode=endpoint`, under FunASR's names."""

    mode: ClassVar[str] = "endpoint"

    max_end_silence_time: int = Field(
        800,
        ge=200,
        le=10_000,
        description="Silence that ends a segment. Lower cuts earlier and more often.",
        json_schema_extra={"unit": "ms"},
    )
    speech_noise_thres: float = Field(
        0.6,
        ge=-1,
        le=1,
        description="How far the speech posterior must exceed the silence posterior for a frame to count as speech. "
        "Higher is stricter.",
    )
    max_single_segment_time: int = Field(
        60_000,
        ge=1_000,
        le=3_600_000,
        description="Longer segments are cut (`forced_end` is true).",
        json_schema_extra={"unit": "ms"},
    )
    split: Literal["hard", "pause"] = Field(
        "hard",
        description="Where a segment that gets too long is cut. `hard`: right there, as FunASR does. `pause`: at its "
        "least speech-like frame of the last `split_window_ms`.",
    )
    split_window_ms: int = Field(
        2_000,
        ge=10,
        le=60_000,
        description="How far before the limit `split=pause` looks for a place to cut; at most half the limit is used.",
        json_schema_extra={"unit": "ms"},
    )
    window_size_ms: int = Field(
        200, ge=50, le=1_000, description="Smoothing window over the frame decisions.", json_schema_extra={"unit": "ms"}
    )
    sil_to_speech_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="Speech in the window that opens a segment; at most `window_size_ms`.",
        json_schema_extra={"unit": "ms"},
    )
    speech_to_sil_time_thres: int = Field(
        150,
        ge=0,
        le=1_000,
        description="Speech in the window at or below which the window counts as silence; at most `window_size_ms`, "
        "and below `max_end_silence_time`.",
        json_schema_extra={"unit": "ms"},
    )
    lookback_time_start_point: int = Field(
        200,
        ge=0,
        le=2_000,
        description="A segment's start is moved back by this (with `do_extend`).",
        json_schema_extra={"unit": "ms"},
    )
    lookahead_time_end_point: int = Field(
        100,
        ge=0,
        le=2_000,
        description="Kept after a segment's end (with `do_extend`).",
        json_schema_extra={"unit": "ms"},
    )
    do_extend: bool = Field(
        True, description="Whether `lookback_time_start_point` and `lookahead_time_end_point` apply."
    )
    detect_mode: int = Field(1, ge=0, le=1, description="1: every utterance. 0: stop after the first one.")
    max_start_silence_time: int = Field(
        3_000,
        ge=0,
        le=3_600_000,
        description="With `detect_mode=0`: give up after this much leading silence.",
        json_schema_extra={"unit": "ms"},
    )
    decibel_thres: float = Field(
        -100.0,
        ge=-200,
        le=200,
        description="Energy of a frame. Quieter ones are always silence.",
        json_schema_extra={"unit": "dB"},
    )
    snr_thres: float = Field(
        -100.0,
        ge=-200,
        le=200,
        description="How far a frame must stand above the running noise level to be speech.",
        json_schema_extra={"unit": "dB"},
    )
    noise_frame_num_used_for_snr: int = Field(
        100, ge=1, le=100_000, description="Memory of the running noise level.", json_schema_extra={"unit": "frames"}
    )
    speech_2_noise_ratio: float = Field(
        1.0, gt=0, le=100, description="Exponent on the silence posterior. Above 1 favours speech."
    )

    @property
    def limit_ms(self) -> float:
        """Longest segment, ms: `max_single_segment_time`."""
        return self.max_single_segment_time

    def frame_speaks(self, probability: float) -> bool | None:
        """As `SegmenterOptions`; levels are left out."""
        return bool(probability >= (1 - probability) ** self.speech_2_noise_ratio + self.speech_noise_thres)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        for name in ("sil_to_speech_time_thres", "speech_to_sil_time_thres"):
            if getattr(self, name) > self.window_size_ms:
                raise InvalidOption(name, f"must be at most window_size_ms ({self.window_size_ms})")
        if self.speech_to_sil_time_thres >= self.max_end_silence_time:
            raise InvalidOption(
                "speech_to_sil_time_thres", f"must be below max_end_silence_time ({self.max_end_silence_time})"
            )
        return self
