"""Memory after bursts: what they took is given back within a minute, and what is ready takes no more than is told."""

import contextlib
import io
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.live.client import converse, cut, s16
from tests.server import RunningServer, running_server
from tests.signals import bursts
from tests.soak.faults import resident_bytes
from tests.waiting import eventually

AT_ONCE = 16
MOST_GROWTH = 1.2
"""Of what the process has when it is ready, which is little: 30 MB more stay in the heaps of the threads that score."""
GIVEN_BACK_WITHIN_S = 60.0
MIB = 1 << 20
READY_MB = 300
"""MiB. With FSMN-VAD, FireRedVAD and Silero VAD."""

Burst = Callable[[RunningServer], None]


def encoded(seconds: float, channels: int = 1, **form: str) -> bytes:
    """A file with speech-like sound; each channel's is a moment later."""
    sound = bursts(seconds, [(at, at + 2) for at in range(1, int(seconds) - 3, 4)])
    file = io.BytesIO()
    soundfile.write(file, np.stack([np.roll(sound, 700 * n) for n in range(channels)], axis=1), 16_000, **form)
    return file.getvalue()


def post_all(server: RunningServer, requests: Sequence[tuple[str, bytes]]) -> None:
    """All of them at once, again when there was no room."""

    def post(request: tuple[str, bytes]) -> int:
        query, content = request
        answer = server.post(f"/vad?{query}", content=content)
        while answer.status_code == 503:
            answer = server.post(f"/vad?{query}", content=content)
        return answer.status_code

    with ThreadPoolExecutor(AT_ONCE) as clients:
        assert set(clients.map(post, requests)) == {200}


def eight_channels_split(server: RunningServer) -> None:
    """What a call centre's recorder gives."""
    post_all(server, [("channel=split", encoded(60, 8, format="WAV"))] * AT_ONCE)


def many_formats(server: RunningServer) -> None:
    """Whatever libsndfile reads and writes, of as many lengths."""
    forms = [("WAV", "PCM_24"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
             ("AIFF", "PCM_16"), ("AU", "ULAW"), ("CAF", "PCM_16")]  # fmt: skip
    files = [
        encoded(seconds, 2, format=form, subtype=subtype)
        for number, (form, subtype) in enumerate(forms)
        for seconds in (7 + number, 50 + 7 * number)
    ]
    post_all(server, [("", content) for content in files])


def conversions(server: RunningServer) -> None:
    """Answers that are sound."""
    content = encoded(240, 2, format="FLAC")
    post_all(server, [(f"format={form}&excerpt_rate=48000", content) for form in ("wav", "zip")] * (AT_ONCE // 2))


def kept_analyses(server: RunningServer) -> None:
    """Dropped when their time is over, though nobody calls."""
    content = encoded(600, format="FLAC")
    post_all(server, [("keep=true&probabilities=true", content)] * AT_ONCE)


def many_lengths(server: RunningServer) -> None:
    """Clips for each of which other kernels are compiled."""
    post_all(server, [("", encoded(4 + 0.37 * number, format="WAV")) for number in range(100)])


def live_sessions(server: RunningServer) -> None:
    """Sent faster than they are spoken."""
    sound = cut(s16(bursts(20, [(2, 6), (9, 15)])), 3200)

    def speak(_: int) -> None:
        assert converse(server, sound).of("done")

    with ThreadPoolExecutor(AT_ONCE) as clients:
        list(clients.map(speak, range(4 * AT_ONCE)))


def clients_that_leave(server: RunningServer) -> None:
    """In the midst of an upload, of hours of silence, and of sound that they had begun to read."""
    long, sound = encoded(3_600, format="FLAC"), encoded(600, 8, format="FLAC")
    requests = [("", long, len(long) // 2), ("", long, None), ("?format=wav&silence=zero&channel=0", sound, None)]

    def leave(number: int) -> None:
        query, content, sent = requests[number % 3]
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"POST /vad{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content[:sent])
            connection.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                connection.recv(1 << 12)

    with ThreadPoolExecutor(AT_ONCE) as clients:
        list(clients.map(leave, range(6 * AT_ONCE)))


BURSTS: tuple[Burst, ...] = (
    eight_channels_split, many_formats, conversions, kept_analyses, many_lengths, live_sessions, clients_that_leave,
)  # fmt: skip


@pytest.fixture(scope="module")
def three_models(published_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """In a process of its own, ready; as an operator starts it, but for how long analyses are kept."""
    cache = published_model.parents[2]
    if not list(cache.glob("models/*/FireRedVAD")):
        pytest.skip("FireRedVAD is not among the reference data")
    settings = {
        "VAD_MODELS": "fsmn,firered,silero", "MODELSCOPE_CACHE": str(cache), "VAD_ANALYSIS_TTL_S": "5",
        "VAD_WORKERS": "2",
    }  # fmt: skip
    with running_server("fsmn", tmp_path_factory.mktemp("three-models"), settings, module="app.cli") as server:
        yield server


@pytest.fixture(scope="module")
def at_rest(three_models: RunningServer) -> int:
    """Resident bytes before any burst."""
    return resident_bytes(three_models)


@pytest.mark.slow
def test_three_models_are_ready_in_little_memory(three_models: RunningServer, at_rest: int) -> None:
    assert len(three_models.get("/models").json()["models"]) >= 3
    assert at_rest / MIB <= READY_MB


@pytest.mark.full
@pytest.mark.parametrize("burst", BURSTS, ids=lambda burst: burst.__name__)
def test_a_bursts_memory_is_given_back(burst: Burst, three_models: RunningServer, at_rest: int) -> None:
    burst(three_models)
    after = resident_bytes(three_models)
    lowest = after

    def given_back() -> bool:
        nonlocal lowest
        lowest = min(lowest, resident_bytes(three_models))
        return lowest <= MOST_GROWTH * at_rest

    try:
        eventually(given_back, GIVEN_BACK_WITHIN_S)
    finally:
        print(f"{burst.__name__}: {at_rest / MIB:.0f} MB, {after / MIB:.0f}, then {lowest / MIB:.0f}")
