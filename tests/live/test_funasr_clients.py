"""FunASR's own clients where they connect: at `/`, without a path, several recordings on one connection.

What they do is written down here as FunASR publishes it: they offer the subprotocol `binary`, say how they will speak,
send samples in pieces of 60 ms, then `is_speaking: false`; and they read `text` and `is_final` of every message.
"""

import asyncio
import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_sync

from tests.live.client import PATIENCE_S, cut, eventually, f32, file_pairs, hear_all, metric, s16, stream, wav
from tests.live.node import NODE, node_with
from tests.live.test_asyncapi import DOCUMENT, problems
from tests.server import RunningServer, local_server
from tests.signals import bursts

FIRST = bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])
SECOND = bursts(5.0, [(1.0, 2.5)])
FALSE = json.dumps({"is_speaking": False})


def root(server: RunningServer, query: str = "") -> str:
    return f"ws{server.url.removeprefix('http')}{query}"


class FunasrClient:
    """One connection of such a client."""

    def __init__(self, socket: ClientConnection, mode: str) -> None:
        self._socket, self._mode = socket, mode
        self.told: list[dict[str, Any]] = []
        self.final = asyncio.Event()

    async def listen(self) -> None:
        """As its `message` loop reads them: each has a text, and one says that it is the last."""
        async for message in self._socket:
            told = json.loads(message)
            assert isinstance(told["text"], str)
            told.get("wav_name", "demo"), told.get("timestamp", "")
            self.told.append(told)
            if told.get("is_final", False):
                self.final.set()

    async def say(self, name: str, samples: bytes, rate: int = 16_000, **more: Any) -> None:
        """Send a recording, with all that such a client tells of it."""
        await self._socket.send(json.dumps({
            "mode": self._mode, "chunk_size": [5, 10, 5], "chunk_interval": 10, "encoder_chunk_look_back": 4,
            "decoder_chunk_look_back": 0, "audio_fs": rate, "wav_name": name, "wav_format": "pcm",
            "is_speaking": True, "hotwords": "", "itn": True, **more,
        }))  # fmt: skip
        for piece in cut(samples, 60 * rate // 1000 * 2):
            await self._socket.send(piece)
        await self._socket.send(FALSE)


async def converse(
    server: RunningServer, mode: str, recordings: Sequence[tuple[str, bytes, int]], *, at_once: bool = False
) -> list[dict[str, Any]]:
    """Everything that is told of these recordings, sent over one connection, each when the one before has been answered
    or all `at_once`."""
    async with connect(root(server), subprotocols=["binary"], ping_interval=None, proxy=None) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "binary"
        client = FunasrClient(socket, mode)
        listening = asyncio.create_task(client.listen())
        for name, samples, rate in recordings:
            await client.say(name, samples, rate)
            if not at_once:
                await asyncio.wait_for(client.final.wait(), PATIENCE_S)
                client.final.clear()
        while sum(message["is_final"] for message in client.told) < len(recordings):
            await asyncio.wait_for(client.final.wait(), PATIENCE_S)
            client.final.clear()
        await socket.close()
        await listening
        assert socket.close_code == 1000
    return client.told


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    return read


RECORDINGS = [
    ("first", s16(FIRST), 16_000),
    ("second", s16(SECOND), 16_000),
    ("slow", s16(bursts(5.0, [(1.0, 2.5)], rate=8_000)), 8_000),
    ("silent", s16(bursts(1.0, [])), 16_000),
    ("first again", s16(FIRST), 16_000),
]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("mode", ["offline", "online", "2pass"])
async def test_recordings_follow_one_another(
    server: RunningServer, described: dict[str, Any], mode: str, at_once: bool
) -> None:
    told = await converse(server, mode, RECORDINGS, at_once=at_once)
    assert [problem for message in told for problem in problems(described, "RecordingMessage", message)] == []
    for name, samples, rate in RECORDINGS:
        pairs = file_pairs(server, wav(samples, rate))
        *events, last = [message for message in told if message["wav_name"] == name]
        said = mode if mode != "2pass" else "2pass-offline"
        assert last == {
            "mode": said, "wav_name": name, "text": "", "is_final": True, "value": pairs,
            "timestamp": json.dumps(pairs, separators=(",", ":")),
        }  # fmt: skip
        assert not any(event["is_final"] for event in events)
        if mode == "offline":
            assert events == []
        else:
            assert [event["value"] for event in events] == [
                [pair] for start, end in pairs for pair in ([start, -1], [-1, end])
            ]
            assert {event["mode"] for event in events} <= {"2pass-online", "2pass-offline", "online"}
    assert [message["wav_name"] for message in told if message["is_final"]] == [name for name, _, _ in RECORDINGS]


async def test_a_head_of_a_wav_is_no_sound(server: RunningServer) -> None:
    """Some clients send their files as they are."""
    for content in (wav(s16(SECOND)), wav(s16(bursts(5.0, [(1.0, 2.5)], rate=8_000)), 8_000)):
        (last,) = await converse(server, "offline", [("a", content, 16_000)])
        assert last["value"] == file_pairs(server, content)


async def test_a_client_that_says_little(server: RunningServer) -> None:
    """As its server does, sound without a word before it is heard."""
    async with connect(root(server, "/?max_end_silence_time=300"), proxy=None) as socket:
        for piece in cut(s16(FIRST), 1_920):
            await socket.send(piece)
        await socket.send('{"hotwords": "阿里巴巴"}')
        await socket.send(FALSE)
        client = FunasrClient(socket, "2pass")
        listening = asyncio.create_task(client.listen())
        await asyncio.wait_for(client.final.wait(), PATIENCE_S)
        assert client.told[-1]["value"] == file_pairs(server, wav(s16(FIRST)), max_end_silence_time=300)
        assert client.told[-1]["wav_name"] == "microphone"
        await socket.close()
        await listening


def test_what_is_wrong_is_told_in_messages_that_such_clients_can_read(
    server: RunningServer, described: dict[str, Any]
) -> None:
    for query, sent, code in (
        ("/?no_such_option=1", [], "invalid_option"),
        ("/?session=x", [], "invalid_option"),
        ("/?protocol=vad", [], "invalid_option"),
        ("/", [json.dumps({"is_speaking": True, "audio_fs": 1})], "invalid_option"),
        ("/", [b"ID3\x04" + bytes(4_000)], "unsupported_audio"),
        ("/", ["no JSON"], "bad_message"),
    ):
        with connect_sync(root(server, query), subprotocols=["binary"], proxy=None) as socket:  # type: ignore[list-item]
            for message in sent:
                socket.send(message)
            told = json.loads(socket.recv(timeout=PATIENCE_S))
        assert (told["type"], told["code"], told["text"], told["is_final"]) == ("error", code, "", True)
        assert problems(described, "RecordingError", told) == []


def test_the_page_stays_where_it_is(server: RunningServer) -> None:
    assert server.get("/").json()["detect"] == "/vad"
    assert server.get("/", headers={"accept": "text/html"}, follow_redirects=False).headers["location"] == "/ui/"


def test_a_key_is_asked_for(small_model: Any, tmp_path: Any) -> None:
    """The page under the same path is open; this is not."""
    with local_server(small_model, tmp_path, {"VAD_API_KEYS": "a-key"}) as locked:
        assert locked.get("/").status_code == 200
        with pytest.raises(InvalidStatus) as refused:
            connect_sync(root(locked), proxy=None)
        assert refused.value.response.status_code == 401
        for query, headers in (("/?api_key=a-key", {}), ("", {"X-API-Key": "a-key"})):
            with connect_sync(root(locked, query), additional_headers=headers, proxy=None) as socket:
                socket.send(FALSE)
                assert json.loads(socket.recv(timeout=PATIENCE_S))["is_final"]


# ---- the same at /vad/stream, in pairs


def test_a_second_recording_on_one_stream(server: RunningServer) -> None:
    with stream(server, protocol="funasr") as socket:
        for samples in (FIRST, SECOND):
            socket.send(json.dumps({"mode": "online", "audio_fs": 16_000, "is_speaking": True}))
            for piece in cut(s16(samples), 1_920):
                socket.send(piece)
            socket.send(FALSE)
        heard = hear_all(socket)
    finals = [message for message in heard.messages if isinstance(message, dict)]
    assert [message["value"] for message in finals] == [file_pairs(server, wav(s16(each))) for each in (FIRST, SECOND)]
    assert (heard.code, heard.reason) == (1000, "done"), "closed when nothing more came for a while"


def test_an_end_behind_the_last_recording_tells_nothing_twice(server: RunningServer) -> None:
    for end in (['{"type":"end"}'], [FALSE, '{"type":"end"}']):
        with stream(server, protocol="funasr") as socket:
            for message in (s16(SECOND), *end):
                socket.send(message)
            heard = hear_all(socket)
        assert [message["value"] for message in heard.messages[2:]] == [file_pairs(server, wav(s16(SECOND)))]
        assert heard.code == 1000


@pytest.mark.parametrize("path", ["/", "/vad/stream?protocol=funasr", "/vad/stream"])
def test_the_subprotocol_that_is_offered_is_answered(server: RunningServer, path: str) -> None:
    for offered in (["binary"], ["base64", "binary"], ["other"], None):
        with connect_sync(root(server, path), subprotocols=offered, proxy=None) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == ("binary" if offered and "binary" in offered else None)


NODE_CLIENT = """
import WebSocket from 'ws';
const socket = new WebSocket(process.argv[2], ['binary']);
socket.on('open', () => { socket.send(JSON.stringify({ mode: 'offline', wav_name: 'a', is_speaking: true }));
  socket.send(Buffer.alloc(32000)); socket.send(JSON.stringify({ is_speaking: false })); });
socket.on('message', (data) => { console.log(data.toString()); socket.close(); });
socket.on('error', (error) => { console.log(JSON.stringify({ error: String(error) })); });
"""


def test_a_client_that_insists_on_its_subprotocol(server: RunningServer) -> None:
    command = [*node_with("ws"), root(server)]
    done = subprocess.run(command, input=NODE_CLIENT, capture_output=True, text=True, cwd=NODE, timeout=60, check=True)
    told: Mapping[str, Any] = json.loads(done.stdout)
    assert (told["is_final"], told["value"]) == (True, [])


def test_warnings_of_every_recording_are_counted(small_model: Any, tmp_path: Any) -> None:
    with local_server(small_model, tmp_path) as server:
        with connect_sync(root(server), proxy=None) as socket:
            for samples in (bytes(32_000), s16(SECOND)):
                socket.send(samples)
                socket.send(FALSE)
                while not json.loads(socket.recv(timeout=PATIENCE_S))["is_final"]:
                    pass
        eventually(lambda: metric(server, 'vad_warnings_total{code="very_quiet"}') == 1)


async def test_floats_and_channels_hold_for_each_recording(server: RunningServer) -> None:
    async with connect(root(server, "/?encoding=f32le"), proxy=None) as socket:
        for _ in range(2):
            for piece in cut(f32(SECOND), 3_841):  # no whole samples
                await socket.send(piece)
            await socket.send(FALSE)
        finals = []
        while len(finals) < 2:
            told = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE_S))
            if told["is_final"]:
                finals.append(told["value"])
    assert finals == [file_pairs(server, wav(s16(SECOND)))] * 2


async def test_a_connection_that_is_closed_at_any_moment_leaves_nothing(server: RunningServer) -> None:
    for sent in ([], [FALSE], [s16(SECOND)[:1_001]], [s16(SECOND), FALSE, s16(SECOND)[:9]]):
        socket = await connect(root(server), proxy=None)
        for message in sent:
            await socket.send(message)
        await socket.close()
    await asyncio.to_thread(eventually, lambda: metric(server, "vad_streams") == 0)
