"""`fsmn_vad_client` and live streams, over real sockets: typed events, refusals, ends of every kind."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml
from websockets.sync.server import ServerConnection, serve

from fsmn_vad_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    Done,
    Event,
    Flushed,
    InvalidOption,
    OptionsInForce,
    Pong,
    ProbabilityEvent,
    Ready,
    Rejected,
    Reset,
    ServiceError,
    SpeechConfirmed,
    SpeechEnd,
    SpeechMaybeEnd,
    SpeechStart,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from fsmn_vad_client.answers import EVENTS, Document
from tests.client.foreign import foreign
from tests.server import RunningServer, local_server

CHUNK_BYTES = 3_200
"""100 ms."""
ASYNCAPI = yaml.safe_load((Path(__file__).resolve().parents[2] / "docs/asyncapi.yaml").read_text())
READY = {
    "type": "ready", "session": "s", "offset_ms": 0, "offset_samples": 0, "seq": 0, "sample_rate": 16_000,
    "encoding": "pcm_s16le", "channels": 1, "options": {"mode": "endpoint"},
    "model": {"name": "m", "id": "m", "revision": None, "fingerprint": "f"},
}  # fmt: skip


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def chunks(speech_like: Path) -> list[bytes]:
    samples, _ = soundfile.read(speech_like, dtype="int16")
    pcm = samples.tobytes()
    return [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]


def pairs(events: list[Event]) -> list[tuple[int, int]]:
    return [(event.start_ms, event.end_ms) for event in events if isinstance(event, SpeechEnd)]


@contextmanager
def saying(act: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The URL of a program that speaks WebSocket, and whose one connection does this."""
    with serve(act, "127.0.0.1", 0) as program:
        thread = threading.Thread(target=program.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{program.socket.getsockname()[1]}"
        finally:
            program.shutdown()
            thread.join()


def test_a_stream_finds_what_the_file_has(client: Client, speech_like: Path, chunks: list[bytes]) -> None:
    """Everything is sent before anything is looked at: events wait for the program."""
    with client.stream(sample_rate=16_000) as stream:
        assert stream.ready.options["mode"] == "endpoint"
        assert stream.ready.model.name == client.detect(speech_like).model.name
        for chunk in chunks:
            stream.send(chunk)
        stream.end()
        events = list(stream)
        assert list(stream) == []
        assert stream.poll() is None
    segments = client.detect(speech_like).segments
    assert pairs(events) == [(segment.start_ms, segment.end_ms) for segment in segments]
    done = events[-1]
    assert isinstance(done, Done)
    assert done.duration_ms == 10_000
    assert [segment.start_ms for segment in done.segments] == [segment.start_ms for segment in segments]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


def test_events_can_be_asked_for_between_two_chunks(client: Client, chunks: list[bytes]) -> None:
    events: list[Event] = []
    with client.stream(
        probabilities=True, confirm_ms=500, maybe_end_ms=100, audio=True, max_end_silence_time=300, mode="endpoint"
    ) as stream:
        assert stream.poll() is None
        for chunk in chunks:
            stream.send(chunk)
            while event := stream.poll():
                events.append(event)
        stream.end()
        while event := stream.poll(timeout=60):
            events.append(event)
    assert {type(event) for event in events} == {
        SpeechStart, SpeechConfirmed, SpeechMaybeEnd, SpeechEnd, ProbabilityEvent, Done,
    }  # fmt: skip
    first = next(event for event in events if isinstance(event, SpeechEnd))
    assert first.audio is not None
    assert len(first.audio.samples) == first.duration_ms * 32
    assert first.audio.encoding == "pcm_s16le"


def test_every_message_of_a_client(client: Client, chunks: list[bytes]) -> None:
    with client.stream(mode="endpoint") as stream:

        def next_of(kind: type[Event]) -> Any:
            return next(event for event in stream if isinstance(event, kind))

        for chunk in chunks[:35]:
            stream.send(chunk)
        stream.flush()
        assert next_of(SpeechEnd).end_ms <= 3_500
        assert next_of(Flushed).at_ms == 3_500
        stream.ping()
        assert next_of(Pong).received_ms == 3_500
        stream.change(max_end_silence_time=300)
        assert next_of(OptionsInForce).options["max_end_silence_time"] == 300
        stream.change(max_end_silence_time=None)
        assert next_of(OptionsInForce).options["max_end_silence_time"] == 800
        stream.change(threshold=2)
        rejected = next_of(Rejected)
        assert (rejected.code, rejected.option) == ("invalid_option", "threshold")
        stream.reset()
        next_of(Reset)
        for chunk in chunks[:45]:
            stream.send(chunk)
        stream.end()
        assert next_of(Done).duration_ms == 4_500


def test_one_thread_may_send_while_another_listens(client: Client, chunks: list[bytes]) -> None:
    with client.stream() as stream:

        def send() -> None:
            for chunk in chunks:
                stream.send(chunk)
            stream.end()

        sender = threading.Thread(target=send)
        sender.start()
        events = list(stream)
        sender.join()
    assert len(pairs(events)) == 2


async def test_the_asynchronous_stream_does_the_same(
    server: RunningServer, client: Client, speech_like: Path, chunks: list[bytes]
) -> None:
    async with AsyncClient(server.url) as other, other.stream(mode="endpoint") as stream:

        async def send() -> None:
            for chunk in chunks:
                await stream.send(chunk)
            await stream.flush()
            await stream.change(max_end_silence_time=500)
            await stream.ping()
            await stream.end()

        sending = asyncio.create_task(send())
        events = [event async for event in stream]
        await sending
        assert [event async for event in stream] == []
    segments = client.detect(speech_like).segments
    assert pairs(events) == [(segment.start_ms, segment.end_ms) for segment in segments]
    assert {Flushed, OptionsInForce, Pong, Done} <= {type(event) for event in events}


async def test_a_session_can_be_come_back_to(server: RunningServer, client: Client, chunks: list[bytes]) -> None:
    with client.stream() as stream:
        for chunk in chunks[:30]:
            stream.send(chunk)
        start = next(event for event in stream if isinstance(event, SpeechStart))
        session = stream.ready.session
        stream._socket.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionFailed, match="broke"):
            list(stream)
    async with AsyncClient(server.url) as other, other.stream(session=session, after=start.seq) as again:
        assert isinstance(again.ready, Ready)
        position = again.ready.offset_samples * 2
        for chunk in [b"".join(chunks)[position:]]:
            await again.send(chunk)
        await again.end()
        events = [event async for event in again]
    assert len(pairs(events)) == 2


