"""Files with several sounds: the one that is meant is heard, and the others are reported."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from app.audio.decode import AudioLimits, Decoder
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from app.vad.errors import InvalidOption, UnsupportedAudio
from tests.audio.ffmpegs import AVAILABLE, run
from tests.audio.recordings import decoded, voice

RATE = 16_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Silence of 1 s, and speech of 2 s."""
    folder = tmp_path_factory.mktemp("sounds")
    paths = [folder / "silence.wav", folder / "speech.wav"]
    soundfile.write(paths[0], np.zeros(RATE), RATE)
    soundfile.write(paths[1], voice(2, RATE, 1), RATE)
    return paths


def film(folder: Path, sounds: list[Path], *options: str, suffix: str = ".mkv") -> Path:
    path = folder / f"film{suffix}"
    inputs = [part for sound in sounds for part in ("-i", str(sound))]
    maps = [part for number in range(len(sounds)) for part in ("-map", f"{number}:a")]
    run(next(iter(AVAILABLE.values())), *inputs, *maps, "-c:a", "aac", *options, str(path))
    return path


def read_through(path: Path, ffmpeg: Path, track: int | None = None) -> tuple[float, Decoder]:
    """Seconds, and the decoder."""
    decoder = open_decoder(AudioInput(path, track=track), AudioLimits(max_seconds=3600), ffmpeg)
    try:
        return len(decoded(decoder)) / RATE, decoder
    finally:
        decoder.close()


def details_of(decoder: Decoder) -> dict[str, str]:
    return {warning.code: warning.detail for warning in decoder.warnings()}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_default_track(suffix: str, sounds: list[Path], tmp_path: Path, each_ffmpeg: Path) -> None:
    path = film(tmp_path, sounds, "-disposition:a:0", "0", "-disposition:a:1", "default", suffix=suffix)
    seconds, decoder = read_through(path, each_ffmpeg)
    assert round(seconds) == 2
    assert (decoder.track, decoder.track_count) == (1, 2)
    assert details_of(decoder)["other_tracks"].startswith("track 1 of 2 was heard; there are: 0 (aac")


def test_a_track_by_its_number(sounds: list[Path], tmp_path: Path, each_ffmpeg: Path) -> None:
    path = film(tmp_path, sounds, "-metadata:s:a:1", "language=deu")
    for track, length in ((0, 1), (1, 2), (None, 1)):
        seconds, decoder = read_through(path, each_ffmpeg, track)
        assert round(seconds) == length
        assert decoder.track == (track or 0)
        assert "other_tracks" in details_of(decoder)
    assert "1 (aac, deu)" in details_of(decoder)["other_tracks"]
    with pytest.raises(InvalidOption, match="2 sound tracks") as caught:
        read_through(path, each_ffmpeg, 2)
    assert caught.value.option == "track"


def test_a_track_that_cannot_be_read_hides_no_other(sounds: list[Path], tmp_path: Path, each_ffmpeg: Path) -> None:
    path = film(tmp_path, sounds)
    # The first track's coding becomes one that nobody knows.
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ", 1))
    seconds, decoder = read_through(path, each_ffmpeg)
    assert round(seconds) == 2
    assert decoder.track == 1
    with pytest.raises(UnsupportedAudio):
        read_through(path, each_ffmpeg, 0)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_files_of_one_sound(suffix: str, sounds: list[Path], tmp_path: Path, each_ffmpeg: Path) -> None:
    path = sounds[1]
    if suffix != ".wav":
        path = tmp_path / f"a{suffix}"
        soundfile.write(path, voice(2, RATE, 1), RATE)
    seconds, decoder = read_through(path, each_ffmpeg, 0)
    assert round(seconds) == 2
    assert details_of(decoder) == {}
    with pytest.raises(InvalidOption, match="track"):
        read_through(path, each_ffmpeg, 1)


LISTED = "Stream #0:7(eng): Audio: opus, 48000 Hz (default)"
HOSTILE = [
    "Output #3 master",
    "Output #0, au, to 'pipe:1':",
    "Stream mapping:",
    f"  {LISTED}",
    f"[info]   {LISTED}",
    f"a\n{LISTED}\n  {LISTED}\n[info]   {LISTED}\nStream mapping:\nOutput #0\n",
    "\rStream mapping:\r",
    "Duration: 00:00:01.00, start: 50.000000",
    "[error] no decoder found for",
    "[Eval @ 0x55] [info] 3.000000\n[info] 3.000000\n[info] 9.000000",
]
"""Tags that read like ffmpeg's own report of the file."""


@pytest.mark.parametrize("suffix", [".mka", ".mp4"])
@pytest.mark.parametrize("tag", HOSTILE)
def test_a_tag_that_reads_like_the_listing_hides_no_track(
    tag: str, suffix: str, sounds: list[Path], tmp_path: Path, each_ffmpeg: Path
) -> None:
    tags = [part for place in ("", ":s:a:0", ":s:a:1") for part in (f"-metadata{place}", f"title={tag}")]
    more = ("-metadata", f"comment={tag}", "-metadata:s:a:0", f"handler_name={tag}")
    default = ("-disposition:a:0", "0", "-disposition:a:1", "default")
    path = film(tmp_path, sounds, *default, *tags, *more, suffix=suffix)
    seconds, decoder = read_through(path, each_ffmpeg)
    assert round(seconds) == 2
    assert (decoder.track, decoder.track_count) == (1, 2)
    assert list(details_of(decoder)) == ["other_tracks"]


@pytest.mark.parametrize("key", ["Output #3", "Stream mapping:", LISTED, "[error] Stream map"])
def test_a_tag_whose_name_reads_like_the_listing_hides_no_track(
    key: str, sounds: list[Path], tmp_path: Path, each_ffmpeg: Path
) -> None:
    path = film(tmp_path, sounds, "-disposition:a:0", "0", "-disposition:a:1", "default", "-metadata", "x" * 60 + "=y")
    # Written as it would be: a muxer that is asked politely has capitals and no blanks.
    path.write_bytes(path.read_bytes().replace(b"X" * 60, key.encode().ljust(60)))
    seconds, decoder = read_through(path, each_ffmpeg)
    assert round(seconds) == 2
    assert (decoder.track, decoder.track_count) == (1, 2)


@pytest.mark.parametrize("language", ["eng): Video: x (a", "eng): Audio: opus (default", "a\nb", "()"])
def test_a_language_that_reads_like_the_listing(
    language: str, sounds: list[Path], tmp_path: Path, each_ffmpeg: Path
) -> None:
    path = film(tmp_path, sounds, "-disposition:a:0", "0", "-disposition:a:1", "default",
                "-metadata:s:a:1", "language=" + "q" * 30)  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"q" * 30, language.encode().ljust(30, b"\0")))
    seconds, decoder = read_through(path, each_ffmpeg)
    assert round(seconds) == 2
    assert (decoder.track, decoder.track_count) == (1, 2)
    assert details_of(decoder)["other_tracks"].startswith("track 1 of 2 was heard; there are: 0 (aac")
