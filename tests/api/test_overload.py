"""More clients than room, slow clients, clients that go away: the service keeps answering and loses nothing."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import soundfile

from tests.api.raw import answer_of, connect, occupied, request, slow_upload
from tests.server import RunningServer, local_server, running_server, start_server, stop_server, wait_until_ready
from tests.signals import bursts
from tests.waiting import eventually

ROOM = {"VAD_MAX_REQUESTS": "2", "VAD_MAX_QUEUE": "2", "VAD_MAX_UPLOADS": "9"}


@pytest.fixture(scope="module")
def tight(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two places, two may wait, room for nine uploads, one of them for newcomers; uploads may pause for a second."""
    settings = {**ROOM, "VAD_BODY_IDLE_TIMEOUT_S": "1", "VAD_BODY_MIN_RATE_KBPS": "10"}
    with local_server(small_model, tmp_path_factory.mktemp("tight"), settings) as server:
        yield server


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 minutes: seconds of work."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, bursts(1_200, [(10, 60), (100, 900)]), 16_000, subtype="PCM_16")
    return path


def test_a_full_service_refuses_before_the_body_and_health_still_answers(
    tight: RunningServer, speech_like: Path
) -> None:
    held = [slow_upload(tight) for _ in range(8)]
    eventually(lambda: occupied(tight) == (8, 0, 0))
    with connect(tight) as connection:
        # The body is announced and never sent: the refusal does not wait for it.
        connection.sendall(b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: 500000000\r\n\r\n")
        refusal = answer_of(connection).decode()
    assert refusal.startswith("HTTP/1.1 503")
    headers = dict(line.lower().split(": ", 1) for line in refusal.split("\r\n\r\n")[0].split("\r\n")[1:])
    assert 1 <= int(headers["retry-after"]) <= 5
    assert headers["connection"] == "close"
    assert '"overloaded"' in refusal or headers["content-type"] == "application/problem+json"
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert tight.get(path, timeout=30).status_code == 200
    for connection in held:
        connection.close()
    eventually(lambda: occupied(tight) == (0, 0, 0))
    assert tight.post("/vad", content=speech_like.read_bytes()).status_code == 200
    assert tight.upload_files == []


def test_a_body_that_stops_coming_times_out(tight: RunningServer) -> None:
    with slow_upload(tight) as connection:
        answer = answer_of(connection)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"body_timeout" in answer
    eventually(lambda: tight.upload_files == [])


def test_a_body_that_trickles_times_out(tight: RunningServer) -> None:
    stop = threading.Event()
    with slow_upload(tight) as connection:

        def trickle() -> None:
            while not stop.wait(0.2):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert b" 408 " in answer_of(connection).split(b"\r\n")[0]
        finally:
            stop.set()
            thread.join()


def test_a_huge_head_is_refused(tight: RunningServer) -> None:
    with connect(tight) as connection:
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * (4 << 20))
            answer = answer_of(connection)
        except OSError:
            answer = b""
    assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
    assert tight.get("/health").status_code == 200


@pytest.mark.slow
def test_two_hundred_clients_against_a_limit(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, ROOM) as server:  # it waits for bodies as long as a busy machine takes
        storm_of_clients(server, speech_like)


def storm_of_clients(tight: RunningServer, speech_like: Path) -> None:
    content = speech_like.read_bytes()
    expected = tight.post("/vad", content=content).json()["segments"]

    async def one(client: httpx.AsyncClient) -> int:
        answer = await client.post("/vad", content=content)
        if answer.status_code == 200:
            assert answer.json()["segments"] == expected
        else:
            assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        return answer.status_code

    async def many(address: str) -> list[int]:
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits)
        async with httpx.AsyncClient(base_url=tight.url, timeout=180, transport=transport) as client:
            return list(await asyncio.gather(*(one(client) for _ in range(50))))

    async def storm() -> list[int]:
        clients = await asyncio.gather(*(many(f"127.0.0.{number}") for number in range(1, 5)))
        return [status for statuses in clients for status in statuses]

    statuses = asyncio.run(storm())
    assert statuses.count(200) >= 4
    assert statuses.count(503) >= 1
    eventually(lambda: occupied(tight) == (0, 0, 0))


