"""Settings that are fitted: found where they are known, judged on other files, and the service's own segments."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("scipy", reason="the extra `tune` is not installed")

from app.accuracy import fitting
from app.accuracy.corpus import find_recordings
from app.accuracy.fitting import USUAL, Row, Search, Tally, as_options, segments, tally
from app.accuracy.frames import Counts
from app.accuracy.service import Service
from app.accuracy.tuning import Tuning, usable
from app.audio.options import AudioInput
from app.config import Settings
from app.detection import FileJob
from app.models import Model
from app.registry import installed
from app.request import DetectionRequest
from app.runtime import start_runtime
from app.vad.grid import Grid
from app.vad.posteriors import Posteriors
from tests.signals import bursts
from tests.small_checkpoint import write_small_checkpoint

GRID = Grid(16_000, 400, 160)
SPANS = [(0.5, 1.5), (2.5, 3.25), (4.0, 4.9)]
PAIRS = [{"threshold": on, "neg_threshold": on} for on in (0.1, 0.25, 0.4, 0.6, 0.8)]


def row(file: int, *, speech: float = 0.9, rest: float = 0.05, late_s: float = 0.0, group: str = "clean") -> Row:
    """A model that gives `speech` to what is labelled and `rest` to what is not, its edges so much too late."""
    values = np.full(600, rest, np.float32)
    for start, end in SPANS:
        values[round(100 * (start + late_s)) : round(100 * (end + late_s))] = speech
    return Row(file, group, Posteriors(values, np.zeros(600, np.float32)), GRID, SPANS, 6.0)


@pytest.fixture
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to see what is chosen, and quick."""
    edges = [{"pad_start_ms": ms} for ms in (-200, -100, 0, 20, 100)], [{"pad_end_ms": ms} for ms in (0, 20, 100, 200)]
    monkeypatch.setattr(fitting, "COORDINATES", (PAIRS, *edges))


@pytest.mark.usefixtures("few_settings")
def test_the_threshold_lies_where_speech_and_the_rest_part() -> None:
    """Of some files' rest at 0.3 and others' speech at 0.45: 0.4 alone parts them all."""
    rows = [row(0), row(1, rest=0.3), row(2, speech=0.45), row(3, speech=0.45, rest=0.3)]
    found = Search(rows, "f1").best(range(4))
    assert (found["threshold"], found["neg_threshold"]) == (0.4, 0.4)


@pytest.mark.usefixtures("few_settings")
def test_ends_that_are_late_by_different_amounts_get_a_pad_each() -> None:
    found = Search([row(file, late_s=0.1) for file in range(3)], "boundaries").best(range(3))
    assert (found["pad_start_ms"], found["pad_end_ms"]) == (100, 0)
    early = Search([row(file, late_s=-0.2) for file in range(3)], "boundaries").best(range(3))
    assert (early["pad_start_ms"], early["pad_end_ms"]) == (-200, 200)


@pytest.mark.usefixtures("few_settings")
@pytest.mark.parametrize(("objective", "threshold"), [("recall", 0.1), ("precision", USUAL["threshold"])])
def test_objectives_weigh_what_is_missed_and_what_is_false(objective: str, threshold: float) -> None:
    """Half of the files' speech is at 0.15, and other files' rest as well: one of both goes wrong."""
    rows = [row(0, speech=0.15), row(1, speech=0.15), row(2, rest=0.15), row(3, rest=0.15)]
    assert Search(rows, objective).best(range(4))["threshold"] == threshold


@pytest.mark.usefixtures("few_settings")
def test_each_file_is_judged_with_settings_that_it_had_no_part_in() -> None:
    """One file needs a threshold of its own; judged by the others' it is lost, and the figures say so."""
    rows = [row(0), row(1), row(2), row(3, speech=0.2, rest=0.19)]
    search = Search(rows, "f1")
    tallies, value = search.cross_validated()
    assert [each.counts.f1 for each in tallies[:3]] == [pytest.approx(1, abs=0.05)] * 3
    assert tallies[3].counts.misses == 265
    assert value < search.value(search.best([3]), [3]) or value < 0.95


