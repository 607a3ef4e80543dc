"""`docs/asyncapi.yaml` describes every message as it is: what is heard here over a socket is checked against it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from app.request import FILE_ONLY, DetectionRequest
from tests.live.client import Heard, converse, cut, f32, hear, hear_all, s16, say, stream, vanish
from tests.live.node import NODE, node_with
from tests.live.test_realtime import append, committed, event, realtime
from tests.server import RunningServer
from tests.signals import bursts

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "asyncapi.yaml"
SCHEMA_OF = {
    "ready": "Ready",
    "options": "OptionsInForce",
    "speech_start": "SpeechStart",
    "speech_confirmed": "SpeechConfirmed",
    "speech_maybe_end": "SpeechMaybeEnd",
    "speech_end": "SpeechEnd",
    "probability": "Probability",
    "flushed": "Flushed",
    "reset": "Reset",
    "pong": "Pong",
    "done": "Done",
    "error": "Error",
}
REALTIME_SCHEMA_OF = {
    "session.created": "SessionCreated",
    "session.updated": "SessionUpdated",
    "input_audio_buffer.speech_started": "SpeechStarted",
    "input_audio_buffer.speech_stopped": "SpeechStopped",
    "input_audio_buffer.committed": "Committed",
    "input_audio_buffer.cleared": "Cleared",
    "error": "RealtimeError",
}
CHUNKS = cut(s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])), 3_200)
FLUSH, RESET, PING, NONSENSE = '{"type":"flush"}', '{"type":"reset"}', '{"type":"ping"}', "nonsense"
OPTIONS = '{"type":"options","max_end_silence_time":300}'
BROKEN = f32(bursts(0.5, []) * float("nan"))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The description, read."""
    assert DOCUMENT.is_file(), f"{DOCUMENT} is not there: the messages of a live stream are not documented"
    read: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    return read


def problems(document: dict[str, Any], name: str, message: Any) -> list[str]:
    """What is wrong with a message, by the schema of that name."""
    assert name in document["components"]["schemas"], f"there is no schema {name}"
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(message)]


@pytest.fixture(scope="module")
def heard(server: RunningServer) -> list[dict[str, Any]]:
    """Streams in which everything happens that can be said."""
    parts = [*CHUNKS[:30], FLUSH, *CHUNKS[30:], PING, NONSENSE, RESET, *CHUNKS]
    found = [
        converse(server, parts),
        converse(server, parts, mode="tight", probabilities="true", probability_interval_ms=50, sample_rate=8_000),
        converse(server, []),
        converse(server, [OPTIONS, *CHUNKS], confirm_ms=100, maybe_end_ms=50, audio="true"),
    ]
    for query, chunks in (
        ({"encoding": "f32le"}, [BROKEN]), ({"no_such_option": 1}, []), ({"sample_rate": 1}, []),
        ({"session": "never-was"}, []),
    ):  # fmt: skip
        found.append(ends_by_itself(server, chunks, query))
    return [message for one in found for message in one.messages] + resumed(server)


def ends_by_itself(server: RunningServer, chunks: list[bytes], query: dict[str, Any]) -> Heard:
    with stream(server, **query) as socket:
        for chunk in chunks:
            socket.send(chunk)
        return hear_all(socket)


def resumed(server: RunningServer) -> list[dict[str, Any]]:
    with stream(server) as socket:
        token = hear(socket)["session"]
        for chunk in CHUNKS:
            socket.send(chunk)
        vanish(socket)
    with stream(server, session=token, after=0) as socket:
        say(socket, "end")
        return hear_all(socket).messages


def test_every_message_is_as_described(document: dict[str, Any], heard: list[dict[str, Any]]) -> None:
    assert {message["type"] for message in heard} == set(SCHEMA_OF)
    for message in heard:
        assert problems(document, SCHEMA_OF[message["type"]], message) == [], message
        # Nor does a message pass for another one.
        others = [name for kind, name in SCHEMA_OF.items() if kind != message["type"]]
        assert all(problems(document, name, message) for name in others)


def test_the_description_can_tell_right_from_wrong(document: dict[str, Any], heard: list[dict[str, Any]]) -> None:
    for message in heard:
        for member in message.keys() - {"option", "audio"}:
            without = {name: value for name, value in message.items() if name != member}
            assert problems(document, SCHEMA_OF[message["type"]], without), (member, message)
            assert problems(document, SCHEMA_OF[message["type"]], {**message, member: [None]}), (member, message)
        assert problems(document, SCHEMA_OF[message["type"]], {**message, "more": 1}), message


