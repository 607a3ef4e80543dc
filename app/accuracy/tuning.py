"""Models and sums tried on labelled audio, each with the settings that fit it best: what `fsmn-vad tune` does.

Each model scores each file once; sums are made of their members' posteriors. Candidates are fitted one after the other,
and what is known of those that are done stays when the rest is given up.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from app.accuracy.conditions import CLEAN, Condition, parse
from app.accuracy.corpus import Folder, Recording, length_of, read_clip
from app.accuracy.fitting import MODE, Judged, Row, Search, as_options
from app.accuracy.labels import InvalidLabels, Span
from app.accuracy.service import Service
from app.models import Model
from app.presets import Preset
from app.vad.errors import InvalidOption, VadError
from app.vad.posteriors import Posteriors
from app.vad.stream import FusedStream

LEAST_SPEECH_S, LEAST_FILES = 120, 5
"""Labelled speech and files below which settings would fit these files and no others."""


class GivenUp(Exception):
    """The search was given up."""


class TuningView(Protocol):
    """Whoever shows how far it is."""

    def scored(self, model: str, done: int, files: int) -> None:
        """So many of the files have been scored by a model."""

    def fitted(self, found: "Candidate", done: int, candidates: int) -> None:
        """A candidate is done."""

    def left_out(self, name: str, reason: str) -> None:
        """A file or a model that is not used, and why."""


@dataclass(frozen=True)
class Labelled:
    """A recording that can be used."""

    recording: Recording
    spans: Sequence[Span]
    duration_s: float

    @property
    def speech_s(self) -> float:
        """Labelled speech."""
        return sum(end - start for start, end in self.spans)


@dataclass(frozen=True)
class Candidate:
    """A model or a sum, its settings fitted on all files, and its figures on files that its settings had no part in."""

    model: str
    live: bool
    options: Mapping[str, Any]
    """Of `mode=tight`."""
    value: float
    """The objective, cross-validated."""
    judged: Judged
    cpu_s_per_hour: float
    """Processor time of reading and scoring an hour of audio, as seen here."""


@dataclass
class Scored:
    """What one model gave for every file in every condition, and what that took."""

    posteriors: list[Posteriors]
    cpu_s: float = 0.0


def usable(folder: Folder, view: TuningView) -> list[Labelled]:
    """The recordings whose audio and labels can be read."""
    found = []
    for recording in folder.recordings:
        try:
            samples, rate = length_of(recording.path)
            found.append(Labelled(recording, recording.spans(samples, rate), samples / rate))
        except (VadError, InvalidLabels) as error:  # noqa: PERF203 - each file for itself
            view.left_out(str(recording.path), str(error))
    return found


def too_little(recordings: Sequence[Labelled]) -> str | None:
    """What is wrong with the amount of data; None where it is enough."""
    speech_s = sum(each.speech_s for each in recordings)
    if len(recordings) >= LEAST_FILES and speech_s >= LEAST_SPEECH_S:
        return None
    return (
        f"Too little to tune on: {len(recordings)} files with {speech_s:.0f} s of speech. Settings would fit these "
        f"files and no others; {LEAST_FILES} files with {LEAST_SPEECH_S} s of speech are the least."
    )


@dataclass
class Tuning:
    """One run. `candidates` holds what is done so far."""

    service: Service
    recordings: Sequence[Labelled]
    objective: str
    view: TuningView
    conditions: Sequence[Condition] = field(default_factory=lambda: [parse(CLEAN)])
    candidates: list[Candidate] = field(default_factory=list)
    _scored: dict[str, Scored] = field(default_factory=dict)

    async def run(self, names: Sequence[str]) -> None:
        """Try these models and sums, all that are at hand where none is named. May be cancelled at any time.

        Raises `InvalidOption` for one that is named and cannot be tried, `ModelError`s, `PosteriorsLost`.
        """
        models = await self._models(names)
        with tempfile.TemporaryDirectory(prefix="fsmn-vad-tune-") as scratch:
            files = self.heard(Path(scratch))
            for done, model in enumerate(models, 1):
                candidate = await self._fit(model, await self.rows(model, files))
                self.candidates.append(candidate)
                self.view.fitted(candidate, done, len(models))

    async def _models(self, names: Sequence[str]) -> list[Model]:
        found: dict[str, Model] = {}
        for name in names or await self.service.model_names():
            try:
                model = await self.service.runtime.models.get(name)
                if model.grid.labels:
                    raise InvalidOption("model", f"{name} finds more than speech, so there is no single setting to fit")
            except VadError as error:  # noqa: PERF203 - each model for itself
                if names:
                    raise
                self.view.left_out(name, str(error))
            else:
                found[model.info.name] = model
        return list(found.values())

    def heard(self, scratch: Path) -> list[Path]:
        """Every recording in every condition, as files."""
        files: list[Path] = []
        for condition in self.conditions:
            folder = scratch / str(len(files))
            folder.mkdir()
            for seed, each in enumerate(self.recordings):
                clean = condition.kind == CLEAN
                path = each.recording.path if clean else condition.write(read_clip(each.recording), seed, folder)
                files.append(path)
        return files

    async def _score(self, model: Model, files: Sequence[Path]) -> Scored:
        scored = Scored([])
        for done, path in enumerate(files, 1):
            started = time.process_time()
            scored.posteriors.append(await self.service.posteriors(model, path))
            scored.cpu_s += time.process_time() - started
            self.view.scored(model.info.name, done, len(files))
        return scored

    async def _fit(self, model: Model, rows: Sequence[Row]) -> Candidate:
        """In a thread: it is nothing but arithmetic, and whoever gives up must not wait for it."""
        given_up = threading.Event()

        def pause() -> None:
            if given_up.is_set():
                raise GivenUp

        try:
            return await asyncio.to_thread(self._fit_in_thread, model, rows, pause)
        except asyncio.CancelledError:
            given_up.set()
            raise

    def _fit_in_thread(self, model: Model, rows: Sequence[Row], pause: Callable[[], None]) -> Candidate:
        search = Search(rows, self.objective, pause)
        tallies, value = search.cross_validated()
        setting = search.best(range(len(rows)))
        hours = sum(each.duration_s for each in self.recordings) * len(self.conditions) / 3600
        cpu_s = sum(self._scored[member.info.name].cpu_s for member in model.members)
        judged = Judged.of(rows, tallies)
        return Candidate(model.info.name, model.live, as_options(setting), value, judged, cpu_s / hours)

    async def rows(self, model: Model, files: Sequence[Path]) -> list[Row]:
        """What a model makes of `heard`'s files; a network that has scored them before does not do so again."""
        for member in model.members:
            if member.info.name not in self._scored:
                self._scored[member.info.name] = await self._score(member, files)
        rows = []
        for number, condition in enumerate(self.conditions):
            for file, each in enumerate(self.recordings):
                place = number * len(self.recordings) + file
                posteriors = self._posteriors(model, place)
                rows.append(Row(file, condition.name, posteriors, model.grid, each.spans, each.duration_s))
        return rows

    def _posteriors(self, model: Model, place: int) -> Posteriors:
        parts = [self._scored[member.info.name].posteriors[place] for member in model.members]
        if len(parts) == 1:
            return parts[0]
        stream = model.new_stream(model.segmentation({"mode": MODE}))
        if not isinstance(stream, FusedStream):
            raise TypeError("a sum has a stream of sums")
        rate = model.grid.sample_rate
        grid, part = next(
            (member.grid, part)
            for member, part in zip(model.members, parts, strict=True)
            if member.grid.sample_rate == rate
        )
        return stream.mix(parts, round((len(part) * grid.frame_ms - part.short_ms) * rate / 1000))


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the largest objective; of equals the one that was tried first."""
    return max(candidates, key=lambda each: each.value)


def preset(
    name: str, title: str, candidates: Sequence[Candidate], recordings: Sequence[Labelled], objective: str
) -> Preset:
    """What `preset=NAME` means from now on. Nothing in it depends on the machine or the hour."""
    chosen = best(candidates)
    live = chosen if chosen.live else best([each for each in candidates if each.live] or [chosen])
    f1 = chosen.judged.f1
    interval = "" if f1.low is None or f1.high is None else f" [{f1.low:.3f}, {f1.high:.3f}]"
    others = sorted(candidates, key=lambda each: -each.value)[1:3]
    beside = "".join(f", {each.model} {_told(each.judged.f1.value)}" for each in others)
    reasons = {
        "model": f"F1 {_told(f1.value)}{interval} on files that its settings had no part in{beside}.",
        "mode": "The one whose settings are fitted.",
        **dict.fromkeys(chosen.options, f"Fitted for {objective} on {len(recordings)} files."),
    }
    return Preset(
        name=name,
        title=title,
        model=chosen.model,
        live_model=live.model,
        mode=MODE,
        options=chosen.options,
        live_options=None if live is chosen else live.options,
        reasons=reasons,
    )


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
