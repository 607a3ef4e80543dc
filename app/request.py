"""What is asked of audio: every option of every door, in one class with one parser.

A door hands over what it was given and asks for a plan:

    request = DetectionRequest.parse(query, form)        # of two values for one option the later source's is taken
    plan = await request.resolve(models, formats)        # model, segmenter, channel, form of answer

Everything that can be wrong with a request is refused here, so it is refused in the same words over HTTP, on a live
stream, on the command line and in a batch. Options of segmenters depend on the mode in force, which depends on the
model and the preset; until those are known they stay as they came, in `segmenter_options`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator
from typing_extensions import Self

from app.audio.options import ENCODINGS, HEADERLESS, AudioInput, InputOptions, RawForm, find_encoding, raw_form
from app.audio.signal import CHANNEL_PATTERN, HEARD_TOGETHER, Channel, parse_channel
from app.formats.excerpts import ExcerptOptions
from app.formats.registry import Format, Formats, Lang
from app.registry import Registry
from app.vad.chunks import ChunkOptions
from app.vad.errors import InvalidOption
from app.vad.grid import FRAME_MS
from app.vad.models import fusion
from app.vad.segmenters.registry import MODE, USES, Segmentation, Segmenters
from app.warnings import AnswerWarning

if TYPE_CHECKING:
    # Annotations alone: commands make their flags of the request, and must not wait for torch.
    from app.models import Chosen, Models

STREAM_CONTAINERS: Mapping[str, str] = {"webm": "webm", "ogg": "ogg"}
"""Containers that a live stream may send, by the name that `encoding=` takes: ffmpeg's demuxer for each. Only those
whose bytes can be decoded as they come."""
_CONTAINER_ENCODING, _OPUS_RATE = "pcm_f32be", 48_000
"""What a container's decoder gives out. Opus is decoded at 48 kHz, whatever it was made from (RFC 7845)."""
_CONTAINERS_ONLY = f"{', '.join(STREAM_CONTAINERS)}; send other files to POST /vad, without encoding"
_STREAM_RATES = (8_000, 48_000)
"""Hz. The telephone's rate, and the highest that browsers and sound cards give by default."""
_OWN = "segmenter_options"
"""The one field that is no option."""
_KEPT_REQUESTS, _KEPT_LETTERS = 256, 512
"""Parsed requests that are kept for others that ask for the same, and the most that one may have, names and all."""
_SUGGESTED = 0.7
"""How alike two names are (difflib's ratio) for one to be suggested for the other: one or two letters differ."""
_FOREIGN_HINT = "silero"
"""Clients of speaches call their model by its file's name there, such as `silero_vad_v5`."""


@dataclass(frozen=True, slots=True)
class StreamForm:
    """What a live client sends: bare samples, or a container's bytes."""

    encoding: str
    """A coding of samples, or a container."""
    sample_rate: int
    channels: int

    @property
    def container(self) -> str | None:
        """ffmpeg's demuxer for a container's bytes, or None for bare samples."""
        return STREAM_CONTAINERS.get(self.encoding)

    @property
    def raw(self) -> RawForm:
        """The samples, once a container has been decoded."""
        return raw_form(_CONTAINER_ENCODING if self.container else self.encoding, self.sample_rate, self.channels)