@pytest.mark.full
def test_a_thousand_aborted_uploads_leave_nothing(small_model: Path, speech_like: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path) as server:
        descriptors = Path(f"/proc/{server.pid}/fd")
        server.post("/vad", content=speech_like.read_bytes())
        before = len(list(descriptors.iterdir()))
        for number in range(1_000):
            with connect(server) as connection:
                head = b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"
                connection.sendall(head + speech_like.read_bytes()[: number * 97 % 60_000])
            if number % 50 == 49:
                occupied(server)  # so that the server, slower than this loop, is never far behind
        eventually(lambda: occupied(server) == (0, 0, 0))
        eventually(lambda: server.upload_files == [])
        eventually(lambda: len(list(descriptors.iterdir())) <= before + 4)
        assert server.post("/vad", content=speech_like.read_bytes()).status_code == 200


def test_a_client_that_leaves_stops_its_work(small_model: Path, long_file: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_WORKERS": "1"}) as server:
        with pytest.raises(httpx.ReadTimeout):
            server.post("/vad", content=long_file.read_bytes(), timeout=httpx.Timeout(20, read=0.05))
        eventually(lambda: occupied(server) == (0, 0, 0))
        assert server.upload_files == []
        scored = "vad_audio_seconds_total{"
        assert scored not in server.get("/metrics").text, "the file was not scored to its end"


def test_the_deadline_is_told(small_model: Path, long_file: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_REQUEST_TIMEOUT_S": "0.01"}) as server:
        answer = server.post("/vad", content=long_file.read_bytes(), timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        eventually(lambda: server.upload_files == [])


@pytest.mark.slow
def test_sigterm_finishes_what_is_inside_and_exits_0(small_model: Path, long_file: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path, {"VAD_WORKERS": "1"}) as server:
        answers: list[httpx.Response] = []

        def send() -> None:
            answers.append(server.post("/vad", content=long_file.read_bytes(), timeout=60))

        thread = threading.Thread(target=send)
        thread.start()
        eventually(lambda: occupied(server)[1] == 1)
        status = stop_server(server)
        thread.join()
    assert status == 0
    assert [answer.status_code for answer in answers] == [200]
    assert list((tmp_path / "tmp").rglob("*.upload")) == []


@pytest.mark.slow
def test_a_second_signal_quits_at_once(small_model: Path, tmp_path: Path) -> None:
    with running_server(small_model, tmp_path) as server:
        held = slow_upload(server)
        eventually(lambda: occupied(server) == (1, 0, 0))
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(Exception):  # noqa: B017, PT011 - it waits for the upload
            server.process.wait(1)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        held.close()


@pytest.mark.slow
def test_what_a_killed_process_left_is_swept_at_the_next_start(small_model: Path, tmp_path: Path) -> None:
    server = start_server(small_model, tmp_path)
    wait_until_ready(server)
    held = connect(server)
    held.sendall(request(body=b"RIFF" + bytes(2 << 20), length=4 << 20))
    base = tmp_path / "tmp" / f"fsmn-vad-{os.getuid()}"
    eventually(lambda: len(list(base.rglob("*.upload"))) == 1)
    assert base.stat().st_mode & 0o777 == 0o700
    server.process.kill()
    server.process.wait()
    held.close()
    assert len(list(base.iterdir())) == 1
    with local_server(small_model, tmp_path) as again:
        assert list(base.rglob("*.upload")) == []
        assert len(list(base.iterdir())) == 1
        with local_server(small_model, tmp_path / "other", {"VAD_TMP_DIR": str(tmp_path / "tmp")}):
            assert len(list(base.iterdir())) == 2, "a neighbour's directory is left alone"
        assert again.get("/health").status_code == 200


def test_the_disk_budget(small_model: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_TMP_BUDGET_MB": "1"}) as server:
        answer = server.post("/vad", content=b"RIFF" + b"\x00" * (3 << 20))
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert server.upload_files == []


def test_a_hostile_file_name_is_only_a_label(server: RunningServer, speech_like: Path) -> None:
    name = "../../etc/passwd%00%0A<svg onload=alert(1)>\u202e.wav"
    with server.client() as client:
        answer = client.post("/vad", files={"file": (name, speech_like.read_bytes())})
        rttm = client.post("/vad?format=rttm", files={"file": ("a b\tc\nd.wav", speech_like.read_bytes())})
    assert "/" not in answer.json()["name"]
    assert "<" not in answer.json()["name"]
    assert all(len(line.split(" ")) == 10 for line in rttm.text.splitlines())
    assert "passwd" not in server.log
