"""Early refusals arrive: other people's clients, each status, bodies from a tenth of a megabyte to a hundred.

`VAD_TABLE=FILE` writes the table of docs/reliability.md.
"""

import gc
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.api.clients import CLIENTS, Upload, attempt
from tests.api.raw import connect, occupied, request, slow_upload
from tests.server import RunningServer, local_server
from tests.waiting import eventually

KEY = "a-key"
MEGABYTE = 1_000_000
SIZES = {"0.1 MB": MEGABYTE // 10, "1 MB": MEGABYTE, "10 MB": 10 * MEGABYTE, "100 MB": 100 * MEGABYTE}


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bodies")
    for name, size in SIZES.items():
        with (folder / name).open("wb") as file:
            file.write(b"RIFF")
            file.truncate(size)
    return {name: folder / name for name in SIZES}


@pytest.fixture(scope="module")
def refusing(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Refuses for several reasons: it wants a key, knows its options, and has room for one upload."""
    folder = tmp_path_factory.mktemp("refusing")
    settings = {"VAD_API_KEYS": KEY, "VAD_MAX_UPLOADS": "1", "VAD_BODY_IDLE_TIMEOUT_S": "60"}
    with local_server(small_model, folder, settings) as server:
        yield server


@contextmanager
def full(server: RunningServer) -> Iterator[None]:
    """While there is an upload, and so no room for another."""
    with connect(server) as held:
        head = f"POST /vad HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 1000\r\n\r\nRIFF".encode()
        held.sendall(head)
        eventually(lambda: occupied(server)[0] == 1)
        yield
    eventually(lambda: occupied(server)[0] == 0)


def one(server: RunningServer, status: int, size: str, name: str, path: Path, *, chunked: bool) -> str:
    """What one client sees of one refusal."""
    headers = {} if status == 401 else {"X-API-Key": KEY}
    url = f"{server.url}/vad" + ("?nonsense=1" if status == 422 else "")
    upload = Upload(url, path, chunked, headers)
    if status != 503:
        return attempt(name, upload)
    with full(server):
        return attempt(name, upload)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["httpx", "httpx async", "requests", "http.client"])
def test_a_refusal_arrives(refusing: RunningServer, bodies: dict[str, Path], name: str) -> None:
    for status in (401, 422, 503):
        assert one(refusing, status, "10 MB", name, bodies["10 MB"], chunked=False) == str(status)


@pytest.mark.slow
def test_forty_at_once(refusing: RunningServer, bodies: dict[str, Path]) -> None:
    seen: list[str] = []

    def send() -> None:
        seen.append(
            attempt("httpx", Upload(f"{refusing.url}/vad", bodies["10 MB"], chunked=False, headers={"X-API-Key": KEY}))
        )

    with full(refusing):
        threads = [threading.Thread(target=send) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(seen) == {"503": 40}


Ask = Callable[[str, Path, bool], str]


@contextmanager
def server_that_answers(status: int, small_model: Path, folder: Path) -> Iterator[Ask]:
    """Ask of a server that answers every upload with this status before its end."""
    settings = {
        401: {"VAD_API_KEYS": KEY},
        408: {"VAD_BODY_TIMEOUT_S": "0.000001"},
        413: {"VAD_MAX_UPLOAD_MB": "1"},
        415: {},
        422: {},
        429: {"VAD_RATE_LIMIT": "1/hour"},
        503: {"VAD_MAX_UPLOADS": "1", "VAD_BODY_IDLE_TIMEOUT_S": "600"},
    }[status]
    with local_server(small_model, folder, settings) as server, ExitStack() as stack:
        if status == 503:
            stack.enter_context(slow_upload(server))
            eventually(lambda: occupied(server)[0] == 1)
        if status == 429:
            server.post("/vad", content=b"")
        path = "/vad?nonsense=1" if status == 422 else "/vad"
        headers = {"Content-Encoding": "br"} if status == 415 else {}
        yield lambda name, body, chunked: attempt(name, Upload(f"{server.url}{path}", body, chunked, headers))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:unclosed transport", "ignore::pytest.PytestUnraisableExceptionWarning")  # aiohttp's
def test_every_client_sees_every_refusal(small_model: Path, tmp_path: Path, bodies: dict[str, Path]) -> None:
    absent = [name for name, tool in (("curl", "curl"), ("node", "node")) if shutil.which(tool) is None]
    names = [name for name in CLIENTS if not any(name.startswith(each) for each in absent)]
    wrong: list[str] = []
    rows: list[str] = []
    for status in (503, 401, 429, 408, 413, 415, 422):
        with server_that_answers(status, small_model, tmp_path / str(status)) as ask:
            for name in names:
                cells = []
                for size, body in bodies.items():
                    if status == 413 and size in ("0.1 MB", "1 MB"):
                        cells.append("–")
                        continue
                    seen = [ask(name, body, chunked) for chunked in (False, True)]
                    cells.append(f"{sum(each == str(status) for each in seen)}/{len(seen)}")
                    wrong += [f"{status} {name} {size}: {each}" for each in seen if each != str(status)]
                rows.append(f"| {status} | {name} | " + " | ".join(cells) + " |")
    if table := os.environ.get("VAD_TABLE"):
        Path(table).write_text("\n".join(rows) + "\n")
    gc.collect()  # what aiohttp has not closed complains here, and not in the test after this one
    assert wrong == []


def test_a_place_is_given_back_before_the_rest_is_read(small_model: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_LINGER_S": "30"}) as server, connect(server) as connection:
        connection.sendall(request("/vad?nonsense=1", body=b"RIFF", length=1_000_000))
        assert b" 422 " in connection.recv(65_536)
        eventually(lambda: occupied(server) == (0, 0, 0))
