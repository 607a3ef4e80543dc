"""Labels of speech in the forms that people keep them in. Each reader gives spans of speech, in seconds.

- this service's answers, as the page exports them after correcting: every `format=` that has times and no audio
- Label Studio's JSON and CSV exports of a project: a person's annotations before a model's predictions
- RTTM, Kaldi's `segments` and lhotse's supervisions, of one recording or of many
- Praat's TextGrid, ELAN's EAF, Audacity's labels, SubRip, WebVTT
- tables (CSV, TSV): start and end in s or ms under their headings, and the recording where a column names it
- TEN-VAD's `.scv`, and one number for each sample in a MATLAB file (KAIST's VAD toolkit)

A span whose label is one of `NOT_SPEECH` is left out; overlapping and touching spans become one.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

import numpy as np

from app.audio.containers import SUFFIXES
from app.formats.report import safe_name

Span = tuple[float, float]
"""Start and end of speech, s."""
ByRecording = Mapping[str | None, Sequence[Span]]
"""Spans by the recording's name; under None where a file of labels names none."""

_SOUNDS = frozenset({"sil", "silence", "<sil>", "pause", "noise", "music", "non-speech", "nonspeech", "non_speech"})
NOT_SPEECH = _SOUNDS | {"", "0", "-", "#", "<p:>", "sp"}
"""Labels that mean no speech, in small letters: those of TextGrids by MFA, WebMAUS and Kaldi, and plain words."""
_RTTM_SPEECH = frozenset({"SPEAKER", "SPEECH", "LEXEME"})
"""Of the types that RTTM knows, those whose spans are spoken."""
_BUILT_IN = frozenset({"labels", "labelstudio", "funasr", "clips", "whisperx", "supervisions", "speech"})
"""What stands between a recording's name and the ending in files that this service writes: `talk.labels.txt`."""
_KEPT = 64
"""Files of labels that are remembered as read: one that serves a whole folder is asked for each of its recordings."""


class InvalidLabels(ValueError):
    """Labels that cannot be understood; the message says of which file, and why."""


@dataclass(frozen=True)
class Sound:
    """What a reader may need to know of the audio that labels belong to."""

    name: str
    """The file's stem, by which labels of many recordings tell them apart."""
    samples: int
    sample_rate: int
    """Hz."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def recording_key(name: str) -> str:
    """What two names of one recording have in common: no folder, no audio file's ending, and what exports make of it.

    Label Studio calls an upload `/data/upload/1/1a2b3c4d-talk.wav`, a local file `/data/local-files/?d=talks/talk.wav`.
    """
    parts = urlsplit(name)
    path = parse_qs(parts.query).get("d", [parts.path])[0]
    last = PurePosixPath(unquote(path).replace("\\", "/")).name
    stem, dot, suffix = last.rpartition(".")
    stem = stem if dot and f".{suffix.lower()}" in SUFFIXES else last
    return safe_name(f"{re.sub(r'^[0-9a-f]{8}-', '', stem)}.x")


def keys_of(stem: str) -> list[str]:
    """The keys under which labels may know an audio file: `ES2002a` is what AMI's call `ES2002a.Mix-Headset.wav`."""
    return list(dict.fromkeys([recording_key(f"{stem}.wav"), recording_key(f"{stem.split('.', maxsplit=1)[0]}.wav")]))


def is_labels(path: Path) -> bool:
    """Whether a file's ending is that of a form of labels."""
    return _ending(path) in READERS


def labels_stem(path: Path) -> str:
    """The recording that a file of labels is named after: `talk` of `talk.rttm`, `talk.labels.txt`, `talk.wav.json`."""
    stem = path.name[: -len(path.suffix)]
    name, dot, middle = stem.rpartition(".")
    return name if dot and (middle in _BUILT_IN or f".{middle.lower()}" in SUFFIXES) else stem


