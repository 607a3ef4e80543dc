"""What this service makes of clips: through its own detector, as a file that is sent to it.

A clip is read and scored once for each model; other modes, options and presets are then laid over its kept posteriors,
as `POST /analyses/{id}` does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.accuracy.frames import FloatArray, at_middles
from app.accuracy.heard import Heard, Setting
from app.accuracy.labels import Span
from app.analyses import Analysis
from app.audio.options import AudioInput
from app.detection import FileJob
from app.engine.shares import Holder
from app.models import Model
from app.presets import NONE
from app.request import DetectionRequest
from app.runtime import Runtime
from app.vad.models.accuracy import LISTED_SUMS
from app.vad.models.fusion import Term
from app.vad.posteriors import Posteriors
from app.vad.segmenters.registry import MODE

_NAME = "accuracy"


class PosteriorsLost(RuntimeError):
    """A clip so long that its posteriors may not be kept; the message says what to set."""


@dataclass(frozen=True)
class Service:
    """A running detector, without a server around it."""

    runtime: Runtime

    async def model_names(self) -> list[str]:
        """Every model at hand, and every sum of them that has been measured or is the default."""
        models = self.runtime.models
        names = await models.at_hand()
        sums = dict.fromkeys([*models.sums(), *LISTED_SUMS])
        return names + ["+".join(terms) for terms in sums if {Term.parse(term).name for term in terms} <= set(names)]

    async def settings(
        self, models: Sequence[str], given: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[Setting, Mapping[str, Any]]:
        """What is judged, with its options. `given`: by name, a model and options; without it every mode of each model,
        and the presets that have one of them."""
        if given:
            return {Setting(name, await self._canonical(model)): options for name, (model, options) in given.items()}
        modes = self.runtime.registry.segmenters.modes
        names = [await self._canonical(model) for model in models]
        found: dict[Setting, Mapping[str, Any]] = {
            Setting(f"{name}, {mode}", name): {MODE: mode} for name in names for mode in modes
        }
        return found | {
            Setting(f"preset {each.name}", each.model): each.values()
            for each in self.runtime.registry.presets
            if each.model in names
        }

    async def _canonical(self, name: str) -> str:
        model = await self.runtime.models.get(name)
        return model.info.name

    async def hear(
        self, name: str, clips: Sequence[tuple[Path, int]], settings: Mapping[Setting, Mapping[str, Any]]
    ) -> list[Heard]:
        """A model's answers. `clips`: audio files, with their frames of 10 ms; `settings`: those of any model."""
        model = await self.runtime.models.get(name)
        mine = {setting.name: options for setting, options in settings.items() if setting.model == model.info.name}
        return [await self._hear(model, path, frames, mine) for path, frames in clips]

    async def posteriors(self, model: Model, path: Path) -> Posteriors:
        """What a model makes of every frame of a file."""
        ((_, posteriors),) = (await self._analyse(model, path)).rows
        return posteriors

    async def _hear(self, model: Model, path: Path, frames: int, settings: Mapping[str, Mapping[str, Any]]) -> Heard:
        analysis = await self._analyse(model, path)
        ((_, posteriors),) = analysis.rows
        segments: dict[str, Sequence[Span]] = {
            name: list(_segments(analysis, options)) for name, options in settings.items()
        }
        speech: FloatArray = posteriors.speech
        return Heard(at_middles(speech, model.grid.frame_ms, frames), segments)

    async def _analyse(self, model: Model, path: Path) -> Analysis:
        plan = DetectionRequest.parse({"keep": True}).plan(self.runtime.models.with_preset(model, NONE))
        run = await self.runtime.detector.run(plan, FileJob(AudioInput(path), path.name, holder=Holder(_NAME)))
        analysis = Analysis.of(run)
        if analysis is None:
            raise PosteriorsLost(f"{path.name} is too long for its posteriors to be kept; set VAD_ANALYSES_MB higher")
        return analysis


def _segments(analysis: Analysis, options: Mapping[str, Any]) -> Iterator[Span]:
    report = analysis.segment(analysis.plan.with_segmenter_options(options), _NAME, _NAME)
    (channel,) = report.channels
    return ((each.start_ms / 1000, each.end_ms / 1000) for each in channel.segments if each.is_speech)
