"""The table of presets: model, mode and options for a purpose, each number with its reason.

The figures were measured on ten labelled clips of conversation, 96 s: clean, with white noise at 5 dB, pink noise
at 0 dB and music at 5 dB, and in a telephone's band with its coding (`python -m benchmarks.accuracy`, docs/chunks.md).
F1 is that of frames; differences under 0.005 are noise. Thresholds are the models' own (docs/accuracy.md), and
are not set here: a preset has to make sense with whatever model answers.

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
    """Of live streams."""
    mode: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the segmenter and of chunks."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why the model, the mode and each option are so."""
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
_PAIR_REASON = "Of all models and sums the best in noise and music, and level with the best in clean speech: mean F1 "
_PAIR_REASON += "0.921 over the four, silero+firered-stream 0.916, fsmn 0.869."
_CAUSAL_REASON = (
    "The one pair that is as good by telephone (F1 0.909; silero+firered 0.869, fsmn 0.878), and it follows "
)
_CAUSAL_REASON += "live streams, with the same result as in files."

PRESETS: Sequence[Preset] = (
    Preset(
        "asr",
        "For a recogniser: nothing that is said is lost, in chunks of 30 s cut at pauses.",
        _CAUSAL_PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_silence_duration_ms": 500, "speech_pad_ms": 200, "max_chunk_s": 30},
        {
            "model": _CAUSAL_REASON
            + " Missed speech: 0.3% clean, 4.7% in pink noise, 2.8% by telephone; silero+firered "
            "0.2, 7.5 and 10.8%.",
            "mode": "Segments end where speech does, so that chunks can be cut at any pause.",
            "min_silence_duration_ms": "Shorter pauses lie within a phrase, which a recogniser should get whole.",
            "speech_pad_ms": "Missed speech in clean clips: 0.9% at 100 ms, 0.3% at 200; 300 adds only silence.",
            "max_chunk_s": "Whisper takes that much at a time, and other recognisers no less.",
        },
    ),
    Preset(
        "subtitles",
        "For subtitles: one short phrase a line.",
        _PAIR,
        _CAUSAL_PAIR,
        "tight",
        {
            "min_speech_duration_ms": 250,
            "min_silence_duration_ms": 300,
            "speech_pad_ms": 100,
            "max_speech_duration_s": 7,
        },
        {
            "model": _PAIR_REASON,
            "mode": "Lines should appear and disappear with the voice.",
            "min_speech_duration_ms": "A single syllable is nothing to read; it costs no F1 (0.948 either way).",
            "min_silence_duration_ms": "Breath between phrases: 31 lines of up to 5.6 s from 96 s; 41 at 100 ms.",
            "speech_pad_ms": "A line that comes a moment early and stays a little longer reads better; missed: 1.2%.",
            "max_speech_duration_s": "The longest that broadcasters' guides keep a subtitle on the screen.",
        },
    ),
    Preset(
        "commands",
        "For spoken commands and turns of a dialogue: the end is told soon, and quiet words are heard.",
        _CAUSAL_PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_silence_duration_ms": 400, "speech_pad_ms": 100, "max_speech_duration_s": 15},
        {
            "model": _CAUSAL_REASON + " It does not look ahead. Missed speech 1.4% clean, where fsmn misses 9.3%.",
            "mode": "An end is known as soon as the silence has lasted long enough, a start after 100 ms of speech.",
            "min_silence_duration_ms": "Ends are reported 0.4 s after the voice: less splits commands at pauses for "
            "thought, and 300 ms is no more accurate (F1 0.900, 0.897 at 400).",
            "speech_pad_ms": "Keeps the first sound of a word; two paddings are shorter than that silence.",
            "max_speech_duration_s": "No command is longer.",
        },
    ),
    Preset(
        "telephone",
        "For telephone calls and other audio of 8 kHz.",
        _CAUSAL_PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_silence_duration_ms": 300, "speech_pad_ms": 100},
        {
            "model": "F1 by telephone 0.909; fsmn+silero 0.902, silero-8k 0.900, silero 0.889, fsmn 0.878, and firered "
            "alone 0.316: it takes the missing upper band for silence.",
            "mode": "Two people take turns quickly: segments have to end where a voice does.",
            "min_silence_duration_ms": "Keeps a phrase together across gaps that the coding makes.",
            "speech_pad_ms": "First and last sounds above 3.4 kHz are cut off by the band: missed 4.2%, 5.2% at 50 ms, "
            "6.1% at 20.",
        },
    ),
    Preset(
        "noisy",
        "For noise and music under the voice.",
        _PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_speech_duration_ms": 100, "min_silence_duration_ms": 100, "speech_pad_ms": 20},
        {
            "model": _PAIR_REASON,
            "mode": "What a looser mode keeps around speech is noise here.",
            "min_speech_duration_ms": "F1 in noise 0.912; at 250 ms, which drops short words too, 0.911.",
            "min_silence_duration_ms": "F1 in noise 0.912; at 200 ms 0.909.",
            "speech_pad_ms": "F1 in noise 0.912; at 40 ms 0.911, at 100 with the pauses of subtitles 0.897.",
        },
    ),
    Preset(
        "labelling",
        "For annotating: edges where a person would set them.",
        _PAIR,
        _CAUSAL_PAIR,
        "tight",
        {"min_speech_duration_ms": 100, "min_silence_duration_ms": 100, "speech_pad_ms": 0},
        {
            "model": _PAIR_REASON,
            "mode": "It stays closest to what is spoken.",
            "min_speech_duration_ms": "Even the shortest syllables are longer.",
            "min_silence_duration_ms": "F1 clean 0.951 (no padding); 50 ms gain 0.001, 200 lose 0.001.",
            "speech_pad_ms": "F1 clean 0.951 without, 0.948 at 20 ms, 0.943 at 40.",
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
    return InvalidOption("name", "there is one of this name already; choose another") if name in taken else None


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
