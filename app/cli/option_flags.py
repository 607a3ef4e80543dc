"""A flag for every detection option, made from `VadOptions`: one place knows names, ranges and meanings."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

import typer

from app.vad.segmenters.options import VadOptions

_PANEL = "Detection options"


def with_detection_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command(..., **options)` with the options as flags; it is given those that a person set."""
    signature = inspect.signature(command)
    own = [parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    names = list(VadOptions.names())

    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in names}
        command(**given, **{name: value for name, value in options.items() if value is not None})

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__signature__ = signature.replace(parameters=[*own, *map(_flag, names)])  # type: ignore[attr-defined]
    return run


def _flag(name: str) -> inspect.Parameter:
    field = VadOptions.model_fields[name]
    flag = "--" + name.replace("_", "-")
    kind = bool if field.annotation is bool else str
    declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    help_text = f"{field.description} [default: {field.default}]"
    option = typer.Option(declared, help=help_text, metavar=_metavar(field.annotation), rich_help_panel=_PANEL)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _metavar(annotation: Any) -> str | None:
    choices = get_args(annotation)
    if choices:
        return "|".join(str(choice) for choice in choices)
    names: Mapping[Any, str] = {int: "INTEGER", float: "NUMBER"}
    return names.get(annotation)
