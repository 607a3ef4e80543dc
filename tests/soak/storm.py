"""Load with faults on a real server for a set time.

Mixed clips, a long file, bad files, aborted and slow uploads at twice the server's capacity; meanwhile decoders are
killed, workers raise, the disk for uploads is too small for what comes, and the server is stopped and started again.
Every accepted answer is compared with the reference's segments, or with what the quiet server said before the storm.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.api.raw import occupied
from tests.server import RunningServer, start_server, stop_server, wait_until_ready
from tests.soak.account import Account
from tests.soak.faults import children, descriptors, in_use_bytes, kill_a_decoder, resident_bytes, small_disk
from tests.soak.faulty import IN_USE_FILE
from tests.soak.samples import Sample, Spans, long_silence, spans
from tests.waiting import eventually

INSIDE, QUEUED = 4, 4
SETTINGS = {
    "VAD_MAX_REQUESTS": str(INSIDE), "VAD_MAX_QUEUE": str(QUEUED), "VAD_BODY_IDLE_TIMEOUT_S": "1",
    "VAD_ANALYSIS_TTL_S": "1",
}  # fmt: skip
REFUSED = {400, 408, 415, 422}
BAD_FILES = [b"", b"text", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC" * 50, b"ID3\x04" * 99]
CUT_SHORT = b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"

_LULL_S = 12
"""Clients that left are noticed, analyses that nobody uses are dropped, and memory is given back."""
_PARTS = 4
"""Of a storm, with a lull behind each."""
_RUDE = "127.0.0.2"
"""Where those come from who mean no good: another client than the one with the clips."""


class Storm:
    """One soak."""

    def __init__(self, model: Path, folder: Path, samples: list[Sample], seconds: float, seed: int = 1) -> None:
        self._model, self._folder, self._seconds = model, folder, seconds
        self._samples = samples
        self._in_use_file = folder / "in-use"
        self._random = random.Random(seed)
        self._silence = long_silence()
        self._right: dict[str, Spans] = {}
        self.account = Account()

    def run(self) -> Account:
        """Begin to end."""
        with ExitStack() as stack:
            disk = small_disk(self._folder / "tmp", self._little_space_mb())
            self.account.disk_is_small = stack.enter_context(disk)
            self._server = self._start()
            stack.callback(lambda: stop_server(self._server))
            self._learn()
            before = descriptors(self._server)
            asyncio.run(self._rage(self._restart()))
            self._rest()
            for _ in range(_PARTS - 1):
                asyncio.run(self._rage())
                self._rest()
            self._count_faults()
            self.account.descriptors = (before, descriptors(self._server))
            self.account.left_files = len(self._server.upload_files)
            self.account.left_children = len(children(self._server))
        return self.account

    def _little_space_mb(self) -> int:
        # Room for the largest upload alone, not for two of them.
        return 2 + max(len(sample.content) for sample in self._samples) * 3 // 2 // 2**20

    def _start(self) -> RunningServer:
        settings = {**SETTINGS, IN_USE_FILE: str(self._in_use_file)}
        server = start_server(self._model, self._folder, settings, module="tests.soak.faulty")
        wait_until_ready(server)
        return server

    def _learn(self) -> None:
        with self._server.client() as client:
            for sample in self._samples:
                answer = client.post("/vad", content=sample.content)
                if answer.status_code == 500:  # a fault that was put in; the next is far
                    answer = client.post("/vad", content=sample.content)
                self._right[sample.name] = spans(answer.raise_for_status())
                if sample.segments is not None and self._right[sample.name] != sample.segments:
                    self.account.wrong.append(f"{sample.name} before the storm")

    def _rest(self) -> None:
        """A lull, in which the server ends what it had to do, and what it has in use then."""
        eventually(lambda: occupied(self._server) == (0, 0, 0))
        time.sleep(_LULL_S)
        self.account.at_rest.append(in_use_bytes(self._server, self._in_use_file))

    async def _rage(self, *events: Coroutine[None, None, None]) -> None:
        """A part of the storm."""
        self._until = time.monotonic() + self._seconds / _PARTS
        acts = [self._clip] * (2 * INSIDE) + [self._bad, self._abort, self._slow, self._leave, self._long, self._crumbs]
        await asyncio.gather(*map(self._client, acts), self._break_decoders(), self._watch_memory(), *events)

    async def _client(self, act: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
        while time.monotonic() < self._until:
            async with httpx.AsyncClient(base_url=self._server.url, timeout=60) as client:
                try:
                    for _ in range(20):
                        if time.monotonic() < self._until:
                            await act(client)
                except (httpx.HTTPError, OSError):
                    self.account.broken_connections += 1
                    await asyncio.sleep(0.1)

    async def _clip(self, client: httpx.AsyncClient) -> None:
        sample = self._random.choice(self._samples)
        started = time.perf_counter()
        answer = await client.post("/vad", content=sample.content)
        status = answer.status_code
        self.account.statuses[status] += 1
        if status == 200:
            self.account.accepted += 1
            self.account.latencies_ms.append((time.perf_counter() - started) * 1000)
            # A decoder that was killed in its middle must be an error, never a shorter answer.
            if spans(answer) != self._right[sample.name]:
                self.account.wrong.append(f"{sample.name}: {answer.text[:300]}")
        elif status == 503:
            self.account.full_disk += "space for uploads" in answer.text
            await asyncio.sleep(0.05)
        elif status not in REFUSED | {500}:
            self.account.wrong.append(f"{sample.name}: {status} {answer.text[:200]}")

    async def _bad(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/vad", content=self._random.choice(BAD_FILES))
        self.account.statuses[answer.status_code] += 1
        if answer.status_code not in REFUSED | {503}:
            self.account.wrong.append(f"a bad file: {answer.status_code}")
        await asyncio.sleep(0.05)

    async def _abort(self, client: httpx.AsyncClient) -> None:
        _, writer = await self._connect()
        writer.write(CUT_SHORT + b"RIFF" * 20_000)
        await asyncio.sleep(self._random.random() * 0.1)
        writer.transport.abort()

    async def _slow(self, client: httpx.AsyncClient) -> None:
        reader, writer = await self._connect()
        writer.write(CUT_SHORT + b"RIFF")
        try:
            await asyncio.wait_for(reader.read(1_000), 20)
        finally:
            writer.transport.abort()

    async def _leave(self, client: httpx.AsyncClient) -> None:
        """A whole upload, whose client goes while it waits or is computed."""
        content = self._random.choice(self._samples).content
        _, writer = await self._connect()
        writer.write(b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        await asyncio.sleep(self._random.random() * 0.3)
        writer.transport.abort()

    async def _long(self, client: httpx.AsyncClient) -> None:
        """Some kilobytes that are an hour of eight channels, of which nobody waits for the end."""
        rude = httpx.AsyncClient(base_url=client.base_url, transport=httpx.AsyncHTTPTransport(local_address=_RUDE))
        async with rude:
            with contextlib.suppress(httpx.TimeoutException):
                answer = await rude.post("/vad?channel=split&keep=true", content=self._silence, timeout=3)
                self.account.statuses[answer.status_code] += 1

    async def _crumbs(self, client: httpx.AsyncClient) -> None:
        """Half a head, a body in bytes, a form of nothing but parts."""
        for begun in (
            b"POST /vad HTTP/1.1\r\nHost: x\r\n",
            b"POST /vad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000,
            b"POST /vad HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 900000\r\n\r\n" + b"--b\r\n\r\n\r\n" * 50_000,
        ):
            reader, writer = await self._connect()
            try:
                writer.write(begun)
                await asyncio.wait_for(reader.read(1_000), 12)
            except asyncio.TimeoutError:
                self.account.wrong.append(f"no answer to {begun[:80]!r}")
            finally:
                writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._server.port, local_addr=(_RUDE, 0))

    async def _break_decoders(self) -> None:
        while time.monotonic() < self._until:
            await asyncio.sleep(0.5)
            self.account.children_killed += kill_a_decoder(self._server)

    async def _restart(self) -> None:
        await asyncio.sleep(self._seconds / _PARTS / 3)
        status = await asyncio.to_thread(stop_server, self._server)
        if status != 0:
            self.account.wrong.append(f"the server stopped with status {status}")
        self._count_faults()
        self.account.memory.clear()
        self._server = await asyncio.to_thread(self._start)
        self.account.restarts += 1

    def _count_faults(self) -> None:
        self.account.faults += self._server.log.count("RuntimeError: a fault that was put in")

    async def _watch_memory(self) -> None:
        while time.monotonic() < self._until:
            await asyncio.sleep(0.5)
            resident = resident_bytes(self._server)
            if resident:
                self.account.memory.append((sum(self.account.statuses.values()), resident))
