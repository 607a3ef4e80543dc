"""A client that comes back goes on where it was: nothing is lost, nothing is doubled."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.live.client import (
    Heard,
    converse,
    cut,
    eventually,
    file_pairs,
    hear,
    hear_all,
    hear_until,
    metric,
    s16,
    say,
    stream,
    vanish,
    wav,
)
from tests.server import RunningServer, local_server
from tests.signals import bursts

PCM = s16(bursts(20.0, [(1.0, 2.0), (4.0, 4.4), (6.0, 9.0), (11.0, 13.0), (15.0, 19.0)]))


@pytest.fixture(scope="module")
def keyed(small_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two clients have keys."""
    settings = {"VAD_API_KEYS": "first-key,second-key"}
    with local_server(small_model, tmp_path_factory.mktemp("keyed"), settings) as server:
        yield server


def what_has_come(socket: ClientConnection) -> list[Any]:
    """What is there already, without waiting for more."""
    messages = []
    while True:
        try:
            messages.append(hear_now(socket))
        except (TimeoutError, ConnectionClosed):
            return messages


def hear_now(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=0.02))


@pytest.mark.parametrize(
    ("places", "size", "encoding"),
    [([160_000], 640, "s16le"), ([33_333, 100_001, 222_221, 400_003, 500_001], 3_201, "s16le"),
     ([64_000, 64_640, 65_280, 300_000], 1_001, "s16le"), ([100_000, 250_000], 20_000, "s16le")],
    ids=["once", "odd", "at-once-again", "large"],
)  # fmt: skip
def test_a_stream_that_breaks_off_and_goes_on(
    server: RunningServer, places: list[int], size: int, encoding: str
) -> None:
    messages: list[Any] = []
    query: dict[str, object] = {"max_end_silence_time": 400, "encoding": encoding}
    position = 0
    for place in places:
        with stream(server, **query) as socket:
            ready = hear(socket)
            position = ready["offset_samples"] * 2
            while position < place:
                socket.send(PCM[position : position + size])
                position += size
            messages += what_has_come(socket)
            vanish(socket)
        seen = max((message["seq"] for message in messages), default=0)
        query = {"session": ready["session"], "after": seen}
    with stream(server, **query) as socket:
        ready = hear(socket)
        assert ready["offset_samples"] * 2 <= position
        assert ready["offset_ms"] == ready["offset_samples"] // 16
        assert ready["options"]["max_end_silence_time"] == 400
        for chunk in cut(PCM[ready["offset_samples"] * 2 :], size):
            socket.send(chunk)
        say(socket, "end")
        rest = hear_all(socket)
    told = Heard(messages + rest.messages)
    assert [message["seq"] for message in told.messages] == list(range(1, len(told.messages) + 1))
    expected = file_pairs(server, wav(PCM), max_end_silence_time=400)
    assert told.pairs == expected
    assert len(expected) == 5
    assert [[s["start_ms"], s["end_ms"]] for s in rest.done["segments"]] == expected
    assert rest.done["duration_ms"] == 20_000
    assert rest.code == 1000


def test_without_after_what_was_sent_is_not_sent_again(server: RunningServer) -> None:
    with stream(server) as socket:
        ready = hear(socket)
        for chunk in cut(PCM[: 32_000 * 4], 3_200):
            socket.send(chunk)
        first = hear_until(socket, "speech_end")
        say(socket, "ping")
        first += hear_until(socket, "pong")
        vanish(socket)
    with stream(server, session=ready["session"]) as socket:
        again = hear(socket)
        assert again["session"] == ready["session"]
        for chunk in cut(PCM[again["offset_samples"] * 2 :], 3_200):
            socket.send(chunk)
        say(socket, "end")
        rest = hear_all(socket)
    numbers = [message["seq"] for message in first + rest.messages if "seq" in message]
    assert numbers == list(range(1, len(numbers) + 1))
    assert Heard(first + rest.messages).pairs == file_pairs(server, wav(PCM))


def test_what_was_missed_is_told_again(server: RunningServer) -> None:
    with stream(server) as socket:
        token = hear(socket)["session"]
        for chunk in cut(PCM, 3_200):
            socket.send(chunk)
        said = hear_until(socket, "speech_end") + [hear(socket) for _ in range(6)]
        vanish(socket)
    for after in (0, 3, 8):
        with stream(server, session=token, after=after) as socket:
            ready = hear(socket)
            assert ready["offset_samples"] == len(PCM) // 2
            assert ready["seq"] >= 8
            assert [hear(socket) for _ in range(8 - after)] == said[after:]
            vanish(socket)


def test_flush_and_reset_survive(server: RunningServer) -> None:
    half = PCM[:320_000]
    with stream(server) as socket:
        token = hear(socket)["session"]
        socket.send(PCM[:200_001])
        say(socket, "reset")
        socket.send(half)
        say(socket, "flush")
        vanish_after = hear_until(socket, "flushed")[-1]["seq"]
        vanish(socket)
    with stream(server, session=token, after=vanish_after) as socket:
        assert hear(socket)["offset_samples"] == len(half) // 2
        for chunk in cut(PCM[320_000:], 3_200):
            socket.send(chunk)
        say(socket, "end")
        rest = hear_all(socket)
    before, after = file_pairs(server, wav(half)), file_pairs(server, wav(PCM[320_000:]))
    assert [[s["start_ms"], s["end_ms"]] for s in rest.done["segments"]] == before + [
        [start + 10_000, end + 10_000] for start, end in after
    ]


