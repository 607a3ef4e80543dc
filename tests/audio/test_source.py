"""`open_audio`: blocks at the model's rate, one row for each stream to detect."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.audio.decode import AudioLimits
from app.audio.options import AudioInput
from app.audio.source import AudioSource, open_audio
from app.vad.errors import AudioTooLong, InvalidAudio, InvalidOption, NoAudio, UnsupportedAudio
from tests.audio.ffmpegs import encode
from tests.audio.recordings import Samples, voice

RATE = 16_000
RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Channel = int | Literal["mix", "split"]


def opened(
    path: Path,
    channel: Channel = "mix",
    block_seconds: float = 0.5,
    limits: AudioLimits | None = None,
    ffmpeg: Path | None = None,
) -> AudioSource:
    limits = limits or AudioLimits(max_seconds=3600)
    return open_audio(
        AudioInput(path), sample_rate=RATE, channel=channel, block_seconds=block_seconds, limits=limits, ffmpeg=ffmpeg
    )


def whole(source: AudioSource) -> Samples:
    """Rows, joined; every block but the last has the same length."""
    with source:
        blocks = list(source)
    assert len({block.shape[1] for block in blocks[:-1]}) <= 1
    assert all(0 < block.shape[1] <= blocks[0].shape[1] for block in blocks[1:])
    assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
    return np.concatenate(blocks, axis=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """3.3 s as 16-bit WAV, by rate and channels."""
    folder = tmp_path_factory.mktemp("source")
    paths = {}
    for rate, channels in [(8_000, 1), (RATE, 1), (RATE, 2), (44_100, 3), (48_000, 6), (11_025, 2), (192_000, 1)]:
        paths[rate, channels] = folder / f"{rate}-{channels}.wav"
        soundfile.write(paths[rate, channels], voice(3.3, rate, channels), rate, subtype="PCM_16")
    return paths


@pytest.mark.parametrize("kind", [(8_000, 1), (RATE, 1), (44_100, 3), (48_000, 6), (11_025, 2)])
@given(block_seconds=st.floats(0.001, 5), split=st.booleans())
@RELAXED
def test_the_blocks_length_changes_nothing(
    kind: tuple[int, int], files: dict[tuple[int, int], Path], block_seconds: float, split: bool
) -> None:
    channel: Channel = "split" if split else "mix"
    expected = whole(opened(files[kind], channel, block_seconds=10))
    source = opened(files[kind], channel, block_seconds)
    np.testing.assert_array_equal(whole(source), expected)
    assert source.duration_ms == round(3.3 * kind[0]) * 1000 // kind[0]


@settings(RELAXED, max_examples=6)
@given(block_seconds=st.floats(0.002, 5))
def test_the_blocks_length_changes_nothing_through_ffmpeg(
    block_seconds: float, files: dict[tuple[int, int], Path], ffmpeg: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp3"
    if not path.exists():
        encode(files[44_100, 3], path, "-ac", "2", "-c:a", "libmp3lame")
    expected = whole(opened(path, block_seconds=10, ffmpeg=ffmpeg))
    np.testing.assert_array_equal(whole(opened(path, block_seconds=block_seconds, ffmpeg=ffmpeg)), expected)


@pytest.mark.parametrize("kind", [(8_000, 1), (44_100, 3), (48_000, 6), (11_025, 2), (192_000, 1)])
def test_resampling_in_pieces_is_resampling_at_once(kind: tuple[int, int], files: dict[tuple[int, int], Path]) -> None:
    rate, _ = kind
    samples, _ = soundfile.read(files[kind], dtype="float32", always_2d=True)
    at_once = soxr.resample(samples, rate, RATE, quality="HQ")
    in_pieces = whole(opened(files[kind], "split", block_seconds=0.037))
    assert in_pieces.shape == at_once.T.shape
    np.testing.assert_allclose(in_pieces, at_once.T, atol=1e-6)


def test_equal_rates_are_untouched(files: dict[tuple[int, int], Path]) -> None:
    samples, _ = soundfile.read(files[RATE, 1], dtype="float32")
    np.testing.assert_array_equal(whole(opened(files[RATE, 1]))[0], samples)


def test_split_index_and_mix(files: dict[tuple[int, int], Path]) -> None:
    path = files[48_000, 6]
    split = whole(opened(path, "split"))
    assert split.shape[0] == 6
    for channel in range(6):
        np.testing.assert_allclose(whole(opened(path, channel))[0], split[channel], atol=1e-6)
    assert min(float(np.abs(split[i] - split[j]).max()) for i in range(6) for j in range(i)) > 0.05
    np.testing.assert_allclose(whole(opened(path, "mix"))[0], split.mean(axis=0), atol=1e-6)


def test_mix_of_one_channel_is_that_channel(files: dict[tuple[int, int], Path]) -> None:
    np.testing.assert_array_equal(whole(opened(files[8_000, 1], "mix")), whole(opened(files[8_000, 1], 0)))


@pytest.mark.parametrize("channel", [2, 99])
def test_a_channel_that_is_not_there(channel: int, files: dict[tuple[int, int], Path]) -> None:
    with pytest.raises(InvalidOption, match="2 channels") as caught:
        opened(files[RATE, 2], channel)
    assert caught.value.option == "channel"


@pytest.mark.parametrize("frames", [1, 159, 16_000, 16_001, 44_099, 100_003])
@pytest.mark.parametrize("rate", [8_000, RATE, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["WAV", "FLAC"])
def test_durations_are_exact(frames: int, rate: int, subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    soundfile.write(path, np.full(frames, 0.1, dtype=np.float32), rate, format=subtype, subtype="PCM_16")
    source = opened(path)
    assert source.expected_seconds == frames / rate
    assert abs(whole(source).shape[1] - frames * RATE / rate) <= 1
    assert source.duration_ms == frames * 1000 // rate
    assert not source.decoder.truncated
    assert source.decode_seconds > 0


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_audio_at_the_limit_passes_and_one_sample_more_does_not(rate: int, tmp_path: Path, ffmpeg: Path) -> None:
    limits = AudioLimits(max_seconds=2)
    exact, over = tmp_path / "exact.wav", tmp_path / "over.wav"
    soundfile.write(exact, np.full(2 * rate, 0.1, dtype=np.float32), rate, subtype="PCM_16")
    soundfile.write(over, np.full(2 * rate + 1, 0.1, dtype=np.float32), rate, subtype="PCM_16")
    aiff = [encode(path, path.with_suffix(".aiff"), "-c:a", "pcm_s16be") for path in (exact, over)]
    for path in (exact, aiff[0]):
        source = opened(path, limits=limits, ffmpeg=ffmpeg)
        whole(source)
        assert source.duration_ms == 2_000
    for path in (over, aiff[1]):
        with pytest.raises(AudioTooLong, match="longer"):
            whole(opened(path, limits=limits, ffmpeg=ffmpeg))


def test_without_ffmpeg_wav_and_flac_go_on(files: dict[tuple[int, int], Path], ffmpeg: Path, tmp_path: Path) -> None:
    wav = files[RATE, 2]
    flac = encode(wav, tmp_path / "a.flac", "-c:a", "flac")
    aiff = encode(wav, tmp_path / "a.aiff", "-c:a", "pcm_s16be")
    np.testing.assert_array_equal(whole(opened(flac)), whole(opened(wav)))
    with opened(aiff, ffmpeg=ffmpeg) as source:
        assert source.decoder.name == "ffmpeg"
    with pytest.raises(UnsupportedAudio, match="AIFF needs ffmpeg, which is not installed"):
        opened(aiff)


def test_a_flac_without_its_length_needs_ffmpeg(tmp_path: Path, ffmpeg: Path) -> None:
    samples = voice(2, RATE, 1)
    path = tmp_path / "piped.flac"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # 36 bits: total samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    source = opened(path, ffmpeg=ffmpeg)
    assert source.decoder.name == "ffmpeg"
    assert source.info.format == "FLAC"
    np.testing.assert_allclose(whole(source)[0], samples[:, 0], atol=1e-4)
    with pytest.raises((InvalidAudio, UnsupportedAudio)):
        opened(path)


@pytest.mark.parametrize("rate", [44_100, 384_000])
def test_a_file_too_short_for_a_sample_still_has_its_rows(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full((1, 2), 0.1, dtype=np.float32), rate)
    for channel, rows in (("split", 2), ("mix", 1), (1, 1)):
        with opened(path, channel) as source:
            assert [block.shape for block in source] == [(rows, 0)]


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(NoAudio):
        opened(path)
