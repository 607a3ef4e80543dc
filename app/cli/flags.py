"""Flags for everything that can be asked, made from `DetectionRequest` and the segmenters' own classes: one place knows
names, ranges, defaults and meanings. `app.cli.help` shows them.
"""

import inspect
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
import typer
from pydantic.fields import FieldInfo

from app.audio.options import InputOptions
from app.cli.language import named, option_meaning, say, sentences
from app.formats.excerpts import ExcerptOptions
from app.presets import PRESETS
from app.registry import Registry, installed
from app.request import STREAM_ONLY, DetectionRequest
from app.vad.chunks import ChunkOptions
from app.vad.options import Options
from app.vad.segmenters.options import SegmenterOptions
from app.vad.segmenters.registry import MODE, USES, SegmenterKind, Segmenters, Use, variant

Command = Callable[..., None]
_ANY_MODE, _CHUNKS, _SEGMENTATION = "With any mode", "Chunks for a recogniser", "Segmentation"
_EXCERPTS = "Audio (--format wav and zip)"
_INPUT = "How files are read"
_IN_USE: Mapping[Use, str] = {"file": "files", "live": "live streams", "labelled": "models with labels"}
_OWN_WORDS: Mapping[str, str] = {
    "format": "Format of the answer: table (for people), json, ndjson, csv, srt … Default: table on a terminal "
    "without --out, else json.",
    "model": "A known name (fsmn, silero …), several names joined by +, a ModelScope id, a folder, or NAME=FOLDER. "
    "With --url, the server's name of the model. Default: VAD_MODEL, or the server's default model.",
    "preset": "A ready-made set of model, mode and options. Options on the command line win over it. {titles} "
    "VAD_PRESETS adds others. Default: VAD_PRESET.",
    "keep": "With --url: the server keeps the posteriors for a while, and the JSON answer has an analysis_id.",
}
"""Where a command line says it otherwise than HTTP."""


def either_spelling(name: str) -> str:
    """Take the API's spelling of an option, too: `--max_end_silence_time`."""
    return name.replace("_", "-")


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "token_normalize_func": either_spelling}


def with_file_flags(*, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """`command(..., options=…)` with a flag for everything that can be asked of a file; it is given those that a person
    set, as raw values. `without`: options that the command does not have."""
    skipped = {*without, *STREAM_ONLY}
    own = [
        name for name in DetectionRequest.names() if name not in skipped and name in DetectionRequest.__annotations__
    ]
    flags = [
        *(_own_flag(name) for name in own),
        *_flags(installed(), USES),
        *_class_flags(ChunkOptions, _CHUNKS),
        *_class_flags(InputOptions, _INPUT),
        *_class_flags(ExcerptOptions, _EXCERPTS),
    ]
    return lambda command: _with_flags(command, flags)


def with_stream_flags(command: Command) -> Command:
    """`command(..., options=…)` with flags for the model, the preset and the segmenters' options of live streams. Those
    that only files have are taken, to be refused with the reason, but not shown."""
    flags = [
        _own_flag("model"),
        _own_flag("preset"),
        *_flags(installed(), ("live",)),
        *_class_flags(ChunkOptions, _CHUNKS, hidden=True),
    ]
    return _with_flags(command, flags)


def _with_flags(command: Command, flags: Sequence[inspect.Parameter]) -> Command:
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "options"]

    def run(**given: Any) -> None:
        options = {flag.name: given.pop(flag.name) for flag in flags}
        command(**given, options={name: value for name, value in options.items() if value is not None})

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    return run


def _own_flag(name: str) -> inspect.Parameter:
    """A flag for an option that is neither a segmenter's nor of how files are read or cut."""
    field = DetectionRequest.model_fields[name]
    text = _own_text(name, field)
    kind = bool if field.annotation is bool else str
    metavar = "NAME" if name in ("model", "preset") else _metavar(field.annotation)
    return _flag(name, kind, text, metavar=metavar, panel=None, short="-f" if name == "format" else None)


def _own_text(name: str, field: FieldInfo) -> str:
    text = _OWN_WORDS.get(name)
    if text is None:
        default = "" if field.default in (None, False) else f"{field.default}"
        return _with_default(name, field, default) if default else option_meaning(name, f"{field.description}")
    if name != "preset":
        return say(text)
    presets = (f"{each.name}: {named('presets', each.name, 'title', each.title)}" for each in PRESETS)
    return say(text, titles=sentences(presets))


def _with_default(name: str, field: FieldInfo, default: str, also: Sequence[str] = ()) -> str:
    told = say("Default: {default}{limits}.", default=default, limits=_range(field))
    return sentences([option_meaning(name, f"{field.description}"), *also, told])


