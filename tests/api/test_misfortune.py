"""What the machine and its neighbours do to a running service: cleaners of /tmp, decoders that hang, ports in use."""

import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from app.audio.decode import AudioLimits
from tests.api.raw import ANN, BOB, CY, MP3, long_computing, occupied, stuck_ffmpeg
from tests.cli.calling import spawn
from tests.server import RunningServer, local_server, running_server, start_server, wait_until_ready
from tests.waiting import eventually


def test_a_directory_that_somebody_removes_is_made_again(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    with local_server(small_model, tmp_path) as server:
        for _ in range(2):
            shutil.rmtree(tmp_path / "tmp")
            assert server.post("/vad", content=speech_like.read_bytes()).status_code == 200
            assert server.get("/health/ready").status_code == 200
        assert server.upload_files == []
        # A neighbour that starts now does not take it for a dead process's.
        with local_server(small_model, tmp_path / "other", {"VAD_TMP_DIR": str(tmp_path / "tmp")}):
            assert server.post("/vad", content=speech_like.read_bytes()).status_code == 200


def test_where_it_cannot_be_made_again_the_service_says_that_it_is_not_ready(
    small_model: Path, tmp_path: Path, speech_like: Path
) -> None:
    with local_server(small_model, tmp_path) as server:
        shutil.rmtree(tmp_path / "tmp")
        (tmp_path / "tmp").write_text("in the way")
        answer = server.get("/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "unwritable"})
        refused = server.post("/vad", content=speech_like.read_bytes())
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        (tmp_path / "tmp").unlink()
        assert server.get("/health/ready").status_code == 200
        assert server.post("/vad", content=speech_like.read_bytes()).status_code == 200


def children_of(pid: int) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(entry.name)
    return found


def test_decoders_that_hang_hold_up_nobody_and_end_with_their_clients(
    small_model: Path, tmp_path: Path, speech_like: Path
) -> None:
    with local_server(small_model, tmp_path, {"VAD_WORKERS": "1", "VAD_FFMPEG": stuck_ffmpeg(tmp_path)}) as server:
        before = set(children_of(server.pid))
        with ExitStack() as held:
            # One client after the other: who has what share depends on who came first.
            for client, times, inside in ((ANN, 4, 4), (BOB, 2, 6)):
                for _ in range(times):
                    held.enter_context(long_computing(server, client))
                eventually(lambda inside=inside: occupied(server) == (0, inside, 0))
            eventually(lambda: len(set(children_of(server.pid)) - before) >= 6)
            with httpx.Client(transport=httpx.HTTPTransport(local_address=CY), timeout=60) as other:
                assert other.post(f"{server.url}/vad", content=speech_like.read_bytes()).status_code == 200
        eventually(lambda: occupied(server) == (0, 0, 0))
        eventually(lambda: not set(children_of(server.pid)) - before)
        assert server.upload_files == []


def test_a_decoder_that_falls_silent_is_told_to_its_client(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.audio import ffmpeg

    monkeypatch.setattr(ffmpeg, "ConfinedChild", impatient(ffmpeg.ConfinedChild))
    with local_server(small_model, tmp_path, {"VAD_FFMPEG": stuck_ffmpeg(tmp_path)}) as server:
        answer = server.post("/vad", content=MP3)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_audio")


def impatient(child: type) -> object:
    def start(command: list[str], limits: AudioLimits, **given: object) -> object:
        return child(command, replace(limits, child_silence_s=0.3), **given)

    return start


@pytest.mark.slow
def test_two_signals_end_a_process_whose_decoders_hang(small_model: Path, tmp_path: Path) -> None:
    server = start_server(small_model, tmp_path, {"VAD_FFMPEG": stuck_ffmpeg(tmp_path)})
    wait_until_ready(server)
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(long_computing(server))
        eventually(lambda: occupied(server)[1] == 4)
        eventually(lambda: len(children_of(server.pid)) >= 4)
        children = children_of(server.pid)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(1)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
    eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))


@pytest.mark.slow
def test_a_port_in_use_and_a_bad_directory_have_words_and_a_status(small_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = (({"VAD_PORT": port}, 4, "VAD_PORT"), ({"VAD_TMP_DIR": str(tmp_path / "file")}, 3, "VAD_TMP_DIR"))
        for given, status, word in cases:
            done = spawn(small_model, "serve", **{"VAD_PORT": "0", **given})
            assert (done.returncode, word in done.stderr) == (status, True), done.stderr


@pytest.mark.slow
def test_at_debug_no_key_is_logged(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    from websockets.sync.client import connect as live

    secret = "do-not-log-this-key"
    settings = {"VAD_API_KEYS": secret, "VAD_LOG_LEVEL": "debug"}
    with running_server(small_model, tmp_path, settings) as server:
        url = f"ws://127.0.0.1:{server.port}/vad/stream"
        for address, headers in (
            (f"{url}?api_key={secret}", {}),
            (url, {"Authorization": f"Bearer {secret}"}),
            (url, {"X-API-Key": secret}),
        ):
            with live(address, additional_headers=headers) as socket_:
                socket_.recv(timeout=60)
        form = {"file": ("a.wav", speech_like.read_bytes())}
        assert server.post("/vad", files=form, headers={"X-API-Key": secret}).status_code == 200
        assert '"level": "debug"' in server.log or "request" in server.log
        assert secret not in server.log


def test_a_form_of_many_parts_is_refused_early(server: RunningServer) -> None:
    part = b"--b\r\n\r\n\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = server.post("/vad", content=part * 1_000_000 + b"--b--\r\n", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
