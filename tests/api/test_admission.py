"""Nobody is locked out: what one client does, slow, greedy or rude, leaves room for others."""

import io
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import soundfile

from tests.api.raw import (
    ANN,
    BOB,
    CY,
    MP3,
    answer_of,
    connect,
    long_computing,
    occupied,
    problem_of,
    request,
    slow_upload,
    status_of,
    stuck_ffmpeg,
)
from tests.audio.ffmpegs import AVAILABLE, encode
from tests.server import RunningServer, local_server
from tests.signals import bursts
from tests.waiting import eventually


@pytest.fixture
def tight(small_model: Path, tmp_path: Path) -> Iterator[RunningServer]:
    """Four places, four may wait, 16 uploads; what is given to its ffmpeg stays until its client goes."""
    settings = {
        "VAD_MAX_REQUESTS": "4", "VAD_MAX_QUEUE": "4", "VAD_MAX_UPLOADS": "16", "VAD_FFMPEG": stuck_ffmpeg(tmp_path),
    }  # fmt: skip
    with local_server(small_model, tmp_path, settings) as server:
        yield server


def post(server: RunningServer, content: bytes, client: str, path: str = "/vad") -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=client), timeout=60) as sender:
        return sender.post(f"{server.url}{path}", content=content)


def test_slow_uploads_keep_nobody_out(tight: RunningServer, speech_like: Path) -> None:
    with ExitStack() as held:
        for _ in range(14):
            held.enter_context(slow_upload(tight))
        eventually(lambda: occupied(tight) == (14, 0, 0))
        refused = held.enter_context(slow_upload(tight))
        assert problem_of(answer_of(refused))["code"] == "overloaded", "an eighth is for those who have nothing"
        assert post(tight, speech_like.read_bytes(), BOB).status_code == 200
        health = tight.get("/health").json()
        assert (health["uploads"], health["inflight"], health["queue"]) == (14, 0, 0)
        assert health["limits"]["max_uploads"] == 16
    eventually(lambda: occupied(tight) == (0, 0, 0))


def test_long_computing_keeps_nobody_out(tight: RunningServer, speech_like: Path) -> None:
    with ExitStack() as held:
        anns = [held.enter_context(long_computing(tight, ANN)) for _ in range(3)]
        eventually(lambda: occupied(tight) == (0, 3, 0))
        for count in range(1, 5):
            anns.append(held.enter_context(long_computing(tight, ANN)))
            eventually(lambda count=count: occupied(tight) == (0, 3, count))
        refused = held.enter_context(long_computing(tight, ANN))
        assert status_of(answer_of(refused)) == 503, "its own line is full"
        assert post(tight, speech_like.read_bytes(), BOB).status_code == 200
        # Bob, greedy too, has the last place, and one in the line in place of Ann's newest; a third is still let in.
        bobs = [held.enter_context(long_computing(tight, BOB)) for _ in range(2)]
        displaced = answer_of(anns.pop())
        assert (status_of(displaced), problem_of(displaced)["code"]) == (503, "overloaded")
        assert b"\r\nretry-after: " in displaced.lower()
        eventually(lambda: occupied(tight) == (0, 4, 4))
        assert post(tight, speech_like.read_bytes(), CY).status_code == 200, "a clip is done on trial"
        assert occupied(tight) == (0, 4, 4)
        third = held.enter_context(long_computing(tight, CY))
        assert status_of(answer_of(anns.pop())) == 503, "when its trial is over"
        assert occupied(tight) == (0, 4, 4)
        anns.pop(0).close()
        eventually(lambda: occupied(tight) == (0, 4, 3))
        third.close()
        eventually(lambda: occupied(tight) == (0, 3, 3))  # it was the next one, before those who waited longer
        assert bobs
    eventually(lambda: occupied(tight) == (0, 0, 0))
    assert tight.upload_files == []