def _flags(registry: Registry, uses: tuple[Use, ...]) -> Iterator[inspect.Parameter]:
    """`--mode`, then one for each name; a name that several modes have stands with the first of them. `uses`: those
    whose options are shown."""
    segmenters = registry.segmenters
    titles = sentences(f"{kind.mode}: {named('modes', kind.mode, 'titles.file', kind.title)}" for kind in segmenters)
    text = say("How segments are made. Default: the model's own mode. {titles}", titles=titles)
    yield _flag(MODE, str, text, metavar="|".join(segmenters.modes), panel=_SEGMENTATION)
    yield from _class_flags(SegmenterOptions, _ANY_MODE)
    seen = set(SegmenterOptions.model_fields)
    for kind in segmenters:
        for options in dict.fromkeys(variant(kind, use).options for use in (*uses, *USES)):
            for name in options.names():
                if name not in seen:
                    seen.add(name)
                    yield _option_flag(registry, name, options.model_fields[name], uses)


def _class_flags(options: type[Options], panel: str, *, hidden: bool = False) -> Iterator[inspect.Parameter]:
    for name, field in options.model_fields.items():
        text = _with_default(name, field, f"{_plain(field.default)}{_unit(field, field.default)}")
        kind = bool if field.annotation is bool else str
        yield _flag(name, kind, text, metavar=_metavar(field.annotation), panel=panel, hidden=hidden)


def _option_flag(registry: Registry, name: str, field: FieldInfo, uses: tuple[Use, ...]) -> inspect.Parameter:
    segmenters = registry.segmenters
    modes = [kind.mode for kind in segmenters if _has(kind, name, uses)]
    shown = modes or segmenters.modes_with(name)
    also = [say("Also with mode {mode}.", mode=mode) for mode in shown[1:]]
    default = _defaults(segmenters, shown[0], name, uses)
    models: dict[Any, list[str]] = {}
    for _, known in registry.catalogue.known():
        models.setdefault(known.option_defaults.get(shown[0], {}).get(name, field.default), []).append(known.name)
    if len(models) > 1:
        default = ", ".join(f"{_plain(value)}{_unit(field, value)} ({', '.join(of)})" for value, of in models.items())
        default = say("{defaults}; sums of models have their own", defaults=default)
    text = _with_default(name, field, default, also)
    kind = bool if field.annotation is bool else str
    panel = say("With --mode {mode}", mode=shown[0])
    return _flag(name, kind, text, metavar=_metavar(field.annotation), panel=panel, hidden=not modes)


def _has(kind: SegmenterKind[Any], name: str, uses: tuple[Use, ...]) -> bool:
    return any(name in variant(kind, use).options.model_fields for use in uses)


def _defaults(segmenters: Segmenters, mode: str, name: str, uses: tuple[Use, ...]) -> str:
    """What holds where nothing is set; for each kind of use, where they differ or not all have the option."""
    kind = segmenters.kind(mode)
    fields = {use: variant(kind, use).options.model_fields.get(name) for use in uses}
    values = {use: f"{_plain(field.default)}{_unit(field, field.default)}" for use, field in fields.items() if field}
    if len(set(values.values())) == 1 and len(values) == len(uses):
        return next(iter(values.values()))
    return ", ".join(say("{value} for {use}", value=value, use=say(_IN_USE[use])) for use, value in values.items())


def _plain(value: Any) -> str:
    if value is None:
        return say("not set")
    if isinstance(value, bool):
        return say("yes") if value else say("no")
    return say("no limit") if value == math.inf else f"{value}"


def _unit(field: FieldInfo, value: Any) -> str:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, Mapping) else {}
    if "unit" not in extra or value in (None, math.inf):
        return ""
    return f" {named('words', str(extra['unit']), '', str(extra['unit']))}"


def _range(field: FieldInfo) -> str:
    """`; 200 to 10000`: what is taken."""
    low: Any = None
    high: Any = None
    above = ""
    for limit in field.metadata:
        if isinstance(limit, annotated_types.Ge):
            low = limit.ge
        elif isinstance(limit, annotated_types.Gt):
            low, above = limit.gt, say("above ")
        elif isinstance(limit, annotated_types.Le):
            high = limit.le
    if low is None:
        return ""
    low = f"{above}{low:g}" if high is None else f"{above}{low}"
    if f"{low}" == f"{high}":
        return say("; only {low}", low=low)
    return say("; {low} or more", low=low) if high is None else say("; {low} to {high}", low=low, high=high)


def _flag(
    name: str,
    kind: type,
    text: str,
    *,
    metavar: str | None,
    panel: str | None,
    hidden: bool = False,
    short: str | None = None,
) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    declared = [f"{flag}/--no-{flag[2:]}" if kind is bool else flag, *([short] if short else [])]
    option = typer.Option(*declared, help=text.replace("`", ""), metavar=metavar, rich_help_panel=panel, hidden=hidden)
    # Raw text: the options' own class reads it, and says what is wrong with it.
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(annotation: Any) -> str | None:
    """What a flag's value may be: words, `INTEGER` or `NUMBER`, or several of them; None for any text."""
    names = [_NAMES.get(each) if isinstance(each, type) else str(each) for each in _alternatives(annotation)]
    return None if None in names else "|".join(name for name in names if name)


_NAMES: Mapping[type, str] = {int: "INTEGER", float: "NUMBER"}


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types and the words of a union, without None."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_args(annotation):
        for each in get_args(annotation):
            yield from _alternatives(each)
    elif annotation is not type(None):
        yield annotation
