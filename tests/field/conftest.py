"""Fixtures of the field cases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.field.asking import Answer, Pairs, ask, wav
from tests.server import RunningServer, local_server

Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def plain(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    """The segments of the usual recording as a plain WAV."""
    answer = ask(server, wav(tmp_path_factory.mktemp("plain")))
    assert answer.codes == []
    assert len(answer.segments) == 2
    return answer.segments


@pytest.fixture(params=["silero", "fsmn"], scope="module")
def hearing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a model that knows speech: Silero, and FSMN-VAD where its weights are."""
    model: Path | str = request.param
    if request.param == "fsmn":
        model = request.getfixturevalue("published_model")
    else:
        pytest.importorskip("silero_vad", reason="Silero VAD is not installed")
    with local_server(model, tmp_path_factory.mktemp(f"hearing-{request.param}")) as running:
        yield running


@pytest.fixture(scope="session")
def example(reference: Path) -> np.ndarray:
    """The recording of twelve segments that comes with the published model, float32 [n] at 16 kHz."""
    samples, _ = soundfile.read(reference / "audio" / "vad_example.wav", dtype="float32")
    return samples


@pytest.fixture(scope="module")
def twelve(published_server: RunningServer, reference: Path) -> Pairs:
    """Its segments."""
    answer = ask(published_server, reference / "audio" / "vad_example.wav")
    assert len(answer.segments) == 12
    return answer.segments