@pytest.mark.parametrize("count", [16, 24])
def test_long_files_of_many_addresses_keep_no_clip_out(
    small_model: Path, tmp_path: Path, speech_like: Path, count: int
) -> None:
    """As many as there are places, or more: each has had a trial before somebody new comes."""
    content, settings = speech_like.read_bytes(), {"VAD_WORKERS": "2", "VAD_FFMPEG": stuck_ffmpeg(tmp_path)}
    with local_server(small_model, tmp_path, settings) as server, ExitStack() as held:
        expected = post(server, content, BOB, "/vad?keep=true").json()
        for number in range(count):
            held.enter_context(long_computing(server, f"127.0.1.{number}"))
        eventually(lambda: occupied(server) == (0, 16, count - 16), 30)
        for path, body in (
            ("/vad", content),
            ("/vad?format=ndjson", content),
            ("/vad?format=wav", content),
            ("/v1/audio/speech/timestamps", content),
            ("/render?format=srt", json.dumps(expected).encode()),
            (f"/analyses/{expected['analysis_id']}/segments", None),
            (f"/analyses/{expected['analysis_id']}/curve", None),
            ("/sample.wav", None),
        ):
            started = time.monotonic()
            with httpx.Client(transport=httpx.HTTPTransport(local_address=BOB), timeout=60) as sender:
                answer = sender.request("GET" if body is None else "POST", f"{server.url}{path}", content=body)
            assert answer.status_code == 200, answer.text
            assert time.monotonic() - started < 1.5, path
            if path == "/vad":
                assert answer.json()["segments"] == expected["segments"]
        assert occupied(server) == (0, 16, count - 16), "what is in use is not displaced"
        held.close()
        eventually(lambda: occupied(server) == (0, 0, 0))


@pytest.mark.parametrize("query", ["", "?format=ndjson", "?format=wav", "?probabilities=true&keep=true"])
def test_what_takes_longer_than_a_trial_begins_again(
    small_model: Path, tmp_path: Path, speech_like: Path, query: str
) -> None:
    """Its decoder hangs until it has waited in the line; then all is as if it had waited from the beginning."""
    hangs, program = tmp_path / "hangs", tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\nwhile [ -e {hangs} ]; do sleep 0.05; done\nexec {AVAILABLE["bundled"]} "$@"\n')
    program.chmod(0o755)
    content = encode(speech_like, tmp_path / "clip.mp3", "-c:a", "libmp3lame", "-b:a", "32k").read_bytes()
    settings = {"VAD_MAX_REQUESTS": "4", "VAD_FFMPEG": str(program), "VAD_MAX_PROBABILITY_MINUTES": "0.3"}
    with local_server(small_model, tmp_path, settings) as server, ThreadPoolExecutor(5) as pool:
        expected = post(server, content, ANN, f"/vad{query}")
        hangs.touch()
        before = [pool.submit(post, server, content, f"127.0.1.{number}") for number in range(4)]
        eventually(lambda: occupied(server) == (0, 4, 0))
        tried = pool.submit(post, server, content, BOB, f"/vad{query}")
        eventually(lambda: occupied(server) == (0, 5, 0))
        eventually(lambda: occupied(server) == (0, 4, 1))
        hangs.unlink()
        answer = tried.result()
        assert [each.result().status_code for each in before] == [200] * 4
        assert (answer.status_code, segments_in(answer)) == (200, segments_in(expected))
        eventually(lambda: occupied(server) == (0, 0, 0))


def segments_in(answer: httpx.Response) -> object:
    """What does not differ between two answers to the same request."""
    if answer.headers["content-type"] == "application/json":
        found = answer.json()
        return found["segments"], found.get("probabilities"), found.get("analysis_id") is None
    return re.sub(rb'"(request_id|timing)": ?("[^"]*"|{[^}]*})', b"", answer.content)


def test_many_clips_of_one_address_are_all_answered(small_model: Path, tmp_path: Path) -> None:
    """192 short clips, 64 at a time, with the default limits; and somebody else's beside them, one after the other."""
    file, neighbours = io.BytesIO(), list[int]()
    soundfile.write(file, bursts(1.0, [(0.2, 0.8)]), 16_000, format="WAV")
    content = file.getvalue()
    done = threading.Event()
    with local_server(small_model, tmp_path, {"VAD_WORKERS": "2"}) as server:

        def beside_them() -> None:
            while not done.is_set():
                neighbours.append(post(server, content, BOB).status_code)

        neighbour = threading.Thread(target=beside_them)
        neighbour.start()
        try:
            with ThreadPoolExecutor(64) as pool:
                answers = list(pool.map(lambda _: post(server, content, ANN).status_code, range(192)))
        finally:
            done.set()
            neighbour.join()
        assert answers == [200] * 192
        assert set(neighbours) == {200}
        eventually(lambda: occupied(server) == (0, 0, 0))