def read_labels(path: Path, sound: Sound, *, own: bool = True) -> list[Span]:
    """The spans of speech, in order, none touching another, none outside the audio. Raises `InvalidLabels`.

    `own`: the file is named after this recording, so what it says is about it even where it calls it otherwise.
    """
    try:
        spans = _mat(path, sound) if _ending(path) == ".mat" else _of_sound(read_all(path), sound, own=own)
        return _joined(spans, sound.duration_s)
    except InvalidLabels as error:
        raise InvalidLabels(f"{path.name}: {error}") from None
    except _UNREADABLE as error:
        raise InvalidLabels(f"{path.name}: {error}") from error


def read_all(path: Path) -> ByRecording:
    """What a file says of all its recordings. Raises `InvalidLabels`, and whatever a reader raises."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=_KEPT)
def _read(path: Path, changed_ns: int) -> ByRecording:
    return READERS[_ending(path)](path)


def names_in(path: Path) -> list[str]:
    """Keys of the recordings that a file of labels names; none of one that cannot be read, or names none."""
    if _ending(path) == ".mat":
        return []
    try:
        return [recording_key(name) for name in read_all(path) if name is not None]
    except _UNREADABLE:
        return []


def _of_sound(by_name: ByRecording, sound: Sound, *, own: bool) -> Sequence[Span]:
    named = {name: spans for name, spans in by_name.items() if name is not None}
    for key in keys_of(sound.name):
        mine = [spans for name, spans in named.items() if recording_key(name) == key]
        # FunASR's form has an entry for each channel and label: `talk-ch0`, `talk-music`, `talk-ch0-music`.
        part = re.compile(rf"{re.escape(key)}(?=-)(?:-ch\d+)?(?:-(?P<label>.+))?")
        parts = {name: part.fullmatch(recording_key(name)) for name in named} if own else {}
        mine += [named[name] for name, found in parts.items() if found and _is_speech(found["label"] or "speech")]
        if mine:
            return [span for spans in mine for span in spans]
    if not own:
        return []
    if len(named) > 1:
        raise InvalidLabels(f"it names several recordings, and {sound.name} is not among them")
    return [span for spans in by_name.values() for span in spans]  # made under the recording's old name


def _joined(spans: Iterable[Span], duration_s: float) -> list[Span]:
    given = sorted(spans)
    for start, end in given:
        if not (math.isfinite(start) and math.isfinite(end)) or end < start:
            raise InvalidLabels(f"a span from {start} to {end} s")
    inside = [(max(0.0, start), min(end, duration_s)) for start, end in given]
    whole, left = sum(end - start for start, end in given), sum(max(0.0, end - start) for start, end in inside)
    if whole > 0 and left < whole / 2:
        raise InvalidLabels(
            f"more than half of its speech lies past the end of the audio, at {duration_s:.1f} s: are these its "
            "labels, and are their times in seconds?"
        )
    joined: list[Span] = []
    for start, end in inside:
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _is_speech(label: str, not_speech: frozenset[str] = NOT_SPEECH) -> bool:
    """Whether a span of this label is speech. The service puts a channel after it: `music_ch1`, `music (channel 1)`."""
    plain = re.sub(r"(_ch\d+| \(channel \d+\))$", "", label.strip().lower())
    return plain.strip("[]() ") not in not_speech


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig")


def _grouped(rows: Iterable[tuple[str | None, Span | None]]) -> ByRecording:
    """Spans by recording. None for a span: the recording is known, and nothing is said there."""
    found: dict[str | None, list[Span]] = {}
    for name, span in rows:
        mine = found.setdefault(name, [])
        if span is not None:
            mine.append(span)
    return found


# ---- lines


def _rttm(path: Path) -> ByRecording:
    """Fields: type, file, channel, start, duration …, name."""
    rows = [line.split() for line in _text(path).splitlines() if line.strip() and not line.startswith(";")]

    def span(row: Sequence[str]) -> Span | None:
        if row[0] not in _RTTM_SPEECH or (len(row) > 7 and not _is_speech(row[7], _SOUNDS)):
            return None
        return float(row[3]), float(row[3]) + float(row[4])

    return _grouped((row[1], span(row)) for row in rows)


def _audacity(path: Path) -> ByRecording:
    """Start, end and label in a line, between tabs; lines of a spectral selection begin with a backslash."""
    rows = [row for row in csv.reader(io.StringIO(_text(path)), delimiter="\t", quoting=csv.QUOTE_NONE) if row]
    rows = [[cell.strip() for cell in row] for row in rows if row[0] != "\\"]
    # A label without text means that something is there: only a text can say that it is no speech.
    spoken = [row for row in rows if len(row) < 3 or not row[2] or _is_speech(row[2])]
    # Audacity writes numbers as the country has them.
    return {None: [(float(row[0].replace(",", ".")), float(row[1].replace(",", "."))) for row in spoken]}


def _scv(path: Path) -> ByRecording:
    """TEN-VAD's: a name, then start, end and 1 or 0 again and again, between commas."""
    fields = path.read_text().strip().split(",")[1:]
    spans = zip(fields[0::3], fields[1::3], fields[2::3], strict=True)
    return {None: [(float(start), float(end)) for start, end, kind in spans if kind.strip() == "1"]}


