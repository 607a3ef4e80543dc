"""What one request may have in memory is asked while it grows, not when it is all there."""

import gc
import io
import json
import socket
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from app.audio.source import AudioSource
from app.detection import Run
from tests.server import RunningServer, local_server
from tests.waiting import eventually


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


@pytest.fixture(scope="module")
def generous(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Probabilities of many hours, and 1 MiB for those that have been found: half a million."""
    settings = {"VAD_MAX_PROBABILITY_MINUTES": "10000", "VAD_DECODED_MB": "1"}
    with local_server(small_model, tmp_path_factory.mktemp("generous"), settings) as server:
        yield server


def test_probabilities_count_against_the_memory(generous: RunningServer) -> None:
    wanted = "/vad?probabilities=true&members=true"
    answer = generous.post(wanted, content=silence(60, 1))
    assert (answer.status_code, len(answer.json()["probabilities"]["values"])) == (200, 5_998)
    for form in ("", "&format=ndjson"):
        refused = generous.post(f"{wanted}&channel=split{form}", content=silence(400, 8)).text
        assert json.loads(refused.splitlines()[-1])["code"] == "overloaded"
    assert generous.post(wanted, content=silence(60, 1)).text.count(",") == answer.text.count(","), "all is given back"


def test_large_answers_are_written_in_turn(generous: RunningServer) -> None:
    """Each takes more than there is for all while it is written, so one waits for the other."""
    content = silence(200, 1)

    def ask(number: int) -> list[float]:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=f"127.0.1.{number}"), timeout=60) as client:
            answer = client.post(f"{generous.url}/vad?probabilities=true", content=content).json()
            return answer["probabilities"]["values"]  # type: ignore[no-any-return]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(1, 7)))
    assert all(answer == answers[0] for answer in answers)
    kept = generous.post("/vad?keep=true", content=content).json()["analysis_id"]
    again = generous.get(f"/analyses/{kept}/segments?probabilities=true").json()
    assert again["probabilities"]["values"] == answers[0]


@pytest.mark.parametrize(
    ("query", "stays"), [("", True), ("", False), ("?format=wav&excerpt_rate=8000", True), ("?format=wav", False)]
)
def test_what_a_request_had_is_freed_with_it(
    query: str, stays: bool, generous: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when Python next looks for cycles, which in a service that nobody calls is never."""
    had: list[weakref.ref[object]] = []
    for kind in (Run, AudioSource):
        monkeypatch.setattr(kind, "__init__", noted(kind.__init__, had))
    content = silence(30 if stays else 2_000, 1)
    gc.disable()
    try:
        if stays:
            assert generous.post(f"/vad{query}", content=content).status_code == 200
        else:
            with socket.create_connection(("127.0.0.1", generous.port)) as connection:
                head = f"POST /vad{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
                connection.sendall(head.encode() + content)
                eventually(lambda: len(had) == 2)
        eventually(lambda: [each() for each in had] == [None, None], 10)
    finally:
        gc.enable()


def noted(init: Callable[..., None], had: "list[weakref.ref[object]]") -> Callable[..., None]:
    """A class's `__init__` that notes what is made."""

    def __init__(self: object, *arguments: object, **named: object) -> None:  # noqa: N807
        had.append(weakref.ref(self))
        init(self, *arguments, **named)

    return __init__
