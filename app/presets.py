"""The table of presets: model, mode and options for a purpose, each number with its reason.

The figures were measured on 15 labelled clips, ten of conversation and five of meetings: clean, with white noise at
5 dB, pink noise at 0 dB and music at 5 dB, and in a telephone's band with its coding (`python -m benchmarks.accuracy`,
docs/chunks.md). F1 is that of frames; differences under 0.005 are noise. Thresholds are the models' own
(docs/accuracy.md) but where a purpose needs others; they hold for the preset's own models alone.

What a request sets itself wins over its preset. A preset's options apply where the mode in force has them, its chunks
where there are chunks. Its model is taken where it can be had without a download; else the default model answers, and
the answer says so.

`VAD_PRESETS` names a file with more of them, such as `fsmn-vad tune` writes: `{"presets": [{"name": …, "model": …,
"mode": …, "options": {…}}]}`.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.vad.errors import InvalidOption
from app.vad.models.fusion import DEFAULT_MODE, are_the_same
from app.vad.segmenters.registry import MODE, Segmenters

PRESET, PRESETS_FILE = "preset", "VAD_PRESETS"
NONE = "none"
"""Turns the service's own preset off."""
OF_A_MODEL = frozenset({"threshold", "neg_threshold", "speech_noise_thres", "speech_threshold", "onset", "offset"})
"""Options that mean something else with another model, whose probabilities are spread otherwise."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of settings."""

    name: str
    title: str
    """What it is for."""
    model: str
    live_model: str
    """For live streams."""
    mode: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the segmenter and of chunks."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """The reasons for the model, the mode and each option."""
    live_options: Mapping[str, Any] | None = None
    """Of live streams, where they are others."""

    def values(self, model: str | None = None, *, live: bool = False) -> dict[str, Any]:
        """As a layer of options. `model`: the one that answers; another one than the preset's own has its own
        thresholds."""
        own, options = self.model, self.options
        if live:
            own, options = self.live_model, self.options if self.live_options is None else self.live_options
        if model is not None and not are_the_same(model, own):
            options = {name: value for name, value in options.items() if name not in OF_A_MODEL}
        return {MODE: self.mode, **options}


_PAIR, _CAUSAL_PAIR = "silero+firered", "silero+firered-stream"
BEST_LIVE = _CAUSAL_PAIR
"""The most accurate of all that follow live streams (docs/accuracy.md)."""
_PAIR_REASON = "Mean F1 0.902 over conversation and meetings, clean, in noise, over music and by telephone; "
_PAIR_REASON += "silero+firered-stream 0.900, fsmn 0.824. silero+firered+2*pyannote: 0.912, at several times the cost."
_CAUSAL_REASON = "Level with silero+firered (mean F1 0.900 and 0.902), and it follows live streams, with the same "
_CAUSAL_REASON += "result as in files."

PRESETS: Sequence[Preset] = (
    Preset(
        "asr",
        "For speech recognition: loses no speech, and packs it into chunks of up to 30 s, cut at pauses.",
        _CAUSAL_PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_silence_duration_ms": 500, "speech_pad_ms": 200, "max_chunk_s": 30},
        {
            "model": _CAUSAL_REASON + " Missed speech: 1.3% clean, 5.2% in pink noise, 1.6% by telephone; "
            "silero+firered 1.7, 6.2 and 6.9%.",
            "mode": "Segments end where speech does, so that chunks can be cut at any pause.",
            "min_silence_duration_ms": "Shorter pauses lie within a phrase, which a recogniser should get whole.",
            "speech_pad_ms": "Missed speech in clean clips: 2.0% at 100 ms, 1.3% at 200.",
            "max_chunk_s": "Whisper takes that much at a time, and other recognisers no less.",
        },
    ),
    Preset(
        "subtitles",
        "For subtitles: one short phrase per line.",
        _PAIR,
        _CAUSAL_PAIR,
        "tight",
        {
            "threshold": 0.2,
            "neg_threshold": 0.15,
            "min_speech_duration_ms": 250,
            "min_silence_duration_ms": 300,
            "speech_pad_ms": 100,
            "max_speech_duration_s": 7,
        },
        {
            "model": _PAIR_REASON,
            "mode": "Lines should appear and disappear with the voice.",
            "threshold": "Lines end at pauses: of the silence in conversation 67% stays in a line, at the models' own "
            "pair over 80%, for F1 0.900 where the best is 0.905.",
            "neg_threshold": "As for threshold.",
            "min_speech_duration_ms": "A single syllable is nothing to read.",
            "min_silence_duration_ms": "Breath between phrases.",
            "speech_pad_ms": "A line that comes a moment early and stays a little longer reads better.",
            "max_speech_duration_s": "The longest that broadcasters' guides keep a subtitle on the screen.",
        },
    ),
    Preset(
        "commands",
        "For voice commands and dialogue: reports the end of speech soon, and hears quiet words.",
        _CAUSAL_PAIR,
        _CAUSAL_PAIR,
        "tight",
        {
            "threshold": 0.35,
            "neg_threshold": 0.3,
            "min_silence_duration_ms": 400,
            "speech_pad_ms": 100,
            "max_speech_duration_s": 15,
        },
        {
            "model": _CAUSAL_REASON + " It does not look ahead.",
            "mode": "An end is known as soon as the silence has lasted long enough, a start after 100 ms of speech.",
            "threshold": "Whoever commands is near, so ends count more than far voices: F1 in conversation 0.897, "
            "missed 4.0%; at the model's own 0.10 0.874, with nine tenths of all pauses taken for speech.",
            "neg_threshold": "As for threshold.",
            "min_silence_duration_ms": "Ends are reported 0.4 s after the voice: less splits commands at pauses for "
            "thought.",
            "speech_pad_ms": "Keeps the first sound of a word; two paddings are shorter than that silence.",
            "max_speech_duration_s": "No command is longer.",
        },
    ),
    Preset(
        "telephone",
        "For telephone calls and other 8 kHz audio.",
        _CAUSAL_PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"threshold": 0.15, "neg_threshold": 0.1, "min_silence_duration_ms": 300, "speech_pad_ms": 100},
        {
            "model": _CAUSAL_REASON + " firered alone takes the missing upper band for silence.",
            "mode": "Two people take turns quickly: segments have to end where a voice does.",
            "threshold": "Fitted to telephone audio: F1 0.899; 0.891 at the model's own, 0.890 at 0.35.",
            "neg_threshold": "As for threshold.",
            "min_silence_duration_ms": "Keeps a phrase together across gaps that the coding makes.",
            "speech_pad_ms": "First and last sounds above 3.4 kHz are cut off by the band.",
        },
    ),
    Preset(
        "noisy",
        "For speech over noise or music.",
        _PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_speech_duration_ms": 100, "min_silence_duration_ms": 100, "speech_pad_ms": 20},
        {
            "model": _PAIR_REASON,
            "mode": "What a looser mode keeps around speech is noise here.",
            "min_speech_duration_ms": "F1 in noise 0.902; at 250 ms, which drops short words too, 0.903.",
            "min_silence_duration_ms": "F1 in noise 0.902; at 200 ms the same, with more noise kept.",
            "speech_pad_ms": "F1 in noise 0.902; the same at 40 ms.",
        },
    ),
    Preset(
        "labelling",
        "For annotation: segment boundaries where a person would place them.",
        _PAIR,
        _CAUSAL_PAIR,
        "tight",
        {
            "threshold": 0.4,
            "neg_threshold": 0.4,
            "min_speech_duration_ms": 100,
            "min_silence_duration_ms": 100,
            "speech_pad_ms": 0,
        },
        {
            "model": _PAIR_REASON,
            "mode": "It stays closest to what is spoken.",
            "threshold": "Fitted to edges: their mean distance from the labels' is 277 ms (one without a partner "
            "counts as 500), 380 at the model's own pair. Meetings: take that pair, this one misses 24%.",
            "neg_threshold": "As for threshold: a word ends where its probability begins to fall.",
            "min_speech_duration_ms": "Even the shortest syllables are longer.",
            "min_silence_duration_ms": "Shorter pauses lie within words.",
            "speech_pad_ms": "A label begins and ends where the voice does.",
        },
    ),
)


class Presets:
    """Those of a service, by name."""

    def __init__(self, presets: Sequence[Preset] = PRESETS) -> None:
        self._presets = {preset.name: preset for preset in presets}

    def __iter__(self) -> Iterator[Preset]:
        return iter(self._presets.values())

    @property
    def names(self) -> list[str]:
        """In the order in which they are listed."""
        return list(self._presets)

    def of(self, name: str | None) -> Preset | None:
        """The preset of this name; None for no name, and for `none`. Raises `InvalidOption`."""
        if name in (None, "", NONE):
            return None
        if name not in self._presets:
            names = ", ".join(self._presets)
            raise InvalidOption(PRESET, f"there is no such preset; there are: {names}, {NONE}")
        return self._presets[name]

    def default_layer(
        self,
        asked: str | None,
        of_service: Preset | None,
        server_options: Mapping[str, Any],
        *,
        model: str | None = None,
        live: bool = False,
    ) -> Mapping[str, Any]:
        """What lies between a request's options and the model's own. `asked`: the preset that the request names;
        `model`, `live`: as for `Preset.values`.

        The options that a service sets win over the preset that it sets, and a request's preset over both. Raises
        `InvalidOption` for an unknown preset.
        """
        preset = of_service if asked is None else self.of(asked)
        values = {} if preset is None else preset.values(model, live=live)
        return {**values, **server_options} if asked is None else {**server_options, **values}


# ---- presets of one's own


class GivenPreset(BaseModel):
    """An entry of a file of presets."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    title: str = Field("", max_length=500)
    model: str = Field(min_length=1, max_length=1_000)
    live_model: str | None = Field(None, min_length=1, max_length=1_000)
    mode: str = DEFAULT_MODE
    options: dict[str, Any] = Field(default_factory=dict)
    live_options: dict[str, Any] | None = None
    reasons: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, preset: Preset) -> "GivenPreset":
        """The entry that stands for a preset."""
        return cls(**{name: getattr(preset, name) for name in cls.model_fields})

    def preset(self) -> Preset:
        """What requests name."""
        return Preset(**{**dict(self), "live_model": self.live_model or self.model})


