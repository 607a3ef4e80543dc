"""What one request may have in memory is asked while it grows, not when it is all there."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.server import RunningServer, local_server


@pytest.fixture(scope="module")
def narrow(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Probabilities of a minute, analyses of 1 MiB, decoded audio of 1 MiB: less than one block of eight channels."""
    settings = {"VAD_MAX_PROBABILITY_MINUTES": "1", "VAD_ANALYSES_MB": "1", "VAD_DECODED_MB": "1"}
    with local_server(small_model, tmp_path_factory.mktemp("narrow"), settings) as server:
        yield server


def silence(seconds: int, channels: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((seconds * 8_000, channels), dtype=np.int16), 8_000, format="FLAC")
    return file.getvalue()


def test_probabilities_are_counted_over_channels_and_files(narrow: RunningServer) -> None:
    assert narrow.post("/vad?probabilities=true", content=silence(50, 1)).status_code == 200
    split = narrow.post("/vad?probabilities=true&channel=split", content=silence(10, 8))
    assert (split.status_code, split.json()["option"]) == (422, "probabilities")
    files = [("file", (f"{number}.flac", silence(25, 1))) for number in range(3)]
    answers = narrow.post("/vad?probabilities=true", files=files).json()
    assert ["segments" in answer for answer in answers] == [True, True, False]


def test_an_analysis_that_is_too_large_is_given_up_on_its_way(narrow: RunningServer) -> None:
    assert narrow.post("/vad?keep=true", content=silence(10, 1)).json()["analysis_id"] is not None
    answer = narrow.post("/vad?keep=true&channel=split", content=silence(600, 8))
    assert (answer.status_code, answer.json()["analysis_id"]) == (200, None)
    assert narrow.post("/vad?keep=true", content=silence(10, 1)).json()["analysis_id"] is not None


def test_audio_wider_than_the_budget_is_still_heard_alone(narrow: RunningServer) -> None:
    answer = narrow.post("/vad?channel=split", content=silence(30, 8))
    assert (answer.status_code, answer.json()["audio"]["duration_ms"]) == (200, 30_000)
