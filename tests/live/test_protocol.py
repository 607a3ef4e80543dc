"""What is said on a live stream, in either direction."""

from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.live.client import (
    converse,
    cut,
    f32,
    file_answer,
    file_pairs,
    hear,
    hear_all,
    hear_until,
    s16,
    say,
    stream,
    wav,
)
from tests.segmentations import tight
from tests.server import RunningServer
from tests.signals import bursts

PCM = s16(bursts(10.0, [(2.0, 4.0), (6.0, 8.0)]))
CHUNKS = cut(PCM, 3_200)
FLUSH, RESET = '{"type": "flush"}', '{"type": "reset"}'


def shifted(pairs: list[list[int]], by_ms: int) -> list[list[int]]:
    return [[start + by_ms, end + by_ms] for start, end in pairs]


# ---- the beginning


def test_ready_says_what_holds(server: RunningServer) -> None:
    with stream(server, sample_rate=8_000, encoding="f32le", min_speech_duration_ms=80, mode="tight") as socket:
        ready = hear(socket)
    # The model's defaults for the mode in force, and what was set.
    expected = tight(threshold=0.45, neg_threshold=0.3, min_speech_duration_ms=80).document()
    assert ready.pop("options") == expected
    assert len(ready.pop("session")) >= 16
    assert ready.pop("model")["id"] == httpx.get(f"{server.url}/health").json()["model"]["id"]
    assert ready == {
        "type": "ready", "offset_ms": 0, "offset_samples": 0, "seq": 0, "sample_rate": 8_000, "encoding": "pcm_f32le",
        "channels": 1,
    }  # fmt: skip


def test_every_session_has_a_name_of_its_own(server: RunningServer) -> None:
    names = set()
    for _ in range(3):
        with stream(server) as socket:
            names.add(hear(socket)["session"])
    assert len(names) == 3


def test_options_are_echoed_and_in_force(server: RunningServer) -> None:
    options = {"max_end_silence_time": 200, "speech_to_sil_time_thres": 100, "do_extend": "false"}
    heard = converse(server, CHUNKS, **options)
    assert {name: heard.messages[0]["options"][name] for name in options} == {**options, "do_extend": False}
    assert heard.pairs == file_pairs(server, wav(PCM), **options) != file_pairs(server, wav(PCM))


