"""What a client of `/vad/stream` may ask for beside segments: other options in mid-stream, hints, and the samples."""

import base64
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.live.events import UTTERANCE_BYTES, Hint, Hints, Recording
from app.live.queues import HISTORY_BYTES, HISTORY_MESSAGES, OUTBOX_BYTES, Outbox
from app.vad.segment import Event, Segment, SpeechEnd, SpeechStart
from tests.live.client import Heard, converse, cut, hear, hear_all, s16, say, stream, vanish
from tests.segmentations import endpoint, segmentation, tight
from tests.server import RunningServer
from tests.signals import bursts

SAMPLES = bursts(10.0, [(2.0, 4.0), (6.0, 8.0)])
PCM = s16(SAMPLES)
CHUNKS = cut(PCM, 3_200)


def options(**given: Any) -> str:
    return json.dumps({"type": "options", **given})


# ---- options


def test_options_change_in_mid_stream(server: RunningServer) -> None:
    """At 4.5 s the first segment is still open: by the new options it ends, and the second does so soon."""
    change = options(max_end_silence_time=200, speech_to_sil_time_thres=100)
    heard = converse(server, [*CHUNKS[:45], change, *CHUNKS[45:]], max_end_silence_time=5_000)
    assert heard.kinds == ["ready", "speech_start", "options", "speech_end", "speech_start", "speech_end", "done"]
    told = heard.of("options")[0]
    assert (told["at_ms"], told["options"]["max_end_silence_time"]) == (4_500, 200)
    first, second = heard.of("speech_end")
    assert first["at_ms"] == 4_600
    assert second["at_ms"] < 8_600
    assert heard.done["segments"][0]["start_ms"] == heard.of("speech_start")[0]["start_ms"]


@pytest.mark.parametrize("size", [320, 3_200, 40_000])
def test_where_chunks_end_makes_no_difference(server: RunningServer, size: int) -> None:
    change = options(threshold=0.9, speech_pad_ms=200, min_silence_duration_ms=600)
    before, after = cut(PCM[: 32_000 * 3], size), cut(PCM[32_000 * 3 :], size)
    heard = converse(server, [*before, change, *after], mode="tight")
    whole = converse(server, [PCM[: 32_000 * 3], change, PCM[32_000 * 3 :]], mode="tight")
    assert heard.pairs == whole.pairs != []


def test_null_sets_an_option_back(server: RunningServer) -> None:
    parts = [options(threshold=0.9, mode="tight"), options(threshold=None)]
    heard = converse(server, [*CHUNKS, *parts], mode="tight", threshold=0.6)
    first, second = (told["options"]["threshold"] for told in heard.of("options"))
    assert (first, second) == (0.9, 0.45)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"threshold": 0.5, "mode": "tight"}, "mode"),
        ({"max_end_silence_time": 7}, "max_end_silence_time"),
        ({"threshold": 0.5}, "threshold"),
        ({"nonsense": 1}, "nonsense"),
        ({"merge_gap_ms": 100}, "merge_gap_ms"),
        ({"max_chunk_s": 30}, "max_chunk_s"),
        ({"model": "silero"}, "model"),
        ({"sample_rate": 8_000}, "sample_rate"),
        ({"max_end_silence_time": {"a": 1}}, "max_end_silence_time"),
    ],
)
def test_a_bad_option_is_named_and_the_stream_goes_on(
    server: RunningServer, given: dict[str, Any], option: str
) -> None:
    heard = converse(server, [*CHUNKS[:30], options(**given), *CHUNKS[30:]])
    assert (heard.error["code"], heard.error["option"]) == ("invalid_option", option)
    assert heard.code == 1000
    assert heard.pairs == converse(server, CHUNKS).pairs


def test_a_session_that_is_resumed_has_the_changed_options(server: RunningServer) -> None:
    with stream(server, max_end_silence_time=5_000) as socket:
        ready = hear(socket)
        socket.send(options(max_end_silence_time=300))
        assert hear(socket)["type"] == "options"
        vanish(socket)
    with stream(server, session=ready["session"], after=0) as socket:
        again = hear(socket)
        assert again["options"]["max_end_silence_time"] == 300
        assert hear(socket)["type"] == "options"
        socket.send(options(max_end_silence_time=400))
        assert hear(socket)["options"]["max_end_silence_time"] == 400
        say(socket, "end")
        assert hear_all(socket).code == 1000