@pytest.mark.usefixtures("few_settings")
def test_conditions_of_a_file_stay_together_and_groups_count_alike() -> None:
    rows = [row(file, group=group) for group in ("clean", "noise") for file in range(3)]
    rows[5] = row(2, speech=0.02, rest=0.01, group="noise")
    search = Search(rows, "f1")
    tallies, value = search.cross_validated()
    noisy = sum(each.counts.hits for each in tallies[3:]) * 2
    noise_f1 = noisy / (noisy + sum(each.counts.misses + each.counts.alarms for each in tallies[3:]))
    assert value == pytest.approx((tallies[0].counts.f1 + noise_f1) / 2, abs=0.02)


@pytest.mark.usefixtures("few_settings")
def test_the_same_audio_gives_the_same_settings() -> None:
    rows = [row(file, speech=0.3 + 0.05 * file, rest=0.02 * file, late_s=0.02 * file) for file in range(6)]
    one, other = (Search(rows, "f1") for _ in range(2))
    assert one.best(range(6)) == other.best(range(6))
    assert one.cross_validated()[1] == other.cross_validated()[1]


def test_a_tally_counts_edges_without_partners_too() -> None:
    made = tally(row(0), [(0.52, 1.5), (2.5, 3.2), (5.4, 5.6)])
    assert made.counts == Counts(98 + 70, 2 + 5 + 90, 20, 600 - 168 - 97 - 20)
    # Of 3 starts and 3 ends labelled two each are matched; one of each is missing, and one of each too many.
    assert made.edges == 2 * (2 + 1 + 1)
    assert made.edge_cost_ms == pytest.approx(20 + 50 + 4 * 500)


def test_what_is_fitted_is_what_the_service_finds(tmp_path: Path) -> None:
    """Of a model and of a sum: the segments by which settings are judged are those of a request with those settings."""
    models = [f"{name}={write_small_checkpoint(tmp_path / name)}" for name in ("one", "other")]
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "a.wav"
    soundfile.write(path, bursts(6.0, SPANS), 16_000, subtype="PCM_16")
    path.with_suffix(".txt").write_text("".join(f"{start}\t{end}\ta\n" for start, end in SPANS))
    setting = {**USUAL, "threshold": 0.6, "pad_start_ms": 130, "pad_end_ms": -40}

    async def compare() -> None:
        runtime = await start_runtime(Settings(model=models[0], models=models[1:]), installed())
        try:
            view: Any = _NoView()
            tuning = Tuning(Service(runtime), usable(find_recordings(tmp_path / "data"), view), "f1", view)
            for name in ("one", "one+other"):
                model = await runtime.models.get(name)
                (mine,) = await tuning.rows(model, [path])
                asked = await _asked(runtime, model, path, as_options(setting))
                assert segments(mine, as_options(setting)) == asked != []
        finally:
            runtime.close()

    asyncio.run(compare())


async def _asked(runtime: Any, model: Model, path: Path, options: Mapping[str, Any]) -> Sequence[tuple[float, float]]:
    plan = DetectionRequest.parse({"mode": "tight", **options}).plan(runtime.models.with_preset(model, "none"))
    run = await runtime.detector.run(plan, FileJob(AudioInput(path), "a"))
    return [(each.start_ms / 1000, each.end_ms / 1000) for each in run.report().channels[0].segments]


class _NoView:
    def __getattr__(self, name: str) -> Any:
        return lambda *given: None


def test_pads_that_are_alike_are_one_option() -> None:
    assert as_options(USUAL)["speech_pad_ms"] == 20
    assert as_options({**USUAL, "pad_end_ms": -30})["pad_end_ms"] == -30
    assert "speech_pad_ms" not in as_options({**USUAL, "pad_start_ms": -30, "pad_end_ms": -30})
    assert isinstance(tally(row(0), []), Tally)