def test_refusals_before_and_after_the_stream_is_open(client: Client, small_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="threshold") as wrong, client.stream(threshold=7):
        pass
    assert (wrong.value.option, wrong.value.status) == ("threshold", None)
    with pytest.raises(ServiceError) as gone, client.stream(session="none", after=0):
        pass
    assert gone.value.code == "no_such_session"
    with local_server(small_model, tmp_path, {"VAD_API_KEYS": "the-key"}) as locked:
        with Client(locked.url, "the-key") as keyed, keyed.stream() as stream:
            stream.end()
            assert isinstance(list(stream)[-1], Done)
        with Client(locked.url) as other, pytest.raises(Unauthorized) as refused, other.stream():
            pass
        assert refused.value.status == 401


async def test_refusals_of_the_asynchronous_stream(server: RunningServer) -> None:
    async with AsyncClient(server.url) as other:
        with pytest.raises(InvalidOption):
            async with other.stream(threshold=7):
                pass
    async with AsyncClient("http://127.0.0.1:1") as nobody:
        with pytest.raises(ConnectionFailed):
            async with nobody.stream():
                pass


def test_samples_that_are_none_end_the_stream(client: Client) -> None:
    with client.stream(encoding="pcm_f32le") as stream:
        stream.send(b"\x00\x00\xc0\x7f" * 1600)
        with pytest.raises(ServiceError) as wrong:
            list(stream)
        assert wrong.value.code == "invalid_audio"
        with pytest.raises(ServiceError) as closed:
            stream.send(bytes(3200))
        assert closed.value.code == "invalid_audio"


def test_a_service_that_stops_says_so(small_model: Path, tmp_path: Path) -> None:
    with ExitStack() as running:
        server = running.enter_context(local_server(small_model, tmp_path))
        with Client(server.url) as client, client.stream() as stream:
            stopping = threading.Thread(target=running.pop_all().close)
            stopping.start()
            with pytest.raises(Unavailable) as stopped:
                list(stream)
            assert stopped.value.code == "not_ready"
        stopping.join()


def test_nobody_and_somebody_else() -> None:
    with Client("http://127.0.0.1:1") as nobody, pytest.raises(ConnectionFailed), nobody.stream():
        pass
    with (
        foreign((404, {}, b"<html>")) as program,
        Client(program.url) as other,
        pytest.raises(UnexpectedAnswer) as wrong,
        other.stream(),
    ):
        pass
    assert wrong.value.status == 404
    for said in (
        "nonsense",
        "[]",
        '{"no":"type"}',
        '{"type":"ready"}',
        '{"type":"speech_start","start_ms":0,"at_ms":0}',
    ):
        with (
            saying(lambda socket, said=said: socket.send(said)) as url,  # type: ignore[misc]
            Client(url) as other,
            pytest.raises(UnexpectedAnswer),
            other.stream(),
        ):
            pass


def test_a_newer_service_may_say_more() -> None:
    def act(socket: ServerConnection) -> None:
        socket.send(json.dumps(READY | {"mood": "calm"}))
        socket.send(json.dumps({"type": "weather", "seq": 1, "sunny": True}))
        socket.close(1008, "tired: come back tomorrow")

    with saying(act) as url, Client(url) as client, client.stream() as stream:
        assert stream.ready.mood == "calm"  # type: ignore[attr-defined]
        event = next(stream)
        assert (type(event), event.type, event.model_extra) == (Event, "weather", {"sunny": True})
        with pytest.raises(ServiceError) as ended:
            next(stream)
    assert (ended.value.code, ended.value.detail, ended.value.status) == ("tired", "come back tomorrow", None)


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1011, "keepalive ping timeout"), (1009, "")])
def test_a_close_without_a_code_of_the_service(code: int, reason: str) -> None:
    def act(socket: ServerConnection) -> None:
        socket.send(json.dumps(READY))
        socket.close(code, reason)

    with saying(act) as url, Client(url) as client, client.stream() as stream, pytest.raises(ConnectionFailed):
        list(stream)


def test_every_event_that_is_documented_is_known_with_its_members() -> None:
    schemas = ASYNCAPI["components"]["schemas"]
    told = {
        schema["properties"]["type"]["const"]: schema["properties"]
        for name, schema in schemas.items()
        if "const" in schema.get("properties", {}).get("type", {}) and "seq" in schema["properties"]
    }
    told |= {"pong": schemas["Pong"]["properties"], "error": schemas["Error"]["properties"]}
    assert told.keys() == EVENTS.keys()
    for kind, properties in told.items():
        assert set(properties) <= set(EVENTS[kind].model_fields), kind
    for name, model in {"Segment": "SegmentTimes", "Warning": "AnswerWarning", "Utterance": "Utterance"}.items():
        [ours] = [each for each in Document.__subclasses__() if each.__name__ == model]
        assert set(schemas[name]["properties"]) == set(ours.model_fields)