# ---- hints


@pytest.mark.parametrize("size", [320, 3_200, 40_000])
@pytest.mark.parametrize("mode", ["endpoint", "tight", "smoothed"])
def test_hints_come_between_start_and_end(server: RunningServer, size: int, mode: str) -> None:
    heard = converse(server, cut(PCM, size), mode=mode, confirm_ms=1_000, maybe_end_ms=60)
    once = ["speech_start", "speech_confirmed", "speech_maybe_end", "speech_end"]
    assert heard.kinds == ["ready", *once, *once, "done"]
    assert [message["seq"] for message in heard.messages[1:]] == list(range(1, 10))
    for burst, (confirmed, maybe, end) in zip(
        (2_000, 6_000),
        zip(heard.of("speech_confirmed"), heard.of("speech_maybe_end"), heard.of("speech_end"), strict=True),
        strict=True,
    ):
        assert confirmed["start_ms"] == maybe["start_ms"] == end["start_ms"]
        assert 1_000 <= confirmed["at_ms"] - confirmed["start_ms"] <= 1_100 + size / 32
        assert abs(maybe["end_ms"] - (burst + 2_000)) <= 40
        assert 60 <= maybe["at_ms"] - maybe["end_ms"] <= 160 + size / 32
        assert maybe["at_ms"] <= end["at_ms"]


def test_no_hints_without_being_asked(server: RunningServer) -> None:
    assert not {"speech_confirmed", "speech_maybe_end"} & set(converse(server, CHUNKS).kinds)


def test_hints_start_anew_after_a_flush(server: RunningServer) -> None:
    parts = [*CHUNKS[:30], '{"type":"flush"}', *CHUNKS[30:]]
    heard = converse(server, parts, confirm_ms=500, maybe_end_ms=60)
    for hint in (*heard.of("speech_confirmed"), *heard.of("speech_maybe_end")):
        segment = next(each for each in heard.done["segments"] if each["start_ms"] == hint["start_ms"])
        assert segment["start_ms"] <= hint.get("end_ms", segment["start_ms"]) <= segment["end_ms"]
    assert len(heard.of("speech_confirmed")) == 3


def followed(speech: list[float], cuts: list[int], events: list[Event]) -> list[Event | Hint]:
    hints, found = Hints(300, 100, 10), []
    edges = [0, *sorted({cut % (len(speech) + 1) for cut in cuts}), len(speech)]
    for start, stop in pairwise(edges):
        here = [event for event in events if start * 10 < event.at_ms <= stop * 10]
        found += hints.accept(np.asarray(speech[start:stop]), here, tight(threshold=0.6, neg_threshold=0.4).options)
    return found


def test_a_segment_that_goes_on_is_confirmed_again() -> None:
    speech = [0.1] * 10 + [0.9] * 40 + [0.1] * 15 + [0.5] * 5 + [0.9] * 20 + [0.5] * 30 + [0.1] * 30
    start, end = SpeechStart(100, 200), SpeechEnd(Segment(100, 900, False, 0.8), 1_500)
    assert followed(speech, [], [start, end]) == [
        start,
        Hint(100, 400),
        Hint(100, 600, 500),
        Hint(100, 710),  # speech again, at last over the upper threshold
        Hint(100, 1_300, 1_200),  # between the thresholds nothing began
        end,
    ]


@given(cuts=st.lists(st.integers(0, 200)))
@settings(max_examples=50, deadline=None)
def test_hints_do_not_depend_on_the_cutting(cuts: list[int]) -> None:
    speech = [0.1] * 10 + [0.9] * 40 + [0.1] * 15 + [0.5] * 5 + [0.9] * 20 + [0.5] * 30 + [0.1] * 30
    events: list[Event] = [SpeechStart(100, 200), SpeechEnd(Segment(100, 900, False, 0.8), 1_500)]
    assert followed(speech, cuts, events) == followed(speech, [], events)


@pytest.mark.parametrize(
    "chosen", [endpoint(), tight(), segmentation("smoothed")], ids=["endpoint", "tight", "smoothed"]
)
def test_every_mode_knows_speech_from_silence(chosen: Any) -> None:
    assert chosen.options.frame_speaks(0.99) is True
    assert chosen.options.frame_speaks(0.01) is False


