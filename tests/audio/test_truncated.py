"""`truncated` follows from the file's own structure: what is whole is not, whatever a decoder complains of, and what is
cut is told how."""

from io import BytesIO
from pathlib import Path

import pytest
import soundfile

from app.audio.decode import AudioLimits
from app.audio.facts import examine
from app.audio.options import AudioInput
from app.audio.source import open_decoder
from tests.audio.ffmpegs import encode
from tests.audio.recordings import decoded, voice

RATE = 16_000
SECONDS = 3


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "plain.wav"
    soundfile.write(path, voice(SECONDS, RATE, 1), RATE)
    return path


def read_through(path: Path, ffmpeg: Path, limits: AudioLimits) -> tuple[float, str | None, list[str]]:
    """Seconds, how it is cut, and codes of all warnings."""
    decoder = open_decoder(AudioInput(path), limits, ffmpeg)
    try:
        seconds = len(decoded(decoder)) / decoder.info.sample_rate
    finally:
        decoder.close()
    return seconds, decoder.cut, [warning.code for warning in decoder.warnings()]


def mp3(plain: Path, folder: Path, name: str, *options: str) -> bytes:
    return encode(plain, folder / f"{name}.mp3", "-c:a", "libmp3lame", *options).read_bytes()


@pytest.mark.parametrize(
    "second", [(), ("-ar", "22050"), ("-ac", "2"), ("-id3v2_version", "3", "-metadata", "title=b")]
)
def test_joined_mp3(
    second: tuple[str, ...], plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits
) -> None:
    path = tmp_path / "joined.mp3"
    path.write_bytes(mp3(plain, tmp_path, "a") + mp3(plain, tmp_path, "b", *second))
    seconds, cut, codes = read_through(path, each_ffmpeg, limits)
    assert abs(seconds - 2 * SECONDS) < 0.2
    assert (cut, codes) == (None, [])


@pytest.mark.parametrize("second", [("-ar", "22050"), ("-ac", "2")])
def test_adts_that_changes_midway(
    second: tuple[str, ...], plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits
) -> None:
    parts = [
        encode(plain, tmp_path / f"{index}.aac", "-c:a", "aac", *more).read_bytes()
        for index, more in enumerate([(), second])
    ]
    path = tmp_path / "joined.aac"
    path.write_bytes(b"".join(parts))
    seconds, cut, codes = read_through(path, each_ffmpeg, limits)
    assert abs(seconds - 2 * SECONDS) < 0.3
    assert (cut, codes) == (None, [])


def test_mp3_in_wav(plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits) -> None:
    path = encode(plain, tmp_path / "a.wav", "-ar", "8000", "-c:a", "libmp3lame")
    seconds, cut, codes = read_through(path, each_ffmpeg, limits)
    assert abs(seconds - SECONDS) < 0.2
    assert (cut, codes) == (None, [])


WHOLE = {
    ".mp4": ("aac",), ".webm": ("libopus",), ".mka": ("flac",), ".ogg": ("libvorbis",), ".opus": ("libopus",),
    ".aiff": ("pcm_s16be",), ".au": ("pcm_s16be",), ".caf": ("pcm_s16le",), ".w64": ("pcm_s16le",), ".wma": ("wmav2",),
    ".flv": ("aac",), ".ts": ("aac",), ".avi": ("pcm_s16le",),
}  # fmt: skip


@pytest.mark.parametrize("suffix", WHOLE)
def test_a_whole_file_and_a_cut_one(
    suffix: str, plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits
) -> None:
    more = ("-movflags", "+faststart") if suffix == ".mp4" else ()
    path = encode(plain, tmp_path / f"a{suffix}", "-c:a", *WHOLE[suffix], *more)
    seconds, cut, codes = read_through(path, each_ffmpeg, limits)
    assert abs(seconds - SECONDS) < 0.2
    assert (cut, codes) == (None, [])
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size) | 1])
    seconds, cut, codes = read_through(path, each_ffmpeg, limits)
    assert seconds < SECONDS
    assert cut is not None
    assert codes == ["truncated"]


def test_a_recorders_endless_webm_is_not_cut(
    plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits
) -> None:
    path = encode(plain, tmp_path / "a.webm", "-c:a", "libopus", "-live", "1")
    assert read_through(path, each_ffmpeg, limits)[1:] == (None, [])


BARE = {
    ".mp3": ("libmp3lame",), ".mp2": ("mp2",), ".aac": ("aac",), ".latm": ("aac", "-f", "latm"),
    ".amr": ("libopencore_amrnb", "-ar", "8000"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", BARE)
def test_bare_frames_of_which_the_last_is_cut(
    suffix: str, plain: Path, tmp_path: Path, each_ffmpeg: Path, limits: AudioLimits
) -> None:
    path = encode(
        plain, tmp_path / f"a{suffix}", "-c:a", *BARE[suffix], *(("-write_xing", "0") if suffix == ".mp3" else ())
    )
    whole = path.read_bytes()
    assert read_through(path, each_ffmpeg, limits)[1] is None
    path.write_bytes(whole[:-5])
    assert read_through(path, each_ffmpeg, limits)[1] == "5 bytes of its last frame are missing"
    if suffix != ".amr":  # of which nothing is known by what stands at its end
        for tail in (b"TAG" + bytes(125), bytes(3_000)):
            path.write_bytes(whole + tail)
            assert read_through(path, each_ffmpeg, limits)[1] is None


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_bare_frames_of_every_kind_of_amr(rate: int) -> None:
    magic, sizes = {8_000: (b"#!AMR\n", (13, 14, 16, 18, 20, 21, 27, 32, 6)),
                    16_000: (b"#!AMR-WB\n", (18, 24, 33, 37, 41, 47, 51, 59, 61, 6))}[rate]  # fmt: skip
    frames = b"".join(bytes([kind << 3 | 4]).ljust(size, b"\xff") for kind, size in enumerate(sizes))
    assert examine(BytesIO(magic + frames), "AMR").cut is None
    assert examine(BytesIO(magic + frames[:-3]), "AMR").cut == "3 bytes of its last frame are missing"
    assert examine(BytesIO(magic + b"\xff" + frames), "AMR").cut is None
