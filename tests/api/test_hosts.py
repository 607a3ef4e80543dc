"""Whose name a request calls us by, whose page sent it, and which of several keys counts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.raw import answer_of, connect, problem_of, status_of
from tests.server import RunningServer, local_server

OURS = "vad.example.com"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def named(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "VAD_ALLOWED_HOSTS": f"{OURS},*.example.org,127.0.0.1", "VAD_CORS_ORIGINS": "https://app.example.net",
        "VAD_API_KEYS": "first,second",
    }  # fmt: skip
    with local_server(small_model, tmp_path_factory.mktemp("named"), settings) as server:
        yield server


@pytest.mark.parametrize("host", [OURS, f"{OURS}:8000", OURS.upper(), "a.b.example.org", "127.0.0.1:1"])
def test_its_own_names_are_answered(named: RunningServer, host: str) -> None:
    assert named.get("/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "example.org", f"{OURS}.evil.example", "", "[", "notexample.org"])
def test_other_names_are_not(named: RunningServer, host: str) -> None:
    answer = named.get("/models", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "unknown_host")
    assert named.get("/health/ready", headers={"Host": host}).status_code == 200, "probes come by address"


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (None, None, 101),
        ("https://app.example.net", None, 101),
        (f"https://{OURS}", OURS, 101),
        (f"http://{OURS}:8000", f"{OURS}:8000", 101),
        (f"https://{OURS}", f"{OURS}:443", 101),
        ("https://evil.example", None, 403),
        ("null", None, 403),
        (f"http://{OURS}:9000", f"{OURS}:8000", 403),
        (f"http://{OURS}:x", OURS, 403),
    ],
)
def test_a_page_of_another_origin_opens_no_stream(
    named: RunningServer, origin: str | None, host: str | None, status: int
) -> None:
    head = f"GET /vad/stream HTTP/1.1\r\nHost: {host or '127.0.0.1'}\r\n{UPGRADE}X-API-Key: first\r\n"
    with connect(named) as connection:
        connection.sendall((head + (f"Origin: {origin}\r\n" if origin else "") + "\r\n").encode())
        answer = answer_of(connection)
    assert status_of(answer) == status
    assert status == 101 or problem_of(answer)["code"] == "foreign_origin"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", "Bearer proxy"), ("X-API-Key", "second")], 400),
        ([("X-API-Key", "wrong"), ("X-API-Key", "first")], 400),
        ([("Authorization", "Basic abc"), ("Authorization", "Bearer first")], 400),
        ([("Authorization", "Bearer wrong"), ("X-API-Key", "wrong")], 401),
        ([("X-API-Key", "wrong")] * 20 + [("X-API-Key", "first")], 401),
        ([], 401),
    ],
)
def test_one_right_key_is_enough(named: RunningServer, headers: list[tuple[str, str]], status: int) -> None:
    assert named.post("/vad", content=b"", headers=headers).status_code == status
