"""What every segmenter's options have in common. An instance belongs to one stream."""

import math
from typing import Any, ClassVar

from pydantic import Field
from typing_extensions import Self

from app.vad.options import Options

UNIT_MS: dict[str, Any] = {"json_schema_extra": {"unit": "ms"}}
"""Of a field in milliseconds."""


class SegmenterOptions(Options):
    """Base of every mode's options; a field is an option on the wire."""

    mode: ClassVar[str]
    """What `mode=` calls the segmenter."""

    merge_gap_ms: int = Field(
        0,
        ge=0,
        le=60_000,
        description="Joins segments at most this far apart. Does not join across a forced cut or beyond the longest "
        "duration. 0 turns it off.",
        **UNIT_MS,
    )

    pad_start_ms: int | None = Field(
        None,
        ge=-500,
        le=2_000,
        description="Moves every start earlier by this, or later if below 0. Stops at the neighbouring segment. Not "
        "set: the mode's own padding applies.",
        **UNIT_MS,
    )
    pad_end_ms: int | None = Field(
        None,
        ge=-500,
        le=2_000,
        description="Moves every end later by this, or earlier if below 0. Stops at the neighbouring segment. Drops a "
        "segment that becomes empty. Not set: the mode's own padding applies.",
        **UNIT_MS,
    )

    @property
    def limit_ms(self) -> float:
        """Longest segment that these options allow, ms; infinite where there is no limit."""
        return math.inf

    @property
    def sets_padding(self) -> bool:
        """Whether either side is padded otherwise than the mode would."""
        return self.pad_start_ms is not None or self.pad_end_ms is not None

    def unpadded(self) -> tuple[Self, int, int]:
        """These options without the padding of their own that `pad_start_ms` and `pad_end_ms` replace, and how much
        is to be added before and after each segment instead, ms."""
        return self, self.pad_start_ms or 0, self.pad_end_ms or 0

    def frame_speaks(self, probability: float) -> bool | None:
        """Whether a frame of this speech probability, 0-1, is speech by itself, before any smoothing; None: it changes
        nothing. For hints beside segments; a segmenter decides for itself."""
        return probability >= 0.5

    def frame_threshold(self, label: str) -> float:
        """Probability from which on a frame counts as a label's, before any smoothing."""
        return float(getattr(self, "threshold", 0.5))

    @classmethod
    def names(cls) -> list[str]:
        """Every option's name: the mode's own by weight, then what all modes have."""
        shared = SegmenterOptions.model_fields
        return [*(name for name in cls.model_fields if name not in shared), *shared]

    def document(self) -> dict[str, Any]:
        """For answers: the mode and every option in force."""
        values = self.model_dump(mode="json")
        return {"mode": self.mode, **{name: values[name] for name in self.names() if values[name] is not None}}
