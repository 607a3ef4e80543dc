"""No segment ends after the audio does, whatever the length, the rate, the mode or the door."""

from pathlib import Path

import numpy as np
import pytest

from tests.field.asking import SOUND, ask, wav
from tests.live.client import converse, cut, s16
from tests.server import RunningServer

LOUD = SOUND[16_000 * 6 : 16_000 * 8]
"""Speech to the last sample, for the tiny model."""
MODES = {
    "endpoint": {"mode": "endpoint"},
    "tight": {"mode": "tight", "speech_pad_ms": "100"},
    "smoothed": {"mode": "smoothed"},
    "smoothed, longer": {"mode": "smoothed", "extend_speech_frame": "30"},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("rate", "extra"), [(16_000, 1), (16_000, 81), (16_000, 159), (44_100, 17), (8_000, 3)])
def test_no_end_past_the_audio(rate: int, extra: int, mode: str, server: RunningServer, tmp_path: Path) -> None:
    samples = np.resize(LOUD, rate + extra)
    for channel in ("mix", "split"):
        stereo = np.stack((samples, samples), axis=1) if channel == "split" else samples
        answer = ask(server, wav(tmp_path, stereo, rate), channel=channel, max_chunk_s="5", **MODES[mode])
        assert answer.audio["duration_ms"] == len(samples) * 1000 // rate
        end_ms = answer.segments[-1][1]
        assert answer.audio["duration_ms"] - 30 < end_ms <= answer.audio["duration_ms"]
        if mode.startswith("smoothed"):  # whose law goes past it
            assert end_ms == answer.audio["duration_ms"]


@pytest.mark.parametrize("mode", ["endpoint", "tight", "smoothed"])
@pytest.mark.parametrize("extra", [1, 81, 159])
def test_no_end_past_a_live_stream(extra: int, mode: str, server: RunningServer) -> None:
    data = s16(LOUD[: 16_000 + extra])
    heard = converse(server, cut(data, 3_200), mode=mode)
    duration_ms = heard.done["duration_ms"]
    assert duration_ms == (16_000 + extra) // 16
    assert duration_ms - 50 < heard.done["segments"][-1]["end_ms"] <= duration_ms
    assert heard.pairs[-1][1] == heard.done["segments"][-1]["end_ms"]


def test_no_end_past_a_kept_analysis(server: RunningServer, tmp_path: Path) -> None:
    content = wav(tmp_path, LOUD[: 16_000 + 81]).read_bytes()
    kept = server.post("/vad", content=content, params={"keep": "true"}).json()
    again = server.get(f"/analyses/{kept['analysis_id']}/segments", params={"mode": "smoothed"})
    assert again.status_code == 200, again.text
    assert again.json()["segments"][-1]["end_ms"] == again.json()["audio"]["duration_ms"] == 1_005
