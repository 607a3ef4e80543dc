"""Every option there is, from the classes that know them, each with a value that is not its default."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from app.registry import installed
from app.request import FILE_ONLY, STREAM_ONLY, DetectionRequest
from app.vad.chunks import ChunkOptions
from app.vad.options import Options
from app.vad.segmenters.registry import MODE, variant

MODEL_OF_USE = {"file": "fsmn", "live": "firered-stream", "labelled": "firered-aed"}
"""A model whose files go to each of a mode's machines."""


@dataclass(frozen=True)
class ModeCase:
    """A machine, and a request that sets every option it has to something else."""

    mode: str
    use: str
    options: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.mode}, {self.use}"


def mode_cases() -> list[ModeCase]:
    """One for each machine of each mode."""
    return [
        ModeCase(kind.mode, use, {MODE: kind.mode, "model": MODEL_OF_USE[use], **other_values(kind.options)})
        for use, kind in installed().segmenters.variants()
    ]


def file_options() -> list[str]:
    """Every option that a file may be sent with."""
    fields = [name for name in DetectionRequest.names() if name not in STREAM_ONLY]
    return [*fields, MODE, *segmenter_options(), *ChunkOptions.names()]


def stream_options() -> list[str]:
    """Every option that a live stream may be opened with."""
    fields = [name for name in DetectionRequest.names() if name not in FILE_ONLY]
    live = {name: None for kind in installed().segmenters for name in variant(kind, "live").options.names()}
    return [*fields, MODE, *live]


def segmenter_options() -> list[str]:
    return list(dict.fromkeys(name for _, options in _machines() for name in options.names()))


def machine_of(name: str, *, live: bool = False) -> dict[str, str]:
    """What else to ask for, so that a machine is in force that has this option; nothing for a request's own options."""
    if live:
        found = [("live", kind) for kind in installed().segmenters if name in variant(kind, "live").options.names()]
    else:
        found = [(use, kind) for use, kind in installed().segmenters.variants() if name in kind.options.names()]
    return {MODE: found[0][1].mode, "model": MODEL_OF_USE[found[0][0]]} if found else {}


def _machines() -> Iterator[tuple[str, type[Options]]]:
    return ((use, kind.options) for use, kind in installed().segmenters.variants())


def other_values(options: type[Options]) -> dict[str, str]:
    """A value for each option of a class: not its default, nor far from it, so that none contradicts another."""
    return {name: other_value(options.model_fields[name]) for name in options.names()}


def other_value(field: FieldInfo) -> str:
    """A value within the field's range that is not its default, as text."""
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return str(next(choice for choice in get_args(field.annotation) if choice != field.default))
    if kinds == [bool]:
        return str(not field.default).lower()
    low, high, step = _range(field)
    if field.default is None or math.isinf(field.default):
        return f"{low + 1 if low + 1 <= high else low:g}"
    if kinds == [int]:
        return str(field.default + step if field.default + step <= high else field.default - step)
    nearer = 0.9 * field.default if field.default else low + 0.25
    return f"{nearer:g}"


def _range(field: FieldInfo) -> tuple[float, float, int]:
    low, high, step = -math.inf, math.inf, 1
    for each in field.metadata:
        if isinstance(each, annotated_types.Ge):
            low = float(each.ge)  # type: ignore[arg-type]
        elif isinstance(each, annotated_types.Gt):
            low = float(each.gt)  # type: ignore[arg-type]
        elif isinstance(each, annotated_types.Le):
            high = float(each.le)  # type: ignore[arg-type]
        elif isinstance(each, annotated_types.MultipleOf):
            step = int(each.multiple_of)  # type: ignore[call-overload]
    return low, high, step


def in_force(options: Mapping[str, str], document: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that an answer's `options` says otherwise."""
    return {name: document.get(name) for name, value in options.items() if not _same(value, document.get(name))}


def _same(text: str, value: Any) -> bool:
    if isinstance(value, bool):
        return text == str(value).lower()
    return float(text) == value if isinstance(value, int | float) else text == value
