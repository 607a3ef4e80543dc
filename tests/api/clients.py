"""Other people's HTTP clients, each as its users write it: one upload, and the status that the client saw."""

import asyncio
import http.client
import io
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

_LIMIT_S = 60
_PIECE = 256 << 10
_FETCH = """
const [url, path, chunked, given] = process.argv.slice(1);
const { createReadStream, readFileSync } = require('fs');
const headers = JSON.parse(given);
const body = chunked === 'yes' ? createReadStream(path) : readFileSync(path);
fetch(url, { method: 'POST', body, headers, duplex: 'half' })
  .then(async (answer) => { await answer.text(); console.log(answer.status); })
  .catch((error) => { console.log(`failed: ${error.cause ? error.cause.code : error}`); });
"""


@dataclass(frozen=True, slots=True)
class Upload:
    """What to send, and where."""

    url: str
    path: Path
    chunked: bool
    headers: Mapping[str, str] = field(default_factory=dict)

    def pieces(self) -> Iterator[bytes]:
        """The body piece by piece, which clients send without a length."""
        with self.path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    @property
    def body(self) -> object:
        """As most clients take it."""
        return self.pieces() if self.chunked else self.path.read_bytes()


def by_httpx(upload: Upload) -> int:
    with httpx.Client(timeout=_LIMIT_S) as client:
        return client.post(upload.url, content=upload.body, headers=dict(upload.headers)).status_code  # type: ignore[arg-type]


def by_httpx_async(upload: Upload) -> int:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in upload.pieces():
            yield piece

    async def send() -> int:
        async with httpx.AsyncClient(timeout=_LIMIT_S) as client:
            body = pieces() if upload.chunked else upload.path.read_bytes()
            return (await client.post(upload.url, content=body, headers=dict(upload.headers))).status_code

    return asyncio.run(send())


def by_requests(upload: Upload) -> int:
    import requests

    answer = requests.post(upload.url, data=upload.body, headers=dict(upload.headers), timeout=_LIMIT_S)  # type: ignore[arg-type]
    return int(answer.status_code)


def by_aiohttp(upload: Upload) -> int:
    import aiohttp

    async def pieces() -> AsyncIterator[bytes]:
        for piece in upload.pieces():
            yield piece

    async def send() -> int:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_LIMIT_S)) as session:
            body = pieces() if upload.chunked else io.BytesIO(upload.path.read_bytes())
            async with session.post(upload.url, data=body, headers=dict(upload.headers)) as answer:
                await answer.read()
                return answer.status

    return asyncio.run(send())


def by_http_client(upload: Upload) -> int:
    address, _, path = upload.url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=_LIMIT_S)
    try:
        connection.request("POST", f"/{path}", upload.body, dict(upload.headers), encode_chunked=upload.chunked)  # type: ignore[arg-type]
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def by_curl(*how: str) -> Callable[[Upload], int]:
    """curl, with arguments in which `PATH` stands for the file."""

    def send(upload: Upload) -> int:
        given = [argument.replace("PATH", str(upload.path)) for argument in how]
        for name, value in upload.headers.items():
            given += ["-H", f"{name}: {value}"]
        if upload.chunked:
            given += ["-H", "Transfer-Encoding: chunked"]
        command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{exitcode}", *given, upload.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        status, _, fault = done.stdout.partition(" ")
        if fault != "0":
            raise ConnectionError(f"curl {fault}: {done.stderr}")
        return int(status)

    return send


def by_node(upload: Upload) -> int:
    command = [
        "node",
        "-e",
        _FETCH,
        upload.url,
        str(upload.path),
        "yes" if upload.chunked else "no",
        json.dumps(dict(upload.headers)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if not done.stdout.strip().isdigit():
        raise ConnectionError(done.stdout.strip() or done.stderr[-200:])
    return int(done.stdout)


CLIENTS: dict[str, Callable[[Upload], int]] = {
    "httpx": by_httpx,
    "httpx async": by_httpx_async,
    "requests": by_requests,
    "aiohttp": by_aiohttp,
    "http.client": by_http_client,
    "curl -F": by_curl("-F", "file=@PATH"),
    "curl --data-binary": by_curl("--data-binary", "@PATH"),
    "curl -T": by_curl("-X", "POST", "-T", "PATH"),
    "curl, no Expect": by_curl("-F", "file=@PATH", "-H", "Expect:"),
    "node fetch": by_node,
}


def attempt(name: str, upload: Upload) -> str:
    """The status as text, or what broke."""
    try:
        return str(CLIENTS[name](upload))
    except Exception as error:  # noqa: BLE001 - every kind of failure is what is looked for
        return f"{type(error).__name__}: {error}"[:120]