def test_realtime_events_are_as_described(document: dict[str, Any], server: RunningServer) -> None:
    change = {"turn_detection": {"type": "server_vad", "threshold": 0.4}, "input_audio_format": "g711_ulaw"}
    sent = [
        event("session.update", session={"turn_detection": None}, event_id="mine"),
        event("session.update", session=change),
        append(bytes(8_000)),
        append(s16(bursts(4.0, [(0.0, 4.0)]))),
        event("response.create", event_id="mine"),
    ]
    with realtime(server) as socket:
        for text in sent:
            socket.send(text)
        heard = committed(socket)
    assert {message["type"] for message in heard} == set(REALTIME_SCHEMA_OF)
    for message in heard:
        kind = REALTIME_SCHEMA_OF[message["type"]]
        assert problems(document, kind, message) == [], message
        assert all(problems(document, name, message) for name in REALTIME_SCHEMA_OF.values() if name != kind)
        for member in message:
            assert problems(document, kind, {name: value for name, value in message.items() if name != member})
    for kind, text in zip(("SessionUpdate", "SessionUpdate", "Append", "Append"), sent, strict=False):
        assert problems(document, kind, json.loads(text)) == []
    for kind, name in {"Commit": "commit", "Clear": "clear"}.items():
        assert problems(document, kind, {"type": f"input_audio_buffer.{name}"}) == []
        assert problems(document, kind, {"type": "input_audio_buffer.append"})


@pytest.mark.full
def test_its_own_parser_takes_the_description() -> None:
    """AsyncAPI's parser, which looks further than a schema: at references, bindings and rules of style."""
    parse = (
        "import {Parser, fromFile} from '@asyncapi/parser';"
        f"const {{document, diagnostics}} = await fromFile(new Parser(), {json.dumps(str(DOCUMENT))}).parse();"
        "console.log(JSON.stringify({channels: document?.channels().all().map((each) => each.address()),"
        " found: diagnostics.filter((each) => each.severity <= 1).map((each) => [each.message, each.path])}))"
    )
    ended = subprocess.run(
        node_with("@asyncapi/parser"), input=parse, cwd=NODE, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["channels"] == ["/vad/stream", "/", "/v1/realtime"]
    assert said["found"] == []


def test_funasr_messages_are_as_described(document: dict[str, Any], server: RunningServer) -> None:
    *events, done = converse(server, [*CHUNKS, '{"is_speaking": false}'], protocol="funasr").messages
    assert len(events) == 4
    assert [problem for event in events for problem in problems(document, "FunasrEvent", event)] == []
    assert problems(document, "FunasrDone", done) == []
    assert problems(document, "FunasrEvent", done)


def test_what_clients_send_is_described(document: dict[str, Any]) -> None:
    for name, kind in {"Flush": "flush", "ResetRequest": "reset", "End": "end", "Ping": "ping"}.items():
        assert problems(document, name, {"type": kind}) == []
        assert problems(document, name, {"type": "hello"})
    assert problems(document, "OptionsRequest", json.loads(OPTIONS)) == []
    assert problems(document, "OptionsRequest", {"type": "options", "threshold": []})
    assert problems(document, "FunasrControl", {"is_speaking": False, "mode": "2pass"}) == []


def test_every_parameter_is_described(document: dict[str, Any]) -> None:
    described = document["components"]["schemas"]["Query"]["properties"]
    names = [name for name in DetectionRequest.names() if name not in FILE_ONLY]
    assert set(described) == {*names, "api_key"}
    request = DetectionRequest()
    form = request.stream_form()
    usual = {"encoding": form.encoding, "sample_rate": form.sample_rate, "channels": form.channels}
    in_force = {name: getattr(request, name) for name in names} | usual
    for name in names:
        if "default" in described[name]:
            assert described[name]["default"] == in_force[name]
    assert problems(document, "Query", {k: v for k, v in in_force.items() if v is not None}) == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                place: Any = document
                for step in node["$ref"].removeprefix("#/").split("/"):
                    place = place[step]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert document["asyncapi"].startswith("3.")
    assert document["channels"]["stream"]["address"] == "/vad/stream"
