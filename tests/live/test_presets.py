"""Presets and the options of pauses on live streams."""

import json

import pytest

from app.presets import PRESETS, Preset
from tests.live.client import converse, cut, file_answer, s16, stream, wav
from tests.server import RunningServer
from tests.signals import bursts

SPANS = [(0.5, 2.0), (2.2, 3.4), (5.0, 8.0)]
CHUNKS = cut(s16(bursts(10.0, SPANS)), 3_200)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_preset_follows_a_stream(server: RunningServer, preset: Preset) -> None:
    heard = converse(server, CHUNKS, preset=preset.name)
    assert heard.messages[0]["type"] == "ready"
    assert "max_chunk_s" not in heard.messages[0]["options"]
    assert heard.messages[0]["options"]["mode"] == "tight"
    assert heard.messages[-1]["type"] == "done"
    assert [warning["code"] for warning in heard.messages[-1]["warnings"]] == ["preset_model"]


def test_merging_and_splitting_give_the_files_segments(server: RunningServer) -> None:
    options = {"split": "pause", "max_single_segment_time": 2_000, "merge_gap_ms": 1_000, "split_window_ms": 500}
    heard = converse(server, CHUNKS, **options)
    found = [(each["start_ms"], each["end_ms"]) for each in heard.messages[-1]["segments"]]
    answer = file_answer(server, wav(b"".join(CHUNKS)), **options)
    assert found == [(each["start_ms"], each["end_ms"]) for each in answer["segments"]]
    assert all(end - start <= 2_000 for start, end in found)
    kinds = [each["type"] for each in heard.messages if each["type"].startswith("speech")]
    assert kinds == ["speech_start", "speech_end"] * len(found)


def test_chunks_are_refused(server: RunningServer) -> None:
    with stream(server, max_chunk_s=30) as socket:
        refusal = json.loads(socket.recv())
    assert (refusal["type"], refusal["option"]) == ("error", "max_chunk_s")
    assert "live" in refusal["detail"]


@pytest.mark.parametrize("mode", ["endpoint", "tight"])
def test_padding_is_that_of_files(server: RunningServer, mode: str) -> None:
    for before, after in ((-80, 400), (250, -60)):
        options = {"mode": mode, "pad_start_ms": before, "pad_end_ms": after}
        heard = converse(server, CHUNKS, **options)
        found = [(each["start_ms"], each["end_ms"]) for each in heard.messages[-1]["segments"]]
        answer = file_answer(server, wav(b"".join(CHUNKS)), **options)
        assert found == [(each["start_ms"], each["end_ms"]) for each in answer["segments"]] != []
        assert heard.messages[0]["options"].items() >= options.items()
        starts = [each["start_ms"] for each in heard.messages if each["type"] == "speech_start"]
        assert starts == [start for start, _ in found]
