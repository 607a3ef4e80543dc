"""Tones of the telephone and music on hold, which some detectors take for speech: what each model counts, as
docs/models.md tells it, and what users can do."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tests.field import tones
from tests.field.asking import ask
from tests.server import RunningServer, local_server
from tests.voice import voice

pytestmark = pytest.mark.slow

TONES = {
    "ringback": tones.ringback(),
    "ringback, US": tones.ringback(american=True),
    "busy": tones.busy(),
    "busy, US": tones.busy(american=True),
    "keys": tones.keys(),
    "music": tones.hold_music(),
}
"""Under the names of the table's columns."""
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "models.md"
CURE = {"preset": "telephone", "model": "silero-8k"}


def file_of(samples: np.ndarray) -> bytes:
    """As a telephone exchange records it."""
    out = io.BytesIO()
    soundfile.write(out, samples, tones.RATE, format="WAV", subtype="ULAW")
    return out.getvalue()


FILES = {name: file_of(samples) for name, samples in TONES.items()}


def counted_s(server: RunningServer, tone: str, **options: str) -> float:
    """Seconds of it that are taken for speech."""
    answer = server.post("/vad", content=FILES[tone], params=options).json()
    return sum(each["duration_ms"] for each in answer["segments"] if each.get("label", "speech") == "speech") / 1000


@pytest.fixture(scope="module")
def without_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Silero's models alone, which need no download."""
    pytest.importorskip("silero_vad", reason="Silero VAD is not installed")
    with local_server("silero", tmp_path_factory.mktemp("tones"), {"VAD_MODELS": "silero-8k"}) as running:
        yield running


@pytest.fixture(scope="module")
def with_all(
    published_model: Path, reference: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """All models of the table."""
    pytest.importorskip("silero_vad", reason="Silero VAD is not installed")
    settings = {
        "VAD_MODELS": "silero,silero-8k,firered,firered-stream,firered-aed",
        "MODELSCOPE_CACHE": str(reference / "modelscope"),
    }
    if not (reference / "modelscope" / "models" / "xukaituo").is_dir():
        pytest.skip("FireRedVAD is not among the reference data")
    with local_server(published_model, tmp_path_factory.mktemp("all-tones"), settings) as running:
        yield running


@pytest.mark.parametrize("options", [{"model": "silero"}, {"model": "silero-8k"}, CURE], ids=["16k", "8k", "telephone"])
def test_silero_takes_none_for_speech(options: dict[str, str], without_hub: RunningServer) -> None:
    assert {tone: counted_s(without_hub, tone, **options) for tone in TONES} == dict.fromkeys(TONES, 0.0)
    spoken = soxr.resample(voice(10, [(2.0, 4.5), (6.5, 9.0)]), 16_000, tones.RATE)
    assert len(ask(without_hub, file_of(spoken), **options).segments) == 2


def documented() -> list[tuple[str, dict[str, str]]]:
    """Rows of the table: options as in a URL, and cells by column."""
    table = DOCUMENT.read_text().split("<!-- tones -->")[1].split("<!-- /tones -->")[0].strip().splitlines()
    columns = [cell.strip() for cell in table[0].strip("|").split("|")][1:]
    rows = []
    for line in table[2:]:
        head, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append((re.sub("`", "", head), dict(zip(columns, cells, strict=True))))
    return rows


@pytest.mark.full
@pytest.mark.reference
def test_firered_aed_takes_music_for_music_and_singing(with_all: RunningServer) -> None:
    answer = with_all.post("/vad", content=FILES["music"], params={"model": "firered-aed"}).json()
    assert {each["label"] for each in answer["segments"]} == {"music", "singing"}


@pytest.mark.full  # every model over minutes of tones
@pytest.mark.reference
@pytest.mark.parametrize(("asked", "cells"), documented(), ids=lambda given: given if isinstance(given, str) else "")
def test_the_table_is_true(asked: str, cells: dict[str, str], with_all: RunningServer) -> None:
    options = dict(pair.split("=", 1) for pair in asked.split("&"))
    for tone, cell in cells.items():
        told_s = 0.0 if cell == "–" else float(cell.removesuffix(" s"))
        assert abs(counted_s(with_all, tone, **options) - told_s) <= 0.5, tone