def _kaldi(path: Path) -> ByRecording:
    """Utterance, recording, start and end; a channel is a recording of its own to Kaldi."""
    rows = [line.split() for line in _text(path).splitlines() if line.strip()]
    return _grouped((re.sub(r"-ch\d+$", "", row[1]), (float(row[2]), float(row[3]))) for row in rows)


_CUE = re.compile(r"^\s*(\S+)\s+-->\s+(\S+)")


def _cues(path: Path) -> ByRecording:
    """SubRip and WebVTT: a line of times, then the text up to an empty line."""
    spans: list[Span] = []
    for cue in re.split(r"\n\s*\n", _text(path)):
        lines = cue.strip().splitlines()
        at = next((number for number, line in enumerate(lines) if _CUE.match(line)), None)
        if at is None:
            continue
        start, end = _CUE.match(lines[at]).groups()  # type: ignore[union-attr]  # it has just matched
        text = " ".join(lines[at + 1 :])
        if not text or _is_speech(text):
            spans.append((_clock(start), _clock(end)))
    return {None: spans}


def _clock(text: str) -> float:
    """`00:01:02,345`, `01:02.345`."""
    seconds = 0.0
    for part in text.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


_ROW = re.compile(r"^\|\s*\d+\s*\|(.*)\|\s*$")


def _markdown(path: Path) -> ByRecording:
    """The table of `format=md`: times such as `0.820s`, the label last where there are labels."""
    spans: list[Span] = []
    for line in _text(path).splitlines():
        if (row := _ROW.match(line)) is None:
            continue
        cells = [cell.strip() for cell in row[1].split("|")]
        label = cells[-1] if len(cells) > 3 else ""
        if not label or label.isdigit() or label == "None" or _is_speech(label):
            spans.append((float(cells[0].rstrip("s")), float(cells[1].rstrip("s"))))
    return {None: spans}


# ---- tables

_NAME = ("name", "file", "filename", "file_name", "recording", "recording_id", "audio", "path", "uri")
_START = ("start", "start_s", "begin", "onset", "start_time", "tmin", "xmin", "from")
_END = ("end", "end_s", "stop", "offset", "end_time", "tmax", "xmax", "to")
_LENGTH = ("duration", "duration_s", "dur", "length")
_LABEL = ("label", "labels", "type", "class", "kind")