# ---- samples


def utterances(heard: Heard) -> list[tuple[int, int, bytes, bool]]:
    return [
        (end["start_ms"], end["end_ms"], base64.b64decode(end["audio"]["data"]), end["audio"]["truncated"])
        for end in heard.of("speech_end")
    ]


@pytest.mark.parametrize("size", [322, 3_200, 80_000])
@pytest.mark.parametrize("mode", ["endpoint", "tight"])
def test_each_end_brings_the_samples_between_its_times(server: RunningServer, size: int, mode: str) -> None:
    heard = converse(server, cut(PCM, size), mode=mode, audio="true")
    assert len(heard.of("speech_end")) == 2
    for start_ms, end_ms, pcm, truncated in utterances(heard):
        assert pcm == PCM[start_ms * 32 : end_ms * 32]
        assert not truncated
    described = heard.of("speech_end")[0]["audio"]
    assert (described["encoding"], described["sample_rate"]) == ("pcm_s16le", 16_000)
    assert "audio" not in heard.done["segments"][0]


def test_samples_after_a_flush_and_of_segments_that_are_cut(server: RunningServer) -> None:
    parts = [*CHUNKS[:30], '{"type":"flush"}', *CHUNKS[30:]]
    heard = converse(server, parts, mode="tight", audio="true", max_speech_duration_s=1)
    assert len(heard.of("speech_end")) >= 4
    for start_ms, end_ms, pcm, truncated in utterances(heard):
        assert pcm == PCM[start_ms * 32 : end_ms * 32]
        assert not truncated


def test_what_is_too_long_is_cut_and_says_so(server: RunningServer) -> None:
    pcm = s16(bursts(34.0, [(1.0, 28.0), (29.0, 31.0)]))
    heard = converse(server, cut(pcm, 3_200), mode="tight", audio="true")
    (start_ms, _, first, first_cut), (after_ms, end_ms, second, second_cut) = utterances(heard)
    assert first == pcm[start_ms * 32 :][:UTTERANCE_BYTES]
    assert first_cut
    assert second == pcm[after_ms * 32 : end_ms * 32]
    assert not second_cut


def test_samples_are_the_models_whatever_the_clients_are(server: RunningServer) -> None:
    heard = converse(server, cut(s16(SAMPLES[::2]), 1_600), sample_rate=8_000, mode="tight", audio="true")
    for start_ms, end_ms, pcm, _ in utterances(heard):
        assert len(pcm) == (end_ms - start_ms) * 32


@pytest.mark.parametrize("name", ["audio", "confirm_ms", "maybe_end_ms"])
def test_funasrs_protocol_has_no_form_for_them(server: RunningServer, name: str) -> None:
    with stream(server, protocol="funasr", **{name: "1"}) as socket:
        heard = hear_all(socket)
    assert heard.code == 1008
    assert heard.error["option"] == name


def test_what_a_recording_holds_is_bounded() -> None:
    recording = Recording(16_000)
    second = np.zeros(16_000, dtype=np.float32)
    for count in range(200):
        if count == 10:
            recording.open(9_500)
        recording.add(second)
    held = sum(len(pcm) for pcm in recording._recent) + recording._kept_count
    assert held <= 11 * 16_000 + UTTERANCE_BYTES // 2
    taken = recording.close(9_500, 200_000)
    assert (len(taken.pcm), taken.truncated) == (UTTERANCE_BYTES, True)


def test_messages_with_samples_that_nobody_fetches_are_bounded_in_bytes() -> None:
    outbox = Outbox(keeps=True)
    message = "x" * 1_000_000
    count = 0
    while not outbox.overflows:
        outbox.emit({"data": message}, numbered=True)
        count += 1
    assert count * len(message) <= OUTBOX_BYTES + 2 * len(message)
    for _ in range(HISTORY_MESSAGES):
        outbox.emit({"data": message}, numbered=True)
    assert outbox._history_bytes == sum(map(len, outbox._history)) <= HISTORY_BYTES
    assert not outbox.replay(1)
    assert outbox.replay(outbox.last_seq - 2)
    assert len(outbox._waiting) == 2
