"""Labels of speech in the forms that people keep them in: each reader gives spans of speech, in seconds.

RTTM, Praat's TextGrid, Audacity's labels, TEN-VAD's `.scv` and a label for each sample in a MATLAB file (as KAIST's VAD
toolkit has them). A span whose label is one of `NOT_SPEECH` is left out; overlapping and touching spans become one.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Span = tuple[float, float]
"""Start and end of speech, s."""

NOT_SPEECH = frozenset(
    {"", "0", "-", "#", "<p:>", "sil", "sp", "silence", "<sil>", "pause", "noise", "music", "non-speech", "nonspeech"}
)
"""Labels that mean no speech, in small letters: those of TextGrids by MFA, WebMAUS and Kaldi, and plain words."""
_RTTM_SPEECH = frozenset({"SPEAKER", "SPEECH", "LEXEME"})
"""Of the types that RTTM knows, those whose spans are spoken."""


class InvalidLabels(ValueError):
    """Labels that cannot be understood; the message says of which file, and why."""


@dataclass(frozen=True)
class Sound:
    """What a reader may need to know of the audio that labels belong to."""

    name: str
    """The file's stem, by which an RTTM of many files tells them apart."""
    samples: int
    sample_rate: int
    """Hz."""


def find_labels(audio: Path) -> Path | None:
    """The labels beside an audio file: of the same stem, else an RTTM that is alone in its folder; None if neither."""
    for suffix in READERS:
        if audio.with_suffix(suffix).is_file():
            return audio.with_suffix(suffix)
    shared = list(audio.parent.glob("*.rttm"))
    return shared[0] if len(shared) == 1 else None


def read_labels(path: Path, sound: Sound) -> list[Span]:
    """The spans of speech, in order, none touching another, none outside the audio. Raises `InvalidLabels`."""
    try:
        spans = READERS[path.suffix](path, sound)
    except (ValueError, KeyError, IndexError, TypeError, OSError, ImportError) as error:
        raise InvalidLabels(f"{path.name}: {error}") from error
    return _joined(spans, sound.samples / sound.sample_rate)


def _joined(spans: Iterable[Span], duration_s: float) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted((max(0.0, start), min(end, duration_s)) for start, end in spans):
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _rttm(path: Path, sound: Sound) -> list[Span]:
    """Fields: type, file, channel, start, duration …; of a file of several recordings, this one's lines."""
    rows = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    mine = [row for row in rows if row[1] == sound.name]
    if not mine and len({row[1] for row in rows}) == 1 and path.stem == sound.name:
        mine = rows  # made elsewhere, under the recording's old name
    return [(float(row[3]), float(row[3]) + float(row[4])) for row in mine if row[0] in _RTTM_SPEECH]


def _text_grid(path: Path, sound: Sound) -> list[Span]:
    """Every interval tier, such as one for each speaker."""
    from praatio import textgrid

    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    tiers = [tier for tier in grid.tiers if isinstance(tier, textgrid.IntervalTier)]
    return [(float(entry.start), float(entry.end)) for tier in tiers for entry in tier if _is_speech(entry.label)]


def _audacity(path: Path, sound: Sound) -> list[Span]:
    """Start, end and label in a line, between tabs; lines of a spectral selection begin with a backslash."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row and row[0] != "\\"]
    # A label without text means that something is there: only a text can say that it is no speech.
    return [(float(row[0]), float(row[1])) for row in rows if len(row) < 3 or not row[2] or _is_speech(row[2])]


def _scv(path: Path, sound: Sound) -> list[Span]:
    """TEN-VAD's: a name, then start, end and 1 or 0 again and again, between commas."""
    fields = path.read_text().strip().split(",")[1:]
    spans = zip(fields[0::3], fields[1::3], fields[2::3], strict=True)
    return [(float(start), float(end)) for start, end, kind in spans if kind.strip() == "1"]


def _mat(path: Path, sound: Sound) -> list[Span]:
    """A MATLAB file with one vector of as many numbers as the audio has samples: speech where it is above 0."""
    from scipy.io import loadmat

    vectors = {
        name: value.ravel()
        for name, value in loadmat(path).items()
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    # A toolkit's framing may have dropped or added up to a tenth of a second at the end.
    fits = [value for value in vectors.values() if abs(value.size - sound.samples) <= sound.sample_rate // 10]
    if len(fits) != 1:
        sizes = {name: value.size for name, value in vectors.items()}
        raise InvalidLabels(f"no single vector of about {sound.samples} samples: {sizes}")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (fits[0] > 0).astype(np.int8), [0])))) / sound.sample_rate
    return list(zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True))


def _is_speech(label: str) -> bool:
    return label.strip().lower() not in NOT_SPEECH


READERS: Mapping[str, Callable[[Path, Sound], Sequence[Span]]] = {
    ".rttm": _rttm,
    ".TextGrid": _text_grid,
    ".scv": _scv,
    ".mat": _mat,
    ".txt": _audacity,
}
"""By the end of the file's name."""
