"""The speech itself: that a cut is exactly the source's samples, in files that other programs read."""

import csv
import io
import json
import struct
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.facts import examine
from app.formats.excerpts import Block, ExcerptOptions, WavForm, stream_channel_wavs, stream_wav, stream_zip
from app.vad.errors import InvalidOption
from tests.formats.reports import Times, report_of, tracks

SUBTYPES = {"PCM_16": "PCM_16", "PCM_24": "PCM_24", "PCM_32": "FLOAT", "FLOAT": "FLOAT", "DOUBLE": "FLOAT"} | {
    "PCM_U8": "PCM_16", "ULAW": "PCM_16", "": "PCM_16",
}  # fmt: skip
"""Of the source, and of what is cut out of it."""


def noise(frames: int, channels: int, bits: int = 16) -> Block:
    """Samples that 16 (24) bits hold exactly, the extremes among them."""
    full = 1 << (bits - 1)
    whole = np.random.default_rng(frames).integers(-full, full, (frames, channels))
    whole[:1], whole[-1:] = -full, full - 1
    return (whole / full).astype(np.float32)


def in_blocks(samples: Block, size: int) -> Iterator[Block]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def cut(samples: Block, times: Times, rate: int) -> list[Block]:
    return [samples[start * rate // 1000 : end * rate // 1000] for start, end in times]


def decode(data: bytes) -> tuple[Block, int, str]:
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        return file.read(dtype="float32", always_2d=True), file.samplerate, file.subtype


def assert_is_sound_riff(data: bytes) -> None:
    """Lengths by the RIFF specification: even chunks that fill the file."""
    kind, size, form = struct.unpack_from("<4sI4s", data)
    assert (kind, form) == (b"RIFF", b"WAVE")
    assert size + 8 == len(data)
    at, names = 12, []
    while at < len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        names.append(name)
        at += 8 + length + length % 2
    assert (names, at) == ([b"fmt ", b"data"], len(data))


@pytest.mark.parametrize(("subtype", "written"), SUBTYPES.items())
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100])
def test_wav_is_the_samples_of_the_source(subtype: str, written: str, channels: int, rate: int) -> None:
    times = [(0, 10), (10, 130), (250, 990)]
    samples = noise(rate, channels, 24 if written == "PCM_24" else 16)
    report = report_of(times, duration_ms=1000, rate=rate, channels=channels, subtype=subtype)
    data = b"".join(stream_wav(report, in_blocks(samples, 997)))
    assert_is_sound_riff(data)
    speech, found_rate, found_subtype = decode(data)
    assert (found_rate, found_subtype) == (rate, written)
    np.testing.assert_array_equal(speech, np.concatenate(cut(samples, times, rate)))


