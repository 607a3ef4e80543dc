"""`fsmn-vad model`: which models there are, where their files lie, and bundles for machines without the hub."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from app.cli.terminal import ALL_WELL, SOME_FAILED, UsageError, failed, run_command
from app.config import AUTO, Settings
from app.registry import installed
from app.vad.errors import ModelNotFound
from app.vad.models.family import ModelSpec
from app.vad.models.registry import name_of

if TYPE_CHECKING:
    from app.models import ModelLoader

_WIDTH_WITH_IDS = 120
"""Columns. The longest id has 44 characters; everything else in a line takes 70."""
_PIPE_WIDTH = 160
"""Columns of a table that nobody looks at: wide enough that no id is broken."""


def path(name: str | None) -> int:
    """Print where the model is, or each of a sum's members."""
    return _run(name, lambda loader, spec: _print(str(loader.find(spec, download=False).path)))


def download(name: str | None) -> int:
    """Get the model, or each of a sum's members, if it is not here."""
    return _run(name, lambda loader, spec: _print(str(loader.find(spec).path)))


def verify(name: str | None) -> int:
    """Read and check the model, or each of a sum's members."""

    def check(loader: "ModelLoader", spec: ModelSpec) -> None:
        place = loader.find(spec, download=False)
        weights = loader.catalogue.family(spec.family).read(place, fingerprint=spec.fingerprint)
        _print(f"{place.path}: sound\nfingerprint {weights.fingerprint}\n{weights.summary}")

    return _run(name, check)


def export(name: str | None, directory: Path) -> int:
    """Copy a model's files into a directory that `VAD_MODEL` can name elsewhere."""

    def copy(loader: "ModelLoader", spec: ModelSpec) -> None:
        place, family = loader.find(spec), loader.catalogue.family(spec.family)
        files = family.files(place)
        if not files:
            raise ModelNotFound(
                f"{name_of(spec)} has no folder to copy: its weights are in a Python package, {place.path}"
            )
        family.read(place, fingerprint=spec.fingerprint)  # nothing that is broken is handed on
        directory.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(file, directory / file.name)
        _print(f"Start with VAD_MODEL={directory.resolve()}")

    return _run(name, copy, single=True)


def list_models() -> int:
    """Print every model that has a name here; looks for files and reads none."""

    def show(settings: Settings) -> int:
        loader, defaults = _loader(settings, None)
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = _PIPE_WIDTH
        # The ids are long: a narrow terminal would break every line for them.
        wide = console.width >= _WIDTH_WITH_IDS
        all_here = True
        table = Table("name", "rate", "on this machine", "", "licence", *(["id"] if wide else []))
        for spec in _listed(settings, loader, defaults):
            known, here = spec.known, loader.is_at_hand(spec)
            all_here = all_here and here
            table.add_row(
                name_of(spec),
                f"{known.sample_rate} Hz" if known is not None else "",
                "yes" if here else "no",
                "default" if spec in defaults else "",
                known.licence if known is not None else "",
                *([spec.source] if wide else []),
            )
        console.print(table)
        if console.is_terminal and not all_here:
            console.print("Get one: fsmn-vad model download NAME")
        return ALL_WELL

    return run_command(show)


def _listed(settings: Settings, loader: "ModelLoader", defaults: tuple[ModelSpec, ...]) -> Iterator[ModelSpec]:
    """The default (all members of a sum), those of VAD_MODELS, and every other one that is known, each name once."""
    named = [spec for text in settings.models if text != AUTO for spec in loader.catalogue.resolve_all(text)]
    seen: set[str] = set()
    for spec in (*defaults, *named, *(spec for spec, _ in loader.catalogue.known())):
        if name_of(spec) not in seen:
            seen.add(name_of(spec))
            yield spec


def _run(name: str | None, command: Callable[["ModelLoader", ModelSpec], None], *, single: bool = False) -> int:
    """Do it for the model of this name, or for each of a sum's members; returns the exit status."""

    def for_each(settings: Settings) -> int:
        loader, specs = _loader(settings, name)
        if single and len(specs) > 1:
            raise UsageError(f"a folder can hold only one model: export one of {' and '.join(map(name_of, specs))}")
        try:
            for spec in specs:
                command(loader, spec)
        except OSError as error:
            return failed(error, SOME_FAILED)
        return ALL_WELL

    return run_command(for_each)


def _loader(settings: Settings, name: str | None) -> "tuple[ModelLoader, tuple[ModelSpec, ...]]":
    """With the models of this name; None: the default ones."""
    from app.runtime import default_specs, model_loader

    catalogue = installed().catalogue
    is_default = name is None or name == settings.model
    specs = default_specs(settings, catalogue) if is_default else catalogue.resolve_all(str(name))
    return model_loader(settings, catalogue), specs


def _print(text: str) -> None:
    Console(highlight=False).print(text, markup=False, soft_wrap=True)
