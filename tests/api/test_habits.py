"""Habits of HTTP clients: a slash at the end, PUT, names in other alphabets and code pages, preflights, Accept."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.raw import occupied, slow_upload
from tests.server import RunningServer, local_server
from tests.waiting import eventually

NAME = "通话 一.wav"
QUOTED = "%E9%80%9A%E8%AF%9D%20%E4%B8%80.wav"
SHOWN = "通话_一"


def multipart(disposition: bytes, content: bytes) -> tuple[bytes, dict[str, str]]:
    """A form of one part with this Content-Disposition, byte for byte."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; ' + disposition + b"\r\n\r\n" + content + b"\r\n--x--\r\n"
    )
    return body, {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/vad/"), ("PUT", "/vad"), ("PUT", "/vad/"), ("PUT", "/vad/a.wav")]
)
def test_a_slash_and_put(method: str, path: str, server: RunningServer, speech_like: Path) -> None:
    response = server.request(method, path, content=speech_like.read_bytes(), follow_redirects=False)
    assert response.status_code == 200
    assert len(response.json()["segments"]) == 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("slash", ["", "/"])
def test_curl_uploads_a_file(slash: str, server: RunningServer, speech_like: Path) -> None:
    command = ["curl", "-fsS", "-T", str(speech_like), f"{server.url}/vad{slash}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert f'"name":"{"bursts" if slash else "audio"}"' in told


@pytest.mark.parametrize(
    "disposition",
    [
        f'filename="{NAME}"'.encode(),
        f'filename="{NAME}"'.encode("gbk"),
        f"filename*=UTF-8''{QUOTED}".encode(),
        f"filename=\"x.wav\"; filename*=utf-8'zh'{QUOTED}".encode(),
        b"filename*=GBK''%CD%A8%BB%B0%20%D2%BB.wav",
    ],
    ids=["utf-8", "gbk", "extended", "both", "extended gbk"],
)
def test_names(disposition: bytes, server: RunningServer, speech_like: Path) -> None:
    body, headers = multipart(disposition, speech_like.read_bytes())
    assert server.post("/vad", content=body, headers=headers).json()["name"] == SHOWN


def test_the_name_of_a_body(server: RunningServer, speech_like: Path) -> None:
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{QUOTED}"}
    assert server.post("/vad", content=speech_like.read_bytes(), headers=headers).json()["name"] == SHOWN
    assert server.request("PUT", f"/vad/{QUOTED}", content=speech_like.read_bytes()).json()["name"] == SHOWN


def test_nothing_acceptable(server: RunningServer, speech_like: Path) -> None:
    response = server.post("/vad", content=speech_like.read_bytes(), headers={"accept": "image/png"})
    assert (response.status_code, response.json()["code"]) == (406, "not_acceptable")
    assert "application/json" in response.json()["detail"]
    named = server.post("/vad?format=csv", content=speech_like.read_bytes(), headers={"accept": "image/png"})
    assert named.headers["content-type"].startswith("text/csv")


@pytest.fixture(scope="module")
def open_to_pages(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"VAD_CORS_ORIGINS": "https://page.example"}
    with local_server(small_model, tmp_path_factory.mktemp("cors"), settings) as running:
        yield running


def preflight(server: RunningServer, path: str, method: str) -> httpx.Response:
    return server.request("OPTIONS", path, headers={
        "origin": "https://page.example", "access-control-request-method": method,
        "access-control-request-headers": "content-type, x-api-key",
    })  # fmt: skip


@pytest.mark.parametrize(("path", "method"), [("/vad", "POST"), ("/vad/", "POST"), ("/vad/a.wav", "PUT")])
def test_a_preflight_where_origins_are_set(path: str, method: str, open_to_pages: RunningServer) -> None:
    response = preflight(open_to_pages, path, method)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert method in response.headers["access-control-allow-methods"]


def test_pages_may_read_the_warnings(open_to_pages: RunningServer, speech_like: Path) -> None:
    response = open_to_pages.post("/vad", content=speech_like.read_bytes(), headers={"origin": "https://page.example"})
    assert "X-VAD-Warnings" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"file": "UklGRg=="}', "JSON"),
        (b"data:audio/wav;base64,UklGRg==", "data URI"),
        (b"https://example.com/a.wav", "URL"),
    ],
)
def test_what_is_no_audio_is_told_what_to_send(content: bytes, words: str, server: RunningServer) -> None:
    for response in (server.post("/vad", content=content), server.post("/vad", files={"file": ("a.wav", content)})):
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_audio")
        assert words in response.json()["detail"]
        assert "`file`" in response.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_live_stream_without_a_handshake_is_told_what_to_speak(method: str, server: RunningServer) -> None:
    with server.client() as client:
        for _ in range(2):
            response = client.request(method, "/vad/stream")
            assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")
            assert response.headers["connection"] == "Upgrade"
    if method == "GET":
        assert response.json()["code"] == "upgrade_required"
        assert "ws://" in response.json()["detail"]


def test_only_uploads_pass_admission(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_MAX_UPLOADS": "1"}) as full, slow_upload(full):
        eventually(lambda: occupied(full)[0] == 1)
        assert full.get("/vad/stream").status_code == 426
        assert full.get("/vad/a.wav").status_code == 405
        assert full.request("PUT", "/vad/stream", content=speech_like.read_bytes()).status_code == 503


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/models", "/options", "/metrics"])
def test_head_is_answered_as_get_without_a_body(path: str, server: RunningServer) -> None:
    """As probes, `curl -I` and `wget --spider` ask; on a connection that goes on."""
    with httpx.Client(base_url=server.url, timeout=20) as client:
        got = client.get(path, follow_redirects=False)
        for _ in range(2):
            head = client.head(path, follow_redirects=False)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers.get("content-type") == got.headers.get("content-type")
        assert client.head("/vad").status_code == 405
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("encodings", "status"),
    [([""], 200), (["identity"], 200), (["Identity", ""], 200), (["gzip"], 415), (["identity", "gzip"], 415),
     (["identity, br"], 415)],
)  # fmt: skip
def test_content_encoding(encodings: list[str], status: int, server: RunningServer, speech_like: Path) -> None:
    headers = [("content-encoding", each) for each in encodings]
    answer = server.post("/vad", content=speech_like.read_bytes(), headers=headers)
    assert answer.status_code == status, answer.text
    assert status == 200 or "Content-Encoding" in answer.json()["detail"]
