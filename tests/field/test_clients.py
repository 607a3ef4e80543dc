"""Other people's clients, each in the ways that its users send files, and what they call them."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from tests.api.clients import CLIENTS, Upload, attempt
from tests.field.asking import Pairs, wav
from tests.server import RunningServer

NEEDS = {"curl": "curl", "node": "node"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wav(tmp_path_factory.mktemp("clients"))


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
@pytest.mark.parametrize("name", CLIENTS)
def test_clients(name: str, chunked: bool, path: Path, server: RunningServer) -> None:
    program = NEEDS.get(name.split(maxsplit=1)[0].rstrip(","))
    if program and shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    if name == "requests":
        pytest.importorskip("requests", reason="requests is not installed")
    assert attempt(name, Upload(f"{server.url}/vad", path, chunked)) == "200"


class Connection:
    """HTTP by hand over one connection."""

    def __init__(self, server: RunningServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), 20)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        status = int(self._file.readline().split()[1])
        lines = iter(lambda: self._file.readline().decode().strip(), "")
        return status, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    def answer(self) -> tuple[int, Any]:
        """Status and document of the next answer."""
        status, headers = self.head()
        return status, json.loads(self._file.read(int(headers["content-length"])))

    def skip(self, size: int) -> None:
        """Read so much of an answer."""
        assert len(self._file.read(size)) == size

    def is_closed(self) -> bool:
        """Whether the server has closed it."""
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def connection(server: RunningServer) -> Any:
    opened = Connection(server)
    yield opened
    opened.close()


def post(content: bytes, version: str = "1.1", more: str = "", path: str = "/vad") -> bytes:
    return f"POST {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode() + content


def pairs(document: Any) -> Pairs:
    return [(each["start_ms"], each["end_ms"]) for each in document["segments"]]


def test_http_1_0(connection: Connection, path: Path, plain: Pairs) -> None:
    connection.send(post(path.read_bytes(), version="1.0"))
    status, document = connection.answer()
    assert (status, pairs(document)) == (200, plain)
    assert connection.is_closed()


def test_expect_100_continue(connection: Connection, path: Path, plain: Pairs) -> None:
    content = path.read_bytes()
    connection.send(post(content, more="Expect: 100-continue\r\n")[: -len(content)])
    assert connection.head()[0] == 100
    connection.send(content)
    status, document = connection.answer()
    assert (status, pairs(document)) == (200, plain)


def test_chunks_of_any_size(connection: Connection, path: Path, plain: Pairs) -> None:
    content, at, size = path.read_bytes(), 0, 1
    connection.send(b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    while at < len(content):
        piece = content[at : at + size]
        connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        at, size = at + size, size * 3
    connection.send(b"0\r\n\r\n")
    status, document = connection.answer()
    assert (status, pairs(document)) == (200, plain)


REFUSED = {
    "no such format": (post(b"RIFF", path="/vad?format=nonsense"), 422),
    "nothing acceptable": (post(b"RIFF", more="Accept: image/png\r\n"), 406),
    "no body": (post(b""), 400),
    "no audio": (post(b"no audio at all"), 415),
    "damaged": (post(b"RIFF\x00\x00\x00\x00WAVE" + bytes(99)), 422),
    "no such method": (post(b"", path="/health"), 405),
    "no such path": (post(b"", path="/nowhere"), 404),
    "packed": (post(b"RIFF", more="Content-Encoding: gzip\r\n"), 415),
    "no such path, and a small body": (post(b"RIFF", path="/nowhere"), 404),
    "no such option, and a small body": (post(bytes(60_000), path="/vad?nonsense=1"), 422),
}
BEFORE_THE_BODY = {
    "packed": (post(bytes(70_000), more="Content-Encoding: gzip\r\n"), 415),
    "no such path": (post(bytes(70_000), path="/nowhere"), 404),
    "asked before": (post(b"RIFF", path="/nowhere", more="Expect: 100-continue\r\n"), 404),
    "slow": (post(b"RIFF", path="/nowhere")[:-1], 404),
}


@pytest.mark.parametrize(("sent", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_connection_goes_on_after_an_error(
    sent: bytes, expected: int, connection: Connection, path: Path, plain: Pairs
) -> None:
    for _ in range(2):
        connection.send(sent)
        status, problem = connection.answer()
        assert (status, problem["status"]) == (expected, expected)
        connection.send(post(path.read_bytes()))
        status, document = connection.answer()
        assert (status, pairs(document)) == (200, plain)


@pytest.mark.parametrize(("sent", "expected"), BEFORE_THE_BODY.values(), ids=BEFORE_THE_BODY)
def test_an_answer_before_the_body_says_that_the_connection_ends(
    sent: bytes, expected: int, connection: Connection
) -> None:
    connection.send(sent)
    status, headers = connection.head()
    assert (status, headers["connection"]) == (expected, "close")
    connection.skip(int(headers["content-length"]))
    assert connection.is_closed()


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("会议 录音.wav", "会议_录音"),
        ("📞 call 🎧.wav", "call"),
        ('say "hello".wav', "say_hello"),
        ("it's.wav", "it_s"),
        ("line\r\nend.wav", "line_end"),
        ("line\nend.wav", "line_end"),
        ("semi;colon=1.wav", "semi_colon_1"),
        ("C:\\calls\\today.wav", "today"),
        ("../../etc/passwd.wav", "passwd"),
    ],
    ids=ascii,
)
def test_names(filename: str, shown: str, path: Path, server: RunningServer) -> None:
    response = server.post("/vad", files={"file": (filename, path.read_bytes())}, params={"format": "json"})
    assert (response.status_code, response.json()["name"]) == (200, shown)
    archive = server.post("/vad", files={"file": (filename, path.read_bytes())}, params={"format": "zip"})
    disposition = archive.headers["content-disposition"]
    assert archive.status_code == 200
    assert not set(disposition) & {"\r", "\n"}
    assert disposition.count('"') in (0, 2)


def test_names_as_requests_sends_them(path: Path, server: RunningServer) -> None:
    requests = pytest.importorskip("requests", reason="requests is not installed")
    named = {"file": ("通话📞.wav", path.read_bytes())}
    assert requests.post(f"{server.url}/vad", files=named, timeout=60).json()["name"] == "通话"


@pytest.mark.parametrize("name", ["Interview 1.final.mp3", "采访 & <1>.wav", "call"])
def test_tools_find_the_file_by_its_own_name(name: str, server: RunningServer, tmp_path: Path) -> None:
    """Label Studio and ELAN look for the audio by it, with its ending."""
    content = wav(tmp_path).read_bytes()

    def sent(form: str) -> str:
        response = server.post("/vad", files={"file": (f"folder/{name}", content)}, params={"format": form})
        assert response.status_code == 200, response.text
        return response.text

    assert json.loads(sent("labelstudio"))[0]["data"]["audio"] == name
    header = ElementTree.fromstring(sent("eaf"))[0]
    media = header[0]
    assert (header.get("MEDIA_FILE"), media.tag) == (name, "MEDIA_DESCRIPTOR")
    assert unquote(media.attrib["RELATIVE_MEDIA_URL"]) == f"./{name}"
    document = json.loads(sent("json"))
    again = server.post("/render", json={key: document[key] for key in ("name", "audio", "segments")},
                        params={"format": "eaf"})  # fmt: skip
    assert ElementTree.fromstring(again.text)[0].get("MEDIA_FILE") == name