class DetectionRequest(ExcerptOptions, InputOptions):
    """Everything that can be asked of audio. A field's name is the option's at every door."""

    # ---- which model, and how its answer looks

    format: str | None = Field(
        None, description="Form of the answer. Not set: what the `Accept` header asks for, or else `json`."
    )
    model: str | None = Field(
        None,
        max_length=1_000,
        description="Which model detects. `GET /models` lists them. Several names joined by `+` give the mean of those "
        "models; `2*` before a name counts it twice; `best` is the most accurate mean. Not set: the service's default "
        "model.",
    )
    preset: str | None = Field(
        None,
        max_length=64,
        description="A named set of model, mode and options. Options in the request win over it. `GET /options` lists "
        "the presets. `none` turns off the service's own preset.",
    )
    channel: str = Field(
        "mix",
        description="`mix`: the mean of all channels. A number: that channel, from 0. `split`: each channel by itself. "
        "`loudest`: the channel with the most energy in every half second.",
        json_schema_extra={"pattern": CHANNEL_PATTERN},
    )
    probabilities: bool = Field(
        False,
        description="Adds the speech probability of every frame, to `format=json` and to the summary of "
        "`format=ndjson`.",
    )
    members: bool = Field(
        False,
        description="With `probabilities`: also adds those of each model in a sum, or of each label.",
    )
    overlap: bool = Field(
        False,
        description="Also finds where several people talk at once. Adds segments labelled `overlap` in every format "
        "that has labels, and `overlap_ratio` in JSON. Needs `pyannote`, alone or in a sum.",
    )
    overlap_threshold: float = Field(
        0.13,
        ge=0,
        le=1,
        description="With `overlap`: several people talk at once above this probability. The default is low because "
        "the network is seldom sure.",
    )
    lang: Lang = Field("zh", description="Language of the headings in `format=md`.")
    keep: bool = Field(
        False, description="Keeps the posteriors for a while. The JSON answer then has an `analysis_id`."
    )

    # ---- of live streams

    protocol: Literal["vad", "funasr"] = Field(
        "vad", description="Form of the messages. `vad`: JSON with a `type`. `funasr`: `[[70,-1]]` and `[[-1,2340]]`."
    )
    confirm_ms: int = Field(
        0, ge=0, le=60_000, description="ms. Sends `speech_confirmed` when a segment is this long. 0: never."
    )
    maybe_end_ms: int = Field(
        0,
        ge=0,
        le=10_000,
        description="ms. Sends `speech_maybe_end` after this much silence in a segment. 0: never.",
    )
    audio: bool = Field(False, description="Adds the samples of the utterance to `speech_end`.")
    probability_interval_ms: int = Field(
        100,
        ge=FRAME_MS,
        le=10_000,
        multiple_of=FRAME_MS,
        description="ms. Sends one mean speech probability for each interval of this length.",
    )
    session: str = Field("", max_length=64, description="The session to continue, as named in `ready`.")
    after: int | None = Field(
        None, ge=0, description="With `session`: the last `seq` that arrived. Later messages are sent again."
    )

    segmenter_options: Mapping[str, Any] = Field(default_factory=dict, exclude=True)
    """`mode`, the options of its segmenter and those of chunks, as they came. Not an option itself."""

    @classmethod
    def parse(cls, *layers: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Self:
        """Merge sources of raw values (strings allowed), the later ones winning, and check those that no model decides.

        A blank value is an absent one: browsers send every field of a form. Raises `InvalidOption`.
        """
        merged: dict[str, Any] = {}
        for source in (*layers, given or {}):
            merged |= {name: value for name, value in source.items() if value is not None and str(value).strip()}
        items = tuple(merged.items())
        # Most requests ask for what others have asked for. Of text alone, because 1, 1.0 and True are equal.
        is_text = all(isinstance(value, str) for value in merged.values())
        if is_text and sum(len(name) + len(value) for name, value in items) <= _KEPT_LETTERS:
            return cls._kept(items)
        return cls._of(items)

    @classmethod
    @lru_cache(_KEPT_REQUESTS)
    def _kept(cls, items: tuple[tuple[str, str], ...]) -> Self:
        return cls._of(items)

    @classmethod
    def _of(cls, items: Iterable[tuple[str, Any]]) -> Self:
        merged = dict(items)
        fields = {name: merged.pop(name) for name in cls.names() if name in merged}
        return super().parse({**fields, "segmenter_options": merged})

    @classmethod
    @cache
    def names(cls) -> list[str]:
        """Every option but the segmenters', in the order in which they are listed: those of answers, of reading, of
        excerpts, of streams."""
        own = [name for name in cls.model_fields if name in cls.__annotations__ and name != _OWN]
        of_streams = [name for name in own if name in STREAM_ONLY]
        shared = [*InputOptions.model_fields, *ExcerptOptions.model_fields]
        return [*(name for name in own if name not in of_streams), *shared, *of_streams]

    @classmethod
    @cache
    def _names_everywhere(cls) -> frozenset[str]:
        """Of options that do not depend on the segmenter."""
        return frozenset({*cls.names(), MODE, *ChunkOptions.model_fields})

    @field_validator("channel")
    @classmethod
    def _is_a_channel(cls, value: str) -> str:
        parse_channel(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding(cls, value: str | None) -> str | None:
        if value is None or value in STREAM_CONTAINERS or value.lower() in HEADERLESS:
            return value
        try:
            return find_encoding(value).name
        except InvalidOption as error:
            raise InvalidOption("encoding", f"{error.reason}, and on live streams {_CONTAINERS_ONLY}") from None

    def changed(self, **fields: Any) -> Self:
        """This request with other values; None sets an option back to its default. Raises `InvalidOption`."""
        kept = {name: getattr(self, name) for name in self.model_fields_set - {_OWN}}
        return self.parse(self.segmenter_options, {**kept, **fields})

    # ---- refusals

    @classmethod
    def refuse_unknown_names(cls, names: Iterable[str], segmenters: Segmenters, *, live: bool = False) -> None:
        """Raise `InvalidOption` for a name that no door, mode or chunk option has: no model, and no later source, makes
        it one. `live`: suggest the options of streams, not those of files."""
        for name in names:
            if name in cls._names_everywhere() or segmenters.places_of(name):
                continue
            known = [*cls.names(), MODE, *ChunkOptions.names()]
            known += dict.fromkeys(name for _, kind in segmenters.variants() for name in kind.options.names())
            foreign = {*FILE_ONLY, *ChunkOptions.names()} if live else STREAM_ONLY
            known = [name for name in known if name not in foreign]
            like = get_close_matches(name, known, n=1, cutoff=_SUGGESTED)
            meant = f"; did you mean {like[0]}?" if like else f"; there are: {', '.join(known)}"
            raise InvalidOption(name[:64], f"there is no such option{meant}")

    def check(
        self,
        registry: Registry,
        *,
        default_models: Iterable[str],
        server_options: Mapping[str, Any],
        server_preset: str,
        live: bool = False,
    ) -> None:
        """Refuse as much as can be known to be wrong before a model is loaded, for a command that loads one.

        `default_models`: those that may answer a request that names none. Raises `InvalidOption`.
        """
        self.refuse_unknown_names(self.segmenter_options, registry.segmenters, live=live)
        self._refuse_other_door(live=live)
        if live:
            self.stream_form()
        else:
            registry.formats.choose(self.format, None)
            self.input(Path())
        presets = registry.presets
        defaults = presets.default_layer(self.preset, presets.of(server_preset), server_options, live=live)
        modes = {_default_mode(registry, name) for name in ([self.model] if self.model else default_models)}
        if len(modes) > 1 and MODE not in {*self.segmenter_options, *defaults}:
            registry.segmenters.check_defaults(self.segmenter_options)  # which mode is in force shows later
            return
        registry.segmenters.check_given(
            self.segmenter_options,
            default_mode=str(defaults.get(MODE) or modes.pop()),
            server_defaults=defaults,
            uses=("live",) if live else USES,
            live=live,
        )

    def _refuse_other_door(self, *, live: bool) -> None:
        here, there = ("live streams", "files") if live else ("files", "live streams")
        foreign = FILE_ONLY if live else STREAM_ONLY
        misplaced = self.model_fields_set & foreign
        if misplaced:
            name = min(misplaced, key=self.names().index)
            raise InvalidOption(name, f"is an option of {there}, not of {here}")
        if "overlap_threshold" in self.model_fields_set and not self.overlap:
            raise InvalidOption("overlap_threshold", "needs overlap=true")
        if not live and self.encoding in STREAM_CONTAINERS:
            raise InvalidOption("encoding", f"{self.encoding} is for live streams; files state their own format")

    # ---- the plan

    async def resolve(
        self, models: "Models", formats: Formats | None = None, *, accept: str | None = None, live: bool = False
    ) -> "Plan":
        """Choose model, segmenter, channel and form of answer. `accept`: the HTTP header, where no `format` is named.

        Raises `InvalidOption`, and `NothingAcceptable`.
        """
        self.refuse_unknown_names(self.segmenter_options, models.segmenters, live=live)
        self._refuse_other_door(live=live)
        if live:
            self.stream_form()  # what is wrong with it is told before a model is loaded
        return self.plan(await models.choose(self.model, self.preset, live=live), formats, accept=accept, live=live)

    def plan(
        self, chosen: "Chosen", formats: Formats | None = None, *, accept: str | None = None, live: bool = False
    ) -> "Plan":
        """As `resolve`, for a model that has been chosen already."""
        form = (formats or Formats()).choose(self.format, accept)
        if self.channel == "split":
            form = form.split or form
        segmentation = chosen.segmentation(self.segmenter_options, live=live)
        if self.overlap:
            chosen.model.check_overlap()
            segmentation = replace(segmentation, overlap_threshold=self.overlap_threshold)
        return Plan(
            request=self,
            chosen=chosen,
            segmentation=segmentation,
            channel="split" if self.splits else parse_channel(self.channel),
            form=form,
            live=live,
            stream=self.stream_form() if live else None,
        )

    def with_foreign_model(self, models: "Models", *, hint: bool = False) -> Self:
        """Take a model name that nobody knows here as the default model, for clients that always send one. `hint`: as
        Silero, if the name says so and Silero is loaded."""
        if self.model is None or models.is_known(self.model):
            return self
        silero = hint and _FOREIGN_HINT in self.model.lower() and _FOREIGN_HINT in [each.info.name for each in models]
        return self.changed(model=_FOREIGN_HINT if silero else None)

    @property
    def splits(self) -> bool:
        """Whether every channel, or every sound of a file, is a row of its own. Raises `InvalidOption` where both are
        asked for."""
        if self.track == "all" and self.channel != "mix":
            raise InvalidOption("channel", "track=all uses the mean of each track's channels: leave this out")
        return self.channel == "split" or self.track == "all"

    def input(self, path: Path, content_type: str = "") -> AudioInput:
        """The file as it is to be read; `content_type` may say that it is raw samples. Raises `InvalidOption`."""
        source = self.source(path, content_type)
        if source.raw is not None:
            self._refuse_too_many(source.raw.channels)
        return source

    def _refuse_too_many(self, channels: int) -> None:
        if channels > HEARD_TOGETHER and not self.channel.isdigit():
            most = f"up to {HEARD_TOGETHER} can be heard together; `channel` and a number hears one of more"
            raise InvalidOption("channels", most)

    def stream_form(self) -> StreamForm:
        """What a live stream will send. Raises `InvalidOption` for what no stream can have."""
        encoding, container = self.encoding or "pcm_s16le", self.encoding in STREAM_CONTAINERS
        if not container and encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise InvalidOption("encoding", f"{encoding!r} cannot be streamed; there are: {known}, {_CONTAINERS_ONLY}")
        usual = find_encoding(encoding).usual_rate if self.encoding and not container else 16_000
        rate = self.sample_rate or (_OPUS_RATE if container else usual)
        low, high = _STREAM_RATES
        if not low <= rate <= high:
            raise InvalidOption("sample_rate", f"{low} to {high} Hz on a live stream")
        channels = self.channels or 1
        if self.channel == "split":
            raise InvalidOption(
                "channel", "a stream has one row of segments: use mix, loudest, or the number of a channel"
            )
        # A container says itself how many channels there are.
        self._refuse_too_many(channels)
        if not container and self.channel.isdigit() and int(self.channel) >= channels:
            raise InvalidOption("channel", f"the stream has {channels} channels, numbered from 0")
        extras = {"audio": self.audio, "confirm_ms": self.confirm_ms, "maybe_end_ms": self.maybe_end_ms}
        extra = next((name for name, value in extras.items() if value), None)
        if extra is not None and self.protocol != "vad":
            raise InvalidOption(extra, f"protocol={self.protocol} has no message for it")
        if self.session and container:
            raise InvalidOption("session", f"a stream of encoding={encoding} cannot be resumed: begin a new one")
        return StreamForm(encoding, rate, channels)


OVERLAP = ("overlap", "overlap_threshold")
"""Options that ask when several people talk at once."""
FILE_ONLY = frozenset({"format", "members", *OVERLAP, "lang", "keep", "track", "clock", *ExcerptOptions.model_fields})
"""Options that no live stream has."""
STREAM_ONLY = frozenset(
    {"protocol", "confirm_ms", "maybe_end_ms", "audio", "probability_interval_ms", "session", "after"}
)
"""Options that no file has."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done: a request with everything decided that it left open."""

    request: DetectionRequest
    chosen: "Chosen"
    """The model, what its preset sets, and what has to be said about the choice."""
    segmentation: Segmentation
    channel: Channel
    form: Format
    """How the answer is written; of no use to a stream."""
    live: bool = False
    stream: StreamForm | None = None
    """What a live client sends; None for files."""

    @property
    def warnings(self) -> tuple[AnswerWarning, ...]:
        """What the answer has to say about the choice of the model."""
        return self.chosen.warnings

    def with_segmenter_options(self, options: Mapping[str, Any]) -> "Plan":
        """The same with other options of the segmenter, which replace those of the request. Raises `InvalidOption`."""
        request = self.request.model_copy(update={"segmenter_options": dict(options)})
        segmentation = self.chosen.segmentation(options, live=self.live)
        return replace(self, request=request, segmentation=segmentation)

    def refuse_several_files(self, count: int, formats: Formats) -> None:
        """Raise `InvalidOption` for more files than the form of answer can hold."""
        if count > 1 and not self.form.takes_several:
            several = " or ".join(formats.for_several_files)
            raise InvalidOption(
                "format", f"{self.form.name} takes one file per request; for several files use {several}"
            )


def _default_mode(registry: Registry, model: str) -> str:
    specs = registry.catalogue.resolve_all(model)
    return registry.catalogue.family(specs[0].family).default_mode if len(specs) == 1 else fusion.DEFAULT_MODE
