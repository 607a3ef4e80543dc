"""Films with several sounds: the one that is meant, or the first that can be read."""

from pathlib import Path

import numpy as np
import pytest

from tests.audio.ffmpegs import AVAILABLE, run
from tests.field.asking import SOUND, Pairs, ask, coded, refusal, wav
from tests.server import RunningServer
from tests.signals import bursts

SILENT = np.zeros(len(SOUND), dtype=np.float32)


def film(folder: Path, suffix: str, *options: str) -> Path:
    """A silent track, then the usual recording."""
    (folder / "silent").mkdir()
    sounds = [wav(folder / "silent", SILENT), wav(folder)]
    inputs = [part for sound in sounds for part in ("-i", str(sound))]
    path = folder / f"film{suffix}"
    run(next(iter(AVAILABLE.values())), *inputs, "-map", "0:a", "-map", "1:a", "-c:a", "aac", *options, str(path))
    return path


pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no ffmpeg is installed")
SECOND_IS_DEFAULT = ("-disposition:a:0", "0", "-disposition:a:1", "default")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_silent_first_track_and_a_default_one_that_speaks(
    suffix: str, server: RunningServer, plain: Pairs, tmp_path: Path
) -> None:
    answer = ask(server, film(tmp_path, suffix, *SECOND_IS_DEFAULT))
    assert answer.is_near(plain, 20 + 64)
    assert (answer.audio["track"], answer.codes) == (1, ["other_tracks"])


def test_a_track_by_its_number(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv")
    assert ask(server, path).segments == []
    assert "other_tracks" in ask(server, path).codes
    assert ask(server, path, track="1").is_near(plain, 20 + 64)


def test_dts_first_and_aac_second(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv", "-c:a:0", "dca", "-strict", "-2", "-ar", "48000", *SECOND_IS_DEFAULT)
    answer = ask(server, path)
    assert (len(answer.segments), answer.audio["track"], answer.codes) == (len(plain), 1, ["other_tracks"])
    silent = ask(server, path, track="0")
    assert (silent.segments, "other_tracks" in silent.codes) == ([], True)


def test_a_first_track_that_nobody_can_read(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ", 1))
    answer = ask(server, path)
    assert answer.is_near(plain, 20 + 64)
    assert (answer.audio["track"], answer.codes) == (1, ["other_tracks"])


def two_speakers(folder: Path, suffix: str, *options: str) -> tuple[Path, list[tuple[float, float]]]:
    """A meeting whose participants are recorded on tracks of their own, at other rates and of other lengths."""
    (folder / "one").mkdir()
    spoken = [(1.0, 2.0), (5.0, 6.0)]
    one, other = bursts(7.0, spoken[:1], seed=3), bursts(9.0, spoken[1:], seed=4)
    stereo = np.stack((other, other), axis=1)
    sounds = [wav(folder / "one", one), wav(folder, stereo)]
    inputs = [part for sound in sounds for part in ("-i", str(sound))]
    path = folder / f"meeting{suffix}"
    rates = ("-ar:a:0", "16000", "-ar:a:1", "48000")
    run(
        next(iter(AVAILABLE.values())),
        *inputs,
        "-map",
        "0:a",
        "-map",
        "1:a",
        "-c:a",
        "aac",
        *rates,
        *options,
        str(path),
    )
    return path, spoken


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_all_tracks_are_rows(suffix: str, server: RunningServer, tmp_path: Path) -> None:
    path, spoken = two_speakers(tmp_path, suffix)
    document = server.post("/vad", content=path.read_bytes(), params={"track": "all"}).json()
    found = [(each["channel"], each["start_ms"], each["end_ms"]) for each in document["segments"]]
    assert [channel for channel, _, _ in found] == [0, 1]
    for (_, start, end), (expected_start, expected_end) in zip(found, spoken, strict=True):
        assert abs(start - 1000 * expected_start) < 400
        assert abs(end - 1000 * expected_end) < 700
    audio = document["audio"]
    assert (audio["channels"], audio["sample_rate"], audio["tracks"]) == (2, 48_000, 2)
    assert "track" not in audio
    assert abs(audio["duration_ms"] - 9_000) < 150
    assert "other_tracks" not in [warning["code"] for warning in document["warnings"]]
    assert [each["channel"] for each in document["channels"]] == [0, 1]
    lines = server.post("/vad", content=path.read_bytes(), params={"track": "all", "format": "audacity"}).text
    assert [line.split("\t")[2] for line in lines.splitlines()] == ["speech_ch0", "speech_ch1"]
    for number in (0, 1):
        alone = ask(server, path, track=str(number)).segments
        assert abs(alone[0][0] - found[number][1]) <= 30


def test_all_tracks_of_a_file_of_one(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    for path in (
        wav(tmp_path),
        coded(tmp_path, ".mp3", "-c:a", "libmp3lame"),
        coded(tmp_path, ".flac", "-c:a", "flac"),
    ):
        answer = ask(server, path, track="all")
        assert answer.is_near(plain, 40)
        assert (answer.audio["channels"], answer.codes) == (1, [])


def test_a_track_that_nobody_can_read_is_told_among_all(server: RunningServer, plain: Pairs, tmp_path: Path) -> None:
    path = film(tmp_path, ".mkv")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ", 1))
    document = server.post("/vad", content=path.read_bytes(), params={"track": "all"}).json()
    assert {each["channel"] for each in document["segments"]} == {1}
    assert [each["detail"] for each in document["warnings"]] == ["track 0 cannot be decoded and is treated as silence"]


def test_all_tracks_and_channels_are_not_asked_for_at_once(server: RunningServer, tmp_path: Path) -> None:
    content = wav(tmp_path).read_bytes()
    for channel in ("split", "loudest", "0"):
        status, code, detail = refusal(server, content, track="all", channel=channel)
        assert (status, code) == (422, "invalid_option")
        assert "mean of each track's channels" in detail
    for wrong in ("every", "-1", "64", "ALL"):
        assert refusal(server, content, track=wrong)[:2] == (422, "invalid_option")


def test_more_tracks_than_are_heard_together(server: RunningServer, tmp_path: Path) -> None:
    source = wav(tmp_path)
    path = tmp_path / "many.mka"
    run(next(iter(AVAILABLE.values())), "-i", str(source), *["-map", "0:a"] * 9, "-c:a", "pcm_s16le", str(path))
    status, code, detail = refusal(server, path.read_bytes(), track="all")
    assert (status, code) == (422, "invalid_option")
    assert "9 sound tracks; up to 8" in detail
    assert len(ask(server, path, track="8").segments) == 2
