"""A folder of labelled audio: which labels belong to which recording, and the recordings as samples."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from app.accuracy.frames import BoolArray, frames_of
from app.accuracy.labels import (
    READERS,
    Sound,
    Span,
    is_labels,
    keys_of,
    labels_stem,
    names_in,
    read_labels,
    recording_key,
)
from app.audio.containers import SUFFIXES
from app.audio.decode import AudioLimits
from app.audio.ffmpeg import find_ffmpeg
from app.audio.options import AudioInput
from app.audio.source import AudioSource, open_audio

RATE = 16_000
"""Hz, at which noise is mixed."""
FRAME_SAMPLES = RATE // 100
Samples = np.ndarray[Any, np.dtype[np.float32]]
_BLOCK_S, _MOST_S = 60, 12 * 3600
"""Audio that is read in one piece, and the longest that is."""
_TOLD = 3
"""Names in a message that could be about a whole folder."""


class NoLabelledAudio(ValueError):
    """A folder in which no audio has labels."""


@dataclass(frozen=True)
class Recording:
    """An audio file, and the file that says where in it somebody speaks."""

    path: Path
    labels: Path
    own: bool
    """Whether those labels are named after it; else they name it among others."""

    def spans(self, samples: int, sample_rate: int) -> list[Span]:
        """Where somebody speaks, for audio of this length. Raises `InvalidLabels`."""
        return read_labels(self.labels, Sound(self.path.stem, samples, sample_rate), own=self.own)


@dataclass(frozen=True)
class Folder:
    """What a folder holds."""

    recordings: Sequence[Recording]
    unlabelled: Sequence[Path] = field(default_factory=tuple)
    """Audio without labels."""

    @property
    def note(self) -> str:
        """What to say of the audio that is left out; empty where none is."""
        names = [path.name for path in self.unlabelled]
        if not names:
            return ""
        more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
        return f"skipped, because without labels: {', '.join(names[:_TOLD])}{more}"


@dataclass(frozen=True)
class Clip:
    """One audio file, and where in it somebody speaks."""

    path: Path
    samples: Samples
    """The mean of its channels, at `RATE`."""
    spans: Sequence[Span]
    group: str = ""
    """The subfolder that it lies in: a kind of recording, which is judged by itself."""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.stem

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return len(self.samples) / RATE

    @cached_property
    def speech(self) -> BoolArray:
        """Whether each whole frame of 10 ms is labelled as speech."""
        return frames_of(self.spans, len(self.samples) // FRAME_SAMPLES)


def find_recordings(folder: Path) -> Folder:
    """Every audio file under a folder with its labels. Raises `NoLabelledAudio`.

    Labels are looked for beside the audio under its name; then under its name anywhere in the folder (as corpora have
    them that keep audio and labels apart); then in any file of labels that names it among its recordings. Order is by
    path.
    """
    if not folder.is_dir():
        raise NoLabelledAudio(f"there is no folder {folder}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    audio = [path for path in files if path.suffix.lower() in SUFFIXES]
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in filter(is_labels, files):
        by_stem[recording_key(f"{labels_stem(path)}.wav")].append(path)
    taken = {(path.parent, key) for path in audio for key in keys_of(path.stem)}
    stems = {key for _, key in taken}
    shared = [path for stem, paths in by_stem.items() if stem not in stems for path in paths]

    def labels_of(path: Path) -> Recording | None:
        for key in keys_of(path.stem):
            named = by_stem.get(key, [])
            beside = [each for each in named if each.parent == path.parent]
            # What lies beside another audio file of this name is that one's.
            apart = [each for each in named if (each.parent, key) not in taken]
            if beside or apart:
                return Recording(path, min(beside or apart, key=_preference), own=True)
        naming = (each for key in keys_of(path.stem) for each in shared if key in names_in(each))
        found = next(naming, None)
        return None if found is None else Recording(path, found, own=False)

    found = {path: labels_of(path) for path in audio}
    recordings = [each for each in found.values() if each is not None]
    if not recordings:
        raise NoLabelledAudio(
            f"no audio with labels in {folder}: it has {len(audio)} audio files. A file of labels needs the name of "
            f"its audio file ({', '.join(READERS)}), or in a file that names several recordings"
        )
    return Folder(recordings, [path for path, each in found.items() if each is None])


def _preference(path: Path) -> tuple[int, Path]:
    return [ending.lower() for ending in READERS].index(path.suffix.lower()), path


def read_corpus(folder: Path) -> list[Clip]:
    """Every audio file under a folder that has labels, as samples. Raises `NoLabelledAudio`, `InvalidLabels`,
    `AudioError`s."""
    recordings = find_recordings(folder).recordings
    return [replace(read_clip(each), group=group_of(each.path, folder)) for each in recordings]


def group_of(path: Path, folder: Path) -> str:
    """The first subfolder on the way to a file; empty where it lies in the folder itself."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def read_clip(recording: Recording) -> Clip:
    """A recording's samples and spans of speech. Raises as `read_corpus`."""
    with _opened(recording.path) as source:
        samples = np.concatenate([rows[0] for rows in source])
        spans = recording.spans(source.decoder.decoded_frames, source.info.sample_rate)
    return Clip(recording.path, samples, spans)


def length_of(path: Path) -> tuple[int, int]:
    """An audio file's samples and their rate in Hz, counted and not as its header says. Raises `AudioError`s."""
    with _opened(path) as source:
        for _ in source:
            pass
        return source.decoder.decoded_frames, source.info.sample_rate


def read_samples(path: Path) -> Samples:
    """An audio file's mean over its channels at `RATE`. Raises `AudioError`s."""
    with _opened(path) as source:
        return np.concatenate([rows[0] for rows in source])


def _opened(path: Path) -> AudioSource:
    """By the service's own decoders: whatever can be detected can be judged."""
    limits, ffmpeg = AudioLimits(_MOST_S), find_ffmpeg(None)
    return open_audio(
        AudioInput(path), sample_rate=RATE, channel="mix", block_seconds=_BLOCK_S, limits=limits, ffmpeg=ffmpeg
    )