def _table(path: Path) -> ByRecording:
    """Columns by their headings, in s or (`start_ms`) in ms; without a heading start, end and perhaps a label."""
    text = _text(path)
    delimiter = max("\t;,", key=text.partition("\n")[0].count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    if not rows:
        return {None: []}
    if _is_number(rows[0][0]):
        spoken = [row for row in rows if len(row) < 3 or _is_number(row[2]) or _is_speech(row[2] or "speech")]
        return {None: [(float(row[0]), float(row[1])) for row in spoken]}
    heads = [head.strip().lower() for head in rows[0]]
    entries = [dict(zip(heads, (cell.strip() for cell in row), strict=False)) for row in rows[1:]]
    if not entries:
        return {None: []}
    found = [_entry_rows(entry, path) for entry in entries]
    return _grouped(row for rows in found for row in rows)


def _entry_rows(entry: Mapping[str, Any], path: Path) -> list[tuple[str | None, Span | None]]:
    name = next((str(entry[key]) for key in _NAME if entry.get(key)), None)
    label = next((str(entry[key]) for key in _LABEL if entry.get(key)), "")
    if label.startswith("["):  # Label Studio's CSV: a cell holds all regions
        return [(name, span) for span in [*_regions(json.loads(label)), None]]
    if label and not _is_speech(label):
        return [(name, None)]
    return [(name, _times(entry))]


def _times(entry: Mapping[str, Any]) -> Span:
    """Start and end of a row or an object, whatever they are called."""

    def value(names: Sequence[str]) -> float | None:
        for name in names:
            if entry.get(name) not in (None, ""):
                return float(entry[name])
            if entry.get(f"{name}_ms") not in (None, ""):
                return float(entry[f"{name}_ms"]) / 1000
        return None

    start, end, length = value(_START), value(_END), value(_LENGTH)
    if start is None or (end is None and length is None):
        raise InvalidLabels(f"a row without start and end; it has {', '.join(map(str, entry))}")
    return start, float(start + (length or 0.0) if end is None else end)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- JSON


def _json(path: Path) -> ByRecording:
    return _from_json(json.loads(_text(path)))


def _json_lines(path: Path) -> ByRecording:
    """A JSON object on each line: this service's ndjson, lhotse's supervisions, or one document for each recording."""
    rows = [json.loads(line) for line in _text(path).splitlines() if line.strip()]
    if any(isinstance(row, dict) and row.get("type") == "summary" for row in rows):
        name = next(row.get("name") for row in rows if row.get("type") == "summary")
        return _grouped([(name, None), *((name, _spoken(row)) for row in rows if row.get("type") == "segment")])
    return _from_json(rows)


def _from_json(document: Any) -> ByRecording:
    if isinstance(document, dict):
        return _grouped(_object_rows(document))
    if not isinstance(document, list):
        raise InvalidLabels("no segments in this JSON")
    if all(isinstance(each, int | float) for each in document):  # faster-whisper's clip_timestamps
        return {None: list(zip(document[0::2], document[1::2], strict=True))}
    return _grouped(row for each in document for row in _object_rows(each))


def _object_rows(entry: Any) -> list[tuple[str | None, Span | None]]:
    """What one object says: a document with segments, a task of Label Studio's, or a single span."""
    if not isinstance(entry, dict):
        raise InvalidLabels("no segments in this JSON")
    name = next((str(entry[key]) for key in ("name", "key", *_NAME) if isinstance(entry.get(key), str)), None)
    if isinstance(entry.get("segments"), list) and ("start" not in entry):
        return [(name, None), *((name, _spoken(each)) for each in entry["segments"])]
    if isinstance(entry.get("value"), list):  # FunASR's
        return [(name, None), *((name, (start / 1000, end / 1000)) for start, end in entry["value"])]
    if "annotations" in entry or "predictions" in entry or isinstance(entry.get("label"), list):
        data = entry.get("data", entry)
        name = next((value for value in data.values() if isinstance(value, str) and recording_key(value)), name)
        return [(name, None), *((name, span) for span in _regions(_results(entry)))]
    return [(name, _spoken(entry))]


def _spoken(entry: Mapping[str, Any]) -> Span | None:
    label = next((str(entry[key]) for key in _LABEL if isinstance(entry.get(key), str) and key != "type"), "")
    return None if label and not _is_speech(label) else _times(entry)


def _results(task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Regions of a task: what a person has said goes before what a model has, even where it is that nobody speaks."""
    if isinstance(task.get("label"), list):  # Label Studio's JSON_MIN
        return [dict(each) for each in task["label"]]
    annotations = [each for each in task.get("annotations") or [] if not each.get("was_cancelled")]
    annotations.sort(key=lambda each: not each.get("ground_truth"))
    of_models = sorted(task.get("predictions") or [], key=lambda each: not each.get("result"))
    chosen = [*annotations, *of_models]
    return chosen[0].get("result") or [] if chosen else []


def _regions(results: Iterable[Mapping[str, Any]]) -> list[Span]:
    spans = []
    for region in results:
        value = region.get("value", region)
        if not isinstance(value, Mapping) or "start" not in value or "end" not in value:
            continue  # a relation, a choice for the whole task
        labels = value.get("labels") or value.get("label") or ["speech"]
        if any(_is_speech(str(label)) for label in ([labels] if isinstance(labels, str) else labels)):
            spans.append((float(value["start"]), float(value["end"])))
    return spans


# ---- other programs' files


def _text_grid(path: Path) -> ByRecording:
    """Every interval tier, such as one for each speaker."""
    from praatio import textgrid

    with _told():
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="rename")
    tiers = [tier for tier in grid.tiers if isinstance(tier, textgrid.IntervalTier)]
    entries = [entry for tier in tiers for entry in tier if _is_speech(entry.label)]
    return {None: [(float(entry.start), float(entry.end)) for entry in entries]}


def _eaf(path: Path) -> ByRecording:
    """Every tier of annotations that have times of their own, but that of chunks, which hold silence, too."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - a file of the person who runs this
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    spans: list[Span] = []
    for tier in root.iter("TIER"):
        if (tier.get("TIER_ID") or "").startswith("chunks"):
            continue
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            times = [slots[annotation.get(f"TIME_SLOT_REF{number}")] for number in (1, 2)]
            text = annotation.findtext("ANNOTATION_VALUE") or "speech"
            if None not in times and _is_speech(text):
                spans.append((float(times[0] or 0) / 1000, float(times[1] or 0) / 1000))
    return {None: spans}


def _mat(path: Path, sound: Sound) -> Sequence[Span]:
    """A MATLAB file with one vector of as many numbers as the audio has samples: speech where it is above 0."""
    from scipy.io import loadmat

    with _told():
        variables = loadmat(path)
    vectors = {
        name: value.ravel()
        for name, value in variables.items()
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }
    # A toolkit's framing may have dropped or added up to a tenth of a second at the end.
    fits = [value for value in vectors.values() if abs(value.size - sound.samples) <= sound.sample_rate // 10]
    if len(fits) != 1:
        sizes = {name: value.size for name, value in vectors.items()}
        raise InvalidLabels(f"no single vector of about {sound.samples} samples: {sizes}")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (fits[0] > 0).astype(np.int8), [0])))) / sound.sample_rate
    return list(zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True))


