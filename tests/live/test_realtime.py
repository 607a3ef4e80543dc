"""`WS /v1/realtime`: OpenAI's realtime protocol as far as it is about turns, as an object and over a socket."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import soxr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from app.live.realtime import RealtimeProtocol
from app.vad.errors import InvalidOption
from app.vad.segment import Segment
from tests.live.client import PATIENCE_S, eventually, file_pairs, hear, hear_all, hear_until, metric, s16, wav
from tests.server import RunningServer, local_server
from tests.signals import bursts

RATE = 24_000
PCM = s16(soxr.resample(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]), 16_000, RATE))
STARTED, STOPPED, COMMITTED = (
    f"input_audio_buffer.{name}" for name in ("speech_started", "speech_stopped", "committed")
)
TIGHT = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 60, "silence_duration_ms": 200}
SAME = {"mode": "tight", "threshold": 0.6, "speech_pad_ms": 60, "min_silence_duration_ms": 200}

Json = dict[str, Any]


@contextmanager
def realtime(server: RunningServer, headers: dict[str, str] | None = None, **query: str) -> Iterator[ClientConnection]:
    """An open session."""
    url = f"ws{server.url.removeprefix('http')}/v1/realtime?{urlencode({'model': 'gpt-realtime', **query})}"
    with connect(
        url, additional_headers=headers, compression=None, proxy=None, max_queue=None, open_timeout=PATIENCE_S
    ) as socket:
        yield socket


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


def append(pcm: bytes) -> str:
    return event("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())


def update(**session: Any) -> str:
    return event("session.update", session=session)


def feed(socket: ClientConnection, pcm: bytes, size: int = 4_800) -> None:
    for at in range(0, len(pcm), size):
        socket.send(append(pcm[at : at + size]))


def turns(events: list[Json]) -> list[list[int]]:
    """[start, end] of every turn; each has its stop and its commit, with the id that its start told."""
    found, open_turns = [], {}
    for each in events:
        if each["type"] == STARTED:
            open_turns[each["item_id"]] = each["audio_start_ms"]
        elif each["type"] == STOPPED:
            found.append([open_turns.pop(each["item_id"]), each["audio_end_ms"]])
    assert not open_turns
    return found


def ids(events: list[Json], kind: str) -> list[str]:
    return [each["item_id"] for each in events if each["type"] == kind]


def committed(socket: ClientConnection) -> list[Json]:
    """Commit, and hear everything up to the answer to a question that comes after it."""
    socket.send(event("input_audio_buffer.commit"))
    socket.send(event("input_audio_buffer.clear"))
    return hear_until(socket, "input_audio_buffer.cleared")


# ---- over a socket


def test_turns_are_told_at_the_times_of_the_file(server: RunningServer) -> None:
    with realtime(server) as socket:
        socket.send(update(turn_detection=TIGHT))
        feed(socket, PCM)
        events = committed(socket)
    assert [each["type"] for each in events[:2]] == ["session.created", "session.updated"]
    assert turns(events) == file_pairs(server, wav(PCM, RATE), **SAME) != []
    assert ids(events, STARTED) == ids(events, STOPPED) == ids(events, COMMITTED)[:2]
    numbers = [each["event_id"] for each in events]
    assert len(set(numbers)) == len(numbers)
    previous = [each["previous_item_id"] for each in events if each["type"] == COMMITTED]
    assert previous == [None, *ids(events, COMMITTED)[:-1]]


@pytest.mark.parametrize("size", [2, 1_001, 48_000])
def test_how_audio_is_cut_makes_no_difference(server: RunningServer, size: int) -> None:
    pcm = PCM[: 2 * RATE * (1 if size == 2 else 10)]
    with realtime(server) as socket:
        socket.send(update(turn_detection=TIGHT))
        feed(socket, pcm, size)
        events = committed(socket)
    assert turns(events) == file_pairs(server, wav(pcm, RATE), **SAME)


@pytest.mark.parametrize("shape", ["beta", "ga"])
@pytest.mark.parametrize("coding", ["ulaw", "alaw"])
def test_telephony(server: RunningServer, shape: str, coding: str) -> None:
    encoded = s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]))  # any bytes are mu-law
    if shape == "beta":
        change = update(input_audio_format=f"g711_{coding}", turn_detection=TIGHT)
    else:
        form = {"type": f"audio/pcm{coding[0]}"}
        change = update(type="realtime", audio={"input": {"format": form, "turn_detection": TIGHT}})
    with realtime(server) as socket:
        socket.send(change)
        feed(socket, encoded[:80_000], 800)
        _created, updated, *events = committed(socket)
    assert updated["session"]["input_audio_format"] == f"g711_{coding}"
    assert updated["session"]["audio"]["input"]["format"] == {"type": f"audio/pcm{coding[0]}"}
    encoding = f"{'mulaw' if coding == 'ulaw' else 'alaw'}"
    assert turns(events) == file_pairs(server, encoded[:80_000], encoding=encoding, sample_rate=8_000, **SAME)


def test_the_session_is_told_in_both_shapes(server: RunningServer) -> None:
    with realtime(server) as socket:
        created = hear(socket)["session"]
        socket.send(update(turn_detection={"type": "server_vad", "silence_duration_ms": 900}))
        updated = hear(socket)["session"]
        socket.send(update(audio={"input": {"turn_detection": {"silence_duration_ms": None, "threshold": 0.4}}}))
        again = hear(socket)["session"]
    assert created["model"] == created["vad"]["model"]["name"] == server.get("/models").json()["models"][0]["name"]
    assert created["vad"]["asked_model"] == "gpt-realtime"
    detection = {"type": "server_vad", "threshold": 0.45, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    off = {"create_response": False, "interrupt_response": False}
    assert created["turn_detection"] == created["audio"]["input"]["turn_detection"] == {**detection, **off}
    assert updated["turn_detection"] == {**detection, "silence_duration_ms": 900, **off}
    assert again["turn_detection"] == {**detection, "threshold": 0.4, **off}
    assert created["output_modalities"] == []
    assert created["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}


def test_thresholds_change_from_the_next_frame_on(server: RunningServer) -> None:
    """What was open stays open, and its silence is counted by the new value."""
    with realtime(server) as socket:
        socket.send(update(turn_detection={**TIGHT, "silence_duration_ms": 5_000}))
        feed(socket, PCM[: int(4.6 * RATE) * 2])
        socket.send(update(turn_detection={"silence_duration_ms": 200}))
        feed(socket, PCM[int(4.6 * RATE) * 2 :])
        events = committed(socket)
    kinds = [each["type"] for each in events if each["type"] != "session.created"]
    assert kinds[:3] == ["session.updated", STARTED, "session.updated"]
    assert turns(events) == file_pairs(server, wav(PCM, RATE), **SAME)


def test_without_turn_detection_the_client_commits(server: RunningServer) -> None:
    with realtime(server) as socket:
        socket.send(update(turn_detection=None))
        feed(socket, PCM[: 5 * RATE * 2])
        socket.send(event("input_audio_buffer.commit"))
        first = hear_until(socket, COMMITTED)
        socket.send(update(turn_detection=TIGHT))
        feed(socket, PCM[5 * RATE * 2 :])
        events = committed(socket)
    assert [each["type"] for each in first] == ["session.created", "session.updated", COMMITTED]
    assert first[1]["session"]["turn_detection"] is None
    (turn,) = turns(events)
    expected = file_pairs(server, wav(PCM[5 * RATE * 2 :], RATE), **SAME)
    assert [turn] == [[start + 5_000, end + 5_000] for start, end in expected]


def test_clear_drops_the_turn_and_time_goes_on(server: RunningServer) -> None:
    with realtime(server) as socket:
        socket.send(update(turn_detection=TIGHT))
        feed(socket, PCM[: 3 * RATE * 2])  # in mid-speech
        socket.send(event("input_audio_buffer.clear"))
        before = hear_until(socket, "input_audio_buffer.cleared")
        feed(socket, PCM[5 * RATE * 2 :])
        after = committed(socket)
    assert STOPPED not in [each["type"] for each in before]
    expected = file_pairs(server, wav(PCM[5 * RATE * 2 :], RATE), **SAME)
    assert turns(after) == [[start + 3_000, end + 3_000] for start, end in expected]


def test_a_commit_in_mid_speech_ends_the_turn(server: RunningServer) -> None:
    with realtime(server) as socket:
        socket.send(update(turn_detection=TIGHT))
        feed(socket, PCM[: 3 * RATE * 2])
        socket.send(event("input_audio_buffer.commit"))
        events = hear_until(socket, COMMITTED)
    assert turns(events) == file_pairs(server, wav(PCM[: 3 * RATE * 2], RATE), **SAME) != []
    assert ids(events, COMMITTED) == ids(events, STARTED)


WRONG = {
    "no JSON": ("nonsense", "invalid_json", None),
    "no object": ("[]", "invalid_type", None),
    "no such event": (event("hello"), "invalid_value", "type"),
    "answers": (event("response.create"), "unsupported_event", "type"),
    "items": (event("conversation.item.create", item={}), "unsupported_event", "type"),
    "transcription sessions": (event("transcription_session.update"), "unsupported_event", "type"),
    "no audio": (event("input_audio_buffer.append"), "invalid_type", "audio"),
    "no base64": (event("input_audio_buffer.append", audio="%%%"), "invalid_value", "audio"),
    "nothing to commit": (event("input_audio_buffer.commit"), "input_audio_buffer_commit_empty", None),
    "no session": (event("session.update"), "invalid_type", "session"),
    "audio is no object": (update(audio=3), "invalid_type", "session.audio"),
    "another format": (update(input_audio_format="mp3"), "invalid_value", "session.input_audio_format"),
    "another rate": (
        update(audio={"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}),
        "invalid_value",
        "session.audio.input.format",
    ),
    "another detector": (
        update(turn_detection={"type": "semantic_vad"}), "invalid_value", "session.turn_detection.type",
    ),
    "out of range": (update(turn_detection={"threshold": 7}), "invalid_value", "session.turn_detection.threshold"),
    "out of range under another name": (
        update(turn_detection={"prefix_padding_ms": -1}), "invalid_value", "session.turn_detection.prefix_padding_ms",
    ),
    "no such option": (update(turn_detection={"loudness": 7}), "invalid_value", "session.turn_detection.loudness"),
    "another model": (update(model="fsmn+fsmn"), "invalid_value", "session.model"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=list(WRONG))
def test_what_is_wrong_is_told_and_the_session_goes_on(server: RunningServer, wrong: str) -> None:
    text, code, param = WRONG[wrong]
    if text.startswith("{"):
        text = json.dumps({**json.loads(text), "event_id": "mine"})
    with realtime(server) as socket:
        hear(socket)
        socket.send(text)
        error = hear(socket)
        socket.send(update(turn_detection=TIGHT))
        feed(socket, PCM)
        events = committed(socket)
    assert error["type"] == "error"
    assert (error["error"]["type"], error["error"]["code"], error["error"]["param"]) == (
        "invalid_request_error", code, param,
    )  # fmt: skip
    assert error["error"]["event_id"] == ("mine" if text.startswith("{") else None)
    assert turns(events) == file_pairs(server, wav(PCM, RATE), **SAME)


def test_binary_frames_are_no_events(server: RunningServer) -> None:
    with realtime(server) as socket:
        hear(socket)
        socket.send(b"\0\0")
        assert hear(socket)["error"]["code"] == "invalid_json"


def test_a_wish_for_transcripts_is_told_and_the_rest_holds(server: RunningServer) -> None:
    with realtime(server) as socket:
        hear(socket)
        socket.send(update(input_audio_transcription={"model": "whisper-1"}, turn_detection=TIGHT, instructions="Hi"))
        updated, error = hear(socket), hear(socket)
    assert updated["session"]["turn_detection"]["threshold"] == 0.6
    assert updated["session"]["input_audio_transcription"] is None
    assert error["error"]["param"] == "session.input_audio_transcription"
    assert error["error"]["code"] == "unsupported_field"


def test_the_format_is_settled_by_the_first_audio(server: RunningServer) -> None:
    with realtime(server) as socket:
        hear(socket)
        feed(socket, PCM[:4_800])
        socket.send(update(input_audio_format="g711_ulaw"))
        assert hear(socket)["error"]["param"] == "session.input_audio_format"
        socket.send(update(input_audio_format="pcm16"))
        assert hear(socket)["type"] == "session.updated"


def test_one_of_our_models_and_presets_can_be_named(server: RunningServer) -> None:
    name = server.get("/models").json()["models"][0]["name"]
    with realtime(server, model=name, preset="commands") as socket:
        session = hear(socket)["session"]
    assert (session["model"], session["turn_detection"]["silence_duration_ms"]) == (name, 400)
    for query, param in (({"preset": "nonsense"}, "preset"), ({"model": "firered"}, "model")):
        with realtime(server, **query) as socket:
            heard = hear_all(socket)
        assert heard.code == 1008
        assert heard.messages[0]["error"]["param"] == param


# ---- who may come, and how long


def test_keys_come_as_browsers_send_them(small_model: Path, tmp_path: Path) -> None:
    with local_server(small_model, tmp_path, {"VAD_API_KEYS": "secret,other"}) as server:
        url = f"ws{server.url.removeprefix('http')}/v1/realtime?model=gpt-realtime"
        offered: Any = ["realtime", "openai-insecure-api-key.other", "openai-beta.realtime-v1"]
        with connect(url, subprotocols=offered, proxy=None, open_timeout=PATIENCE_S) as socket:
            assert socket.subprotocol == "realtime"
            assert hear(socket)["type"] == "session.created"
        with realtime(server, {"Authorization": "Bearer secret"}) as socket:
            assert hear(socket)["type"] == "session.created"
        offered[1] = "openai-insecure-api-key.wrong"
        with pytest.raises(InvalidStatus) as refused:
            connect(url, subprotocols=offered, proxy=None, open_timeout=PATIENCE_S)
        assert refused.value.response.status_code == 401


def test_without_a_handshake_it_says_what_to_speak(server: RunningServer) -> None:
    answer = server.get("/v1/realtime?model=gpt-realtime")
    assert (answer.status_code, answer.json()["code"]) == (426, "upgrade_required")


def test_a_page_of_another_origin_may_not_come(server: RunningServer) -> None:
    with pytest.raises(InvalidStatus) as refused, realtime(server, {"Origin": "https://elsewhere.example"}):
        pass
    assert refused.value.response.status_code == 403


def test_sessions_are_counted_and_idle_ones_end(small_model: Path, tmp_path: Path) -> None:
    settings = {"VAD_MAX_STREAMS": "1", "VAD_STREAM_IDLE_S": "1", "VAD_SESSION_TTL_S": "30"}
    with local_server(small_model, tmp_path, settings) as server:
        with realtime(server) as socket:
            hear(socket)
            with pytest.raises(InvalidStatus) as refused, realtime(server):
                pass
            assert refused.value.response.status_code == 503
            heard = hear_all(socket)
        assert heard.code == 1001
        assert heard.messages[-1]["error"]["code"] == "idle_timeout"
        # Nobody can come back to it, so it is not kept either.
        eventually(lambda: metric(server, "vad_streams") == 0)
        with realtime(server) as socket:
            assert hear(socket)["type"] == "session.created"


# ---- the object alone


def protocol() -> RealtimeProtocol:
    options = {"threshold": 0.5, "speech_pad_ms": 300, "min_silence_duration_ms": 500}
    return RealtimeProtocol("t", {"name": "fsmn"}, "gpt-realtime", options, lambda name: name == "silero")


def segment(start_ms: int, end_ms: int) -> Segment:
    return Segment(start_ms, end_ms, False, 0.9)


class Recorder:
    """Stands for a session: remembers what is asked of it."""

    def __init__(self, refuses: str | None = None) -> None:
        self.calls: list[Any] = []
        self.said: list[Json] = []
        self._refuses = refuses

    def receive_audio(self, data: bytes, now: float) -> None:
        self.calls.append((data, now))

    def receive_command(self, command: str) -> None:
        self.calls.append(command)

    def receive_clear(self) -> None:
        self.calls.append("clear")

    def receive_options(self, given: Json, note: object) -> None:
        if self._refuses in given:
            raise InvalidOption(self._refuses, "too much")
        self.calls.append(dict(given))

    def use_form(self, **form: object) -> None:
        self.calls.append(form)

    def say(self, message: Json) -> None:
        self.said.append(message)


PCM16 = {"encoding": "pcm_s16le", "sample_rate": RATE}


def asked(rules: RealtimeProtocol, text: str, refuses: str | None = None) -> Recorder:
    """What an event asks of the session."""
    session: Any = Recorder(refuses)
    rules.receive_text(session, text, 7.0)
    return session


def test_each_event_is_carried_out_on_the_session() -> None:
    rules = protocol()
    assert asked(rules, append(b"\1\2")).calls == [(b"\1\2", 7.0)]
    assert asked(rules, event("input_audio_buffer.commit")).calls == ["flush"]
    assert asked(rules, event("input_audio_buffer.clear")).calls == ["clear"]
    assert asked(rules, update(turn_detection={"prefix_padding_ms": 20})).calls == [{"speech_pad_ms": 20}, PCM16]
    refused = asked(rules, update(model="silero"))
    assert refused.calls == []
    assert "?model=silero" in refused.said[0]["error"]["message"]
    assert asked(rules, update(model="gpt-4o-realtime-preview")).calls == [{"speech_pad_ms": 20}, PCM16]


def test_a_commit_that_ends_two_turns_commits_each_once() -> None:
    """The last frames may decide two ends: one that only waited for its padding, and the open one's."""
    rules = protocol()
    events = [*rules.start(0, 100)]
    events += rules.end(segment(0, 900), 1_500, None, asked_for=True)
    events += rules.start(1_000, 1_500)
    events += rules.end(segment(1_000, 1_500), 1_500, None, asked_for=True)
    events += rules.flushed(1_500)
    assert turns(events) == [[0, 900], [1_000, 1_500]]
    assert ids(events, COMMITTED) == ids(events, STARTED)


def test_an_update_that_was_refused_leaves_no_trace() -> None:
    rules = protocol()
    refused = asked(rules, update(turn_detection={"threshold": 7}), refuses="threshold")
    assert refused.calls == []
    assert refused.said[0]["error"]["param"] == "session.turn_detection.threshold"
    change = {"min_silence_duration_ms": 300}
    assert asked(rules, update(turn_detection={"silence_duration_ms": 300})).calls == [change, PCM16]