def test_the_newest_address_of_a_key_is_next(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    """One key: its addresses have one share, and take turns in it; another key is served beside them."""
    settings = {
        "VAD_MAX_REQUESTS": "4", "VAD_MAX_QUEUE": "32", "VAD_API_KEYS": "one,two",
        "VAD_FFMPEG": stuck_ffmpeg(tmp_path),
    }  # fmt: skip
    with local_server(small_model, tmp_path, settings) as server, ExitStack() as held:
        for number in range(1, 9):
            connection = held.enter_context(connect(server, f"127.0.0.{number}"))
            connection.sendall(request(body=MP3).replace(b"\r\n\r\n", b"\r\nX-API-Key: one\r\n\r\n", 1))
        eventually(lambda: occupied(server) == (0, 3, 5))
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.1"), timeout=60) as other:
            answer = other.post(f"{server.url}/vad", content=speech_like.read_bytes(), headers={"X-API-Key": "two"})
        assert answer.status_code == 200
        assert occupied(server) == (0, 3, 5)


def test_whoever_waits_and_goes_leaves_the_line(tight: RunningServer, speech_like: Path) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(long_computing(tight, ANN))
        eventually(lambda: occupied(tight) == (0, 3, 0))
        waiting = [long_computing(tight, ANN) for _ in range(4)]
        eventually(lambda: occupied(tight) == (0, 3, 4))
        for connection in waiting:
            connection.close()
        eventually(lambda: occupied(tight) == (0, 3, 0))
    eventually(lambda: occupied(tight) == (0, 0, 0))


def test_the_wait_has_an_end_and_an_answer(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    settings = {
        "VAD_MAX_REQUESTS": "1", "VAD_MAX_QUEUE": "4", "VAD_QUEUE_TIMEOUT_S": "0.3",
        "VAD_FFMPEG": stuck_ffmpeg(tmp_path),
    }  # fmt: skip
    with local_server(small_model, tmp_path, settings) as server:
        kept = server.post("/vad?keep=true", content=speech_like.read_bytes()).json()["analysis_id"]
        with long_computing(server):
            eventually(lambda: occupied(server) == (0, 1, 0))
            for answer in (
                post(server, speech_like.read_bytes(), BOB),
                post(server, speech_like.read_bytes(), BOB, "/v1/audio/speech/timestamps"),
                server.get(f"/analyses/{kept}/segments"),
                server.get(f"/analyses/{kept}/curve"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
                assert 1 <= int(answer.headers["retry-after"]) <= 5
        eventually(lambda: occupied(server) == (0, 0, 0))
        assert server.get(f"/analyses/{kept}/segments").status_code == 200
        assert server.get(f"/analyses/{kept}/curve").status_code == 200


@pytest.mark.parametrize(("length", "limit_s"), [(20_000, "1.7"), (10_000_000, "2")])
def test_an_upload_may_last_so_long(small_model: Path, tmp_path: Path, length: int, limit_s: str) -> None:
    """At the least rate its length takes 0.7 s, and 1 s more may pass; or else an absolute limit ends it."""
    settings = {"VAD_BODY_MIN_RATE_KBPS": "28.5714", "VAD_BODY_IDLE_TIMEOUT_S": "1", "VAD_BODY_TIMEOUT_S": "2"}
    stop = threading.Event()
    with local_server(small_model, tmp_path, settings) as server, connect(server) as connection:
        connection.sendall(request(body=b"RIFF", length=length))

        def send_on() -> None:
            # For longer than any limit here, however late a busy machine lets the server begin.
            for _ in range(99):
                if stop.wait(0.1):
                    return
                try:
                    connection.sendall(bytes(length // 100))
                except OSError:
                    return

        thread = threading.Thread(target=send_on)
        thread.start()
        try:
            problem = problem_of(answer_of(connection))
        finally:
            stop.set()
            thread.join()
    assert problem["code"] == "body_timeout"
    if length > 100_000:
        assert problem["detail"] == f"the upload was not complete after {limit_s} s"


def test_many_clients_at_once_are_all_served_or_told(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    content = speech_like.read_bytes()
    with local_server(small_model, tmp_path, {"VAD_MAX_REQUESTS": "4", "VAD_MAX_QUEUE": "8"}) as server:
        expected = post(server, content, ANN).json()["segments"]
        answers: list[httpx.Response] = []

        def ask(number: int) -> None:
            answers.append(post(server, content, f"127.0.1.{number}"))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 33)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in answers:
            assert answer.status_code in (200, 503)
            assert answer.status_code == 503 or answer.json()["segments"] == expected
        assert sum(answer.status_code == 200 for answer in answers) >= 12
        eventually(lambda: occupied(server) == (0, 0, 0))
