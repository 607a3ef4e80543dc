"""Field cases that need the published model: what real users saw, with the right answer."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.audio.ffmpegs import encode
from tests.server import RunningServer

pytestmark = [pytest.mark.reference, pytest.mark.slow]


@pytest.fixture(scope="module")
def example(reference: Path) -> np.ndarray:
    samples, _ = soundfile.read(reference / "audio" / "vad_example.wav", dtype="float32")
    return samples


CODINGS = {".mp3": ("-c:a", "libmp3lame", "-b:a", "128k"), ".ogg": ("-c:a", "libvorbis", "-q:a", "8")}


def pairs(answer: Any) -> list[tuple[int, int]]:
    return [(segment["start_ms"], segment["end_ms"]) for segment in answer["segments"]]


@pytest.fixture(scope="module")
def expected(published_server: RunningServer, reference: Path) -> list[tuple[int, int]]:
    content = (reference / "audio" / "vad_example.wav").read_bytes()
    found = pairs(published_server.post("/vad", content=content).json())
    assert len(found) == 12
    return found


def written(samples: np.ndarray, rate: int = 16_000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".ogg"])
def test_opposite_phase(
    suffix: str, example: np.ndarray, expected: list[tuple[int, int]], published_server: RunningServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(written(np.stack((example, -example), axis=1)))
    if suffix != ".wav":
        path = encode(path, tmp_path / f"a{suffix}", *CODINGS[suffix])
    content = path.read_bytes()
    mixed = published_server.post("/vad", content=content).json()
    assert "channels_cancel" in [warning["code"] for warning in mixed["warnings"]]
    heard = published_server.post("/vad?channel=loudest", content=content).json()
    alone = pairs(published_server.post("/vad?channel=0", content=content).json())
    assert len(alone) >= 11  # the coding of .ogg joins two that are 280 ms apart
    assert len(pairs(heard)) == len(alone)
    assert np.abs(np.array(pairs(heard)) - np.array(alone)).max() <= 10
    if suffix == ".wav":
        assert mixed["segments"] == []
        assert pairs(heard) == expected


def test_a_wav_that_was_never_finalised(
    example: np.ndarray, expected: list[tuple[int, int]], published_server: RunningServer
) -> None:
    content = bytearray(written(example))
    content[4:8] = content[40:44] = bytes(4)
    answer = published_server.post("/vad", content=bytes(content)).json()
    assert pairs(answer) == expected
    assert [warning["code"] for warning in answer["warnings"]] == ["header_repaired"]
    assert answer["audio"]["truncated"] is False


def test_packets_lost_for_ten_seconds(
    example: np.ndarray, expected: list[tuple[int, int]], published_server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "a.wav").write_bytes(written(example))
    whole = encode(tmp_path / "a.wav", tmp_path / "a.mka", "-c:a", "flac")
    leap = "setts=ts=if(gt(PTS*TB\\,25)\\,PTS+10/TB\\,PTS)"
    content = encode(whole, tmp_path / "leap.mka", "-c", "copy", "-bsf:a", leap).read_bytes()
    samples = published_server.post("/vad", content=content).json()
    assert pairs(samples) == expected
    assert samples["audio"]["duration_ms"] == 70_470
    assert abs(samples["audio"]["time_gap_ms"] - 10_000) <= 20
    assert "time_gap" in [warning["code"] for warning in samples["warnings"]]
    by_clock = published_server.post("/vad?clock=container", content=content).json()
    assert abs(by_clock["audio"]["duration_ms"] - 80_470) <= 20
    before = [pair for pair in expected if pair[1] < 24_000]
    after = [(start + 10_000, end + 10_000) for start, end in expected if start > 26_500]
    assert pairs(by_clock)[: len(before)] == before
    assert np.abs(np.array(pairs(by_clock)[-len(after) :]) - np.array(after)).max() <= 20


def test_mp3_that_begins_in_mid_frame(example: np.ndarray, published_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(written(example))
    mp3 = encode(tmp_path / "a.wav", tmp_path / "a.mp3", "-c:a", "libmp3lame", "-b:a", "64k").read_bytes()
    for content in (bytes(1_000) + mp3, b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + mp3, mp3[700:]):
        assert len(pairs(published_server.post("/vad", content=content).json())) == 12
