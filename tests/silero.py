"""Silero VAD out of its Python package, as the runtime loads it."""

from functools import lru_cache
from pathlib import Path

from app.vad.models.hub import ModelHub, ModelPlace
from app.vad.models.registry import FAMILIES, Catalogue
from app.vad.models.silero.family import SileroFamily
from app.vad.models.silero.network import SileroScorer
from app.vad.segmenters.hysteresis import TightOptions


def find(name: str) -> ModelPlace:
    """Where the network's weights are. Raises `ModelNotFound`."""
    spec = Catalogue(FAMILIES).find_known(name)
    assert spec is not None
    return SileroFamily().find(spec, ModelHub(Path("nowhere"), allow_download=False))


@lru_cache
def new_scorer(name: str) -> SileroScorer:
    """`silero` or `silero-8k`, on the CPU."""
    return SileroFamily().place(SileroFamily().read(find(name)), device="cpu", dtype="float32")


def own_options() -> TightOptions:
    """The defaults of tight mode with this model."""
    return TightOptions.parse(SileroFamily().read(find("silero")).option_defaults["tight"])
