"""Whatever a client sends, what it is answered can be sent: JSON in UTF-8."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.live.queues import encode
from tests.live.client import hear, hear_all, say, stream
from tests.live.test_realtime import realtime
from tests.server import RunningServer

HALF = '"\\ud800"'
"""Half of a surrogate pair, as JSON may write it: a character that UTF-8 has no form for."""
texts = st.text(st.characters(codec=None, exclude_categories=()))
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(documents)
def test_a_message_is_json_in_utf8_and_holds_what_it_was_made_of(document: Any) -> None:
    assert json.loads(encode(document).encode().decode()) == document


def test_letters_of_any_script_stay_as_they_are() -> None:
    assert encode({"语音": "é"}) == '{"语音":"é"}'


@pytest.mark.parametrize("protocol", ["vad", "funasr"])
@pytest.mark.parametrize(
    "text",
    [
        f'{{"type": {HALF}}}',
        f"{{{HALF}: 1}}",
        f'{{"type": "options", {HALF}: 1}}',
        f'{{"type": "options", "mode": {HALF}}}',
        f'{{"type": "options", "max_end_silence_time": {HALF}}}',
        f'{{"type": "options", "do_extend": {{{HALF}: {HALF}}}}}',
        HALF,
    ],
)
def test_half_a_surrogate_pair_in_a_message(server: RunningServer, text: str, protocol: str) -> None:
    with stream(server, protocol=protocol) as socket:
        socket.send(text)
        say(socket, "end")
        heard = hear_all(socket)
    errors = [each for each in heard.messages if isinstance(each, dict) and each.get("type") == "error"]
    assert [error["code"] for error in errors] in (["bad_message"], ["invalid_option"])
    assert heard.code == 1000


def test_half_a_surrogate_pair_in_funasrs_messages(server: RunningServer) -> None:
    for text, code in (
        (f'{{"is_speaking": true, "wav_name": {HALF}}}', 1000),
        (f'{{"is_speaking": {HALF}}}', 1000),
        (f'{{"is_speaking": true, "audio_fs": {HALF}}}', 1008),
    ):
        with stream(server, protocol="funasr") as socket:
            socket.send(text)
            say(socket, "end")
            assert hear_all(socket).code == code


@pytest.mark.parametrize(
    "event",
    [
        f'{{"type": {HALF}, "event_id": {HALF}}}',
        f'{{"type": "response.\\ud800", "event_id": {HALF}}}',
        f'{{"type": "input_audio_buffer.append", "audio": {HALF}, "event_id": {HALF}}}',
        f'{{"type": "session.update", "event_id": {HALF}, "session": {{"turn_detection": {{{HALF}: 1}}}}}}',
        f'{{"type": "session.update", "event_id": {HALF}, "session": {{"turn_detection": {{"threshold": {HALF}}}}}}}',
        f'{{"type": "session.update", "event_id": {HALF}, "session": {{"input_audio_format": {HALF}}}}}',
    ],
)
def test_half_a_surrogate_pair_in_an_event_of_openais(server: RunningServer, event: str) -> None:
    with realtime(server) as socket:
        hear(socket)
        socket.send(event)
        assert hear(socket)["error"]["event_id"] == "\ud800", "it comes back as it was sent"
        socket.send(f'{{"type": "session.update", "session": {{"model": {HALF}, {HALF}: 1}}}}')
        assert hear(socket)["type"] == "session.updated"
