"""The list of model families, and the names of their models.

A model is named by a known name (`fsmn`), a known model's ModelScope id, any other ModelScope id (`owner/name`), or a
directory; `name=…` before any of these gives it a name of its own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from app.vad.errors import InvalidOption
from app.vad.models import fusion
from app.vad.models.family import KnownModel, ModelFamily, ModelSpec
from app.vad.models.firered.family import FireredFamily
from app.vad.models.fsmn.family import FsmnFamily
from app.vad.models.hub import as_directory
from app.vad.models.pyannote.family import PyannoteFamily
from app.vad.models.silero.family import SileroFamily

FAMILIES: tuple[ModelFamily, ...] = (FsmnFamily(), SileroFamily(), FireredFamily(), PyannoteFamily())
"""The first one reads ModelScope ids that are not known."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Fit for URLs, file names and metric labels; `+` joins names."""


class Catalogue:
    """What the families know, under one set of names."""

    def __init__(self, families: Sequence[ModelFamily]) -> None:
        self.families = {family.name: family for family in families}
        self._first = families[0]

    def family(self, name: str) -> ModelFamily:
        """One of the families. Raises KeyError."""
        return self.families[name]

    def known(self) -> Iterator[tuple[ModelSpec, KnownModel]]:
        """Every model that has a name, in order."""
        for family in self.families.values():
            for known in family.known:
                yield ModelSpec(family.name, known.source, known.name, known.revision, known=known), known

    def find_known(self, name: str) -> ModelSpec | None:
        """A known model by its name or its source. A repository with several models means its first one."""
        for spec, known in self.known():
            if name in (known.name, known.source, known.source.partition(":")[0]):
                return spec
        return None

    def by_fingerprint(self, fingerprint: str) -> KnownModel | None:
        """The known model whose published weights these are."""
        return next((known for _, known in self.known() if known.fingerprint == fingerprint), None)

    def resolve_all(self, text: str) -> tuple[ModelSpec, ...]:
        """The model that a setting names, or those of the sum that it names. Raises `InvalidOption`."""
        if text != fusion.BEST_NAME and ("=" in text or as_directory(text) is not None):
            return (self.resolve(text),)
        return tuple(replace(self.resolve(term.name), weight=term.weight) for term in fusion.split_terms(text))

    def resolve(self, text: str) -> ModelSpec:
        """The model that a setting names: a known name, an id, a directory, `name=spec` or `name=family:spec`.

        Raises `InvalidOption` for a name that cannot be one.
        """
        given, equals, source = text.partition("=")
        if equals and not _NAME.fullmatch(given):
            raise InvalidOption("model", f"{given[:64]!r} cannot be a name: letters, digits and . _ - can be used")
        name, source = (given, source) if equals else (None, text)
        known = self.find_known(source)
        if known is not None:
            return known if name is None else replace(known, name=name)
        family, colon, rest = source.partition(":")
        if colon and family in self.families:
            return ModelSpec(family, rest, name)
        directory = as_directory(source)
        recognised = (each for each in self.families.values() if directory and each.recognises(directory))
        # Without any of them, reading it will say which of the first family's files are missing.
        return ModelSpec(next(recognised, self._first).name, source, name)


def name_of(spec: ModelSpec) -> str:
    """The name that requests use: the one given, or known, or else one made from the source."""
    if spec.name is not None:
        return spec.name
    last = PurePath(spec.source).name or spec.source
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:64]
    return name if _NAME.fullmatch(name) else "model"