@pytest.mark.parametrize(
    ("query", "option"),
    [
        ({"max_end_silence_time": 1}, "max_end_silence_time"),
        ({"max_end_silence_time": "x"}, "max_end_silence_time"),
        ({"no_such_option": 1}, "no_such_option"),
        ({"sample_rate": 7_999}, "sample_rate"),
        ({"sample_rate": 48_001}, "sample_rate"),
        ({"sample_rate": "fast"}, "sample_rate"),
        ({"encoding": "mp3"}, "encoding"),
        ({"protocol": "grpc"}, "protocol"),
        ({"probability_interval_ms": 15}, "probability_interval_ms"),
        ({"mode": "tight", "threshold": 0.2, "neg_threshold": 0.4}, "neg_threshold"),
        ({"after": -1}, "after"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused_before_the_first_chunk(
    server: RunningServer, query: dict[str, object], option: str
) -> None:
    with stream(server, **query) as socket:
        heard = hear_all(socket)
    assert (heard.error["code"], heard.error["option"], heard.kinds) == ("invalid_option", option, ["error"])
    assert option in heard.error["detail"]
    assert heard.code == 1008
    assert heard.reason.startswith("invalid_option: ")
    assert option in heard.reason


def test_an_unknown_option_is_answered_with_those_of_streams(server: RunningServer) -> None:
    for name, meant in (("confirm", "did you mean confirm_ms?"), ("xyz", "there are: model, preset, channel")):
        with stream(server, **{name: 1}) as socket:
            detail = hear_all(socket).error["detail"]
        assert meant in detail
        assert "excerpt_rate" not in detail
    with stream(server, keep="true") as socket:
        assert hear_all(socket).error["detail"] == "keep: is an option of files, not of live streams"


def test_a_long_name_in_characters_of_many_bytes_is_refused_too(server: RunningServer) -> None:
    with stream(server, **{"选项" * 200: "1"}) as socket:
        heard = hear_all(socket)
    assert (heard.error["code"], heard.code) == ("invalid_option", 1008)
    assert 0 < len(heard.reason.encode()) <= 123


# ---- the end


def test_end_tells_all_segments_and_counters_and_closes(server: RunningServer) -> None:
    heard = converse(server, CHUNKS)
    assert heard.kinds == ["ready", "speech_start", "speech_end", "speech_start", "speech_end", "done"]
    assert (heard.done["duration_ms"], heard.done["chunks"]) == (10_000, len(CHUNKS))
    told = [{k: v for k, v in end.items() if k not in ("type", "at_ms", "seq")} for end in heard.of("speech_end")]
    assert heard.done["segments"] == told
    file = file_answer(server, wav(PCM))["segments"]
    assert told == [{k: v for k, v in segment.items() if k != "index"} for segment in file]
    assert [message["seq"] for message in heard.messages] == [0, 1, 2, 3, 4, 5]
    assert (heard.code, heard.reason) == (1000, "done")


def test_a_stream_without_a_chunk_ends_well(server: RunningServer) -> None:
    heard = converse(server, [])
    assert (heard.done["segments"], heard.done["duration_ms"], heard.done["chunks"]) == ([], 0, 0)
    assert heard.code == 1000


def test_audio_after_the_end_is_ignored(server: RunningServer) -> None:
    with stream(server) as socket:
        for chunk in CHUNKS[:50]:
            socket.send(chunk)
        say(socket, "end")
        try:
            for chunk in CHUNKS[50:]:
                socket.send(chunk)
        except ConnectionClosed:
            pass  # it has closed already
        heard = hear_all(socket)
    assert heard.done["duration_ms"] == 5_000
    assert heard.pairs == file_pairs(server, wav(b"".join(CHUNKS[:50])))
    assert heard.code == 1000


# ---- within


@pytest.mark.parametrize("split", [96_000, 96_112, 131_074])
def test_flush_ends_the_utterance_and_time_goes_on(server: RunningServer, split: int) -> None:
    first, second = PCM[:split], PCM[split:]
    heard = converse(server, [*cut(first, 3_200), FLUSH, *cut(second, 1_000)])
    (flushed,) = heard.of("flushed")
    offset_ms = split // 32
    assert flushed["at_ms"] == offset_ms
    before, after = file_pairs(server, wav(first)), file_pairs(server, wav(second))
    assert heard.pairs == before + shifted(after, offset_ms)
    assert len(before) == 1
    assert heard.done["duration_ms"] == 10_000
    events = [message["at_ms"] for message in heard.messages if "at_ms" in message]
    assert events == sorted(events)


def test_flushes_with_nothing_between(server: RunningServer) -> None:
    heard = converse(server, [FLUSH, *CHUNKS, FLUSH, FLUSH, FLUSH])
    assert [flushed["at_ms"] for flushed in heard.of("flushed")] == [0, 10_000, 10_000, 10_000]
    assert heard.pairs == file_pairs(server, wav(PCM))


def test_flush_every_second(server: RunningServer) -> None:
    seconds = cut(PCM, 32_000)
    heard = converse(server, [part for second in seconds for part in (second, FLUSH)], mode="tight")
    expected = [file_pairs(server, wav(second), mode="tight") for second in seconds]
    assert heard.pairs == [pair for i, pairs in enumerate(expected) for pair in shifted(pairs, i * 1_000)]
    assert len(heard.pairs) >= 4


def test_reset_begins_at_time_0(server: RunningServer) -> None:
    heard = converse(server, [*CHUNKS[:70], PCM[:1], RESET, *CHUNKS], probabilities="true")
    at = heard.kinds.index("reset")
    alone = converse(server, CHUNKS, probabilities="true")
    numberless = [
        [{k: v for k, v in message.items() if k not in ("seq", "chunks")} for message in messages]
        for messages in (joined(heard.messages[at + 1 :]), joined(alone.messages[1:]))
    ]
    assert numberless[0] == numberless[1]
    assert len(alone.pairs) == 2


def joined(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How probabilities are spread over messages depends on how chunks were gathered; here they are one message."""
    curves = [message for message in messages if message["type"] == "probability"]
    others = [message for message in messages if message["type"] != "probability"]
    assert [curve["start_ms"] for curve in curves[1:]] == [
        curve["start_ms"] + curve["interval_ms"] * len(curve["values"]) for curve in curves[:-1]
    ]
    values = [value for curve in curves for value in curve["values"]]
    return [*others, {"type": "all", "start_ms": curves[0]["start_ms"], "values": values}]


def test_ping(server: RunningServer) -> None:
    with stream(server) as socket:
        hear(socket)
        say(socket, "ping")
        assert hear(socket) == {"type": "pong", "received_ms": 0}
        socket.send(CHUNKS[0])
        say(socket, "ping")
        assert hear(socket) == {"type": "pong", "received_ms": 100}


def test_a_burst_of_questions_is_answered(server: RunningServer) -> None:
    heard = converse(server, ['{"type": "ping"}'] * 3_000)
    assert len(heard.of("pong")) == 3_000
    assert heard.code == 1000


@pytest.mark.parametrize(
    "text",
    ["", "hello", "{", "[]", "null", "7", '{"type": 7}', '{"type": "Flush"}', '{"type": ["flush"]}', '{"flush": true}',
     '{"is_speaking": false}', "[" * 50_000, '{"type": {"type": "end"}}'],
    ids=lambda text: text[:12] or "empty",
)  # fmt: skip
def test_a_message_that_is_not_known_is_told_and_the_stream_goes_on(server: RunningServer, text: str) -> None:
    heard = converse(server, [*CHUNKS[:30], text, *CHUNKS[30:]])
    assert heard.error["code"] == "bad_message"
    assert len(heard.error["detail"]) < 500
    assert heard.pairs == file_pairs(server, wav(PCM))
    assert heard.code == 1000


# ---- probabilities


@pytest.mark.parametrize("interval_ms", [10, 100, 250])
def test_probabilities(server: RunningServer, interval_ms: int) -> None:
    heard = converse(server, CHUNKS, probabilities="true", probability_interval_ms=interval_ms)
    curve = joined(heard.messages)[-1]
    frames = file_answer(server, wav(PCM), probabilities="true")["probabilities"]["values"]
    per_value = interval_ms // 10
    means = [np.mean(frames[first : first + per_value]) for first in range(0, len(frames), per_value)]
    assert len(curve["values"]) == len(means)
    assert abs(len(means) * interval_ms - 10_000) <= max(interval_ms, 20)
    np.testing.assert_allclose(curve["values"], means, atol=2e-4)
    assert {message["interval_ms"] for message in heard.of("probability")} == {interval_ms}
    assert heard.pairs == file_pairs(server, wav(PCM))


def test_no_probabilities_unless_asked_for(server: RunningServer) -> None:
    assert converse(server, CHUNKS[:20]).kinds == ["ready", "done"]


# ---- broken audio


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_samples_that_are_no_numbers(server: RunningServer, bad: float) -> None:
    samples = bursts(1.0, [(0.2, 0.8)])
    samples[7_000] = bad
    with stream(server, encoding="f32le") as socket:
        for chunk in cut(f32(samples), 6_400):
            socket.send(chunk)
        heard = hear_all(socket)
    assert (heard.error["code"], heard.code, heard.reason) == ("invalid_audio", 1007, "invalid_audio")
    assert heard.of("done") == []


def test_samples_of_any_size_are_taken(server: RunningServer) -> None:
    samples = np.full(32_000, 3e38, dtype=np.float32)
    samples[::2] = -3e38
    heard = converse(server, cut(f32(samples), 6_400), encoding="f32le", probabilities="true")
    assert heard.code in (1000, 1007)
    assert all(np.isfinite(message["values"]).all() for message in heard.of("probability"))


def test_a_start_is_told_while_speech_goes_on(server: RunningServer) -> None:
    with stream(server) as socket:
        for chunk in CHUNKS[:30]:
            socket.send(chunk)
        messages = hear_until(socket, "speech_start")
        assert messages[0]["type"] == "ready"
        assert 2_000 < messages[-1]["at_ms"] <= 2_400