def refused(server: RunningServer, headers: dict[str, str] | None = None, **query: object) -> Heard:
    with stream(server, headers, **query) as socket:
        heard = hear_all(socket)
    assert heard.error["code"] == "no_such_session"
    assert heard.code == 1008
    assert heard.reason.startswith("no_such_session")
    return heard


def test_no_such_session(server: RunningServer) -> None:
    refused(server, session="never-was")


def test_a_session_that_ended_can_only_be_heard_again(server: RunningServer) -> None:
    heard = converse(server, cut(PCM[:64_000], 3_200))
    with stream(server, session=heard.messages[0]["session"], after=0) as socket:
        again = hear_all(socket)
    assert again.messages[1:] == heard.messages[1:]
    assert again.code == 1000


def test_messages_that_are_no_longer_kept(server: RunningServer) -> None:
    with stream(server) as socket:
        token = hear(socket)["session"]
        for _ in range(300):
            say(socket, "flush")
        while hear(socket)["seq"] < 300:
            pass
        vanish(socket)
    refused(server, session=token, after=10)
    with stream(server, session=token, after=290) as socket:
        assert [hear(socket)["seq"] for _ in range(11)] == [300, *range(291, 301)]


def test_another_clients_session_is_not_to_be_had(keyed: RunningServer) -> None:
    with stream(keyed, {"X-API-Key": "first-key"}) as socket:
        token = hear(socket)["session"]
        refused(keyed, {"X-API-Key": "second-key"}, session=token)
        say(socket, "ping")
        assert hear(socket)["type"] == "pong"
        with stream(keyed, {"Authorization": "Bearer first-key"}, session=token) as mine:
            assert hear(mine)["session"] == token


def test_no_time_to_live_is_no_coming_back(small_model: Any, tmp_path: Any) -> None:
    with local_server(small_model, tmp_path, {"VAD_SESSION_TTL_S": "0"}) as server:
        with stream(server) as socket:
            token = hear(socket)["session"]
            vanish(socket)
        eventually(lambda: metric(server, "vad_streams") == 0)
        refused(server, session=token)


def test_a_second_connection_takes_over(server: RunningServer) -> None:
    with stream(server) as old:
        token = hear(old)["session"]
        for chunk in cut(PCM[:160_000], 3_200):
            old.send(chunk)
        hear_until(old, "speech_end")
        with stream(server, session=token, after=0) as new:
            ready = hear(new)
            left = hear_all(old)
            assert (left.code, left.reason) == (1008, "taken_over")
            for chunk in cut(PCM[ready["offset_samples"] * 2 :], 3_200):
                new.send(chunk)
            say(new, "end")
            rest = hear_all(new)
    assert [message["seq"] for message in rest.messages] == list(range(1, len(rest.messages) + 1))
    assert rest.pairs == file_pairs(server, wav(PCM))
    assert "Traceback" not in server.log


def test_coming_back_to_ones_own_session_needs_no_free_place(small_model: Any, tmp_path: Any) -> None:
    """Neither while the old connection is thought to be open, nor after it has been left; a stranger is refused."""
    settings = {"VAD_MAX_STREAMS": "1", "VAD_API_KEYS": "mine,theirs"}
    mine, theirs = {"X-API-Key": "mine"}, {"X-API-Key": "theirs"}
    with local_server(small_model, tmp_path, settings) as server:
        with stream(server, mine) as old:
            token = hear(old)["session"]
            with stream(server, mine, session=token) as new:
                assert hear(new)["session"] == token
                assert hear_all(old).reason == "taken_over"
                for headers, name in ((theirs, token), (mine, "never-was"), (mine, "")):
                    with pytest.raises(InvalidStatus) as refused, stream(server, headers, session=name):
                        pass
                    assert refused.value.response.status_code == 503
                vanish(new)
        eventually(lambda: metric(server, "vad_streams") == 0)
        with stream(server, mine, session=token) as again:
            assert hear(again)["session"] == token


def test_the_end_itself_is_not_lost(server: RunningServer) -> None:
    """The connection breaks right behind `end`: the segments are there for who comes back for them."""
    with stream(server) as socket:
        session = hear(socket)["session"]
        for chunk in cut(PCM, 64_000):
            socket.send(chunk)
        say(socket, "end")
        eventually(lambda: metric(server, "vad_streams") == 0)  # it is over there, and nobody has listened here
    with stream(server, session=session, after=0) as socket:
        messages = hear_all(socket).messages
    assert messages[0]["type"] == "ready"
    assert [message["seq"] for message in messages[1:]] == list(range(1, len(messages)))
    assert messages[-1]["type"] == "done"
    assert [[s["start_ms"], s["end_ms"]] for s in messages[-1]["segments"]] == file_pairs(server, wav(PCM))
