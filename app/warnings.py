"""What was odd about the audio or about how it was answered, though it was answered: the one table of codes.

A warning is a fact that the service itself has found, never another program's prose. Whoever finds one makes an
`AnswerWarning`; every door tells them all: JSON answers, the ndjson summary, live `done` and batch rows have
`warnings`, other formats the header `X-VAD-Warnings`, the command line stderr, the page a line on the card.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MEANINGS: Mapping[str, str] = {
    "truncated": "The file ends before its own structure says it does. What is there was decoded.",
    "header_repaired": "A length in the header does not match the file; the header was ignored.",
    "damaged": "Parts of the file cannot be decoded and are missing; times after them may be too early.",
    "joined": "Another file begins after the end of this one and was not read.",
    "other_tracks": "The file has several audio tracks; one was used. `track=` picks another.",
    "late_start": "By the file's own clock the audio starts late, so a player shows later times than these. "
    "`clock=container` gives the player's times.",
    "time_gap": "The file's time stamps have pauses, for example of lost packets, that its samples do not have. "
    "`clock=container` puts silence there.",
    "channels_cancel": "The channels are in opposite phase and cancel each other in their mean. "
    "Use `channel=loudest` or a number.",
    "very_quiet": "The audio is much quieter than what models were trained on; speech may be missed.",
    "clipped": "Many samples stand at full scale: the recording was too loud, and its speech is distorted.",
    "beyond_full_scale": "Samples are far larger than full scale, as where integers are kept as floats without being "
    "divided by 32768. Models hear them as extremely loud.",
    "band_limited": "Nothing above 4 kHz, as from a telephone, for a model that listens up to 8 kHz; one made for "
    "8 kHz may hear it better.",
    "forced_cuts": "Segments end because they reached the longest allowed duration, not because speech ended.",
    "fallback_model": "The request named no model, and another one than the service's default answers.",
    "preset_model": "The preset's model is not available; another one answers with the preset's other options.",
    "degraded": "The device ran out of memory, so the CPU did the work: the same segments, later.",
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
