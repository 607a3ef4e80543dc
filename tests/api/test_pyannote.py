"""pyannote's network over HTTP: a directory as a model, its own modes, and what it cannot do."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from tests.live.client import hear_all, s16, stream
from tests.server import RunningServer, local_server
from tests.signals import bursts
from tests.small_firered import write_small_firered
from tests.small_pyannote import write_small_pyannote

SOUND = bursts(12.0, [(2.0, 4.0), (6.0, 8.0), (9.0, 11.5)])


@pytest.fixture(scope="module")
def small(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Tiny networks; that of pyannote's layout is found by its directory's files."""
    folder = tmp_path_factory.mktemp("pyannote")
    windows = write_small_pyannote(folder / "windows")
    ahead = write_small_firered(folder / "ahead")
    settings = {"VAD_MODELS": f"windows={windows},ahead=firered:{ahead}", "MODELSCOPE_CACHE": str(folder / "none")}
    with local_server(f"small={small_model}", folder, settings) as server:
        yield server


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(s16(samples), "<i2"), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def post(server: RunningServer, content: bytes, **query: Any) -> httpx.Response:
    return server.post("/vad", params=query, content=content, timeout=120)


def spans(answer: dict[str, Any], label: str | None = None) -> list[list[int]]:
    return [[each["start_ms"], each["end_ms"]] for each in answer["segments"] if each.get("label") == label]


def test_a_directory_is_a_model(small: RunningServer) -> None:
    answer = post(small, wav(SOUND), model="windows").json()
    assert answer["model"]["name"] == "windows"
    assert answer["options"]["mode"] == "tight"
    assert (answer["options"]["threshold"], answer["options"]["neg_threshold"]) == (0.6, 0.6)
    assert len(spans(answer)) == 3
    [listed] = [each for each in small.get("/models").json()["models"] if each["name"] == "windows"]
    assert (listed["live"], listed["look_ahead_ms"], listed["frame_ms"]) == (False, 10_000, 10)


@pytest.mark.parametrize("count", [1, 100, 160, 990, 16_000, 160_000, 160_500])
def test_audio_of_any_length(small: RunningServer, count: int) -> None:
    for options in ({}, {"mode": "binarize", "pad_onset": 0.2, "pad_offset": 0.2}, {"probabilities": "true"}):
        answer = post(small, wav(SOUND[24_000 : 24_000 + count]), model="windows", **options).json()
        assert all(0 <= start < end <= count // 16 for start, end in spans(answer))
        if "probabilities" in options:
            assert len(answer["probabilities"]["values"]) == count // 160


def test_its_own_post_processing(small: RunningServer) -> None:
    content = wav(SOUND)
    plain = post(small, content, model="windows", mode="binarize").json()
    assert plain["options"] == {
        "mode": "binarize", "onset": 0.5, "offset": 0.5, "min_duration_on": 0.0, "min_duration_off": 0.0,
        "pad_onset": 0.0, "pad_offset": 0.0, "merge_gap_ms": 0,
    }  # fmt: skip
    assert len(spans(plain)) == 3
    higher = post(small, content, model="windows", mode="binarize", onset=0.7).json()
    assert (higher["options"]["onset"], higher["options"]["offset"]) == (0.7, 0.7)
    nought = post(small, content, model="windows", mode="binarize", offset=0).json()
    assert nought["options"]["offset"] == 0
    assert len(spans(nought)) == 1  # once it has begun nothing ends it
    joined = post(small, content, model="windows", mode="binarize", min_duration_off=2.5).json()
    assert len(spans(joined)) == 1
    assert spans(post(small, content, model="windows", mode="binarize", min_duration_on=3).json()) == []
    for wrong in ({"onset": 1.5}, {"min_duration_on": -1}, {"offset": "nan"}, {"threshold": 0.5}):
        refused = post(small, content, model="windows", mode="binarize", **wrong)
        assert (refused.status_code, refused.json()["option"]) == (422, next(iter(wrong)))
    refused = post(small, content, model="windows", onset=0.5)
    assert "is an option of mode=binarize, and the mode in force is tight" in refused.json()["detail"]
    other = post(small, content, model="small", mode="binarize", min_duration_off=0.5).json()
    assert len(spans(other)) == 3


def test_kept_posteriors_answer_in_every_mode(small: RunningServer) -> None:
    content = wav(SOUND)
    kept = post(small, content, model="windows", keep="true").json()["analysis_id"]
    for mode in ("tight", "endpoint", "smoothed", "binarize"):
        again = small.get(f"/analyses/{kept}/segments", params={"mode": mode}).json()
        assert spans(again) == spans(post(small, content, model="windows", mode=mode).json()) != []


def test_live_streams_refuse_it_and_say_what_to_take(small: RunningServer) -> None:
    for model in ("windows", "small+windows"):
        with stream(small, model=model) as socket:
            heard = hear_all(socket)
        assert heard.error["code"] == "invalid_option"
        assert f"{model} cannot follow a live stream: windows hears windows of 10 s" in heard.error["detail"]
        assert "silero+firered-stream can" in heard.error["detail"]
        assert heard.code == 1008
