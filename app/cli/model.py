"""`fsmn-vad model`: which models there are, where their files lie, and bundles for machines without the hub."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from app.cli.terminal import ALL_WELL, SOME_FAILED, UsageError, failed, run_command
from app.config import AUTO, Settings
from app.registry import installed
from app.vad.errors import ModelNotFound
from app.vad.models.family import ModelFamily, ModelSpec
from app.vad.models.registry import name_of

if TYPE_CHECKING:
    from app.runtime import ModelLoader

_PIPE_WIDTH = 160
"""Columns of a table that nobody looks at: wide enough that no id is broken."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model that a command is about."""

    loader: "ModelLoader"
    spec: ModelSpec
    family: ModelFamily


def path(name: str | None) -> int:
    """Print where the model is, or each of a sum's members."""
    return _run_for_each(name, lambda asked: _print(str(asked.loader.find(asked.spec, download=False).path)))


def download(name: str | None) -> int:
    """Get the model, or each of a sum's members, if it is not here."""
    return _run_for_each(name, lambda asked: _print(str(asked.loader.find(asked.spec).path)))


def verify(name: str | None) -> int:
    """Read and check the model, or each of a sum's members."""
    return _run_for_each(name, _verify)


def export(name: str | None, directory: Path) -> int:
    """Copy a model's files into a directory that `VAD_MODEL` can name elsewhere; the exit status."""
    return _run(lambda settings: _export(_asked(settings, name), directory))


def list_models() -> int:
    """Print every model that has a name here; looks for files and reads none."""
    return _run(_list)


def _run_for_each(name: str | None, command: Callable[[_Asked], None]) -> int:
    def for_each(settings: Settings) -> None:
        for asked in _asked(settings, name):
            command(asked)

    return _run(for_each)


def _run(command: Callable[[Settings], None]) -> int:
    def with_settings(settings: Settings) -> int:
        try:
            command(settings)
        except OSError as error:
            return failed(error, SOME_FAILED)
        return ALL_WELL

    return run_command(with_settings)


def _asked(settings: Settings, name: str | None) -> list[_Asked]:
    from app.runtime import ModelLoader

    registry = installed()
    loader = ModelLoader(settings, registry)
    specs = loader.default_specs() if name in (None, settings.model) else loader.specs(str(name))
    return [_Asked(loader, spec, registry.catalogue.family(spec.family)) for spec in specs]


def _verify(asked: _Asked) -> None:
    place = asked.loader.find(asked.spec, download=False)
    weights = asked.family.read(place, fingerprint=asked.spec.fingerprint)
    _print(f"{place.path}: sound\nfingerprint {weights.fingerprint}\n{weights.summary}")


def _export(members: list[_Asked], directory: Path) -> None:
    if len(members) > 1:
        raise UsageError(f"a directory holds one model: export {' and '.join(name_of(each.spec) for each in members)}")
    [asked] = members
    place = asked.loader.find(asked.spec)
    files = asked.family.files(place)
    if not files:
        raise ModelNotFound(
            f"{name_of(asked.spec)} has no model directory: its weights are in a Python package, {place.path}"
        )
    asked.family.read(place, fingerprint=asked.spec.fingerprint)  # nothing that is broken is handed on
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, directory / file.name)
    _print(f"Start with VAD_MODEL={directory.resolve()}")


def _list(settings: Settings) -> None:
    from app.runtime import ModelLoader

    loader = ModelLoader(settings, installed())
    defaults = loader.default_specs()
    table = Table("name", "id", "licence", "rate", "state", "")
    for spec in _listed(settings, loader, defaults):
        known = spec.known
        table.add_row(
            name_of(spec),
            spec.source,
            known.licence if known is not None else "",
            f"{known.sample_rate} Hz" if known is not None else "",
            "at hand" if loader.is_at_hand(spec) else "not here",
            "default" if spec in defaults else "",
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)


def _listed(settings: Settings, loader: "ModelLoader", defaults: Sequence[ModelSpec]) -> Iterator[ModelSpec]:
    """The default (all members of a sum), those of VAD_MODELS, and every other one that is known, each name once."""
    known = [loader.spec(model.name) for _, model in installed().catalogue.known()]
    named = [spec for text in settings.models if text != AUTO for spec in loader.specs(text)]
    seen: set[str] = set()
    for spec in (*defaults, *named, *known):
        if name_of(spec) not in seen:
            seen.add(name_of(spec))
            yield spec


def _print(text: str) -> None:
    Console(highlight=False).print(text, markup=False, soft_wrap=True)