class GivenPresets(BaseModel):
    """A file of presets."""

    model_config = ConfigDict(extra="forbid", strict=True)

    presets: list[GivenPreset]


def read_presets(path: Path, segmenters: Segmenters) -> list[Preset]:
    """The presets of a file. Raises `InvalidOption`, which names the entry and the field that is wrong.

    Whether their models are here is seen when they are asked for, as with the presets of the service.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = GivenPresets.model_validate(document).presets
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise _invalid(path, f"{_place(problem['loc'], document)}: {_lower(problem['msg'])}") from None
    except ValueError as error:
        raise _invalid(path, f"this is not JSON: {error}") from None
    taken = {NONE, *(preset.name for preset in PRESETS)}
    for number, entry in enumerate(entries):
        refusal = _name_refusal(entry.name, taken) or _refusal(entry, segmenters)
        if refusal is not None:
            raise _invalid(path, f"{_place(('presets', number, refusal.option), document)}: {refusal.reason}")
        taken.add(entry.name)
    return [entry.preset() for entry in entries]


def _name_refusal(name: str, taken: Collection[str]) -> InvalidOption | None:
    return InvalidOption("name", "this name is taken; choose another") if name in taken else None


def _refusal(entry: GivenPreset, segmenters: Segmenters) -> InvalidOption | None:
    """What is wrong with its mode or its options, under the path of the field."""
    try:
        mode = segmenters.kind(entry.mode).mode
    except InvalidOption as error:
        return error
    for part, options, live in (("options", entry.options, False), ("live_options", entry.live_options, True)):
        try:
            segmenters.check_given(options or {}, default_mode=mode, server_defaults={}, live=live)
        except InvalidOption as error:  # noqa: PERF203 - two rounds
            return InvalidOption(f"{part}.{error.option}", error.reason)
    return None


def write_presets(path: Path, presets: Sequence[Preset]) -> None:
    """Write a file that `VAD_PRESETS` can name; the same presets give the same bytes."""
    entries = GivenPresets(presets=[GivenPreset.of(preset) for preset in presets])
    text = json.dumps(entries.model_dump(exclude_none=True), indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _invalid(path: Path, reason: str) -> InvalidOption:
    return InvalidOption(PRESETS_FILE, f"{path}: {reason}")


def _place(loc: Sequence[str | int], document: Any) -> str:
    """`preset 2 (calls), options.threshold`."""
    if len(loc) < 2 or not isinstance(loc[1], int):
        return ".".join(str(part) for part in loc) or "the whole"
    entry = document["presets"][loc[1]]
    name = entry.get("name") if isinstance(entry, dict) else None
    told = f"preset {loc[1] + 1}" + (f" ({name})" if isinstance(name, str) else "")
    fields = ".".join(str(part) for part in loc[2:])
    return f"{told}, {fields}" if fields else told


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
