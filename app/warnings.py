"""What was unusual about audio that was answered: the one table of codes.

A warning is a fact that the service itself has found, never the text of another program. Code that finds one makes an
`AnswerWarning`. Every door tells all of them: JSON answers, the ndjson summary, live `done` and batch rows in
`warnings`, other formats in the header `X-VAD-Warnings`, the command line on stderr, the page in a line on the card.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MEANINGS: Mapping[str, str] = {
    "truncated": "The file ends earlier than its own structure says. The part that exists was decoded.",
    "header_repaired": "A length in the header does not match the file; the header was ignored.",
    "damaged": "Parts of the file cannot be decoded and are missing. Times after them may be too early.",
    "joined": "Another file begins after the end of this one and was not read.",
    "other_tracks": "The file has several audio tracks; one was used. `track=` selects another.",
    "late_start": "The file's own clock starts the audio late, so a player shows later times than this answer. "
    "`clock=container` gives the player's times.",
    "time_gap": "The file's time stamps have gaps that its samples do not have, for example from lost packets. "
    "`clock=container` fills them with silence.",
    "channels_cancel": "The channels are in opposite phase and cancel each other in their mean. "
    "Use `channel=loudest` or the number of a channel.",
    "very_quiet": "The audio is much quieter than the audio that models were trained on. Speech may be missed.",
    "clipped": "Many samples are at full scale: the recording was too loud, and its speech is distorted.",
    "beyond_full_scale": "Samples are far larger than full scale, for example integers stored as floats without "
    "division by 32768. Models hear them as extremely loud.",
    "band_limited": "There is nothing above 4 kHz, as on the telephone, but the model listens up to 8 kHz. A model "
    "made for 8 kHz may work better.",
    "forced_cuts": "Some segments end because they reached the longest allowed duration, not because speech ended.",
    "fallback_model": "The request named no model. The service's default model is not available, so another one "
    "answered.",
    "preset_model": "The preset's model is not available. Another model answered, with the preset's other options.",
    "degraded": "The device ran out of memory, so the CPU did the work. The segments are the same; the answer came "
    "later.",
}
"""Codes, for programs, and what they mean; a code stays what it is."""


@dataclass(frozen=True, slots=True)
class AnswerWarning:
    """One unusual thing."""

    code: str
    """Of `MEANINGS`, or one that only a newer server knows."""
    detail: str
    """What was found, with figures, in English."""


def codes_of(warnings: Iterable[AnswerWarning]) -> list[str]:
    """Each code once, in order."""
    return list(dict.fromkeys(warning.code for warning in warnings))
