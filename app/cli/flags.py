"""A flag for every detection option of every mode, made from the segmenters' option classes: one place knows names,
ranges and meanings."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from app.registry import installed
from app.vad.segmenters.registry import MODE, Segmenters

ModelFlag = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="A known name (fsmn, silero …), a ModelScope id, a directory, or NAME=DIRECTORY; with --url the server's "
        "name for it. Default: VAD_MODEL, or the server's.",
    ),
]
Command = Callable[..., None]


def with_detection_options(command: Command) -> Command:
    """`command(..., options=…)` with the options as flags; it is given those that a person set, as raw values."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "options"]
    flags = list(_flags(installed().segmenters))

    def run(**given: Any) -> None:
        options = {flag.name: given.pop(flag.name) for flag in flags}
        command(**given, options={name: value for name, value in options.items() if value is not None})

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    return run


def _flags(segmenters: Segmenters) -> Iterator[inspect.Parameter]:
    """`--mode`, then one for each name; a name that several modes have stands with the first of them."""
    titles = " ".join(f"{kind.mode}: {kind.title}" for kind in segmenters)
    told = f"How segments are made. Default: the model's own way. {titles}"
    yield _flag(MODE, str, told, metavar="|".join(segmenters.modes), panel="Segmentation")
    seen: set[str] = set()
    for kind in segmenters:
        for name, field in kind.options.model_fields.items():
            if name not in seen:
                seen.add(name)
                yield _option_flag(name, field, segmenters.modes_with(name))


def _option_flag(name: str, field: FieldInfo, modes: list[str]) -> inspect.Parameter:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, Mapping) else {}
    unit = f" {extra['unit']}" if "unit" in extra else ""
    also = "".join(f" Also of mode {mode}." for mode in modes[1:])
    # The default is the segmenter's: a model's own may differ, and `GET /options` tells them.
    told = f"{field.description}{also} Default: {field.default}{unit}."
    kind = bool if field.annotation is bool else str
    return _flag(name, kind, told, metavar=_metavar(field.annotation), panel=f"Options of --mode {modes[0]}")


def _flag(name: str, kind: type, told: str, *, metavar: str | None, panel: str) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    option = typer.Option(declared, help=told, metavar=metavar, rich_help_panel=panel)
    # Raw text: the options' own class reads it, and says what is wrong with it.
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(annotation: Any) -> str | None:
    choices = get_args(annotation)
    if choices:
        return "|".join(str(choice) for choice in choices)
    names: Mapping[Any, str] = {int: "INTEGER", float: "NUMBER"}
    return names.get(annotation)
