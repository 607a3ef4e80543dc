"""`fsmn_vad_client` and files, over real sockets: typed answers, the service's bytes, errors as exceptions."""

import asyncio
import inspect
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import fsmn_vad_client as public
from app.formats.registry import FORMATS
from fsmn_vad_client import (
    AsyncClient,
    AudioRefused,
    Client,
    ConnectionFailed,
    Detection,
    InvalidOption,
    ServiceError,
    Source,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from fsmn_vad_client.answers import Document
from tests.client.foreign import Said, foreign
from tests.server import RunningServer, local_server

FULL: Said = (
    503,
    {"Content-Type": "application/problem+json", "Retry-After": "0"},
    b'{"type":"about:blank","title":"Overloaded","status":503,"detail":"full","code":"overloaded","request_id":"7"}',
)
UNSURE = ("request_id", "timing", "uptime_s")
"""Members that differ from answer to answer."""


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def sure(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in UNSURE}


def asked(url: str, source: Source, retries: int = 0) -> Detection:
    with Client(url, retries=retries) as client:
        return client.detect(source)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_certificates_are_read_for_https_alone(monkeypatch: pytest.MonkeyPatch, kind: type[Client]) -> None:
    read: list[object] = []
    # Not the tests' own, which reads them once for all (tests/conftest.py).
    monkeypatch.setattr(ssl, "create_default_context", inspect.unwrap(ssl.create_default_context))
    for name in ("load_verify_locations", "load_default_certs"):
        monkeypatch.setattr(ssl.SSLContext, name, lambda *given, **named: read.append(given))
    for url in ("http://localhost:1", "HTTP://localhost:1/prefix"):
        kind(url)
        assert not read
    kind("https://localhost:1")
    assert read


class Watched(io.BytesIO):
    """An open file that knows the largest piece that was asked of it."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size > 0, "a file is never read whole"
        self.largest = max(self.largest, size)
        return super().read(size)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"probabilities": True, "max_chunk_s": 3, "time_map": True},
        {"channel": "split", "mode": "tight", "keep": True},
    ],
)
def test_an_answer_has_every_member_of_the_json(
    server: RunningServer, client: Client, speech_like: Path, options: dict[str, Any]
) -> None:
    detection = client.detect(speech_like, **options)
    params = {name: str(value).lower() for name, value in options.items()}
    answer = server.post("/vad", params=params, files={"file": ("bursts.wav", speech_like.read_bytes())}).json()
    ours = json.loads(detection.model_dump_json(exclude_unset=True))
    assert ours.keys() == answer.keys()
    if "keep" in options:
        assert ours.pop("analysis_id") != answer.pop("analysis_id")
    assert sure(ours) == sure(answer)
    assert detection.segments[0].duration_ms == detection.segments[0].end_ms - detection.segments[0].start_ms


def test_sources_of_every_kind_give_the_same(client: Client, speech_like: Path, tmp_path: Path) -> None:
    content, expected = speech_like.read_bytes(), client.detect(speech_like).segments
    assert len(expected) == 2
    later = io.BytesIO(b"before" + content)
    later.seek(6)
    os.mkfifo(pipe := tmp_path / "pipe.wav")
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    with speech_like.open("rb") as file:
        for source in (str(speech_like), content, file, later, pipe):
            assert client.detect(source).segments == expected
    writer.join()


def test_a_file_is_sent_in_pieces(client: Client, speech_like: Path) -> None:
    # 40 s of PCM behind a WAV's header: more than any buffer on the way.
    file = Watched(speech_like.read_bytes()[:44] + bytes(40 * 32_000))
    assert client.detect(file, filename="x.wav").audio.duration_ms >= 10_000
    assert 0 < file.largest <= 1 << 20


@pytest.mark.parametrize(
    ("filename", "name"),
    [("会议 1.wav", "会议_1"), ("..", "audio"), ("a/b.wav", "b"), ('"; x', "x"), ("\ud800.wav", "audio")],
)
def test_names_arrive(client: Client, speech_like: Path, filename: str, name: str) -> None:
    assert client.detect(speech_like.read_bytes(), filename=filename).name == name
    assert client.detect(speech_like).name == "bursts"


@pytest.mark.parametrize("form", [form.name for form in FORMATS])
def test_bytes_are_those_of_the_service(server: RunningServer, client: Client, speech_like: Path, form: str) -> None:
    answer = client.detect_bytes(speech_like, form, lang="en")
    theirs = server.post(
        "/vad", params={"format": form, "lang": "en"}, files={"file": ("bursts.wav", speech_like.read_bytes())}
    )
    if form == "json":
        assert sure(json.loads(answer.content)) == sure(theirs.json())
    elif form == "ndjson":
        assert answer.content.splitlines()[0] == theirs.content.splitlines()[0]
    else:
        assert answer.content == theirs.content
    assert answer.media_type == theirs.headers["content-type"]
    if form != "ndjson":
        assert answer.filename == f"bursts.{next(each.extension for each in FORMATS if each.name == form)}"


def test_headers_tell_warnings_and_the_time_map(client: Client, speech_like: Path) -> None:
    cut = speech_like.read_bytes()[:-1000]
    answer = client.detect_bytes(cut, "wav", time_map=True)
    assert "truncated" in answer.warnings
    assert int(answer.headers["x-vad-time-map-stretches"]) == answer.headers["X-VAD-Time-Map"].count(";") + 1
    assert client.detect_bytes(speech_like, "srt").warnings == ()


def test_an_answer_may_be_left_before_its_end(client: Client, speech_like: Path) -> None:
    for _ in range(3):
        with client.open_answer(speech_like, "zip") as answer:
            assert answer.filename == "bursts.zip"
            assert next(iter(answer)).startswith(b"PK")
    assert client.health().status == "ready"


def test_what_there_is(server: RunningServer, client: Client) -> None:
    for answer, path in ((client.options(), "/options"), (client.health(), "/health")):
        theirs = server.get(path).json()
        assert sure(json.loads(answer.model_dump_json(exclude_unset=True))) == sure(theirs)
    listed = [json.loads(model.model_dump_json(exclude_unset=True)) for model in client.models()]
    assert listed == server.get("/models").json()["models"]
    assert client.health().model is not None


WIRE_MODELS = {
    **{each: f"{each.__name__}Document" for each in (
        public.Accuracy, public.Audio, public.Channel, public.Chunk, public.Detection, public.Form, public.Health,
        public.Input, public.Mode, public.Model, public.ModelOptions, public.Options, public.Preset,
        public.Probabilities, public.Segment, public.TimeGap, public.Timing,
    )},
    public.AnswerWarning: "WarningDocument",
    public.ListedModel: "ListedModel",
}  # fmt: skip
"""Answers over HTTP, and what OpenAPI calls them."""


def test_the_client_knows_every_member_of_the_service_s_answers(server: RunningServer) -> None:
    schemas = server.get("/openapi.json").json()["components"]["schemas"]
    for ours, name in WIRE_MODELS.items():
        assert set(ours.model_fields) == set(schemas[name]["properties"]), name
    over_http = {each for each in subclasses(Document) if not issubclass(each, public.Event)}
    assert over_http - WIRE_MODELS.keys() == {public.SegmentTimes, public.Utterance}


def test_members_of_a_newer_service_are_kept(client: Client, speech_like: Path) -> None:
    known = json.loads(client.detect_bytes(speech_like).content)
    known["mood"] = {"calm": 0.9}
    known["segments"][0]["pitch_hz"] = 110
    with foreign((200, {"Content-Type": "application/json"}, json.dumps(known).encode())) as program:
        detection = asked(program.url, b"x")
    assert detection.mood == {"calm": 0.9}  # type: ignore[attr-defined]
    assert detection.segments[0].model_extra == {"pitch_hz": 110}
    assert json.loads(detection.model_dump_json(exclude_unset=True)) == known


def test_refusals_are_exceptions_with_the_service_s_words(client: Client, speech_like: Path) -> None:
    with pytest.raises(InvalidOption, match="threshold") as wrong:
        client.detect(speech_like, threshold=0.6)
    error = wrong.value
    assert (error.code, error.status, error.option, error.retry_after) == ("invalid_option", 422, "threshold", None)
    assert error.request_id
    assert str(error) == f"{error.detail} (422 invalid_option)"
    for content, code in ((b"no audio", "unsupported_audio"), (b"", "no_audio")):
        with pytest.raises(AudioRefused) as refused:
            client.detect(content)
        assert refused.value.code == code
    with pytest.raises(ServiceError) as unknown, client.open_answer(speech_like, "none"):
        pass
    assert unknown.value.option == "format"
    with pytest.raises(FileNotFoundError):
        client.detect("nothing.wav")


def test_keys(small_model: Path, tmp_path: Path, speech_like: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_API_KEYS": "the-key"}) as locked:
        with Client(locked.url, "the-key") as client:
            assert len(client.detect(speech_like).segments) == 2
        with pytest.raises(Unauthorized) as refused:
            asked(locked.url, speech_like)
        assert (refused.value.status, refused.value.code) == (401, "unauthorized")


async def test_a_refusal_arrives_although_the_body_is_still_being_sent(small_model: Path, tmp_path: Path) -> None:
    large = bytes(30 << 20)
    with local_server(small_model, tmp_path, {"VAD_API_KEYS": "the-key", "VAD_MAX_UPLOAD_MB": "1"}) as small:
        with pytest.raises(Unauthorized):
            asked(small.url, large)
        with Client(small.url, "the-key") as client, pytest.raises(AudioRefused) as refused:
            client.detect(large)
        assert (refused.value.status, refused.value.code) == (413, "upload_too_large")
        async with AsyncClient(small.url, "the-key") as other:
            with pytest.raises(AudioRefused):
                await other.detect(io.BytesIO(large))


def test_a_full_service_is_tried_again_if_asked(client: Client, speech_like: Path) -> None:
    good: Said = (200, {"Content-Type": "application/json"}, client.detect_bytes(speech_like).content)
    content = speech_like.read_bytes()
    with foreign(FULL) as program, pytest.raises(Unavailable) as full:
        asked(program.url, content)
    assert (full.value.retry_after, full.value.detail) == (0, "full")
    assert len(program.bodies) == 1
    with foreign(FULL, FULL, good) as program, speech_like.open("rb") as file:
        assert len(asked(program.url, file, retries=2).segments) == 2
    assert program.bodies == [content] * 3
    with foreign(FULL, FULL, good) as program, pytest.raises(Unavailable):
        asked(program.url, speech_like, retries=1)
    read, write = os.pipe()
    os.write(write, b"once")
    os.close(write)
    with foreign(FULL, good) as program, os.fdopen(read, "rb") as pipe, pytest.raises(Unavailable):
        asked(program.url, pipe, retries=5)
    assert program.bodies == [b"once"]


def test_what_is_not_the_service() -> None:
    page: Said = (502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>")
    elsewhere: Said = (301, {"Location": "https://vad.example.com/vad"}, b"")
    for said, status, words in (
        (page, 502, "answered 502"),
        (elsewhere, 301, "points to https://vad.example.com/vad"),
        ((200, {}, b"[]"), 200, "not one of this service"),
        ((503, {}, b"{}"), 503, "answered 503"),
    ):
        with foreign(said) as program, pytest.raises(UnexpectedAnswer, match=words) as wrong:
            asked(program.url, b"x", retries=3)
        assert wrong.value.status == status
        with foreign(said) as program, Client(program.url) as other, pytest.raises(UnexpectedAnswer):
            other.health()
    for url in ("localhost:8000", "ftp://localhost", "http://", "http://[::"):
        with pytest.raises(ValueError, match=r"URL|Invalid"):
            Client(url)


def test_no_answer_and_half_an_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionFailed, match=r"no answer from http://127\.0\.0\.1"):
            asked(f"http://127.0.0.1:{unused.getsockname()[1]}", b"x")
    with foreign((200, {"Content-Length": "1000"}, b"half")) as program, Client(program.url) as client:
        with pytest.raises(ConnectionFailed):
            client.detect_bytes(b"x", "srt")
        with client.open_answer(b"x", "wav") as answer, pytest.raises(ConnectionFailed):
            list(answer)


async def test_the_asynchronous_client_does_the_same(server: RunningServer, client: Client, speech_like: Path) -> None:
    async with AsyncClient(server.url) as other:
        with speech_like.open("rb") as file:
            sources = (speech_like, speech_like.read_bytes(), file, Watched(speech_like.read_bytes()))
            answers = [await other.detect(source, filename="bursts.wav") for source in sources]
        expected = client.detect(speech_like)
        assert all(sure(answer.model_dump()) == sure(expected.model_dump()) for answer in answers)
        together = await asyncio.gather(*(other.detect_bytes(speech_like, "srt") for _ in range(4)))
        assert {answer.content for answer in together} == {client.detect_bytes(speech_like, "srt").content}
        async with other.open_answer(speech_like, "wav") as answer:
            content = b"".join([piece async for piece in answer])
        assert (content, answer.filename) == (client.detect_bytes(speech_like, "wav").content, "bursts.speech.wav")
        assert await other.models() == client.models()
        assert await other.options() == client.options()
        assert (await other.health()).status == "ready"
        with pytest.raises(InvalidOption):
            await other.detect(speech_like, threshold=0.6)
        with pytest.raises(FileNotFoundError):
            await other.detect("nothing.wav")


async def test_the_asynchronous_client_waits_and_gives_up_alike(client: Client, speech_like: Path) -> None:
    good: Said = (200, {"Content-Type": "application/json"}, client.detect_bytes(speech_like).content)
    with foreign(FULL, good) as program:
        async with AsyncClient(program.url, retries=1) as other:
            assert len((await other.detect(speech_like)).segments) == 2
    assert len(program.bodies) == 2
    with foreign((200, {"Content-Length": "1000"}, b"half")) as program:
        async with AsyncClient(program.url) as other:
            with pytest.raises(ConnectionFailed):
                await other.detect_bytes(b"x", "srt")
    with foreign((502, {}, b"")) as program:
        async with AsyncClient(program.url) as other:
            with pytest.raises(UnexpectedAnswer):
                await other.health()


def test_it_needs_neither_the_service_nor_its_libraries() -> None:
    lines = [
        "import sys",
        "for name in ('app', 'torch', 'numpy', 'fastapi', 'starlette', 'websockets'): sys.modules[name] = None",
        "import fsmn_vad_client",
        "fsmn_vad_client.Client('http://localhost:1')",
    ]
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_everything_public_is_listed() -> None:
    defined = {name for name, value in vars(public).items() if isinstance(value, type) and not name.startswith("_")}
    assert defined <= set(public.__all__)
    models = {each.__name__ for each in subclasses(Document) if each.__module__.startswith("fsmn_vad_client")}
    assert models <= set(public.__all__)


def subclasses(model: type[BaseModel]) -> set[type[BaseModel]]:
    direct = model.__subclasses__()
    return {*direct, *(each for one in direct for each in subclasses(one))}