@settings(deadline=None)
@given(times=tracks(2_000), rate=st.integers(4_000, 48_000), block=st.integers(1, 100_000))
def test_any_cut_at_any_rate_in_any_blocks(times: Times, rate: int, block: int) -> None:
    samples = noise(2 * rate, 1)
    report = report_of(times, duration_ms=2000, rate=rate, channels=1)
    speech, found_rate, _ = decode(b"".join(stream_wav(report, in_blocks(samples, max(block, rate // 50)))))
    assert found_rate == rate
    np.testing.assert_array_equal(speech, np.concatenate([*cut(samples, times, rate), samples[:0]]))


def test_the_standard_library_reads_it_too() -> None:
    data = b"".join(stream_wav(report_of([(0, 500)], rate=8000), in_blocks(noise(8000, 1), 1000)))
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 8000, 4000)


def test_samples_out_of_range_are_clipped_not_wrapped() -> None:
    loud = np.array([[1.5], [-1.5], [1.0], [-1.0]], dtype=np.float32).repeat(10, axis=0)
    report = report_of([(0, 10)], duration_ms=10, rate=4000)
    speech, _, _ = decode(b"".join(stream_wav(report, [loud])))
    assert sorted(set(speech[:, 0].tolist())) == [-1.0, 1 - 2**-15]


def test_one_channel_is_cut_alone() -> None:
    samples = noise(8000, 2)
    report = report_of([], [(100, 200)], split=True, duration_ms=1000, rate=8000)
    second = replace(report, channels=report.channels[1:])
    speech, _, _ = decode(b"".join(stream_wav(second, in_blocks(samples, 500))))
    np.testing.assert_array_equal(speech, samples[800:1600, 1:])


def test_no_speech_is_an_empty_wav_and_a_zip_of_a_manifest() -> None:
    source = noise(8000, 1)
    data = b"".join(stream_wav(report_of([], rate=8000), in_blocks(source, 800)))
    assert_is_sound_riff(data)
    assert decode(data)[0].shape == (0, 1)
    archive = zipfile.ZipFile(io.BytesIO(b"".join(stream_zip(report_of([]), lambda: in_blocks(source, 800)))))
    assert archive.namelist() == ["manifest.csv"]


def test_a_source_that_ends_early_is_silence_from_there() -> None:
    samples = noise(800, 1)
    data = b"".join(stream_wav(report_of([(50, 200)], rate=8000), [samples]))
    speech, _, _ = decode(data)
    np.testing.assert_array_equal(speech, np.concatenate([samples[400:], np.zeros((800, 1), np.float32)]))


def test_a_wav_of_two_tracks_is_refused() -> None:
    report = report_of([(0, 10)], [(0, 10)], split=True)
    with pytest.raises(InvalidOption, match="zip"):
        next(stream_wav(report, []))


def test_a_wav_beyond_4_gib_is_rf64() -> None:
    form = WavForm(48_000, 8, 32)
    most = (0xFFFFFFFF - 64) // form.frame_bytes
    assert len(form.header(most)) == 44
    assert form.header(most)[:4] == b"RIFF"
    frames = most + 1_000
    header, size = form.header(frames), frames * form.frame_bytes
    assert header[:16] == b"RF64\xff\xff\xff\xffWAVEds64"
    assert struct.unpack("<QQQ", header[20:44]) == (72 + size, size, frames)
    assert header[-8:] == b"data\xff\xff\xff\xff"


@pytest.mark.full
def test_other_readers_find_all_of_an_rf64(tmp_path: Path) -> None:
    form = WavForm(48_000, 2, 16)
    frames = (1 << 30) + 5_000
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(form.header(frames))
        file.truncate(len(form.header(frames)) + frames * form.frame_bytes)
    assert soundfile.info(path).frames == frames
    with path.open("rb") as file:
        wave = examine(file, "WAV").wave
    assert wave is not None
    assert wave.ranges == ((len(form.header(frames)), frames * form.frame_bytes),)
    assert (wave.cut, wave.repaired) == (None, None)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_zip_of_channels_goes_with_its_manifest(subtype: str, tmp_path: Path) -> None:
    left, right = [(100, 200), (600, 650)], [(150, 301), (700, 990)]
    samples = noise(11_025, 2)
    report = report_of(left, right, split=True, name="通话", duration_ms=1000, rate=11_025, subtype=subtype)
    (tmp_path / "a.zip").write_bytes(b"".join(stream_zip(report, lambda: in_blocks(samples, 1024))))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
        files = {name.split("_")[2]: name for name in archive.namelist() if name.endswith(".wav")}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert sorted(int(index) for index in files) == [int(row["index"]) for row in rows] == [1, 2, 3, 4]
        for row in rows:
            name = files[f"{int(row['index']):04d}"]
            start, end, channel = (int(row[key]) for key in ("start_ms", "end_ms", "channel"))
            assert name == f"通话_ch{channel}_{int(row['index']):04d}_{start:06d}-{end:06d}.wav"
            data = archive.read(name)
            assert_is_sound_riff(data)
            np.testing.assert_array_equal(decode(data)[0], cut(samples[:, [channel]], [(start, end)], 11_025)[0])


def test_the_wav_of_each_channel_comes_with_its_time_map() -> None:
    left, right = [(100, 200), (600, 650)], [(150, 300)]
    samples = noise(8_000, 2)
    report = report_of(left, right, split=True, name="call", duration_ms=1000, rate=8_000)
    data = b"".join(
        stream_channel_wavs(report, lambda: in_blocks(samples, 1024), ExcerptOptions(time_map=True, excerpt_rate=8_000))
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == [
            "call_ch0.wav", "call_ch0.wav.map.json", "call_ch1.wav", "call_ch1.wav.map.json", "segments.csv",
        ]  # fmt: skip
        for channel, times in enumerate((left, right)):
            speech, _, _ = decode(archive.read(f"call_ch{channel}.wav"))
            np.testing.assert_array_equal(speech, np.concatenate(cut(samples[:, [channel]], times, 8_000)))
        assert json.loads(archive.read("call_ch0.wav.map.json")) == [[0, 100, 100], [100, 600, 50]]
        assert json.loads(archive.read("call_ch1.wav.map.json")) == [[0, 150, 150]]
