"""Stereo whose mean is nothing, one side that is silent, six channels with the voice in the middle."""

from pathlib import Path

import numpy as np
import pytest

from tests.audio.ffmpegs import encode
from tests.field.asking import SOUND, Pairs, ask, coded, refusal, wav
from tests.live.client import converse, cut
from tests.server import RunningServer
from tests.signals import bursts

SUFFIXES = {".wav": ("-c:a", "pcm_s16le"), ".mp3": ("-c:a", "libmp3lame", "-b:a", "128k"),
            ".ogg": ("-c:a", "libvorbis", "-q:a", "8")}  # fmt: skip
OPPOSITE = np.stack((SOUND, -SOUND), axis=1)
IN_PHASE = bursts(10.0, [(0.0, 10.0)], seed=11)[:, None] * 0.005
"""Noise that both sides have, 46 dB below the speech."""


@pytest.mark.parametrize("samples", [OPPOSITE, OPPOSITE + IN_PHASE], ids=["exact", "with noise in phase"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_opposite_phase(suffix: str, samples: np.ndarray, server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = coded(tmp_path, suffix, *SUFFIXES[suffix], samples=samples)
    mixed = ask(server, path)
    assert (mixed.segments, "channels_cancel" in mixed.codes) == ([], True)
    loudest = ask(server, path, channel="loudest")
    assert loudest.is_near(plain, 30)
    assert "channels_cancel" not in loudest.codes
    assert ask(server, path, channel="0").is_near(plain, 30)


def test_one_side_of_a_call(server: RunningServer, tmp_path: Path) -> None:
    alone = SOUND[::2]
    expected = ask(server, wav(tmp_path, alone, 8_000)).segments
    stereo = wav(tmp_path, np.stack((alone, 0 * alone), axis=1), 8_000)
    assert ask(server, stereo).is_near(expected, 20)
    assert "channels_cancel" not in ask(server, stereo).codes
    assert ask(server, stereo, channel="0").is_near(expected, 0)
    assert ask(server, stereo, channel="1").segments == []


@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_six_channels_with_the_voice_in_the_middle(
    suffix: str, server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    six = np.zeros((len(SOUND), 6), dtype=np.float32)
    six[:, 2] = SOUND
    path = (
        wav(tmp_path, six) if suffix == ".wav" else coded(tmp_path, suffix, "-c:a", "aac", "-b:a", "384k", samples=six)
    )
    answer = ask(server, path)
    assert (answer.audio["channels"], answer.is_near(plain, 40)) == (6, True)
    assert answer.codes == []


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_twelve_segments_by_the_loudest_channel(
    suffix: str, example: np.ndarray, twelve: Pairs, published_server: RunningServer, tmp_path: Path
) -> None:
    path = coded(tmp_path, suffix, *SUFFIXES[suffix], samples=np.stack((example, -example), axis=1))
    mixed = ask(published_server, path)
    assert "channels_cancel" in mixed.codes
    heard, alone = ask(published_server, path, channel="loudest"), ask(published_server, path, channel="0")
    assert len(alone.segments) >= 11  # Vorbis joins two that are 280 ms apart
    assert heard.is_near(alone.segments, 10)
    if suffix == ".wav":
        assert (mixed.segments, heard.is_near(twelve, 0)) == ([], True)


@pytest.mark.parametrize(
    ("suffix", "count"),
    [
        (".wav", 9), (".mka", 12), (".caf", 16), (".wav", 64), (".mka", 64),
        *(pytest.param(suffix, count, marks=pytest.mark.full) for suffix, counts in (
            (".wav", (12, 16)), (".mka", (9, 16)), (".caf", (9, 12, 64))) for count in counts),
    ],
)  # fmt: skip
def test_one_of_many_channels(suffix: str, count: int, server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    many = np.zeros((len(SOUND), count), dtype=np.float32)
    many[:, 3] = many[:, count - 1] = SOUND
    path = wav(tmp_path, many)
    if suffix != ".wav":
        path = encode(path, tmp_path / f"a{suffix}", "-c:a", "pcm_s16le")
    for channel in ("3", str(count - 1)):
        answer = ask(server, path, channel=channel)
        assert (answer.audio["channels"], answer.is_near(plain, 0)) == (count, True)
    assert ask(server, path, channel="2").segments == []
    for together in ("mix", "split", "loudest"):
        status, code, detail = refusal(server, path.read_bytes(), channel=together)
        assert (status, code) == (422, "invalid_audio")
        assert f"{count} channels" in detail
        assert "`channel=` and a number" in detail
    assert refusal(server, path.read_bytes(), channel=str(count))[:2] == (422, "invalid_option")


def test_one_of_many_channels_of_raw_samples(server: RunningServer, plain: Pairs) -> None:
    many = np.zeros((len(SOUND), 12), dtype="<i2")
    many[:, 11] = SOUND * 32_767
    raw = {"encoding": "pcm_s16le", "sample_rate": "16000", "channels": "12"}
    assert ask(server, many.tobytes(), channel="11", **raw).is_near(plain, 0)
    heard = converse(server, cut(many.tobytes(), 38_400), channel="11", **raw)
    assert [(each["start_ms"], each["end_ms"]) for each in heard.done["segments"]] == plain
    heard = converse(server, [], **raw)
    assert heard.error["code"] == "invalid_option"


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_of_an_integers_size(subtype: str, server: RunningServer, tmp_path: Path) -> None:
    answer = ask(server, wav(tmp_path, SOUND.astype(np.float64) * 32_768, subtype=subtype))
    assert answer.codes == ["beyond_full_scale"]
    live = converse(server, cut((SOUND * 32_768).astype("<f4").tobytes(), 6_400), encoding="pcm_f32le")
    assert [warning["code"] for warning in live.done["warnings"]] == ["beyond_full_scale"]
    louder = ask(server, wav(tmp_path, SOUND.astype(np.float64) * 4, subtype=subtype))
    assert "beyond_full_scale" not in louder.codes
