"""What can be asked for by name: model families, segmenters and formats, the project's own and those of plug-ins.

A plug-in is an installed package whose entry point in the group `fsmn_vad.plugins` is a `Plugin`. The server, the
command line and its child processes all find it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from app.formats.registry import FORMATS, Format, Formats
from app.presets import PRESETS, Presets, read_presets
from app.vad.models.family import ModelFamily
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.segmenters.registry import SEGMENTERS, SegmenterKind, Segmenters

ENTRY_POINTS = "fsmn_vad.plugins"


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a package adds."""

    families: Sequence[ModelFamily] = ()
    segmenters: Sequence[SegmenterKind[Any]] = ()
    formats: Sequence[Format] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """Every family, segmenter, format and preset that can be asked for by name."""

    catalogue: Catalogue = field(default_factory=lambda: Catalogue(FAMILIES))
    segmenters: Segmenters = field(default_factory=lambda: Segmenters(SEGMENTERS))
    formats: Formats = field(default_factory=Formats)
    presets: Presets = field(default_factory=Presets)

    @classmethod
    def of(cls, plugins: Iterable[Plugin]) -> "Registry":
        """The project's own and those of plug-ins; of two with one name the later is taken."""
        plugins = list(plugins)
        return cls(
            Catalogue([*FAMILIES, *(family for plugin in plugins for family in plugin.families)]),
            Segmenters([*SEGMENTERS, *(kind for plugin in plugins for kind in plugin.segmenters)]),
            Formats([*FORMATS, *(form for plugin in plugins for form in plugin.formats)]),
        )

    def with_presets(self, path: Path | None) -> "Registry":
        """The same with the presets of a file after the service's own. Raises `InvalidOption`."""
        if path is None:
            return self
        return replace(self, presets=Presets([*PRESETS, *read_presets(path, self.segmenters)]))


def installed() -> Registry:
    """The registry with all installed plug-ins. Raises what a broken plug-in raises."""
    return Registry.of(point.load() for point in entry_points(group=ENTRY_POINTS))
