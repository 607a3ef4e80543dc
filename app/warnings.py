"""What was odd about the audio or about how it was answered, though it was answered: the one table of codes.

A warning is a fact that the service itself has found, never another program's prose. Whoever finds one makes an
`AnswerWarning`; every door tells them all: JSON answers, the ndjson summary, live `done` and batch rows have
`warnings`, other formats the header `X-VAD-Warnings`, the command line stderr, the page a line on the card.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MEANINGS: Mapping[str, str] = {
    "truncated": "The file ends before its own structure says it does. What is there was decoded.",
    "header_repaired": "A length in the header is not what the file holds; it was read as the file is.",
    "damaged": "Parts of the file cannot be decoded, and what was heard lacks them; times behind them may be early.",
    "joined": "Behind the file's end another file begins that was not heard.",
    "other_tracks": "The file has several sound tracks, and one was heard. `track=` picks another.",
    "late_start": "By the file's own clock its sound begins late, so that a player's times are later than these. "
    "`clock=container` answers in the player's.",
    "time_gap": "The file's time stamps have pauses, as where packets were lost, that its samples have not. "
    "`clock=container` has silence there.",
    "channels_cancel": "The channels are in opposite phase, and their mean holds next to nothing of them. "
    "`channel=loudest`, or a number, hears them.",
    "very_quiet": "Nothing in the audio comes near the loudness at which models were trained; speech may be missed.",
    "clipped": "Many samples stand at full scale: the recording was too loud, and its speech is distorted.",
    "beyond_full_scale": "Samples are far larger than full scale, as where integers are kept as floats without being "
    "divided by 32768. Models hear them as extremely loud.",
    "band_limited": "Nothing above 4 kHz, as from a telephone, for a model that listens up to 8 kHz; one made for "
    "8 kHz may hear it better.",
    "forced_cuts": "Segments end because they reached the longest allowed duration, not because speech ended.",
    "fallback_model": "No model was asked for, and another one answers than the service is set to.",
    "preset_model": "The preset's model is not here, and another one answers with the rest of the preset.",
    "degraded": "The device ran out of memory and the CPU stood in for it: the same segments, later.",
}
"""Codes, for programs, and what they mean; a code stays what it is."""


@dataclass(frozen=True, slots=True)
class AnswerWarning:
    """One thing that was odd."""

    code: str
    """Of `MEANINGS`, or one that only a newer server knows."""
    detail: str
    """What was found, with figures, in English."""


def codes_of(warnings: Iterable[AnswerWarning]) -> list[str]:
    """Each code once, in order."""
    return list(dict.fromkeys(warning.code for warning in warnings))