@contextmanager
def _told() -> Iterator[None]:
    """Raise whatever a library finds wrong with a file as `InvalidLabels`: its errors have no base of their own."""
    try:
        yield
    except Exception as error:
        raise InvalidLabels(str(error) or type(error).__name__) from error


def _needs_audio(path: Path) -> ByRecording:
    raise InvalidLabels("it can only be read next to its audio file")


def _ending(path: Path) -> str:
    """As `READERS` has it: Praat's is not always written with capitals."""
    return ".TextGrid" if path.suffix.lower() == ".textgrid" else path.suffix.lower()


_UNREADABLE = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, ImportError, ElementTree.ParseError,
    csv.Error, RecursionError, OverflowError,
)  # fmt: skip
"""What readers raise for files that are something else."""

READERS: Mapping[str, Callable[[Path], ByRecording]] = {
    ".rttm": _rttm,
    ".TextGrid": _text_grid,
    ".eaf": _eaf,
    ".json": _json,
    ".scv": _scv,
    ".mat": _needs_audio,
    ".csv": _table,
    ".tsv": _table,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".segments": _kaldi,
    ".srt": _cues,
    ".vtt": _cues,
    ".md": _markdown,
    ".txt": _audacity,
}
"""By the end of the file's name; of several files for one recording the first is taken."""
